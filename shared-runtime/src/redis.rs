//! Redis behind a breaker. Redis is a hint: nothing here waits longer than its timeouts, whatever Redis does, and
//! every caller has something to do without it.

mod breaker;
mod member_limit;
mod policy;
mod presence;
mod ranking;
mod rate_limit;
mod rewards;

use std::path::PathBuf;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, RedisError, RedisResult, TlsCertificates, cmd, pipe,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use shared_domain::EventId;
use tokio::time::{Instant, timeout_at};

use self::breaker::Breaker;
pub use self::member_limit::MemberRateLimit;
pub use self::policy::LivePolicy;
pub use self::presence::Presence;
pub use self::rate_limit::{Decision, LeasedRateLimit};
use crate::clock::SharedRandom;
use crate::config::{ConfigError, not_empty};
use crate::tls::TlsSettings;

const TLS: TlsSettings = TlsSettings {
    ca: "REDIS_CA_FILE",
    client_cert: "REDIS_CLIENT_CERT_FILE",
    client_key: "REDIS_CLIENT_KEY_FILE",
};

/// How to reach Redis.
#[derive(Debug, Clone, clap::Args)]
pub struct RedisArgs {
    /// Redis: redis://user:password@host:port/database (user, password, port and database may be left out), or
    /// rediss:// with TLS. Unset: embedded.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = not_empty)]
    pub redis_url: Option<String>,
    /// Certificate authorities (PEM) that Redis's certificate is checked against; unset: the system's
    #[arg(long, env = TLS.ca)]
    pub redis_ca_file: Option<PathBuf>,
    /// Certificate (PEM, with its chain) that is shown to Redis
    #[arg(long, env = TLS.client_cert)]
    pub redis_client_cert_file: Option<PathBuf>,
    /// Its private key (PEM, not encrypted)
    #[arg(long, env = TLS.client_key)]
    pub redis_client_key_file: Option<PathBuf>,
    /// How long Redis may take to answer before the caller goes on without it.
    #[arg(long, env = "REDIS_TIMEOUT", default_value = "100ms", value_parser = humantime::parse_duration)]
    pub redis_timeout: Duration,
    /// How long a new connection to Redis may take.
    #[arg(long, env = "REDIS_CONNECT_TIMEOUT", default_value = "250ms", value_parser = humantime::parse_duration)]
    pub redis_connect_timeout: Duration,
    /// Connections to Redis. Each carries many requests at once; more of them only keep a slow answer from holding
    /// up the others.
    #[arg(long, env = "REDIS_POOL_SIZE", default_value_t = 4)]
    pub redis_pool_size: usize,
}

impl RedisArgs {
    /// The defaults, for a server at `url`.
    pub fn for_url(url: impl Into<String>) -> Self {
        Self {
            redis_url: Some(url.into()),
            redis_ca_file: None,
            redis_client_cert_file: None,
            redis_client_key_file: None,
            redis_timeout: Duration::from_millis(100),
            redis_connect_timeout: Duration::from_millis(250),
            redis_pool_size: 4,
        }
    }

    /// The server that the URL and the files of TLS name.
    fn server(&self, url: &str) -> Result<ConnectionInfo, ConfigError> {
        let (ca, cert, key) = (
            self.redis_ca_file.as_deref(),
            self.redis_client_cert_file.as_deref(),
            self.redis_client_key_file.as_deref(),
        );
        if !url.starts_with("rediss://") {
            if let Some(setting) = TLS.given(ca, cert, key) {
                return Err(wrong(setting, "needs TLS: REDIS_URL must start with rediss://"));
            }
            return url.into_connection_info().map_err(|error| unusable(&error));
        }
        if url.contains('#') {
            return Err(wrong("REDIS_URL", "a certificate that is not checked (#insecure) is not taken"));
        }
        let files = TLS.read(ca, cert, key)?;
        let client_tls =
            files.client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: files.ca };
        let client = Client::build_with_tls(url, certificates).map_err(|error| unusable(&error))?;
        Ok(client.get_connection_info().clone())
    }
}

/// A value that the database gives and Redis has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// Event; 0 where the key names none.
    pub event_id: EventId,
    /// Key, and behind a blank the member of a sorted set.
    pub key: String,
    /// What Redis has.
    pub found: Option<i64>,
    /// What it should have.
    pub expected: Option<i64>,
}

/// Redis did not do it, or did not say so in time.
#[derive(Debug, thiserror::Error)]
pub enum RedisUnavailable {
    /// Redis failed lately and is not asked for a while.
    #[error("Redis is not asked while its breaker is open")]
    BreakerOpen,
    /// No answer in time. What was asked may have been done all the same.
    #[error("Redis did not answer in time")]
    Timeout,
    /// Redis, or the way there, answered with an error.
    #[error("Redis failed")]
    Failed(#[source] RedisError),
}

/// A small pool of connections behind a circuit breaker. Clones share both.
#[derive(Clone)]
pub struct RedisClient {
    pool: Pool,
    breaker: Breaker,
    deadline: Duration,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pool knows the password.
        f.debug_struct("RedisClient").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl RedisClient {
    /// A client; it connects with the first use, so that a process starts without Redis.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn new(args: &RedisArgs, random: SharedRandom) -> Result<Self, ConfigError> {
        let url = args.redis_url.as_deref().ok_or_else(|| ConfigError::required("REDIS_URL"))?;
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(wrong("REDIS_URL", "must start with redis:// or rediss://"));
        }
        for (setting, value) in
            [("REDIS_TIMEOUT", args.redis_timeout), ("REDIS_CONNECT_TIMEOUT", args.redis_connect_timeout)]
        {
            if value.is_zero() || value > Duration::from_secs(60) {
                return Err(wrong(setting, "must be above 0 and at most 60s"));
            }
        }
        if !(1..=64).contains(&args.redis_pool_size) {
            return Err(wrong("REDIS_POOL_SIZE", "must be 1 to 64"));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(args.redis_connect_timeout))
            .set_response_timeout(Some(args.redis_timeout));
        let manager =
            Manager::new_with_config(args.server(url)?, config).map_err(|error| unusable(&error))?;
        let pool = Pool::builder(manager)
            .max_size(args.redis_pool_size)
            .wait_timeout(Some(args.redis_timeout))
            .create_timeout(Some(args.redis_connect_timeout))
            .recycle_timeout(Some(args.redis_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| wrong("REDIS_URL", &error.to_string()))?;
        let deadline = args.redis_connect_timeout + args.redis_timeout;
        Ok(Self { pool, breaker: Breaker::new(random), deadline })
    }

    /// Runs `f` with a connection. The whole takes `REDIS_CONNECT_TIMEOUT` + `REDIS_TIMEOUT` at most, and nothing
    /// while the breaker is open.
    ///
    /// # Errors
    /// `RedisUnavailable`. After a timeout it is unknown whether Redis did what was asked: what is counted here only
    /// limits admission, and a count too many makes that stricter, never looser.
    pub async fn call<T>(
        &self,
        f: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, RedisUnavailable> {
        let start = Instant::now();
        let Some(permit) = self.breaker.admit(start.into_std()) else {
            outcome("open");
            return Err(RedisUnavailable::BreakerOpen);
        };
        let answer = self.ask(start + self.deadline, f).await;
        metrics::histogram!("event_redis_request_seconds").record(start.elapsed().as_secs_f64());
        match &answer {
            Ok(_) => {
                permit.success();
                outcome("ok");
            }
            Err(RedisUnavailable::Failed(error)) if !broken(error) => {
                // It answers, even if with a refusal: nothing for the breaker.
                permit.success();
                outcome("error");
            }
            Err(failure) => {
                permit.failure(Instant::now().into_std(), &why(failure));
                outcome(if matches!(failure, RedisUnavailable::Timeout) { "timeout" } else { "error" });
            }
        }
        answer
    }

    async fn ask<T>(
        &self,
        deadline: Instant,
        f: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, RedisUnavailable> {
        let mut connection = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(connection)) => connection,
            Err(_) | Ok(Err(PoolError::Timeout(_))) => return Err(RedisUnavailable::Timeout),
            Ok(Err(PoolError::Backend(error))) => return Err(failed(error)),
            Ok(Err(error)) => {
                return Err(failed(RedisError::from((ErrorKind::Io, "no connection", error.to_string()))));
            }
        };
        let answer = match timeout_at(deadline, f(&mut connection)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => failed(error),
            Err(_) => RedisUnavailable::Timeout,
        };
        if !matches!(&answer, RedisUnavailable::Failed(error) if !broken(error)) {
            // Out of the pool with it: the next caller would pay for finding it broken.
            drop(Connection::take(connection));
        }
        Err(answer)
    }

    /// Sends one command.
    ///
    /// # Errors
    /// As `call`.
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisUnavailable> {
        self.call(async |connection| command.query_async(connection).await).await
    }

    /// Sends several commands in one packet.
    ///
    /// # Errors
    /// As `call`.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, RedisUnavailable> {
        self.call(async |connection| pipeline.query_async(connection).await).await
    }

    /// Reads whole numbers by one MGET; `None` where there is none, or something else.
    ///
    /// # Errors
    /// As `call`.
    pub async fn mget_i64(&self, keys: &[String]) -> Result<Vec<Option<i64>>, RedisUnavailable> {
        let texts = self.mget(keys).await?;
        Ok(texts.into_iter().map(|text| std::str::from_utf8(&text?).ok()?.parse().ok()).collect())
    }

    pub(crate) async fn mget(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, RedisUnavailable> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.command(cmd("MGET").arg(keys)).await
    }

    /// Reads a string.
    ///
    /// # Errors
    /// As `call`.
    pub async fn get(&self, key: &str) -> Result<Option<String>, RedisUnavailable> {
        self.command(cmd("GET").arg(key)).await
    }

    /// Writes a string, without expiry.
    ///
    /// # Errors
    /// As `call`.
    pub async fn set(&self, key: &str, value: &str) -> Result<(), RedisUnavailable> {
        self.command(cmd("SET").arg(key).arg(value)).await
    }

    /// Deletes a key; true if there was one.
    ///
    /// # Errors
    /// As `call`.
    pub async fn del(&self, key: &str) -> Result<bool, RedisUnavailable> {
        self.command(cmd("DEL").arg(key)).await
    }

    /// Adds `n` and sets the expiry to `ttl_s` seconds from now, as one transaction, so that no counter stays for
    /// ever. The new total.
    ///
    /// # Errors
    /// As `call`; a timed-out addition may have happened.
    pub async fn incr_by_with_expiry(&self, key: &str, n: i64, ttl_s: i64) -> Result<i64, RedisUnavailable> {
        let mut both = pipe();
        both.atomic().cmd("INCRBY").arg(key).arg(n).cmd("EXPIRE").arg(key).arg(ttl_s).ignore();
        let (total,): (i64,) = self.pipeline(&both).await?;
        Ok(total)
    }
}

/// The error could quote the URL, and so its password: only its category is told.
fn unusable(error: &RedisError) -> ConfigError {
    wrong("REDIS_URL", &format!("cannot be used ({})", error.category()))
}

fn wrong(setting: &str, problem: &str) -> ConfigError {
    ConfigError { setting: setting.to_owned(), problem: problem.to_owned() }
}

/// What to tell an operator. Redis and the way there name what is wrong, never the password.
fn why(failure: &RedisUnavailable) -> String {
    match failure {
        RedisUnavailable::Failed(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn outcome(outcome: &'static str) {
    metrics::counter!("event_redis_requests_total", "outcome" => outcome).increment(1);
}

fn failed(error: RedisError) -> RedisUnavailable {
    if error.is_timeout() { RedisUnavailable::Timeout } else { RedisUnavailable::Failed(error) }
}

/// Whether the connection, not the request, is at fault.
fn broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}
