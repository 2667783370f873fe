//! Totals of rewards, mirrored for staff. Never for the public: they make the next reward predictable.

use std::collections::BTreeMap;

use deadpool_redis::redis::cmd;
use shared_domain::EventId;

use super::{RedisClient, RedisUnavailable, Unlike};

fn keys(event: EventId) -> [String; 2] {
    [format!("event:reward:count:{event}"), format!("event:reward:sum:{event}")]
}

impl RedisClient {
    /// Mirrored totals (rewards, points) that are not these values.
    ///
    /// # Errors
    /// As `call`.
    pub async fn reward_totals_unlike(
        &self,
        totals: &BTreeMap<EventId, (i64, i64)>,
    ) -> Result<Vec<Unlike>, RedisUnavailable> {
        let names: Vec<String> = totals.keys().flat_map(|event| keys(*event)).collect();
        let wanted = totals.iter().flat_map(|(event, (count, sum))| [(*event, *count), (*event, *sum)]);
        let there = self.mget_i64(&names).await?;
        let unlike = |((key, (event_id, wanted)), found): ((String, (EventId, i64)), Option<i64>)| {
            (found != Some(wanted)).then_some(Unlike { event_id, key, found, expected: Some(wanted) })
        };
        Ok(names.into_iter().zip(wanted).zip(there).filter_map(unlike).collect())
    }

    /// Puts the mirrored totals (rewards, points) at these values; writes those that differ and gives their number.
    ///
    /// # Errors
    /// As `call`.
    pub async fn mirror_reward_totals(
        &self,
        totals: &BTreeMap<EventId, (i64, i64)>,
    ) -> Result<usize, RedisUnavailable> {
        let differ = self.reward_totals_unlike(totals).await?;
        if differ.is_empty() {
            return Ok(0);
        }
        let mut write = cmd("MSET");
        for unlike in &differ {
            write.arg(&unlike.key).arg(unlike.expected);
        }
        self.command::<()>(&write).await?;
        Ok(differ.len())
    }
}
