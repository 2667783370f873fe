//! The parts that do I/O, once: consumer loop, producer, parking, store, Redis, configuration, telemetry, lifecycle
//! and the embedded stack. Binaries are wiring over this crate.

pub mod auth;
pub mod clock;
pub mod compare;
pub mod config;
pub mod contact;
pub mod draw;
pub mod embedded;
pub mod http;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod redis;
pub mod service;
pub mod store;
pub mod telemetry;
mod tls;
pub mod traces;
pub mod worker;
