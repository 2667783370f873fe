//! `apply-worker`: decides entries of FCFS and general events; several instances share the lanes.

use std::process::ExitCode;

use shared_runtime::service::Binary;

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Decides entries of FCFS and general events",
    ops_addr: "127.0.0.1:9092",
};

#[tokio::main]
async fn main() -> ExitCode {
    shared_runtime::worker::main(BINARY, apply_worker::ROLE).await
}
