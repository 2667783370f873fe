//! Settings of the admin API.

use std::net::SocketAddr;
use std::time::Duration;

use shared_runtime::config::ConfigError;
use shared_runtime::draw::DrandArgs;

const SAFE_GRACE: Duration = Duration::from_secs(5);

/// Settings of the admin API.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminArgs {
    /// Address of the admin listener
    #[arg(long, env, default_value = "127.0.0.1:8081")]
    pub admin_addr: SocketAddr,
    /// Between an event's end (or close) and its `Closed` records, for what is still in flight; below 5s only embedded
    /// or with ALLOW_UNSAFE_LOG
    #[arg(long, env, default_value = "10s", value_parser = humantime::parse_duration)]
    pub close_grace: Duration,
    /// Beacons that draws may name
    #[command(flatten)]
    pub drand: DrandArgs,
    /// How long the longest-lived backup of the database or the key store is kept: certificates of deletion say when
    /// the last one dies
    #[arg(long, env, default_value = "35d", value_parser = humantime::parse_duration)]
    pub backup_life: Duration,
}

impl AdminArgs {
    /// Checks what depends on other settings: a short grace is for embedded use or an unsafe log.
    pub fn check(&self, short_grace_allowed: bool) -> Result<(), ConfigError> {
        if self.close_grace < SAFE_GRACE && !short_grace_allowed {
            return Err(ConfigError::new(
                "CLOSE_GRACE",
                "must be at least 5s, or acknowledged entries could be closed out; less is for embedded use or \
                 ALLOW_UNSAFE_LOG",
            ));
        }
        if self.close_grace > Duration::from_secs(3600) {
            return Err(ConfigError::new("CLOSE_GRACE", "must be at most 1h"));
        }
        Ok(())
    }
}
