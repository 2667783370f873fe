//! A live database against what it was made from: the log decided again beside its rows, the rows against the totals that
//! were kept of them, draws and missions against the entries. It only reads, from one snapshot, so it is safe while the
//! system runs (DESIGN section 10).

mod again;
mod before;
mod difference;
mod draws;
mod kept;
mod lane;
mod moment;
mod rows;

pub use again::{LaneCompared, Log, Verdict, compare_with_log};
pub use difference::{Difference, Witness, row_differences};
pub use draws::check_draw;
pub use kept::{check_contacts, check_missions};
pub use moment::Moment;
pub use rows::check_rows;

use crate::config::StartError;
use crate::store::error_class::StoreError;

/// Rows that are read at once.
const BLOCK: i64 = 5_000;

fn unreachable(error: StoreError) -> StartError {
    StartError::unreachable("DATABASE_URL", error)
}
