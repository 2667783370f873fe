//! What a decision changes: rows, commands, stock, and the states behind it.

use std::collections::BTreeMap;

use super::EventInLane;
use crate::{Approval, EntryId, EntryStatus, EventId, MemberId, Millis, Reason};

/// One new row of `event_entry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedEntry {
    /// Event.
    pub event_id: EventId,
    /// Place in the lane, from 1.
    pub seq: i64,
    /// Offset of the record.
    pub offset: i64,
    /// Entry.
    pub entry_id: EntryId,
    /// Member.
    pub member_id: MemberId,
    /// Outcome.
    pub status: EntryStatus,
    /// Why, where it is REJECTED.
    pub reason: Option<Reason>,
    /// Option won, by index.
    pub option: Option<u16>,
    /// Points won.
    pub amount: i64,
    /// Number among the winners, from 1, in one-lane events.
    pub rank: Option<i64>,
    /// When the gateway accepted it.
    pub accepted_at: Millis,
    /// Bits of the missions that added chances to it.
    pub missions: i64,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// It took effect at its position.
    Applied,
    /// It had none; the text is a stable code.
    Refused(&'static str),
}

/// One new row of `command_applied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedCommand {
    /// Command.
    pub command_id: [u8; 16],
    /// Event.
    pub event_id: EventId,
    /// Offset of the record.
    pub offset: i64,
    /// Outcome.
    pub outcome: CommandOutcome,
}

/// What one batch changes.
#[derive(Debug, Clone, Default)]
pub struct Decisions {
    /// New rows, in log order.
    pub entries: Vec<DecidedEntry>,
    /// Commands that were met for the first time.
    pub commands: Vec<DecidedCommand>,
    /// Events that this batch scheduled.
    pub scheduled: Vec<EventId>,
    /// Prizes won, by event and option index.
    pub won: BTreeMap<(EventId, u16), i64>,
    /// Prizes added, by event and option index.
    pub added: BTreeMap<(EventId, u16), i64>,
    /// Approvals that changed, by event and by the first place (`seq`) that they judge.
    pub approvals: BTreeMap<(EventId, i64), Approval>,
    /// Offsets given up by `Rejected` records in this batch: event, offset, command.
    pub given_up: Vec<(EventId, i64, [u8; 16])>,
    /// Mission bits that entries of earlier batches have now, where that changed.
    pub weights: BTreeMap<(EventId, EntryId), i64>,
    /// Records that changed nothing: repeats of an entry, a command or a weight, or a weight that comes too late.
    pub repeats: u64,
}

/// A record that this build cannot decide. Its event parks (DESIGN section 5, "Poison").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {event_id}, offset {offset}: {why}")]
pub struct Undecidable {
    /// Event.
    pub event_id: EventId,
    /// Offset of the record.
    pub offset: i64,
    /// Why.
    pub why: String,
}

/// The events of a lane and what a batch did to them.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    /// States behind the batch.
    pub events: BTreeMap<EventId, EventInLane>,
    /// The changes.
    pub decisions: Decisions,
}
