//! The worker: one loop that turns records into rows (DESIGN section 5).

mod activities;
pub mod apply;
mod attempt;
pub mod batch;
pub mod cursor;
mod lane;
mod lane_store;
pub(crate) mod plan;
mod replay;
mod role;
mod run;
mod state;

pub use activities::ActivityStore;
pub use lane::Batching;
pub use lane_store::{LaneKind, LaneStore};
pub use replay::Replay;
pub use role::{Role, RoleParts, WorkerArgs, main};
pub use run::{Worker, WorkerParts};
pub use state::WorkerState;
