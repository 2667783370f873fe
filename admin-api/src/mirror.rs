//! Live limits and the high-traffic flag in Redis, where gateways look first.

use std::time::Duration;

use shared_domain::EventId;
use shared_runtime::redis::RedisClient;
use shared_runtime::store::Store;

use crate::Admin;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Admin {
    /// Tells Redis what the database says of an event. While that fails it is tried again in the background: an old
    /// value there would go before the new one in the database.
    pub(crate) async fn mirror(&self, event: EventId) {
        let Some(redis) = self.parts.redis.clone() else { return };
        let store = self.parts.store.clone();
        let Err(error) = write(&store, &redis, event).await else { return };
        tracing::warn!(event_id = event, error, "Redis does not know the new limits yet");
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            while write(&store, &redis, event).await.is_err() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            tracing::info!(event_id = event, "Redis knows the new limits");
        });
    }
}

/// Writes until nobody has changed the event in between, so that of two writers the later truth stays.
async fn write(store: &Store, redis: &RedisClient, event: EventId) -> Result<(), String> {
    loop {
        let Some(row) = store.event(event).await.map_err(|error| error.to_string())? else { return Ok(()) };
        let told = async {
            redis.write_limit(event, row.limit_per_second).await?;
            redis.write_raffle_limit(event, row.raffle_limit_per_second).await?;
            redis.write_high_traffic(event, row.high_traffic).await
        };
        told.await.map_err(|error| error.to_string())?;
        let now = store.event(event).await.map_err(|error| error.to_string())?;
        if now.is_none_or(|now| now.version == row.version) {
            return Ok(());
        }
    }
}
