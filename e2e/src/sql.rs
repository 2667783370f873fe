//! Plain SQL for what no production code does: making databases, putting triggers on tables.

use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};

/// One number.
#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

/// Runs a statement.
pub async fn execute(url: &str, sql: &str) {
    match url.strip_prefix("sqlite://") {
        Some(path) => {
            let mut conn =
                SyncConnectionWrapper::<diesel::SqliteConnection>::establish(path).await.expect("SQLite");
            conn.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).await.expect(sql);
        }
        None => {
            let mut conn = AsyncMysqlConnection::establish(url).await.expect("MySQL");
            conn.batch_execute(sql).await.expect(sql);
        }
    }
}

/// Runs a query that gives one number, named `n`.
pub async fn number(url: &str, sql: &str) -> i64 {
    let query = diesel::sql_query(sql);
    let row: Number = match url.strip_prefix("sqlite://") {
        Some(path) => {
            let mut conn =
                SyncConnectionWrapper::<diesel::SqliteConnection>::establish(path).await.expect("SQLite");
            query.get_result(&mut conn).await.expect(sql)
        }
        None => {
            let mut conn = AsyncMysqlConnection::establish(url).await.expect("MySQL");
            query.get_result(&mut conn).await.expect(sql)
        }
    };
    row.n
}
