//! The ranking of events by accepted entries, mirrored to Redis: absolute totals of what is committed, never counted up,
//! so that a Redis that comes back empty is right again with the next look, and several of these do no harm: an older total
//! that one of them wrote last is mended with the next look too.

use std::collections::BTreeMap;
use std::time::Duration;

use shared_domain::EventId;
use shared_runtime::clock::SharedClock;
use shared_runtime::redis::{RedisClient, Unlike};
use shared_runtime::store::Store;
use tokio_util::sync::CancellationToken;

use crate::MirrorError;

const EVERY: Duration = Duration::from_secs(1);
/// An event that has ended stays so long, as it does in the gateways.
const KEPT_MS: i64 = 31 * 24 * 3_600 * 1_000;

/// The mirror.
pub struct Ranking {
    store: Store,
    redis: RedisClient,
    clock: SharedClock,
}

impl Ranking {
    /// Of a database.
    pub fn new(store: Store, redis: RedisClient, clock: SharedClock) -> Self {
        Self { store, redis, clock }
    }

    /// Looks once a second until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.put_right().await {
                tracing::debug!(%error, "the ranking in Redis could not be compared");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Where Redis has not what the database says.
    pub async fn unlike(&self) -> Result<Vec<Unlike>, MirrorError> {
        Ok(self.redis.ranking_unlike(&self.totals().await?).await?)
    }

    /// Writes what differs, and takes out deleted events. Gives the number of events written or taken out.
    pub async fn put_right(&self) -> Result<usize, MirrorError> {
        Ok(self.redis.mirror_ranking(&self.totals().await?).await?)
    }

    /// Accepted entries of each event, as the database says.
    async fn totals(&self) -> Result<BTreeMap<EventId, i64>, MirrorError> {
        let now = self.clock.now_ms();
        let mut totals = self.store.accepted_totals(now - KEPT_MS, now).await?;
        // Nobody's favourite yet.
        totals.retain(|_, total| *total > 0);
        Ok(totals)
    }
}
