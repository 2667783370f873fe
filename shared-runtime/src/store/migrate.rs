//! Migrations, compiled in (see `migrations/README.md`).

use diesel::Connection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::config::ConfigError;

const MYSQL: EmbeddedMigrations = embed_migrations!("../migrations/mysql");
const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const KEY_STORE_MYSQL: EmbeddedMigrations = embed_migrations!("../migrations/key_store/mysql");
const KEY_STORE_SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/key_store/sqlite");

/// Why migrations did not run.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The URL is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Failed(String),
}

/// Runs what is pending and gives its names; with `dry_run` only the names.
pub async fn migrate(url: &str, dry_run: bool) -> Result<Vec<String>, MigrateError> {
    migrate_from("DATABASE_URL", url, dry_run, MYSQL, SQLITE).await
}

/// The same for the key store, which may be the same database.
pub async fn migrate_key_store(url: &str, dry_run: bool) -> Result<Vec<String>, MigrateError> {
    migrate_from("KEY_STORE_URL", url, dry_run, KEY_STORE_MYSQL, KEY_STORE_SQLITE).await
}

async fn migrate_from(
    setting: &'static str,
    url: &str,
    dry_run: bool,
    mysql: EmbeddedMigrations,
    sqlite: EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError> {
    let url = url.to_owned();
    // diesel's migration harness is synchronous.
    tokio::task::spawn_blocking(move || {
        if url.starts_with("mysql://") {
            let runtime = tokio::runtime::Handle::current();
            use diesel_async::AsyncConnection;
            let conn = runtime
                .block_on(super::mysql::Conn::establish(&url))
                .map_err(|e| MigrateError::Unreachable(e.to_string()))?;
            run(&mut diesel_async::AsyncMigrationHarness::new(conn), mysql, dry_run)
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            let mut conn = diesel::SqliteConnection::establish(path)
                .map_err(|e| MigrateError::Unreachable(e.to_string()))?;
            run(&mut conn, sqlite, dry_run)
        } else {
            Err(ConfigError::new(setting, "must start with mysql:// or sqlite://").into())
        }
    })
    .await
    .map_err(|e| MigrateError::Failed(e.to_string()))?
}

fn run<DB: diesel::backend::Backend>(
    harness: &mut impl MigrationHarness<DB>,
    source: EmbeddedMigrations,
    dry_run: bool,
) -> Result<Vec<String>, MigrateError> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| MigrateError::Failed(e.to_string());
    let pending = harness.pending_migrations(source).map_err(failed)?;
    let names = pending.iter().map(|m| m.name().to_string()).collect();
    if !dry_run {
        for migration in &pending {
            harness.run_migration(migration.as_ref()).map_err(failed)?;
        }
    }
    Ok(names)
}
