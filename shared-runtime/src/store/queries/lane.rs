//! The batch transaction's queries: `LaneTx` on an open transaction.

use std::collections::HashMap;

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{
    EntryId, EntryStatus, EventDefinition, EventId, Lifecycle, MemberId, Reason, Reward, Weighed,
};

use super::{Conn, contact, draw, erasure, insert_entry_rows, mission};
use crate::store::error_class::{StoreError, is_duplicate_key};
use crate::store::lane_tx::{CursorMove, Inserted, LaneTx};
use crate::store::rows::{
    ApprovalRow, CommandAppliedRow, ContactErasureRow, ContactRow, EntryRow, LaneRow, ParkedRow, StockRow,
};
use crate::store::schema::{
    command_applied, event_approval, event_entry, event_lane, event_lock, event_reward, event_stock, events,
    parked_record, partition_progress,
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
            recreate_event(self.0, event, definition, record, now).await?;
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
        mut records: Vec<ParkedRow>,
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
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(IDS));
            let chunk = std::mem::replace(&mut records, rest);
            insert_rows!(self.0, parked_record::table, chunk)?;
        }
        Ok(())
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

/// Makes the rows of an event that this database does not know: a replay, or a restore from before it was scheduled.
async fn recreate_event(
    conn: &mut Conn,
    event: EventId,
    definition: &EventDefinition,
    record: &[u8],
    now: i64,
) -> Result<(), StoreError> {
    // A backup from before its scheduling, of an event that is deleted by now: the list of deletions was there first.
    let is_deleted = !erasure::among(conn, &[event], &[]).await?.is_empty();
    let bare = if is_deleted { Some(erasure::without_salt(event, record)?) } else { None };
    let made = diesel::insert_into(events::table)
        .values((
            events::event_id.eq(event),
            events::lifecycle.eq(Lifecycle::Scheduled.code()),
            events::paused.eq(false),
            events::title.eq(&definition.title),
            events::content.eq(&definition.content),
            events::event_type.eq(definition.event_type as i16),
            events::starts_at.eq(definition.period.starts_at()),
            events::ends_at.eq(definition.period.ends_at()),
            events::scheduled.eq(Some(bare.as_deref().unwrap_or(record))),
            events::topic.eq(Some(&definition.topic)),
            events::lane_count.eq(definition.lanes.len() as i32),
            events::salt.eq(Some(&definition.salt).filter(|_| !is_deleted)),
            events::claim_until.eq(Some(definition.claim_until)),
            events::deleted_at.eq(Some(now).filter(|_| is_deleted)),
            events::version.eq(1i64),
            events::created_at.eq(now),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await;
    match made {
        Ok(_) => {}
        // Another lane of the same event was faster.
        Err(error) if is_duplicate_key(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    insert_lock_and_reward(conn, event, definition.reward).await?;
    insert_at_scheduling(conn, event, definition).await
}

/// What scheduling made for the event: its wrapped reward key, its missions, and a raffle's draw.
pub async fn insert_at_scheduling(
    conn: &mut Conn,
    event: EventId,
    definition: &EventDefinition,
) -> Result<(), StoreError> {
    let key = &definition.wrapped_keys.reward_key;
    if !key.is_empty() {
        diesel::update(event_reward::table.filter(event_reward::event_id.eq(event)))
            .set(event_reward::wrapped_key.eq(Some(key)))
            .execute(conn)
            .await?;
    }
    mission::insert(conn, event, &definition.missions).await?;
    draw::insert(conn, event, definition).await
}

/// The rows that stand beside an event from its scheduling on.
pub async fn insert_lock_and_reward(
    conn: &mut Conn,
    event: EventId,
    reward: Reward,
) -> Result<(), StoreError> {
    diesel::insert_into(event_lock::table)
        .values((
            event_lock::event_id.eq(event),
            event_lock::lock_key.eq(format!("EVENT_DRAW_{event}")),
            event_lock::next_ordinal.eq(1i64),
        ))
        .execute(conn)
        .await?;
    insert_reward(conn, event, reward).await
}

/// The reward policy, for people who look at the database.
pub async fn insert_reward(conn: &mut Conn, event: EventId, reward: Reward) -> Result<(), StoreError> {
    let (name, fixed, range, target) = match reward {
        Reward::Fixed(amount) => ("FIXED", Some(amount), None, None),
        Reward::Random(range) => ("RANDOM", None, Some(range), None),
        Reward::AverageRandom(aim) => ("AVERAGE_RANDOM", None, Some(aim.range()), Some(aim.target())),
    };
    diesel::insert_into(event_reward::table)
        .values((
            event_reward::event_id.eq(event),
            event_reward::reward_type.eq(name),
            event_reward::fixed_amount.eq(fixed),
            event_reward::min_amount.eq(range.map(|r| r.min())),
            event_reward::max_amount.eq(range.map(|r| r.max())),
            event_reward::target_average.eq(target),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
