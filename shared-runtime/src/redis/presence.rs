//! How many gateways are alive, for the share of each when Redis is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{cmd, pipe};
use tokio_util::sync::CancellationToken;

use super::{RedisClient, RedisUnavailable};
use crate::clock::SharedClock;

const GATEWAYS: &str = "event:gateways";
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A gateway counts as alive this long after its last heartbeat, by the gateways' own clocks.
const ALIVE_MS: i64 = 5_000;
/// The set dies with its last gateway.
const SET_TTL_S: i64 = 60;

impl RedisClient {
    /// One heartbeat of a gateway at `now_ms` (milliseconds since 1970): notes it, forgets those that were silent
    /// for 5 s, and returns how many are alive, this one included.
    ///
    /// # Errors
    /// As `call`.
    pub async fn gateway_beat(&self, gateway: &str, now_ms: i64) -> Result<i64, RedisUnavailable> {
        let mut beat = pipe();
        beat.atomic().cmd("ZADD").arg(GATEWAYS).arg(now_ms).arg(gateway).ignore();
        beat.cmd("ZREMRANGEBYSCORE").arg(GATEWAYS).arg("-inf").arg(now_ms - ALIVE_MS).ignore();
        beat.cmd("EXPIRE").arg(GATEWAYS).arg(SET_TTL_S).ignore();
        beat.cmd("ZCARD").arg(GATEWAYS);
        let (live,): (i64,) = self.pipeline(&beat).await?;
        Ok(live)
    }

    /// A gateway leaves.
    ///
    /// # Errors
    /// As `call`.
    pub async fn gateway_leave(&self, gateway: &str) -> Result<(), RedisUnavailable> {
        self.command(cmd("ZREM").arg(GATEWAYS).arg(gateway)).await
    }
}

/// The number of live gateways as last heard. Clones share it.
#[derive(Debug, Clone)]
pub struct Presence {
    live: Arc<AtomicI64>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { live: Arc::new(AtomicI64::new(1)) }
    }
}

impl Presence {
    /// Gateways alive when Redis last told, at least 1.
    pub fn live(&self) -> i64 {
        self.live.load(Ordering::Relaxed).max(1)
    }

    /// Sends a heartbeat each second until `stop`, then leaves. `gateway` is unique to this process.
    pub async fn run(self, redis: RedisClient, clock: SharedClock, gateway: String, stop: CancellationToken) {
        let mut tick = tokio::time::interval(BEAT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            // Without Redis the last known number stands.
            if let Ok(live) = redis.gateway_beat(&gateway, clock.now_ms()).await {
                self.live.store(live, Ordering::Relaxed);
                metrics::gauge!("event_live_gateways").set(live as f64);
            }
        }
        // If Redis is gone, silence says the same within 5 s.
        drop(redis.gateway_leave(&gateway).await);
    }
}
