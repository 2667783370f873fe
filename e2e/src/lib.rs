//! Claims that span binaries: the two columns, the logs they are driven with, and what must hold afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test harness: a panic is the report

pub mod activity_log;
pub mod bad_input;
pub mod bench;
pub mod campaign;
pub mod cluster;
pub mod collector;
pub mod column;
pub mod contract;
pub mod crowd;
pub mod http;
pub mod load;
pub mod log;
pub mod missions;
pub mod my_entries;
pub mod native;
pub mod over_http;
pub mod personal_data;
pub mod process;
pub mod promises;
pub mod proxy;
pub mod raffle_log;
pub mod raffles;
pub mod ranking;
pub mod reconciled;
pub mod rounds;
pub mod scenarios;
pub mod schema;
pub mod secured;
pub mod sql;
pub mod stack;
pub mod staff;
pub mod statement_proxy;
pub mod streams;
pub mod system;
pub mod traces;
