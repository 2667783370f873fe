//! What a stretch of the log holds, read before it is decided again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use shared_domain::EventId;
use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, decode};

use crate::config::StartError;
use crate::log::{KafkaArgs, scan};
use crate::store::Store;

/// Stock that a record of the stretch adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Command, 16 bytes.
    pub command_id: Vec<u8>,
    /// Event.
    pub event_id: EventId,
    /// Offset of the record.
    pub offset: i64,
    /// Option, by index.
    pub option: u32,
    /// Prizes.
    pub add: i64,
}

/// One lane's stretch.
#[derive(Debug, Clone, Default)]
pub struct LanePlan {
    /// Events with a record in it.
    pub touched: HashSet<EventId>,
    /// Events that it schedules: of these nothing lies before it.
    pub scheduled: HashSet<EventId>,
    /// Stock that it adds.
    pub additions: Vec<Addition>,
    /// Words on parked records: command, offset given up.
    pub rejected: Vec<(Vec<u8>, i64)>,
}

enum Found {
    Touched(EventId),
    Scheduled(EventId),
    Addition(Addition),
    Rejected(EventId, Vec<u8>, i64),
}

/// Reads the stretches once.
pub async fn read(
    kafka: &KafkaArgs,
    stretches: &BTreeMap<Lane, Range<i64>>,
) -> Result<BTreeMap<Lane, LanePlan>, StartError> {
    let mut last: HashMap<Lane, EventId> = HashMap::new();
    let found = scan(kafka, stretches.clone(), move |lane, offset, payload| {
        let (event_id, kind) = decode(payload).ok()?;
        let found = match kind {
            Kind::Scheduled(_) => Found::Scheduled(event_id),
            Kind::StockAdded(c) => Found::Addition(Addition {
                command_id: c.command_id,
                event_id,
                offset,
                option: c.option,
                add: c.add,
            }),
            Kind::Rejected(c) => Found::Rejected(event_id, c.command_id, c.offset),
            // Most records stand behind one of the same event.
            _ if last.get(lane) == Some(&event_id) => return None,
            _ => Found::Touched(event_id),
        };
        last.insert(lane.clone(), event_id);
        Some(found)
    });
    let mut plans: BTreeMap<Lane, LanePlan> =
        stretches.keys().map(|lane| (lane.clone(), LanePlan::default())).collect();
    for (lane, found) in found.await? {
        let Some(plan) = plans.get_mut(&lane) else { continue };
        let event = match found {
            Found::Touched(event) => event,
            Found::Scheduled(event) => {
                plan.scheduled.insert(event);
                event
            }
            Found::Addition(addition) => {
                let event = addition.event_id;
                plan.additions.push(addition);
                event
            }
            Found::Rejected(event, command_id, offset) => {
                plan.rejected.push((command_id, offset));
                event
            }
        };
        plan.touched.insert(event);
    }
    Ok(plans)
}

/// Of each lane, the offsets whose giving up took effect in `live`: whether a record was parked at that moment is not in the
/// log.
pub async fn given_up(
    plans: &BTreeMap<Lane, LanePlan>,
    live: &Store,
) -> Result<HashMap<Lane, Arc<HashSet<i64>>>, StartError> {
    let ids: Vec<Vec<u8>> =
        plans.values().flat_map(|plan| &plan.rejected).map(|(command_id, _)| command_id.clone()).collect();
    let in_effect = live.commands_in_effect(&ids).await;
    let in_effect: HashSet<(Vec<u8>, i32)> =
        in_effect.map_err(|error| StartError::unreachable("DATABASE_URL", error))?.into_iter().collect();
    let mut given_up = HashMap::new();
    for (lane, plan) in plans {
        let offsets: HashSet<i64> = plan
            .rejected
            .iter()
            .filter(|(command_id, _)| in_effect.contains(&(command_id.clone(), lane.partition)))
            .map(|(_, offset)| *offset)
            .collect();
        if !offsets.is_empty() {
            given_up.insert(lane.clone(), Arc::new(offsets));
        }
    }
    Ok(given_up)
}
