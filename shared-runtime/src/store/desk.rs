//! What staff look up. Lists go by key, never by offset: the next block costs what the first did.

use diesel::prelude::{Queryable, Selectable};
use shared_domain::{EventId, EventType, MemberId, Millis};

use super::error_class::StoreError;
use super::rows::{ApprovalRow, AuditLine, EntryRow, EventRow, LaneRow, StockRow};
use super::schema::event_entry;
use super::{Store, on_connection};

/// Which events; `None` takes all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Drafts, or all others.
    pub draft: Option<bool>,
    /// Of this type.
    pub event_type: Option<EventType>,
    /// Deleted ones, or all others.
    pub deleted: Option<bool>,
}

/// Which audit lines; `None` takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this event.
    pub event: Option<EventId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// At this moment or later, ms.
    pub from: Option<Millis>,
    /// Before this moment, ms.
    pub until: Option<Millis>,
}

/// A place in an event: behind it the next block of a list begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Lane.
    pub lane: i32,
    /// Place in the lane.
    pub seq: i64,
}

/// One winner, as exports need it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = event_entry)]
pub struct WinnerRow {
    /// Lane.
    pub lane: i32,
    /// Place in the lane.
    pub seq: i64,
    /// Entry id, 16 bytes.
    pub entry_id: Vec<u8>,
    /// Member.
    pub member_id: i64,
    /// Option won.
    pub option_index: Option<i16>,
    /// Points won.
    pub reward_amount: i64,
    /// Number among the winners, where there is one.
    pub entry_rank: Option<i64>,
    /// ms.
    pub decided_at: i64,
}

/// One entry of a member, with what explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEntry {
    /// The row.
    pub entry: EntryRow,
    /// Title of its event.
    pub title: String,
    /// The event's `Scheduled` record, with its first approval.
    pub scheduled: Option<Vec<u8>>,
    /// The approval that judged the entry, where it had changed since.
    pub approval: Option<ApprovalRow>,
}

/// Counters of some events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatsRows {
    /// Their lanes.
    pub lanes: Vec<LaneRow>,
    /// Their stock, by option.
    pub stock: Vec<StockRow>,
    /// Records that are parked, by event.
    pub parked: Vec<(EventId, i64)>,
    /// Full topic names, by event.
    pub topics: Vec<(EventId, String)>,
    /// Draws that are published.
    pub drawn: Vec<DrawnStats>,
}

/// What a published draw came to: its lanes count the entries as pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawnStats {
    /// Event.
    pub event_id: EventId,
    /// Winners that stand.
    pub won: i64,
    /// Neither won nor disqualified.
    pub lost: i64,
    /// Taken out since.
    pub disqualified: i64,
    /// Points that the winners get.
    pub paid: i64,
}

impl Store {
    /// Events below an id, newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        before: EventId,
        limit: i64,
    ) -> Result<Vec<EventRow>, StoreError> {
        on_connection!(self, |q, conn| q::desk::events(conn, filter, before, limit).await)
    }

    /// Audit lines below an id, newest first, each with its id.
    pub async fn audit_lines(
        &self,
        filter: &AuditFilter,
        before: i64,
        limit: i64,
    ) -> Result<Vec<(i64, AuditLine)>, StoreError> {
        let rows = on_connection!(self, |q, conn| q::desk::audit(conn, filter, before, limit).await)?;
        let line = |(id, at, actor, action, event_id, request_id, outcome, detail)| {
            (id, AuditLine { at, actor, action, event_id, request_id, outcome, detail })
        };
        Ok(rows.into_iter().map(line).collect())
    }

    /// Appends one audit line, for what changes nothing: exports.
    pub async fn audit(&self, line: &AuditLine) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| q::audit::append(conn, line).await)
    }

    /// Winners of one lane behind a place, in order.
    pub async fn winners_behind(
        &self,
        event: EventId,
        after: Place,
        limit: i64,
    ) -> Result<Vec<WinnerRow>, StoreError> {
        on_connection!(self, |q, conn| q::desk::winners(conn, event, after, limit).await)
    }

    /// The event's lanes in order, each with its number of winners.
    pub async fn winning_lanes(&self, event: EventId) -> Result<Vec<(i32, i64)>, StoreError> {
        on_connection!(self, |q, conn| q::desk::winning_lanes(conn, event).await)
    }

    /// Entries of a member, newest event first, below a place.
    pub async fn entries_of_member(
        &self,
        member: MemberId,
        before: Option<(EventId, Place)>,
        limit: i64,
    ) -> Result<Vec<MemberEntry>, StoreError> {
        on_connection!(self, |q, conn| q::desk::of_member(conn, member, before, limit).await)
    }

    /// Counters of these events, in a constant number of queries.
    pub async fn stats_rows(&self, ids: &[EventId]) -> Result<StatsRows, StoreError> {
        on_connection!(self, |q, conn| q::desk::stats(conn, ids).await)
    }

    /// When the entry at an offset of a lane was decided, ms; `last_seq` is the lane's last place.
    pub async fn decided_at_offset(
        &self,
        event: EventId,
        lane: i32,
        offset: i64,
        last_seq: i64,
    ) -> Result<Option<Millis>, StoreError> {
        on_connection!(self, |q, conn| q::desk::decided_at_offset(conn, event, lane, offset, last_seq).await)
    }
}
