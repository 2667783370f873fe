//! The live limits in Redis, where gateways look first. A change is written there at once (`change.rs`); what that
//! missed, because Redis was away, lost its data or was written by hand, is put right here: the database is the truth.

use std::time::Duration;

use shared_runtime::redis::{LivePolicy, RedisClient, RedisUnavailable};
use shared_runtime::store::Store;
use shared_runtime::store::error_class::StoreError;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(5);
/// Events asked for at once: three keys each.
const BLOCK: usize = 300;

/// What kept the mirror from being put right. The next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisUnavailable),
}

/// Keeps Redis at what the database says.
pub struct Mirror {
    store: Store,
    redis: RedisClient,
}

impl Mirror {
    /// A mirror of this database.
    pub fn new(store: Store, redis: RedisClient) -> Self {
        Self { store, redis }
    }

    /// Works until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.put_right().await {
                Ok(0) => {}
                Ok(values) => tracing::info!(values, "live limits in Redis put right"),
                Err(error) => tracing::debug!(%error, "the live limits in Redis could not be compared"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Compares every event that is not over, and writes what differs. Gives the number of values written.
    pub async fn put_right(&self) -> Result<usize, MirrorError> {
        let mut written = 0;
        for events in self.store.live_limits().await?.chunks(BLOCK) {
            let ids: Vec<i64> = events.iter().map(|limits| limits.event_id).collect();
            let mirrored = self.redis.read_live_policies(&ids).await?;
            for event in events {
                let id = event.event_id;
                let there = mirrored.get(&id).copied().unwrap_or_default();
                let truth = LivePolicy {
                    limit: event.limit_per_second,
                    raffle_limit: event.raffle_limit_per_second,
                    high_traffic: event.high_traffic,
                };
                if there.limit != truth.limit {
                    self.redis.write_limit(id, truth.limit).await?;
                    written += 1;
                }
                if there.raffle_limit != truth.raffle_limit {
                    self.redis.write_raffle_limit(id, truth.raffle_limit).await?;
                    written += 1;
                }
                if there.high_traffic != truth.high_traffic {
                    self.redis.write_high_traffic(id, truth.high_traffic).await?;
                    written += 1;
                }
            }
        }
        Ok(written)
    }
}
