//! `raffle-worker`: takes raffle entries into the database; several instances share the lanes.

use std::process::ExitCode;

use shared_runtime::service::Binary;

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Takes entries of raffles into the database, where they wait for the draw",
    ops_addr: "127.0.0.1:9093",
};

#[tokio::main]
async fn main() -> ExitCode {
    shared_runtime::worker::main(BINARY, raffle_worker::ROLE).await
}
