//! One HTTP layer for the public gateway, the admin listener and the ops listener.
//!
//! A single warp filter hands every request over whole ([`Request`]); from there on routing and errors are our own and
//! deterministic, because warp's rejections rank and fall through in ways that can turn a 413 into a 404.
//!
//! A client that hangs up drops its handler at the next `await`. Whatever must finish belongs into `tokio::spawn`.

pub mod cors;
mod gate;
mod json;
mod limits;
mod measure;
pub mod openapi;
mod page;
mod params;
mod problem;
mod request;
mod request_id;
mod response;
mod router;
mod server;
mod server_connection;
mod serving_threads;
#[cfg(test)]
mod tests;

pub use cors::Cors;
pub use json::part_of_body;
pub use limits::HttpLimits;
pub use openapi::{About, Operation};
pub use page::{Page, limit};
pub use params::Params;
pub use problem::Problem;
pub use request::Request;
pub use response::{Response, StreamError, sse_event, sse_heartbeat};
pub use router::Router;
pub use server::{Drained, serve, serve_on};
pub use serving_threads::ServingThreads;
