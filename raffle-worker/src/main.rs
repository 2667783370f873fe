//! The raffle worker's place in the layout. Raffles are not built yet: this program says so and ends.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Standard error may be closed; the exit code says it too.
    drop(writeln!(std::io::stderr(), "raffle-worker: raffles are not built yet"));
    ExitCode::from(2)
}
