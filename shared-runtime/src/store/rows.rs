//! Rows as the database has them, shared by both backends. Here those of the lanes, which workers write.

mod commands;
mod draw;
mod events;
mod mission;
mod privacy;
mod watched;

use diesel::prelude::{AsChangeset, Insertable, Queryable, QueryableByName, Selectable};
use shared_domain::{Approval, DecidedEntry, EntryId, EventId, EventPeriod, LaneState};

use super::error_class::StoreError;
use super::schema::{event_entry, event_lane, event_stock, parked_record, partition_progress};

pub use commands::{ApprovalRow, AuditLine, CommandAppliedRow, CommandStatus, KeptAnswer, OutboxRow};
pub use draw::{DisqualifiedRow, DrawResultRow, DrawRow, EntryIdColumn};
pub use events::{EventRow, LiveLimits, NewEvent};
pub use mission::{EarnedRow, MemberMissionRow, MissionMarkRow, MissionOutboxRow, MissionRow, MissionTotal};
pub use privacy::{ContactErasureRow, ContactRow, ErasureRow, EventKeyRow, Subject};
pub use watched::{SnapshotRows, WatchedLane};

/// `event_lane`: one event in one lane.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = event_lane, treat_none_as_default_value = false, treat_none_as_null = true)]
pub struct LaneRow {
    /// Event.
    pub event_id: i64,
    /// Partition of the event's topic.
    pub lane: i32,
    /// False for a placeholder of an event that parked before it was scheduled.
    pub is_scheduled: bool,
    /// See [`LaneState`].
    pub seq: i64,
    /// See [`LaneState`].
    pub wins: i64,
    /// See [`LaneState`].
    pub losses: i64,
    /// See [`LaneState`].
    pub rejections: i64,
    /// See [`LaneState`].
    pub paid: i64,
    /// See [`LaneState`].
    pub block_paid: i64,
    /// See [`LaneState`].
    pub digest: Vec<u8>,
    /// Approval in force.
    pub review_number: Option<String>,
    /// Approval in force.
    pub approved_from: Option<i64>,
    /// Approval in force.
    pub approved_until: Option<i64>,
    /// Offset of `Closed`.
    pub closed_offset: Option<i64>,
    /// Offset of `Deleted`.
    pub deleted_offset: Option<i64>,
    /// Offset that took the last prize.
    pub exhausted_offset: Option<i64>,
    /// Log that this offset belongs to.
    pub exhausted_log_id: Option<String>,
    /// First parked offset, while the event is parked in this lane.
    pub parked_offset: Option<i64>,
    /// Since when, in ms.
    pub parked_since: Option<i64>,
    /// Why.
    pub parked_reason: Option<String>,
    /// An operator asked to decide the parked records.
    pub unpark_requested: bool,
}

impl LaneRow {
    /// A row for a state.
    pub fn new(event_id: i64, lane: i32, state: &LaneState, log_id: &str) -> Self {
        let mut row = Self {
            event_id,
            lane,
            is_scheduled: true,
            seq: 0,
            wins: 0,
            losses: 0,
            rejections: 0,
            paid: 0,
            block_paid: 0,
            digest: Vec::new(),
            review_number: None,
            approved_from: None,
            approved_until: None,
            closed_offset: None,
            deleted_offset: None,
            exhausted_offset: None,
            exhausted_log_id: None,
            parked_offset: None,
            parked_since: None,
            parked_reason: None,
            unpark_requested: false,
        };
        row.set_state(state, log_id);
        row
    }

    /// Writes a state into the row; parking is kept.
    pub fn set_state(&mut self, state: &LaneState, log_id: &str) {
        self.is_scheduled = true;
        self.seq = state.seq;
        self.wins = state.wins;
        self.losses = state.losses;
        self.rejections = state.rejections;
        self.paid = state.paid;
        self.block_paid = state.block_paid;
        self.digest = state.digest.to_vec();
        self.review_number = state.approval.as_ref().map(|a| a.review_number().to_owned());
        self.approved_from = state.approval.as_ref().map(|a| a.period().starts_at());
        self.approved_until = state.approval.as_ref().map(|a| a.period().ends_at());
        self.closed_offset = state.closed_at;
        self.deleted_offset = state.deleted_at;
        if self.exhausted_offset != state.exhausted_at {
            self.exhausted_log_id = state.exhausted_at.map(|_| log_id.to_owned());
        }
        self.exhausted_offset = state.exhausted_at;
    }

    /// The state in the row.
    pub fn state(&self) -> Result<LaneState, StoreError> {
        let bad =
            |what: &str| StoreError::fatal(format!("event_lane {}/{}: bad {what}", self.event_id, self.lane));
        let approval = match (&self.review_number, self.approved_from, self.approved_until) {
            (Some(number), Some(from), Some(until)) => {
                let period = EventPeriod::new(from, until).map_err(|_| bad("approval"))?;
                Some(Approval::new(number, period).map_err(|_| bad("review number"))?)
            }
            _ => None,
        };
        Ok(LaneState {
            seq: self.seq,
            wins: self.wins,
            losses: self.losses,
            rejections: self.rejections,
            paid: self.paid,
            block_paid: self.block_paid,
            digest: self.digest.as_slice().try_into().map_err(|_| bad("digest"))?,
            approval,
            closed_at: self.closed_offset,
            deleted_at: self.deleted_offset,
            exhausted_at: self.exhausted_offset,
        })
    }

    /// Whether the event is parked in this lane.
    pub fn is_parked(&self) -> bool {
        self.parked_offset.is_some()
    }
}

/// `event_stock`: one option.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = event_stock)]
pub struct StockRow {
    /// Event.
    pub event_id: i64,
    /// Lane that owns it.
    pub lane: i32,
    /// Index of the option.
    pub option_index: i16,
    /// Name, for people.
    pub option_name: String,
    /// Granted so far.
    pub granted: i64,
    /// Left.
    pub stock_count: i64,
}

/// `event_entry`: one decided entry.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = event_entry, treat_none_as_default_value = false)]
pub struct EntryRow {
    /// Event.
    pub event_id: i64,
    /// Lane.
    pub lane: i32,
    /// Place in the lane.
    pub seq: i64,
    /// Entry id, 16 bytes.
    pub entry_id: Vec<u8>,
    /// Member.
    pub member_id: i64,
    /// Code of `EntryStatus`.
    pub status: i16,
    /// Code of `Reason`.
    pub reason: Option<i16>,
    /// Option won.
    pub option_index: Option<i16>,
    /// Points won.
    pub reward_amount: i64,
    /// Number among the winners.
    pub entry_rank: Option<i64>,
    /// Offset of the record.
    pub log_offset: i64,
    /// Gateway clock, ms.
    pub accepted_at: i64,
    /// Worker clock, ms; not part of the digest.
    pub decided_at: i64,
    /// Bits of the missions that added chances.
    pub missions: i64,
}

impl EntryRow {
    /// A row for a decision.
    pub fn new(entry: &DecidedEntry, lane: i32, decided_at: i64) -> Self {
        Self {
            event_id: entry.event_id,
            lane,
            seq: entry.seq,
            entry_id: entry.entry_id.as_bytes().to_vec(),
            member_id: entry.member_id,
            status: i16::from(entry.status.code()),
            reason: entry.reason.map(|r| i16::from(r.code())),
            option_index: entry.option.map(|o| o as i16),
            reward_amount: entry.amount,
            entry_rank: entry.rank,
            log_offset: entry.offset,
            accepted_at: entry.accepted_at,
            decided_at,
            missions: entry.missions,
        }
    }

    /// The entry's id.
    pub fn id(&self) -> Result<EntryId, StoreError> {
        EntryId::from_slice(&self.entry_id).ok_or_else(|| StoreError::fatal("event_entry: bad entry id"))
    }
}

/// `partition_progress`: the offset authority of one lane of one log.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = partition_progress, treat_none_as_default_value = false)]
pub struct ProgressRow {
    /// Identity of the log.
    pub log_id: String,
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition_id: i32,
    /// Offset of the next record to apply.
    pub next_offset: i64,
    /// SHA-256 of the bytes of the record before it.
    pub last_hash: Option<Vec<u8>>,
    /// ms.
    pub updated_at: i64,
}

/// `parked_record`: a record that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = parked_record)]
pub struct ParkedRow {
    /// Event.
    pub event_id: i64,
    /// Lane.
    pub lane: i32,
    /// Offset of the record.
    pub log_offset: i64,
    /// The record's bytes.
    pub record: Vec<u8>,
    /// Why it is here.
    pub reason: String,
    /// ms.
    pub parked_at: i64,
    /// An operator gave it up: it will end as REJECTED(UNDECIDABLE).
    pub given_up: bool,
}

/// One parked event in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Event.
    pub event_id: EventId,
    /// Lane.
    pub lane: i32,
    /// Topic; unknown for an event that parked before it was scheduled.
    pub topic: Option<String>,
    /// First parked offset.
    pub first_offset: i64,
    /// How many records wait.
    pub records: i64,
    /// Why.
    pub reason: String,
    /// Since when, ms.
    pub since: i64,
    /// Whether an operator asked to decide them.
    pub unpark_requested: bool,
}
