//! Draws, the part with I/O: the runner that carries them from phase to phase, the streamed list, and the public record.
//! The rules are in `shared_domain::draw`.

mod args;
mod list;
mod record;
mod runner;

pub use args::DrandArgs;
pub use list::{Entrants, entrants};
pub use record::public_record;
pub use runner::{DrawError, DrawRunner, Reached};
