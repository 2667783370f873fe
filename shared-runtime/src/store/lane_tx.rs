//! What the batch transaction needs from a database: the seam between the worker and its store.

use std::collections::HashMap;
use std::future::Future;

use shared_domain::{EntryId, EventDefinition, EventId, MemberId, Weighed};
use shared_proto::Lane;

use super::error_class::StoreError;
use super::rows::{
    ApprovalRow, CommandAppliedRow, ContactErasureRow, ContactRow, EntryRow, LaneRow, ParkedRow, StockRow,
};

/// A move of a lane's cursor, as the fence checks it.
#[derive(Debug, Clone)]
pub struct CursorMove<'a> {
    /// Identity of the log.
    pub log_id: &'a str,
    /// Lane.
    pub lane: &'a Lane,
    /// The cursor must stand here.
    pub from: i64,
    /// And moves here.
    pub to: i64,
    /// SHA-256 of the record before `to`; `None` leaves it as it is.
    pub last_hash: Option<[u8; 32]>,
    /// ms.
    pub now: i64,
}

/// Result of inserting entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// All rows are new.
    All,
    /// At least one entry id was there already; nothing was inserted.
    Duplicate,
}

/// One open transaction on one lane. Dropping it without a commit rolls back.
pub trait LaneTx: Send {
    /// The fence: moves the cursor if it stands at `from`. False when it does not.
    fn advance(&mut self, cursor: &CursorMove<'_>) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// `event_lane` rows of these events in this lane.
    fn lane_rows(
        &mut self,
        lane: i32,
        events: &[EventId],
    ) -> impl Future<Output = Result<Vec<LaneRow>, StoreError>> + Send;
    /// `event_stock` rows of these events in this lane, by event and option.
    fn stock_rows(
        &mut self,
        lane: i32,
        events: &[EventId],
    ) -> impl Future<Output = Result<Vec<StockRow>, StoreError>> + Send;
    /// Bytes of the `Scheduled` records of these events.
    fn definitions(
        &mut self,
        events: &[EventId],
    ) -> impl Future<Output = Result<Vec<(EventId, Vec<u8>)>, StoreError>> + Send;
    /// Which of these commands were applied in this lane.
    fn applied_commands(
        &mut self,
        lane: i32,
        commands: &[[u8; 16]],
    ) -> impl Future<Output = Result<Vec<[u8; 16]>, StoreError>> + Send;
    /// Entries that count, a member.
    fn member_entries(
        &mut self,
        event: EventId,
        members: &[MemberId],
    ) -> impl Future<Output = Result<HashMap<MemberId, u32>, StoreError>> + Send;
    /// Which of these entries have a row.
    fn existing_entries(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> impl Future<Output = Result<Vec<EntryId>, StoreError>> + Send;
    /// Which of these entries have a row, and what they weigh: entry, whether the log rejected it, mission bits.
    fn weighed(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> impl Future<Output = Result<Vec<(EntryId, Weighed)>, StoreError>> + Send;
    /// Gives these entries other mission bits.
    fn set_missions(
        &mut self,
        event: EventId,
        missions: i64,
        entries: &[EntryId],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Inserts entries, sorted by unique key; all or none.
    fn insert_entries(
        &mut self,
        rows: Vec<EntryRow>,
    ) -> impl Future<Output = Result<Inserted, StoreError>> + Send;
    /// Makes the event's rows: `events` (unless the command's own transaction made it), lane and stock.
    fn insert_scheduled(
        &mut self,
        event: EventId,
        definition: &EventDefinition,
        record: &[u8],
        row: &LaneRow,
        stock: Vec<StockRow>,
        now: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Adds stock. False when there is no such row.
    fn add_stock(
        &mut self,
        event: EventId,
        lane: i32,
        option: u16,
        add: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// The atomic decrement: takes `won` if that much is left. False when it is not.
    fn take_stock(
        &mut self,
        event: EventId,
        lane: i32,
        option: u16,
        won: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Writes a lane row that stood at `old_seq`. False when it does not.
    fn update_lane(
        &mut self,
        row: &LaneRow,
        old_seq: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// Records commands as applied.
    fn insert_commands(
        &mut self,
        rows: Vec<CommandAppliedRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Notes approvals from their places on; one that judged nothing gives way.
    fn put_approvals(
        &mut self,
        rows: Vec<ApprovalRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// What was erased of these events and members.
    fn erased(
        &mut self,
        events: &[EventId],
        members: &[MemberId],
    ) -> impl Future<Output = Result<Vec<ContactErasureRow>, StoreError>> + Send;
    /// Writes sealed contacts.
    fn put_contacts(&mut self, rows: Vec<ContactRow>) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Parks records of an event; makes a placeholder lane row where there is none.
    fn park(
        &mut self,
        lane_row: &LaneRow,
        lane_row_exists: bool,
        records: Vec<ParkedRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Marks a parked record as given up. False when it is not parked.
    fn give_up(
        &mut self,
        event: EventId,
        lane: i32,
        offset: i64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
    /// The first parked records of an event, by offset.
    fn parked(
        &mut self,
        event: EventId,
        lane: i32,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<ParkedRow>, StoreError>> + Send;
    /// Removes parked records up to and including `offset`.
    fn unpark_through(
        &mut self,
        event: EventId,
        lane: i32,
        offset: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
