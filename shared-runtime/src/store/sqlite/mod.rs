//! The queries on SQLite, and what differs there.

/// The connection that the shared queries are expanded for.
pub type Conn = diesel_async::sync_connection_wrapper::SyncConnectionWrapper<diesel::SqliteConnection>;

/// Inserts all rows in one statement: diesel's batch insert for SQLite is synchronous.
macro_rules! insert_rows {
    ($conn:expr, $table:expr, $rows:expr) => {{
        let rows = $rows;
        $conn
            .spawn_blocking(move |conn| {
                diesel::RunQueryDsl::execute(diesel::insert_into($table).values(&rows), conn)
            })
            .await
    }};
}

mod functions {
    diesel::define_sql_function! {
        /// Id made by the last insert on this connection.
        #[sql_name = "last_insert_rowid"]
        fn last_insert_id() -> BigInt;
    }
}

/// Inserts all rows, or none.
pub async fn insert_entry_rows(
    conn: &mut Conn,
    rows: &[crate::store::rows::EntryRow],
) -> diesel::QueryResult<()> {
    insert_rows!(conn, crate::store::schema::event_entry::table, rows.to_vec()).map(drop)
}

#[path = "../queries/mod.rs"]
mod queries;
pub use queries::*;
