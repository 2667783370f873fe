//! Limits and flags that staff change live, as Redis keeps them.

use std::collections::HashMap;

use super::{RedisClient, RedisUnavailable, Unlike};

/// What Redis says about one event; `None`: the default holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LivePolicy {
    /// Entries per second over all gateways; 0 admits nobody.
    pub limit: Option<i64>,
    /// The same for raffles.
    pub raffle_limit: Option<i64>,
    /// Raffles: 202 as soon as the log has the entry.
    pub high_traffic: Option<bool>,
}

fn keys(event_id: i64) -> [String; 3] {
    [
        format!("event:limit:{event_id}"),
        format!("event:limit:raffle:{event_id}"),
        format!("event:policy:high-traffic:{event_id}"),
    ]
}

fn limit(text: &str) -> Option<i64> {
    text.parse().ok().filter(|limit| *limit >= 0)
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "on" => Some(true),
        "0" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// The value, unless it is rubbish: that is counted and taken as not set.
fn parsed<T>(value: Option<&Vec<u8>>, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let parsed = parse(std::str::from_utf8(value?).unwrap_or_default().trim());
    if parsed.is_none() {
        metrics::counter!("event_live_policy_ignored_total").increment(1);
    }
    parsed
}

impl RedisClient {
    /// The live policies of these events, by one MGET. Every event asked for is in the answer.
    ///
    /// # Errors
    /// As `call`; the caller goes on with what it knew.
    pub async fn read_live_policies(
        &self,
        ids: &[i64],
    ) -> Result<HashMap<i64, LivePolicy>, RedisUnavailable> {
        let names: Vec<String> = ids.iter().flat_map(|id| keys(*id)).collect();
        let values = self.mget(&names).await?;
        let policies = ids.iter().zip(values.chunks_exact(3)).map(|(id, values)| {
            let policy = LivePolicy {
                limit: parsed(values[0].as_ref(), limit),
                raffle_limit: parsed(values[1].as_ref(), limit),
                high_traffic: parsed(values[2].as_ref(), flag),
            };
            (*id, policy)
        });
        Ok(policies.collect())
    }

    /// Where the live policies of these events are not these.
    ///
    /// # Errors
    /// As `call`.
    pub async fn live_policies_unlike(
        &self,
        wanted: &[(i64, LivePolicy)],
    ) -> Result<Vec<Unlike>, RedisUnavailable> {
        let ids: Vec<i64> = wanted.iter().map(|(event, _)| *event).collect();
        let there = self.read_live_policies(&ids).await?;
        let values =
            |policy: LivePolicy| [policy.limit, policy.raffle_limit, policy.high_traffic.map(i64::from)];
        let unlike =
            wanted.iter().flat_map(|(event, policy)| {
                let found = values(there.get(event).copied().unwrap_or_default());
                let all = keys(*event).into_iter().zip(found).zip(values(*policy));
                all.filter(|((_, found), expected)| found != expected)
                    .map(|((key, found), expected)| Unlike { event_id: *event, key, found, expected })
            });
        Ok(unlike.collect())
    }

    /// Sets an event's entries per second; `None` goes back to the default.
    ///
    /// # Errors
    /// As `call`.
    pub async fn write_limit(&self, event_id: i64, limit: Option<i64>) -> Result<(), RedisUnavailable> {
        let [key, _, _] = keys(event_id);
        self.write(&key, limit).await
    }

    /// Sets a raffle's entries per second; `None` goes back to the default.
    ///
    /// # Errors
    /// As `call`.
    pub async fn write_raffle_limit(
        &self,
        event_id: i64,
        limit: Option<i64>,
    ) -> Result<(), RedisUnavailable> {
        let [_, key, _] = keys(event_id);
        self.write(&key, limit).await
    }

    /// Sets or clears a raffle's high-traffic flag; `None` goes back to the default.
    ///
    /// # Errors
    /// As `call`.
    pub async fn write_high_traffic(
        &self,
        event_id: i64,
        enabled: Option<bool>,
    ) -> Result<(), RedisUnavailable> {
        let [_, _, key] = keys(event_id);
        self.write(&key, enabled.map(i64::from)).await
    }

    async fn write(&self, key: &str, value: Option<i64>) -> Result<(), RedisUnavailable> {
        match value {
            Some(value) => self.set(key, &value.to_string()).await,
            None => self.del(key).await.map(|_| ()),
        }
    }
}
