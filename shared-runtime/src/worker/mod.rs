//! The worker: one loop that turns records into rows (DESIGN section 5).

pub mod apply;
mod attempt;
pub mod batch;
pub mod cursor;
mod lane;
mod lane_store;
mod role;
mod run;

pub use lane::Batching;
pub use lane_store::LaneStore;
pub use role::{Role, RoleParts, WorkerArgs, main};
pub use run::{Worker, WorkerParts};
