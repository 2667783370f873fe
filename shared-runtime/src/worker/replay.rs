//! Deciding a log again: which stretch of it, which events, and what an operator gave up on the way (DESIGN sections 5,
//! "Poison", and 10).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use shared_domain::EventId;
use shared_proto::Lane;

use super::plan::{self, LanePlan};
use crate::config::StartError;
use crate::log::KafkaArgs;
use crate::store::Store;

/// What a replay knows before it begins.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Offsets that are read of each lane; lanes that are not named are not read at all.
    pub stretches: HashMap<Lane, Range<i64>>,
    /// The events that each lane schedules within its stretch, and the offset up to which they are decided: the first that is
    /// parked, else none. Of an event that was scheduled before nothing can be decided, and its records are passed over.
    pub events: HashMap<Lane, Arc<HashMap<EventId, i64>>>,
    /// Offsets of the records that were given up: a replay meets them before the word that gave them up.
    pub given_up: HashMap<Lane, Arc<HashSet<i64>>>,
}

impl Replay {
    /// Reads the stretches once, for the events that they schedule (of these only `one`, if it is named) and for the records
    /// that an operator gave up in `live`. `parked`: the first record that waits there, of events that are parked. Errors:
    /// the log or the database does not answer.
    pub async fn prepare(
        kafka: &KafkaArgs,
        live: &Store,
        stretches: BTreeMap<Lane, Range<i64>>,
        parked: &HashMap<(EventId, i32), i64>,
        one: Option<EventId>,
    ) -> Result<Self, StartError> {
        let plans = plan::read(kafka, &stretches).await?;
        let given_up = plan::given_up(&plans, live).await?;
        let decided = |(lane, plan): (&Lane, &LanePlan)| {
            let wanted = plan.scheduled.iter().filter(|event| one.is_none_or(|one| one == **event));
            let until = |event: EventId| parked.get(&(event, lane.partition)).copied().unwrap_or(i64::MAX);
            (lane.clone(), Arc::new(wanted.map(|event| (*event, until(*event))).collect()))
        };
        let events = plans.iter().map(decided).collect();
        Ok(Self { stretches: stretches.into_iter().collect(), events, given_up })
    }

    /// Whether a lane (by its number) decides an event.
    pub fn decides(&self, event: EventId, partition: i32) -> bool {
        self.events.iter().any(|(lane, events)| lane.partition == partition && events.contains_key(&event))
    }
}
