//! Opening databases: pool limits and what every session is told.

use std::time::Duration;

use clap::Args;
use deadpool::Runtime;
use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::Pool as Deadpool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures::FutureExt;

use super::mysql::server::{DatabaseTlsArgs, Server};
use super::{mysql, sqlite};
use crate::config::{ConfigError, not_empty};

/// Settings of the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// `mysql://user:password@host:port/database` or `sqlite://path`; unset: embedded.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = not_empty)]
    pub database_url: Option<String>,
    /// TLS.
    #[command(flatten)]
    pub tls: DatabaseTlsArgs,
    /// Connections of this process.
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 8)]
    pub database_pool_size: usize,
    /// How long a statement waits for a lock (MySQL: whole seconds).
    #[arg(long, env = "DATABASE_LOCK_WAIT", default_value = "5s", value_parser = humantime::parse_duration)]
    pub database_lock_wait: Duration,
    /// The server drops a session of ours that says nothing for this long, and with it the locks of a process that
    /// hangs in the middle of a transaction (MySQL: whole seconds). As long as a silent consumer keeps its lanes.
    #[arg(long, env = "DATABASE_IDLE_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub database_idle_timeout: Duration,
}

impl Default for DatabaseArgs {
    fn default() -> Self {
        Self {
            database_url: None,
            tls: DatabaseTlsArgs::default(),
            database_pool_size: 8,
            database_lock_wait: Duration::from_secs(5),
            database_idle_timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Clone)]
pub(crate) enum Pool {
    Mysql(Deadpool<mysql::Conn>),
    Sqlite(Deadpool<sqlite::Conn>),
}

impl Pool {
    pub(crate) fn open(setting: &'static str, args: &DatabaseArgs, url: &str) -> Result<Self, ConfigError> {
        if args.database_pool_size == 0 {
            return Err(ConfigError::new("DATABASE_POOL_SIZE", "must be at least 1"));
        }
        if url.starts_with("mysql://") {
            let server = Server::new(setting, url, &args.tls)?;
            let setup = format!(
                "SET SESSION innodb_lock_wait_timeout = {}, wait_timeout = {}, transaction_isolation = 'READ-COMMITTED'",
                args.database_lock_wait.as_secs().max(1),
                args.database_idle_timeout.as_secs().max(1),
            );
            // MariaDB before 11.1 knows the variable by its old name only.
            let setup_old = setup.replace("transaction_isolation", "tx_isolation");
            Ok(Self::Mysql(build(setting, args, url, move |_| {
                let (setup, setup_old, server) = (setup.clone(), setup_old.clone(), server.clone());
                async move {
                    let mut conn = server.connect().await?;
                    if conn.batch_execute(&setup).await.is_err() {
                        conn.batch_execute(&setup_old)
                            .await
                            .map_err(ConnectionError::CouldntSetupConfiguration)?;
                    }
                    Ok(conn)
                }
                .boxed()
            })?))
        } else if let Some(path) = url.strip_prefix("sqlite://") {
            // What is deleted (keys, contacts) is overwritten, not only unlinked.
            let setup = format!(
                "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
                 PRAGMA secure_delete = ON;",
                args.database_lock_wait.as_millis()
            );
            Ok(Self::Sqlite(build(setting, args, path, move |path| {
                let (setup, path) = (setup.clone(), path.to_owned());
                async move {
                    let mut conn = sqlite::Conn::establish(&path).await?;
                    conn.batch_execute(&setup).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
                    Ok(conn)
                }
                .boxed()
            })?))
        } else {
            Err(ConfigError::new(setting, "must start with mysql:// or sqlite://"))
        }
    }
}

fn build<C>(
    setting: &'static str,
    args: &DatabaseArgs,
    url: &str,
    setup: impl Fn(&str) -> futures::future::BoxFuture<'_, Result<C, ConnectionError>> + Send + Sync + 'static,
) -> Result<Deadpool<C>, ConfigError>
where
    C: diesel_async::pooled_connection::PoolableConnection + Send + 'static,
    AsyncDieselConnectionManager<C>:
        deadpool::managed::Manager<Type = C, Error = diesel_async::pooled_connection::PoolError>,
{
    // `RecyclingMethod::Verified` is the default and must stay: with `Fast` one cancelled query shifts all answers.
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(setup);
    let manager = AsyncDieselConnectionManager::<C>::new_with_config(url, config);
    Deadpool::builder(manager)
        .max_size(args.database_pool_size)
        .wait_timeout(Some(Duration::from_secs(5)))
        .create_timeout(Some(Duration::from_secs(5)))
        .recycle_timeout(Some(Duration::from_secs(5)))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|e| ConfigError::new(setting, e.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        database: DatabaseArgs,
    }

    #[test]
    fn an_empty_url_is_a_mistake_and_not_the_same_as_none() {
        for empty in ["", "  "] {
            let error = Cli::try_parse_from(["x", "--database-url", empty]).unwrap_err().to_string();
            assert!(error.contains("DATABASE_URL") && error.contains("is empty"), "{error}");
        }
        let given = Cli::try_parse_from(["x", "--database-url", "sqlite://a"]).unwrap();
        assert_eq!(given.database.database_url.as_deref(), Some("sqlite://a"));
    }
}
