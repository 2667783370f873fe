//! The queries on MySQL and MariaDB, and what differs there.

/// The connection that the shared queries are expanded for.
pub type Conn = diesel_async::AsyncMysqlConnection;

/// Inserts all rows in one statement.
macro_rules! insert_rows {
    ($conn:expr, $table:expr, $rows:expr) => {
        diesel::insert_into($table).values(&$rows).execute($conn).await
    };
}

mod functions {
    diesel::define_sql_function! {
        /// Id made by the last insert on this connection.
        #[sql_name = "LAST_INSERT_ID"]
        fn last_insert_id() -> BigInt;
    }
}

/// End of an INSERT of progress: what is there gives way.
const KEEP_NEW_PROGRESS: &str = " ON DUPLICATE KEY UPDATE current_value = VALUES(current_value), \
     latest_at = VALUES(latest_at), is_completed = VALUES(is_completed), completed_at = VALUES(completed_at)";

/// End of an INSERT of latest values: of what is there and what comes, what counts (`LatestValue::onto`). The assignments are
/// made from left to right, so the time comes last.
const KEEP_LATEST_PROGRESS: &str = " ON DUPLICATE KEY UPDATE current_value = IF(VALUES(latest_at) > latest_at \
     OR (VALUES(latest_at) = latest_at AND VALUES(current_value) > current_value), VALUES(current_value), current_value), \
     latest_at = GREATEST(latest_at, VALUES(latest_at))";

mod entrant_stream;
mod entry_insert;
mod result_insert;
pub(super) mod server;
pub use entrant_stream::stream_entrants;
pub use entry_insert::insert_entry_rows;
pub use result_insert::insert_result_rows;

#[path = "../queries/mod.rs"]
mod queries;
pub use queries::*;

/// The next transaction on this connection reads one snapshot (sessions read committed rows otherwise).
pub async fn repeatable_read(conn: &mut Conn) -> Result<(), super::error_class::StoreError> {
    use diesel_async::SimpleAsyncConnection;
    Ok(conn.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?)
}
