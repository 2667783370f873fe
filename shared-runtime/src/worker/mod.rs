//! The worker: one loop that turns records into rows (DESIGN section 5).

pub mod apply;
pub mod batch;
