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

/// End of an INSERT of progress: what is there gives way.
const KEEP_NEW_PROGRESS: &str = " ON CONFLICT (member_id, event_id, mission_index) DO UPDATE SET \
     current_value = excluded.current_value, latest_at = excluded.latest_at, \
     is_completed = excluded.is_completed, completed_at = excluded.completed_at";

/// End of an INSERT of latest values: of what is there and what comes, what counts (`LatestValue::onto`).
const KEEP_LATEST_PROGRESS: &str = " ON CONFLICT (member_id, event_id, mission_index) DO UPDATE SET \
     current_value = excluded.current_value, latest_at = excluded.latest_at \
     WHERE excluded.latest_at > latest_at \
     OR (excluded.latest_at = latest_at AND excluded.current_value > current_value)";

/// Entries a statement: 14 parameters each, and SQLite takes 32,766.
const ROWS: usize = 2_300;

/// Inserts all rows, or none.
pub async fn insert_entry_rows(
    conn: &mut Conn,
    rows: &[crate::store::rows::EntryRow],
) -> diesel::QueryResult<()> {
    use diesel::Connection as _;
    let rows = rows.to_vec();
    // A savepoint inside the batch's transaction: a duplicate in a later statement takes the earlier ones back.
    conn.spawn_blocking(move |conn| {
        conn.transaction(|conn| {
            rows.chunks(ROWS).try_for_each(|rows| {
                let insert = diesel::insert_into(crate::store::schema::event_entry::table).values(rows);
                diesel::RunQueryDsl::execute(insert, conn).map(drop)
            })
        })
    })
    .await
}

/// Inserts a block of winners and alternates.
pub async fn insert_result_rows(
    conn: &mut Conn,
    rows: Vec<crate::store::rows::DrawResultRow>,
) -> diesel::QueryResult<()> {
    insert_rows!(conn, crate::store::schema::draw_result::table, rows).map(drop)
}

#[path = "../queries/mod.rs"]
mod queries;
pub use queries::*;

#[cfg(test)]
mod tests {
    use diesel::QueryDsl as _;
    use diesel_async::{AsyncConnection as _, RunQueryDsl as _};

    use super::*;
    use crate::store::DatabaseArgs;
    use crate::store::error_class::is_duplicate_key;
    use crate::store::rows::EntryRow;
    use crate::store::schema::event_entry;

    fn row(seq: i64, entry: i64) -> EntryRow {
        EntryRow {
            event_id: 1,
            lane: 0,
            seq,
            entry_id: i128::from(entry).to_be_bytes().to_vec(),
            member_id: entry,
            status: 2,
            reason: None,
            option_index: None,
            reward_amount: 0,
            entry_rank: None,
            log_offset: seq,
            accepted_at: 0,
            decided_at: 0,
            missions: 0,
        }
    }

    #[tokio::test]
    async fn a_duplicate_far_behind_leaves_no_row_of_its_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db").display().to_string();
        let args = DatabaseArgs { database_url: Some(format!("sqlite://{path}")), ..DatabaseArgs::default() };
        crate::store::migrate(args.database_url.as_deref().unwrap(), false).await.unwrap();
        let mut conn = Conn::establish(&path).await.unwrap();
        let kept = conn.transaction(async |tx| {
            insert_entry_rows(tx, &[row(1, 5_000)]).await?;
            let batch: Vec<EntryRow> = (2..=5_001).map(|seq| row(seq, seq - 1)).collect();
            let error = insert_entry_rows(tx, &batch).await.unwrap_err();
            assert!(is_duplicate_key(&error), "{error}");
            insert_entry_rows(tx, &batch[..4_999]).await?;
            event_entry::table.count().get_result::<i64>(tx).await
        });
        assert_eq!(kept.await.unwrap(), 5_000);
    }
}
