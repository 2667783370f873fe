//! Deciding a log again: which stretch of it, which events, and what an operator gave up on the way (DESIGN sections 5,
//! "Poison", and 10).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use shared_domain::EventId;
use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, decode};

use crate::config::StartError;
use crate::log::{KafkaArgs, scan};
use crate::store::Store;

/// What a replay knows before it begins.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Offsets that are read of each lane; lanes that are not named are not read at all.
    pub stretches: HashMap<Lane, Range<i64>>,
    /// The events that each lane schedules within its stretch: those are decided. Of an event that was scheduled before,
    /// nothing can be decided, and its records are passed over.
    pub events: HashMap<Lane, Arc<HashSet<EventId>>>,
    /// Offsets of the records that were given up: a replay meets them before the word that gave them up.
    pub given_up: HashMap<Lane, Arc<HashSet<i64>>>,
}

enum Found {
    Scheduled(EventId),
    Rejected { command_id: Vec<u8>, offset: i64 },
}

impl Replay {
    /// Reads the stretches once, for the events that they schedule (of these only `one`, if it is named) and for `Rejected`
    /// records, of which it keeps those that took effect in `live`: whether a record was parked at that moment is not in the
    /// log. Errors: the log or the database does not answer.
    pub async fn prepare(
        kafka: &KafkaArgs,
        live: &Store,
        stretches: BTreeMap<Lane, Range<i64>>,
        one: Option<EventId>,
    ) -> Result<Self, StartError> {
        let found = scan(kafka, stretches.clone(), |payload| match decode(payload) {
            Ok((event, Kind::Scheduled(_))) => Some(Found::Scheduled(event)),
            Ok((_, Kind::Rejected(rejected))) => {
                Some(Found::Rejected { command_id: rejected.command_id, offset: rejected.offset })
            }
            _ => None,
        });
        let (mut events, mut rejected): (HashMap<Lane, HashSet<EventId>>, Vec<_>) = Default::default();
        for (lane, found) in found.await? {
            match found {
                Found::Scheduled(event) if one.is_none_or(|one| one == event) => {
                    events.entry(lane).or_default().insert(event);
                }
                Found::Scheduled(_) => {}
                Found::Rejected { command_id, offset } => rejected.push((lane, command_id, offset)),
            }
        }
        let ids: Vec<Vec<u8>> = rejected.iter().map(|(_, command_id, _)| command_id.clone()).collect();
        let applied: HashSet<(Vec<u8>, i32)> = live
            .commands_in_effect(&ids)
            .await
            .map_err(|error| StartError::unreachable("DATABASE_URL", error))?
            .into_iter()
            .collect();
        let mut given_up: HashMap<Lane, HashSet<i64>> = HashMap::new();
        for (lane, command_id, offset) in rejected {
            if applied.contains(&(command_id, lane.partition)) {
                given_up.entry(lane).or_default().insert(offset);
            }
        }
        let given_up = given_up.into_iter().map(|(lane, offsets)| (lane, Arc::new(offsets))).collect();
        let events = stretches
            .keys()
            .map(|lane| (lane.clone(), Arc::new(events.remove(lane).unwrap_or_default())))
            .collect();
        Ok(Self { stretches: stretches.into_iter().collect(), events, given_up })
    }

    /// Whether a lane (by its number) decides an event.
    pub fn decides(&self, event: EventId, partition: i32) -> bool {
        self.events.iter().any(|(lane, events)| lane.partition == partition && events.contains(&event))
    }
}
