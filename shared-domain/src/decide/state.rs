//! What a decision starts from: records, the state of their events, and what the database knows of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared_proto::v1::log_record::Kind;

use crate::{Approval, DIGEST_START, Digest, EntryId, EventDefinition, EventId, MemberId, Stock};

/// One record as the fold sees it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Offset in the lane.
    pub offset: i64,
    /// Event it belongs to.
    pub event_id: EventId,
    /// What it says.
    pub kind: Kind,
}

/// Counters and state of one event in one lane, at a position of that lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneState {
    /// Entries with a row; the next one gets `seq + 1`.
    pub seq: i64,
    /// Winners.
    pub wins: i64,
    /// Entries that lost.
    pub losses: i64,
    /// Entries that may not count.
    pub rejections: i64,
    /// Points granted.
    pub paid: i64,
    /// Digest chain over the rows.
    pub digest: Digest,
    /// Approval in force at this position.
    pub approval: Option<Approval>,
    /// Offset of the `Closed` record.
    pub closed_at: Option<i64>,
    /// Offset of the `Deleted` record.
    pub deleted_at: Option<i64>,
    /// Offset of the record that took the last prize of all options; gone when stock is added.
    pub exhausted_at: Option<i64>,
}

impl LaneState {
    /// The state right behind a `Scheduled` record.
    pub fn new(approval: Option<Approval>) -> Self {
        Self {
            seq: 0,
            wins: 0,
            losses: 0,
            rejections: 0,
            paid: 0,
            digest: DIGEST_START,
            approval,
            closed_at: None,
            deleted_at: None,
            exhausted_at: None,
        }
    }
}

/// One event as one lane knows it.
#[derive(Debug, Clone)]
pub struct EventInLane {
    /// The definition, shared.
    pub definition: Arc<EventDefinition>,
    /// Counters.
    pub lane: LaneState,
    /// Stock of each option, by its index in the event.
    pub stock: Vec<Stock>,
}

/// What the database already knows of the records in a batch.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Entries that have a row.
    pub entries: HashSet<(EventId, EntryId)>,
    /// Commands that were applied in this lane.
    pub commands: HashSet<[u8; 16]>,
    /// Entries that count, a member, for events that limit them.
    pub member_entries: HashMap<(EventId, MemberId), u32>,
    /// Offsets that an operator gave up.
    pub rejected_offsets: HashSet<i64>,
}
