//! What the store believes of its tables, against what the migrations make.

use std::collections::BTreeMap;

use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};

const BELIEVED: &str = include_str!("../../shared-runtime/src/store/schema.rs");

/// Type (Diesel's name) and nullability by (table, column).
type Columns = BTreeMap<(String, String), (String, bool)>;

#[derive(diesel::QueryableByName)]
struct Column {
    #[diesel(sql_type = diesel::sql_types::Text)]
    table_name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    column_name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    column_type: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    nullable: i64,
}

/// Every column has the same type and nullability on both sides, and neither side has more.
pub async fn mirrors_the_migrations(database_url: &str) {
    let (believed, found) = (believed(), found(database_url).await);
    assert!(believed.len() > 100, "the table definitions were not understood: {believed:?}");
    for (place, column) in &believed {
        assert_eq!(found.get(place), Some(column), "{place:?}");
    }
    for (place, column) in &found {
        assert_eq!(believed.get(place), Some(column), "{place:?}");
    }
}

/// `NAME (key) {` opens a table, `NAME -> TYPE,` is a column of it.
fn believed() -> Columns {
    let mut columns = Columns::new();
    let mut table = String::new();
    for line in BELIEVED.lines().map(str::trim) {
        if let Some((name, sql_type)) = line.split_once(" -> ") {
            let sql_type = sql_type.trim_end_matches(',');
            let inner = sql_type.strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>'));
            let column = (inner.unwrap_or(sql_type).to_owned(), inner.is_some());
            columns.insert((table.clone(), name.to_owned()), column);
        } else if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with(") {")) {
            name.clone_into(&mut table);
        }
    }
    columns
}

async fn found(database_url: &str) -> Columns {
    let rows: Vec<Column> = match database_url.strip_prefix("sqlite://") {
        Some(path) => {
            let mut conn =
                SyncConnectionWrapper::<diesel::SqliteConnection>::establish(path).await.expect("SQLite");
            // A key column takes NULL in SQLite unless it says NOT NULL, so `notnull` alone decides.
            let sql = "SELECT t.name AS table_name, c.name AS column_name, c.type AS column_type, \
                       1 - c.\"notnull\" AS nullable FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
                       WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
            diesel::sql_query(sql).load(&mut conn).await.expect(sql)
        }
        None => {
            let mut conn = AsyncMysqlConnection::establish(database_url).await.expect("MySQL");
            let sql = "SELECT TABLE_NAME AS table_name, COLUMN_NAME AS column_name, \
                       CAST(COLUMN_TYPE AS CHAR) AS column_type, CAST(IS_NULLABLE = 'YES' AS SIGNED) AS nullable \
                       FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()";
            diesel::sql_query(sql).load(&mut conn).await.expect(sql)
        }
    };
    rows.into_iter()
        .filter(|row| row.table_name != "__diesel_schema_migrations")
        .map(|row| {
            let sqlite = database_url.starts_with("sqlite");
            let name = diesel_type(&row, sqlite);
            ((row.table_name, row.column_name), (name, row.nullable != 0))
        })
        .collect()
}

fn diesel_type(column: &Column, sqlite: bool) -> String {
    let declared = column.column_type.to_lowercase();
    let name = match declared.split('(').next().unwrap_or_default() {
        // SQLite numbers rows only in a column of this very type; its integers have 64 bits.
        "integer" if sqlite && ["event_id", "audit_id", "outbox_id"].contains(&&*column.column_name) => {
            "BigInt"
        }
        "bigint" => "BigInt",
        "int" | "integer" => "Integer",
        "smallint" => "SmallInt",
        "tinyint" if declared == "tinyint(1)" => "Bool",
        "boolean" => "Bool",
        "varchar" | "char" | "text" | "mediumtext" => "Text",
        "binary" | "varbinary" | "blob" | "mediumblob" => "Binary",
        _ => &declared,
    };
    name.to_owned()
}
