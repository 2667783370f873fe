//! Rewards paid, mirrored to Redis for staff: absolute values, so that a Redis that comes back empty is right again with
//! the next look.

use std::collections::BTreeMap;
use std::time::Duration;

use shared_domain::EventId;
use shared_runtime::clock::SharedClock;
use shared_runtime::redis::{RedisClient, Unlike};
use shared_runtime::store::Store;
use tokio_util::sync::CancellationToken;

use crate::MirrorError;

const EVERY: Duration = Duration::from_secs(1);
/// An event that has ended is looked at for so long after: a raffle pays when it is drawn.
pub(crate) const KEPT_MS: i64 = 31 * 24 * 3_600 * 1_000;
/// Events looked at in one request to Redis.
const BLOCK: usize = 500;

/// The mirror.
pub struct RewardTotals {
    store: Store,
    redis: RedisClient,
    clock: SharedClock,
}

impl RewardTotals {
    /// Of a database.
    pub fn new(store: Store, redis: RedisClient, clock: SharedClock) -> Self {
        Self { store, redis, clock }
    }

    /// Looks once a second until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.put_right().await {
                tracing::debug!(%error, "the reward totals in Redis could not be compared");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Values in Redis that are not what the database says.
    pub async fn unlike(&self) -> Result<Vec<Unlike>, MirrorError> {
        let mut unlike = Vec::new();
        for totals in self.blocks().await? {
            unlike.extend(self.redis.reward_totals_unlike(&totals).await?);
        }
        Ok(unlike)
    }

    /// Writes what differs. Gives the number of values written.
    pub async fn put_right(&self) -> Result<usize, MirrorError> {
        let mut written = 0;
        for totals in self.blocks().await? {
            written += self.redis.mirror_reward_totals(&totals).await?;
        }
        Ok(written)
    }

    /// Rewards and points of each event, as the database says.
    async fn blocks(&self) -> Result<Vec<BTreeMap<EventId, (i64, i64)>>, MirrorError> {
        let mut totals = self.store.reward_totals(self.clock.now_ms() - KEPT_MS).await?;
        let mut blocks = Vec::new();
        while !totals.is_empty() {
            let rest = match totals.keys().nth(BLOCK).copied() {
                Some(first) => totals.split_off(&first),
                None => BTreeMap::new(),
            };
            blocks.push(std::mem::replace(&mut totals, rest));
        }
        Ok(blocks)
    }
}
