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

/// Id made by the last insert on this connection.
pub async fn last_id(conn: &mut Conn) -> Result<i64, super::error_class::StoreError> {
    use diesel_async::RunQueryDsl;
    Ok(diesel::select(functions::last_insert_id()).get_result(conn).await?)
}

#[path = "../queries/audit.rs"]
pub mod audit;
#[path = "../queries/edit.rs"]
pub mod edit;
#[path = "../queries/entries.rs"]
pub mod entries;
#[path = "../queries/desk.rs"]
pub mod desk;
#[path = "../queries/events.rs"]
pub mod events;
#[path = "../queries/lane.rs"]
pub mod lane;
#[path = "../queries/outbox.rs"]
pub mod outbox;
#[path = "../queries/parked.rs"]
pub mod parked;
#[path = "../queries/progress.rs"]
pub mod progress;
#[path = "../queries/snapshot.rs"]
pub mod snapshot;
#[path = "../queries/staff.rs"]
pub mod staff;
