//! The batch transaction's queries: `LaneTx` on an open transaction.

use std::collections::HashMap;

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EntryId, EntryStatus, EventDefinition, EventId, MemberId, Reason, Weighed};

use super::{Conn, contact, erasure, insert_entry_rows, scheduling};
use crate::store::error_class::{StoreError, is_duplicate_key};
use crate::store::lane_tx::{CursorMove, Inserted, LaneTx};
use crate::store::rows::{
    ApprovalRow, CommandAppliedRow, ContactErasureRow, ContactRow, EntryRow, LaneRow, ParkedRow, StockRow,
};
use crate::store::schema::{
    command_applied, event_approval, event_entry, event_lane, event_stock, events, parked_record,
    partition_progress,
};

/// Ids a statement: far below both databases' limits on parameters.
const IDS: usize = 1_000;
/// An open transaction on a connection.
pub struct LaneConn<'c>(pub &'c mut Conn);

impl LaneTx for LaneConn<'_> {
    async fn advance(&mut self, cursor: &CursorMove<'_>) -> Result<bool, StoreError> {
        use partition_progress as p;
        let row = p::table
            .filter(p::log_id.eq(cursor.log_id))
            .filter(p::topic.eq(&cursor.lane.topic))
            .filter(p::partition_id.eq(cursor.lane.partition))
            .filter(p::next_offset.eq(cursor.from));
        let moved = match cursor.last_hash {
            Some(hash) => {
                diesel::update(row)
                    .set((
                        p::next_offset.eq(cursor.to),
                        p::last_hash.eq(Some(hash.to_vec())),
                        p::updated_at.eq(cursor.now),
                    ))
                    .execute(self.0)
                    .await?
            }
            None => {
                diesel::update(row)
                    .set((p::next_offset.eq(cursor.to), p::updated_at.eq(cursor.now)))
                    .execute(self.0)
                    .await?
            }
        };
        Ok(moved == 1)
    }

    async fn lane_rows(&mut self, lane: i32, ids: &[EventId]) -> Result<Vec<LaneRow>, StoreError> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS) {
            let query =
                event_lane::table.filter(event_lane::lane.eq(lane)).select(LaneRow::as_select()).into_boxed();
            let query = match ids {
                // Most batches are of one event, and this text is prepared once.
                [id] => query.filter(event_lane::event_id.eq(*id)),
                ids => query.filter(event_lane::event_id.eq_any(ids.iter().copied())),
            };
            rows.extend(query.load(self.0).await?);
        }
        Ok(rows)
    }

    async fn stock_rows(&mut self, lane: i32, ids: &[EventId]) -> Result<Vec<StockRow>, StoreError> {
        let mut rows = Vec::new();
        for ids in ids.chunks(IDS) {
            let query = event_stock::table
                .filter(event_stock::lane.eq(lane))
                .order((event_stock::event_id, event_stock::option_index))
                .select(StockRow::as_select())
                .into_boxed();
            let query = match ids {
                [id] => query.filter(event_stock::event_id.eq(*id)),
                ids => query.filter(event_stock::event_id.eq_any(ids.iter().copied())),
            };
            rows.extend(query.load(self.0).await?);
        }
        Ok(rows)
    }

    async fn definitions(&mut self, ids: &[EventId]) -> Result<Vec<(EventId, Vec<u8>)>, StoreError> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS) {
            rows.extend(
                events::table
                    .filter(events::event_id.eq_any(ids.iter().copied()))
                    .filter(events::scheduled.is_not_null())
                    .select((events::event_id, events::scheduled.assume_not_null()))
                    .load::<(EventId, Vec<u8>)>(self.0)
                    .await?,
            );
        }
        Ok(rows)
    }

    async fn applied_commands(
        &mut self,
        lane: i32,
        commands: &[[u8; 16]],
    ) -> Result<Vec<[u8; 16]>, StoreError> {
        let mut applied = Vec::new();
        for commands in commands.chunks(IDS) {
            let found = command_applied::table
                .filter(command_applied::lane.eq(lane))
                .filter(command_applied::command_id.eq_any(commands.iter().map(|c| c.to_vec())))
                .select(command_applied::command_id)
                .load::<Vec<u8>>(self.0)
                .await?;
            applied.extend(found.iter().filter_map(|id| <[u8; 16]>::try_from(id.as_slice()).ok()));
        }
        Ok(applied)
    }

    async fn member_entries(
        &mut self,
        event: EventId,
        members: &[MemberId],
    ) -> Result<HashMap<MemberId, u32>, StoreError> {
        let mut counts = HashMap::new();
        for members in members.chunks(IDS) {
            let rows = event_entry::table
                .filter(event_entry::event_id.eq(event))
                .filter(event_entry::member_id.eq_any(members.iter().copied()))
                .filter(event_entry::status.ne(i16::from(EntryStatus::Rejected.code())))
                .group_by(event_entry::member_id)
                .select((event_entry::member_id, count_star()))
                .load::<(MemberId, i64)>(self.0)
                .await?;
            counts.extend(rows.into_iter().map(|(member, n)| (member, u32::try_from(n).unwrap_or(u32::MAX))));
        }
        Ok(counts)
    }

    async fn existing_entries(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> Result<Vec<EntryId>, StoreError> {
        let mut existing = Vec::new();
        for entries in entries.chunks(IDS) {
            let found = event_entry::table
                .filter(event_entry::event_id.eq(event))
                .filter(event_entry::entry_id.eq_any(entries.iter().map(|e| e.as_bytes().to_vec())))
                .select(event_entry::entry_id)
                .load::<Vec<u8>>(self.0)
                .await?;
            existing.extend(found.iter().filter_map(|id| EntryId::from_slice(id)));
        }
        Ok(existing)
    }

    async fn weighed(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> Result<Vec<(EntryId, Weighed)>, StoreError> {
        let (rejected, taken_out) = (EntryStatus::Rejected.code(), Reason::Disqualified.code());
        let mut found = Vec::new();
        for entries in entries.chunks(IDS) {
            let rows = event_entry::table
                .filter(event_entry::event_id.eq(event))
                .filter(event_entry::entry_id.eq_any(entries.iter().map(|e| e.as_bytes().to_vec())))
                .select((
                    event_entry::entry_id,
                    event_entry::status,
                    event_entry::reason,
                    event_entry::missions,
                ))
                .load::<(Vec<u8>, i16, Option<i16>, i64)>(self.0)
                .await?;
            for (id, status, reason, missions) in rows {
                let rejected = status == i16::from(rejected) && reason != Some(i16::from(taken_out));
                found.extend(EntryId::from_slice(&id).map(|id| (id, Weighed { rejected, missions })));
            }
        }
        Ok(found)
    }

    async fn set_missions(
        &mut self,
        event: EventId,
        missions: i64,
        entries: &[EntryId],
    ) -> Result<(), StoreError> {
        for entries in entries.chunks(IDS) {
            let rows = event_entry::table
                .filter(event_entry::event_id.eq(event))
                .filter(event_entry::entry_id.eq_any(entries.iter().map(|e| e.as_bytes().to_vec())));
            diesel::update(rows).set(event_entry::missions.eq(missions)).execute(self.0).await?;
        }
        Ok(())
    }

    async fn insert_entries(&mut self, rows: Vec<EntryRow>) -> Result<Inserted, StoreError> {
        match insert_entry_rows(self.0, &rows).await {
            Ok(()) => Ok(Inserted::All),
            Err(error) if is_duplicate_key(&error) => Ok(Inserted::Duplicate),
            Err(error) => Err(error.into()),
        }
    }

    async fn insert_scheduled(
        &mut self,
        event: EventId,
        definition: &EventDefinition,
        record: &[u8],
        row: &LaneRow,
        stock: Vec<StockRow>,
        now: i64,
    ) -> Result<(), StoreError> {
        let placeholder = event_lane::table
            .filter(event_lane::event_id.eq(event))
            .filter(event_lane::lane.eq(row.lane))
            .filter(event_lane::is_scheduled.eq(false));
        if diesel::delete(placeholder).execute(self.0).await? > 1 {
            return Err(StoreError::fatal("event_lane: more than one placeholder"));
        }
        diesel::insert_into(event_lane::table).values(row).execute(self.0).await?;
        if !stock.is_empty() {
            insert_rows!(self.0, event_stock::table, stock)?;
        }
        let known = events::table
            .filter(events::event_id.eq(event))
            .select(events::event_id)
            .first::<EventId>(self.0)
            .await
            .optional()?;
        if known.is_none() {
            scheduling::recreate_event(self.0, event, definition, record, now).await?;
        }
        Ok(())
    }

    async fn add_stock(
        &mut self,
        event: EventId,
        lane: i32,
        option: u16,
        add: i64,
    ) -> Result<bool, StoreError> {
        use event_stock as s;
        let row = s::table
            .filter(s::event_id.eq(event))
            .filter(s::lane.eq(lane))
            .filter(s::option_index.eq(option as i16));
        let changed = diesel::update(row)
            .set((s::granted.eq(s::granted + add), s::stock_count.eq(s::stock_count + add)))
            .execute(self.0)
            .await?;
        Ok(changed == 1)
    }

    async fn take_stock(
        &mut self,
        event: EventId,
        lane: i32,
        option: u16,
        won: i64,
    ) -> Result<bool, StoreError> {
        use event_stock as s;
        let row = s::table
            .filter(s::event_id.eq(event))
            .filter(s::lane.eq(lane))
            .filter(s::option_index.eq(option as i16))
            .filter(s::stock_count.ge(won));
        let changed =
            diesel::update(row).set(s::stock_count.eq(s::stock_count - won)).execute(self.0).await?;
        Ok(changed == 1)
    }

    async fn update_lane(&mut self, row: &LaneRow, old_seq: i64) -> Result<bool, StoreError> {
        let target = event_lane::table
            .filter(event_lane::event_id.eq(row.event_id))
            .filter(event_lane::lane.eq(row.lane))
            .filter(event_lane::seq.eq(old_seq));
        Ok(diesel::update(target).set(row).execute(self.0).await? == 1)
    }

    async fn insert_commands(&mut self, rows: Vec<CommandAppliedRow>) -> Result<(), StoreError> {
        insert_rows!(self.0, command_applied::table, rows)?;
        Ok(())
    }

    async fn put_approvals(&mut self, rows: Vec<ApprovalRow>) -> Result<(), StoreError> {
        use event_approval as a;
        for row in rows {
            let same_place = a::table
                .filter(a::event_id.eq(row.event_id))
                .filter(a::lane.eq(row.lane))
                .filter(a::from_seq.eq(row.from_seq));
            diesel::delete(same_place).execute(self.0).await?;
            diesel::insert_into(a::table).values(row).execute(self.0).await?;
        }
        Ok(())
    }

    async fn erased(
        &mut self,
        events: &[EventId],
        members: &[MemberId],
    ) -> Result<Vec<ContactErasureRow>, StoreError> {
        erasure::among(self.0, events, members).await
    }

    async fn put_contacts(&mut self, rows: Vec<ContactRow>) -> Result<(), StoreError> {
        contact::put(self.0, rows).await
    }

    async fn park(
        &mut self,
        row: &LaneRow,
        row_exists: bool,
        records: Vec<ParkedRow>,
    ) -> Result<(), StoreError> {
        if row_exists {
            let target = event_lane::table
                .filter(event_lane::event_id.eq(row.event_id))
                .filter(event_lane::lane.eq(row.lane));
            diesel::update(target)
                .set((
                    event_lane::parked_offset.eq(row.parked_offset),
                    event_lane::parked_since.eq(row.parked_since),
                    event_lane::parked_reason.eq(&row.parked_reason),
                ))
                .execute(self.0)
                .await?;
        } else {
            diesel::insert_into(event_lane::table).values(row).execute(self.0).await?;
        }
        insert_in_chunks!(self.0, parked_record::table, records, IDS)
    }

    async fn give_up(&mut self, event: EventId, lane: i32, offset: i64) -> Result<bool, StoreError> {
        let row = parked_record::table
            .filter(parked_record::event_id.eq(event))
            .filter(parked_record::lane.eq(lane))
            .filter(parked_record::log_offset.eq(offset));
        Ok(diesel::update(row).set(parked_record::given_up.eq(true)).execute(self.0).await? == 1)
    }

    async fn parked(&mut self, event: EventId, lane: i32, limit: i64) -> Result<Vec<ParkedRow>, StoreError> {
        Ok(parked_record::table
            .filter(parked_record::event_id.eq(event))
            .filter(parked_record::lane.eq(lane))
            .order(parked_record::log_offset)
            .limit(limit)
            .select(ParkedRow::as_select())
            .load(self.0)
            .await?)
    }

    async fn unpark_through(&mut self, event: EventId, lane: i32, offset: i64) -> Result<(), StoreError> {
        let rows = parked_record::table
            .filter(parked_record::event_id.eq(event))
            .filter(parked_record::lane.eq(lane))
            .filter(parked_record::log_offset.le(offset));
        diesel::delete(rows).execute(self.0).await?;
        Ok(())
    }
}
