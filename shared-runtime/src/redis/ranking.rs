//! The ranking of events: a sorted set of the entries that each has accepted.

use std::collections::BTreeMap;

use deadpool_redis::redis::{cmd, pipe};
use shared_domain::EventId;

use super::{RedisClient, RedisUnavailable, Unlike};

const RANKING: &str = "event:ranking";
/// Members in one command.
const BLOCK: usize = 1_000;

impl RedisClient {
    /// Where the ranking is not these totals; what is not among them expects nothing.
    ///
    /// # Errors
    /// As `call`.
    pub async fn ranking_unlike(
        &self,
        totals: &BTreeMap<EventId, i64>,
    ) -> Result<Vec<Unlike>, RedisUnavailable> {
        let all: Vec<(String, f64)> =
            self.command(cmd("ZRANGE").arg(RANKING).arg(0).arg(-1).arg("WITHSCORES")).await?;
        let mut there: BTreeMap<String, f64> = all.into_iter().collect();
        let unlike = |event_id, member: &str, found: Option<f64>, expected| Unlike {
            event_id,
            key: format!("{RANKING} {member}"),
            found: found.map(|score| score as i64),
            expected,
        };
        let mut differ = Vec::new();
        for (event, total) in totals {
            let member = event.to_string();
            let found = there.remove(&member);
            if found != Some(*total as f64) {
                differ.push(unlike(*event, &member, found, Some(*total)));
            }
        }
        differ.extend(there.iter().map(|(member, score)| {
            // What somebody else wrote there is no event's.
            unlike(member.parse().unwrap_or_default(), member, Some(*score), None)
        }));
        Ok(differ)
    }

    /// Puts the ranking at these totals, absolute ones: writes those that differ, takes out what is not among them. Gives
    /// the number of both. Nobody sees half of it; done twice, or by two at once, it is as done once.
    ///
    /// # Errors
    /// As `call`.
    pub async fn mirror_ranking(&self, totals: &BTreeMap<EventId, i64>) -> Result<usize, RedisUnavailable> {
        let unlike = self.ranking_unlike(totals).await?;
        if unlike.is_empty() {
            return Ok(0);
        }
        let member = |unlike: &Unlike| unlike.key[RANKING.len() + 1..].to_owned();
        let differ: Vec<(i64, String)> =
            unlike.iter().filter_map(|u| Some((u.expected?, member(u)))).collect();
        let strangers: Vec<String> = unlike.iter().filter(|u| u.expected.is_none()).map(member).collect();
        let mut write = pipe();
        write.atomic();
        for block in differ.chunks(BLOCK) {
            write.cmd("ZADD").arg(RANKING).arg(block).ignore();
        }
        for block in strangers.chunks(BLOCK) {
            write.cmd("ZREM").arg(RANKING).arg(block).ignore();
        }
        self.pipeline::<()>(&write).await?;
        Ok(unlike.len())
    }

    /// The first of the ranking, highest total first.
    ///
    /// # Errors
    /// As `call`.
    pub async fn ranking(&self, most: usize) -> Result<Vec<(EventId, i64)>, RedisUnavailable> {
        let last = i64::try_from(most).unwrap_or(i64::MAX) - 1;
        let first: Vec<(String, f64)> =
            self.command(cmd("ZREVRANGE").arg(RANKING).arg(0).arg(last).arg("WITHSCORES")).await?;
        // What somebody else wrote there is none of ours.
        Ok(first.into_iter().filter_map(|(event, total)| Some((event.parse().ok()?, total as i64))).collect())
    }
}
