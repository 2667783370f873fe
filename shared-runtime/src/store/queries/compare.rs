//! What a comparison reads: the database as it was before an offset, and rows that must agree with each other.

use std::collections::{BTreeMap, HashMap};

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EntryId, EntryStatus, EventId, EventType, MemberId, MissionType, Reason};

use super::Conn;
use super::draw::takes_part;
use crate::store::error_class::StoreError;
use crate::store::reading::{CountedMission, ScheduledEvent};
use crate::store::rows::{ApprovalRow, CommandAppliedRow, EntryRow, MemberMissionRow, StockRow};
use crate::store::schema::{
    command_applied as k, contact as c, event_approval as a, event_entry as e, event_stock, events,
    member_mission as p, mission, mission_mark as mark, mission_outbox as o,
};

/// Ids a statement.
const IDS: usize = 1_000;
/// Rows of progress a statement.
const PAGE: i64 = 20_000;

/// Every option of every event.
pub async fn stock(conn: &mut Conn) -> Result<Vec<StockRow>, StoreError> {
    Ok(event_stock::table
        .order((event_stock::event_id, event_stock::lane, event_stock::option_index))
        .select(StockRow::as_select())
        .load(conn)
        .await?)
}

/// Every event that was scheduled.
pub async fn scheduled_events(conn: &mut Conn) -> Result<Vec<ScheduledEvent>, StoreError> {
    let rows: Vec<(EventId, Vec<u8>, Option<i64>)> = events::table
        .filter(events::scheduled.is_not_null())
        .order(events::event_id)
        .select((events::event_id, events::scheduled.assume_not_null(), events::deleted_at))
        .load(conn)
        .await?;
    let event = |(event_id, scheduled, deleted_at): (EventId, Vec<u8>, Option<i64>)| ScheduledEvent {
        event_id,
        scheduled,
        is_deleted: deleted_at.is_some(),
    };
    Ok(rows.into_iter().map(event).collect())
}

/// Those of these entries that have a row from a record before an offset, and whether the log rejected them.
pub async fn entries_before(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    entries: &[EntryId],
    offset: i64,
) -> Result<Vec<(EntryId, bool)>, StoreError> {
    let (rejected, taken_out) = (EntryStatus::Rejected.code(), Reason::Disqualified.code());
    let mut found = Vec::new();
    for entries in entries.chunks(IDS) {
        let rows = e::table
            .filter(e::event_id.eq(event))
            .filter(e::entry_id.eq_any(entries.iter().map(|e| e.as_bytes().to_vec())))
            .filter(e::lane.eq(lane))
            .filter(e::log_offset.lt(offset))
            .select((e::entry_id, e::status, e::reason))
            .load::<(Vec<u8>, i16, Option<i16>)>(conn)
            .await?;
        found.extend(rows.into_iter().filter_map(|(id, status, reason)| {
            let by_the_log = status == i16::from(rejected) && reason != Some(i16::from(taken_out));
            Some((EntryId::from_slice(&id)?, by_the_log))
        }));
    }
    Ok(found)
}

/// Entries that count, a member, from records before an offset.
pub async fn member_entries_before(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    members: &[MemberId],
    offset: i64,
) -> Result<HashMap<MemberId, u32>, StoreError> {
    let mut counts = HashMap::new();
    for members in members.chunks(IDS) {
        let rows = e::table
            .filter(e::event_id.eq(event))
            .filter(e::member_id.eq_any(members.iter().copied()))
            .filter(e::lane.eq(lane))
            .filter(e::log_offset.lt(offset))
            .filter(takes_part())
            .group_by(e::member_id)
            .select((e::member_id, count_star()))
            .load::<(MemberId, i64)>(conn)
            .await?;
        counts.extend(rows.into_iter().map(|(member, n)| (member, u32::try_from(n).unwrap_or(u32::MAX))));
    }
    Ok(counts)
}

/// What became of these commands in a lane.
pub async fn commands(
    conn: &mut Conn,
    lane: i32,
    ids: &[Vec<u8>],
) -> Result<Vec<CommandAppliedRow>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS) {
        found.extend(
            k::table
                .filter(k::command_id.eq_any(ids.iter().cloned()))
                .filter(k::lane.eq(lane))
                .select(CommandAppliedRow::as_select())
                .load(conn)
                .await?,
        );
    }
    Ok(found)
}

/// Approvals of an event that changed in a lane.
pub async fn approvals(conn: &mut Conn, event: EventId, lane: i32) -> Result<Vec<ApprovalRow>, StoreError> {
    Ok(a::table
        .filter(a::event_id.eq(event))
        .filter(a::lane.eq(lane))
        .order(a::from_seq)
        .select(ApprovalRow::as_select())
        .load(conn)
        .await?)
}

/// Rows of these entries.
pub async fn entries(conn: &mut Conn, event: EventId, ids: &[Vec<u8>]) -> Result<Vec<EntryRow>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS) {
        let rows = e::table.filter(e::event_id.eq(event)).filter(e::entry_id.eq_any(ids.iter().cloned()));
        found.extend(rows.select(EntryRow::as_select()).load(conn).await?);
    }
    Ok(found)
}

/// Entries of an event by status and reason.
pub async fn entry_counts(
    conn: &mut Conn,
    event: EventId,
) -> Result<Vec<(i16, Option<i16>, i64)>, StoreError> {
    Ok(e::table
        .filter(e::event_id.eq(event))
        .group_by((e::status, e::reason))
        .select((e::status, e::reason, count_star()))
        .load(conn)
        .await?)
}

/// Contacts of entries that do not exist, or were rejected or lost; a raffle's losers may still move up.
pub async fn stray_contacts(conn: &mut Conn, event: EventId, limit: i64) -> Result<Vec<Vec<u8>>, StoreError> {
    let raffle: bool = events::table
        .filter(events::event_id.eq(event))
        .select(events::event_type.eq(EventType::Raffle as i16))
        .first(conn)
        .await?;
    let lost = i16::from(if raffle { EntryStatus::Rejected } else { EntryStatus::Lose }.code());
    let rejected = i16::from(EntryStatus::Rejected.code());
    let taken_out = i16::from(Reason::Disqualified.code());
    let stray = e::entry_id.is_null().or(e::status
        .nullable()
        .eq_any([lost, rejected])
        .and(e::reason.is_null().or(e::reason.ne(taken_out)))
        .assume_not_null());
    Ok(c::table
        .left_join(e::table.on(e::event_id.eq(c::event_id).and(e::entry_id.eq(c::entry_id))))
        .filter(c::event_id.eq(event))
        .filter(stray)
        .order(c::entry_id)
        .limit(limit)
        .select(c::entry_id)
        .load(conn)
        .await?)
}

/// The missions of all events.
pub async fn mission_types(conn: &mut Conn) -> Result<Vec<(EventId, i16, String)>, StoreError> {
    Ok(mission::table
        .order((mission::event_id, mission::mission_index))
        .select((mission::event_id, mission::mission_index, mission::mission_type))
        .load(conn)
        .await?)
}

/// What missions earned.
pub async fn earned_counts(conn: &mut Conn) -> Result<Vec<(EventId, i16, i64)>, StoreError> {
    Ok(o::table
        .group_by((o::event_id, o::mission_index))
        .select((o::event_id, o::mission_index, count_star()))
        .load(conn)
        .await?)
}

/// A page of progress whose value is the size of a set, beside that size.
pub async fn counted_missions(
    conn: &mut Conn,
    after: Option<MemberId>,
    sets: &HashMap<(EventId, i16), MissionType>,
) -> Result<(Vec<CountedMission>, Option<MemberId>), StoreError> {
    let after = after.unwrap_or(i64::MIN);
    // Whole members: the last one of a page may have more than it holds.
    let Some(last) = p::table
        .filter(p::member_id.gt(after))
        .order(p::member_id)
        .limit(PAGE)
        .select(p::member_id)
        .load::<MemberId>(conn)
        .await?
        .pop()
    else {
        return Ok((Vec::new(), None));
    };
    let rows: Vec<MemberMissionRow> = p::table
        .filter(p::member_id.gt(after))
        .filter(p::member_id.le(last))
        .select(MemberMissionRow::as_select())
        .load(conn)
        .await?;
    let marks: Vec<(MemberId, EventId, i16, i64)> = mark::table
        .filter(mark::member_id.gt(after))
        .filter(mark::member_id.le(last))
        .group_by((mark::member_id, mark::event_id, mark::mission_index))
        .select((mark::member_id, mark::event_id, mark::mission_index, count_star()))
        .load(conn)
        .await?;
    let marks: BTreeMap<(MemberId, EventId, i16), i64> =
        marks.into_iter().map(|(member, event, index, n)| ((member, event, index), n)).collect();
    let counted = rows
        .into_iter()
        .filter(|row| sets.contains_key(&(row.event_id, row.mission_index)))
        .map(|row| CountedMission {
            member_id: row.member_id,
            event_id: row.event_id,
            mission_index: row.mission_index,
            value: row.current_value,
            marks: marks.get(&(row.member_id, row.event_id, row.mission_index)).copied().unwrap_or(0),
        })
        .collect();
    Ok((counted, Some(last)))
}

/// Counters of a lane, where place and digest still stand as they were read. False where they do not, or the lane moved on.
pub async fn set_counters(conn: &mut Conn, row: &crate::store::rows::LaneRow) -> Result<bool, StoreError> {
    use crate::store::schema::event_lane as l;
    let target = l::table
        .filter(l::event_id.eq(row.event_id))
        .filter(l::lane.eq(row.lane))
        .filter(l::seq.eq(row.seq))
        .filter(l::digest.eq(row.digest.clone()));
    let set = (
        l::wins.eq(row.wins),
        l::losses.eq(row.losses),
        l::rejections.eq(row.rejections),
        l::paid.eq(row.paid),
        l::block_paid.eq(row.block_paid),
        l::exhausted_offset.eq(row.exhausted_offset),
        l::exhausted_log_id.eq(row.exhausted_log_id.clone()),
    );
    Ok(diesel::update(target).set(set).execute(conn).await? == 1)
}
