//! Migrations, compiled in (see `migrations/README.md`).

use diesel::Connection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::mysql::server::{DatabaseTlsArgs, Server};
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
    Migration { url, tls: &DatabaseTlsArgs::default(), dry_run }.database().await
}

/// The same for the key store, which may be the same database.
pub async fn migrate_key_store(url: &str, dry_run: bool) -> Result<Vec<String>, MigrateError> {
    Migration { url, tls: &DatabaseTlsArgs::default(), dry_run }.key_store().await
}

/// A migration of a database that may want TLS.
#[derive(Debug, Clone, Copy)]
pub struct Migration<'a> {
    /// `mysql://` or `sqlite://`.
    pub url: &'a str,
    /// How a `mysql://` is reached.
    pub tls: &'a DatabaseTlsArgs,
    /// Only the names.
    pub dry_run: bool,
}

impl Migration<'_> {
    /// Runs what is pending in the database and gives its names.
    pub async fn database(self) -> Result<Vec<String>, MigrateError> {
        self.run("DATABASE_URL", MYSQL, SQLITE).await
    }

    /// Runs what is pending in the key store, which may be the same database, and gives its names.
    pub async fn key_store(self) -> Result<Vec<String>, MigrateError> {
        self.run("KEY_STORE_URL", KEY_STORE_MYSQL, KEY_STORE_SQLITE).await
    }

    async fn run(
        self,
        setting: &'static str,
        mysql: EmbeddedMigrations,
        sqlite: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrateError> {
        let Self { url, tls, dry_run } = self;
        let server = url.starts_with("mysql://").then(|| Server::new(setting, url, tls)).transpose()?;
        let url = url.to_owned();
        // diesel's migration harness is synchronous.
        tokio::task::spawn_blocking(move || {
            if let Some(server) = server {
                let runtime = tokio::runtime::Handle::current();
                let conn = runtime
                    .block_on(server.connect())
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
