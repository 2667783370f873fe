//! `apply-worker`: decides entries of FCFS and general events, and counts activities; several instances share the lanes.

use std::process::ExitCode;

use shared_runtime::service::Binary;

// Records are made on one thread and given back on another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Decides entries of FCFS and general events, and counts members' activities for missions",
    ops_addr: "127.0.0.1:9092",
};

#[tokio::main]
async fn main() -> ExitCode {
    shared_runtime::worker::main(BINARY, &apply_worker::ROLES).await
}
