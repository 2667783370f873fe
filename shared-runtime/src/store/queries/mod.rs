//! The queries, by subject. Loaded once under each backend, whose connection and macros they use.

use super::{
    Conn, KEEP_LATEST_PROGRESS, KEEP_NEW_PROGRESS, functions, insert_entry_rows, insert_result_rows,
};

/// Inserts rows, so many a statement.
macro_rules! insert_in_chunks {
    ($conn:expr, $table:expr, $rows:expr, $most:expr) => {{
        let mut rows = $rows;
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min($most));
            let chunk = std::mem::replace(&mut rows, rest);
            insert_rows!($conn, $table, chunk)?;
        }
        Ok(())
    }};
}

pub mod audit;
pub mod command;
pub mod compare;
pub mod contact;
pub mod desk;
pub mod draw;
pub mod draw_request;
pub mod draw_steps;
pub mod edit;
pub mod entries;
pub mod erasure;
pub mod events;
pub mod facts;
pub mod key_store;
pub mod lane;
pub mod member_entries;
pub mod mission;
pub mod mission_batch;
pub mod mission_outbox;
pub mod outbox;
pub mod oversight;
pub mod parked;
pub mod progress;
pub mod ranking;
pub mod scheduling;
pub mod snapshot;
pub mod staff;
