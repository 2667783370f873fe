//! Totals of rewards, mirrored for staff. Never for the public: they make the next reward predictable.

use std::collections::BTreeMap;

use deadpool_redis::redis::cmd;
use shared_domain::EventId;

use super::{RedisClient, RedisUnavailable};

fn keys(event: EventId) -> [String; 2] {
    [format!("event:reward:count:{event}"), format!("event:reward:sum:{event}")]
}

impl RedisClient {
    /// Puts the mirrored totals (rewards, points) at these values; writes those that differ and gives their number.
    ///
    /// # Errors
    /// As `call`.
    pub async fn mirror_reward_totals(
        &self,
        totals: &BTreeMap<EventId, (i64, i64)>,
    ) -> Result<usize, RedisUnavailable> {
        let names: Vec<String> = totals.keys().flat_map(|event| keys(*event)).collect();
        let wanted = totals.values().flat_map(|(count, sum)| [*count, *sum]);
        let there = self.mget_i64(&names).await?;
        let differ: Vec<(&String, i64)> = names
            .iter()
            .zip(wanted)
            .zip(there)
            .filter(|((_, wanted), there)| *there != Some(*wanted))
            .map(|(pair, _)| pair)
            .collect();
        if differ.is_empty() {
            return Ok(0);
        }
        let mut write = cmd("MSET");
        for (name, value) in &differ {
            write.arg(name).arg(value);
        }
        self.command::<()>(&write).await?;
        Ok(differ.len())
    }
}
