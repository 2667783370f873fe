//! Deciding a log again: how far, and what an operator gave up on the way (DESIGN section 5, "Poison").

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, decode};

use crate::config::StartError;
use crate::log::{KafkaArgs, scan};
use crate::store::Store;

/// What a replay knows before it begins.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Each lane is read up to here, and lanes that are not named not at all.
    pub until: HashMap<Lane, i64>,
    /// Offsets of the records that were given up: a replay meets them before the word that gave them up.
    pub given_up: HashMap<Lane, Arc<HashSet<i64>>>,
}

impl Replay {
    /// Reads the log once for `Rejected` records, and keeps those that took effect in `live`: whether a record was
    /// parked at that moment is not in the log. Errors: the log or the database does not answer.
    pub async fn prepare(
        kafka: &KafkaArgs,
        live: &Store,
        until: BTreeMap<Lane, i64>,
    ) -> Result<Self, StartError> {
        let found = scan(kafka, until.clone(), |payload| match decode(payload) {
            Ok((_, Kind::Rejected(rejected))) => Some(rejected),
            _ => None,
        });
        let found = found.await?;
        let ids: Vec<Vec<u8>> = found.iter().map(|(_, rejected)| rejected.command_id.clone()).collect();
        let applied: HashSet<(Vec<u8>, i32)> = live
            .commands_in_effect(&ids)
            .await
            .map_err(|error| StartError::unreachable("DATABASE_URL", error))?
            .into_iter()
            .collect();
        let mut given_up: HashMap<Lane, HashSet<i64>> = HashMap::new();
        for (lane, rejected) in found {
            if applied.contains(&(rejected.command_id, lane.partition)) {
                given_up.entry(lane).or_default().insert(rejected.offset);
            }
        }
        let given_up = given_up.into_iter().map(|(lane, offsets)| (lane, Arc::new(offsets))).collect();
        Ok(Self { until: until.into_iter().collect(), given_up })
    }
}
