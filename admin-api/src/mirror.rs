//! Live limits and the high-traffic flag in Redis, where gateways look first. Each change is told until Redis has it, and
//! all are compared once at the start. A value that somebody writes there by hand stands until one of these.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use shared_domain::EventId;
use shared_runtime::redis::{LivePolicy, RedisClient, RedisUnavailable, Unlike};
use shared_runtime::store::Store;
use shared_runtime::store::error_class::StoreError;
use tokio_util::sync::CancellationToken;

use crate::Admin;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(5);
/// Events asked for at once: three keys each.
const BLOCK: usize = 300;

/// What kept Redis from being told. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis failed.
    #[error(transparent)]
    Redis(#[from] RedisUnavailable),
}

/// Puts Redis at what the database says when the process starts: an earlier one may have died before it had told Redis.
pub struct Mirror {
    store: Store,
    redis: RedisClient,
}

impl Mirror {
    /// A mirror of this database.
    pub fn new(store: Store, redis: RedisClient) -> Self {
        Self { store, redis }
    }

    /// Works until all is right once, or shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.put_right().await {
                Ok(events) => {
                    tracing::info!(events, "live limits in Redis put right");
                    // A task that ends before the process would end the process.
                    return shutdown.cancelled().await;
                }
                Err(error) => tracing::debug!(%error, "the live limits in Redis could not be compared"),
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Where Redis has not what the database says of an event that is not over.
    pub async fn unlike(&self) -> Result<Vec<Unlike>, MirrorError> {
        let mut unlike = Vec::new();
        for events in self.store.live_limits().await?.chunks(BLOCK) {
            let wanted: Vec<(EventId, LivePolicy)> = events
                .iter()
                .map(|event| {
                    let policy = LivePolicy {
                        limit: event.limit_per_second,
                        raffle_limit: event.raffle_limit_per_second,
                        high_traffic: event.high_traffic,
                    };
                    (event.event_id, policy)
                })
                .collect();
            unlike.extend(self.redis.live_policies_unlike(&wanted).await?);
        }
        Ok(unlike)
    }

    /// Compares every event that is not over, and writes what differs. Gives the number of such events.
    pub async fn put_right(&self) -> Result<usize, MirrorError> {
        let events: BTreeSet<EventId> = self.unlike().await?.iter().map(|unlike| unlike.event_id).collect();
        for event in &events {
            write(&self.store, &self.redis, *event).await?;
        }
        Ok(events.len())
    }
}

impl Admin {
    /// Tells Redis what the database says of an event. While that fails it is tried again in the background: an old
    /// value there would go before the new one in the database.
    pub(crate) async fn mirror(&self, event: EventId) {
        let Some(redis) = self.parts.redis.clone() else { return };
        let store = self.parts.store.clone();
        let Err(error) = write(&store, &redis, event).await else { return };
        tracing::warn!(event_id = event, %error, "Redis does not know the new limits yet");
        tokio::spawn(async move {
            let pauses = ExponentialBuilder::default()
                .with_min_delay(FIRST_PAUSE)
                .with_max_delay(LONGEST_PAUSE)
                .without_max_times();
            if (|| write(&store, &redis, event)).retry(pauses).await.is_ok() {
                tracing::info!(event_id = event, "Redis knows the new limits");
            }
        });
    }
}

/// Writes until nobody has changed the event in between, so that of two writers the later truth stays.
async fn write(store: &Store, redis: &RedisClient, event: EventId) -> Result<(), MirrorError> {
    loop {
        let Some(row) = store.event(event).await? else { return Ok(()) };
        redis.write_limit(event, row.limit_per_second).await?;
        redis.write_raffle_limit(event, row.raffle_limit_per_second).await?;
        redis.write_high_traffic(event, row.high_traffic).await?;
        let now = store.event(event).await?;
        if now.is_none_or(|now| now.version == row.version) {
            return Ok(());
        }
    }
}
