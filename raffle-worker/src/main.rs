//! `raffle-worker`: takes raffle entries into the database; several instances share the lanes.

use std::process::ExitCode;

use shared_runtime::service::Binary;

// Records are made on one thread and given back on another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Takes entries of raffles into the database, where they wait for the draw",
    ops_addr: "127.0.0.1:9093",
};

#[tokio::main]
async fn main() -> ExitCode {
    shared_runtime::worker::main(BINARY, &[raffle_worker::ROLE]).await
}
