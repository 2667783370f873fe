//! What one listener takes on.

use std::time::Duration;

use super::Cors;
use crate::config::ConfigError;

/// Bounds of a listener. Flags and environment variables; durations like `10s`.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP limits")]
pub struct HttpLimits {
    /// Open connections; one more is answered 503 and closed
    #[arg(long, env, default_value_t = 20_000)]
    pub max_connections: usize,
    /// Requests being answered at once; one more is 503 UNAVAILABLE. Streams count until their head is sent
    #[arg(long, env, default_value_t = 4_096)]
    pub max_in_flight: usize,
    /// Time from a request's first byte to the end of its headers
    #[arg(long, env, default_value = "10s", value_parser = humantime::parse_duration)]
    pub header_read_timeout: Duration,
    /// Time for a request's body to arrive; then 408 REQUEST_TIMEOUT
    #[arg(long, env, default_value = "10s", value_parser = humantime::parse_duration)]
    pub body_read_timeout: Duration,
    /// Time for a request to be answered (to its head, for streams); then 503 UNAVAILABLE, or
    /// OUTCOME_UNKNOWN where something may have been begun
    #[arg(long, env, default_value = "15s", value_parser = humantime::parse_duration)]
    pub request_timeout: Duration,
    /// How long a connection may wait for its next request
    #[arg(long, env, default_value = "75s", value_parser = humantime::parse_duration)]
    pub keep_alive_timeout: Duration,
    /// Bytes that a request's body may have
    #[arg(long, env, default_value_t = 16 * 1024)]
    pub body_limit: usize,
    /// Web origins that may call from a browser, e.g. `https://shop.example`, separated by commas
    #[arg(long, env, value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,
}

impl HttpLimits {
    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// A CORS origin that is none.
    pub fn check(&self) -> Result<(), ConfigError> {
        Cors::new(&self.cors_allowed_origins).map(|_| ())
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_in_flight: 4_096,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_secs(75),
            body_limit: 16 * 1024,
            cors_allowed_origins: Vec::new(),
        }
    }
}
