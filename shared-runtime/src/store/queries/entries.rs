//! Reads of decided entries: results for members, winners, digests.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EntryId, EntryStatus, EventId, EventType, Lifecycle, MemberId};

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::{EntryRow, LaneRow};
use crate::store::schema::{event_entry as e, event_lane, events};

/// What a query reads beside an entry to know whether its outcome may be shown: the event's type and life cycle.
pub type OfEvent = (i16, i16);

/// An entry as it may be shown: a raffle's outcomes are written in blocks, and seen when all of them are.
pub fn shown((mut row, (event_type, lifecycle)): (EntryRow, OfEvent)) -> EntryRow {
    let drawn = [EntryStatus::Win, EntryStatus::Lose].map(|status| i16::from(status.code()));
    let hidden = event_type == EventType::Raffle as i16 && lifecycle != Lifecycle::Drawn.code();
    if hidden && drawn.contains(&row.status) {
        row.status = i16::from(EntryStatus::Pending.code());
        row.reward_amount = 0;
        row.entry_rank = None;
    }
    row
}

/// Rows of these entries, in one query whatever their number (at most 1,000).
pub async fn by_ids(conn: &mut Conn, ids: &[(EventId, EntryId)]) -> Result<Vec<EntryRow>, StoreError> {
    let mut by_event: std::collections::BTreeMap<EventId, Vec<Vec<u8>>> = std::collections::BTreeMap::new();
    for (event, id) in ids {
        by_event.entry(*event).or_default().push(id.as_bytes().to_vec());
    }
    let mut query = e::table
        .inner_join(events::table.on(events::event_id.eq(e::event_id)))
        .filter(e::event_id.lt(i64::MIN))
        .select((EntryRow::as_select(), (events::event_type, events::lifecycle)))
        .into_boxed();
    for (event, ids) in by_event {
        query = query.or_filter(e::event_id.eq(event).and(e::entry_id.eq_any(ids)));
    }
    Ok(query.load(conn).await?.into_iter().map(shown).collect())
}

/// Rows of members' entries asked for by entry id alone, in one query (at most 1,000).
pub async fn by_members(conn: &mut Conn, ids: &[(MemberId, EntryId)]) -> Result<Vec<EntryRow>, StoreError> {
    let members = ids.iter().map(|(member, _)| *member);
    let entries = ids.iter().map(|(_, id)| id.as_bytes().to_vec());
    let rows: Vec<(EntryRow, OfEvent)> = e::table
        .inner_join(events::table.on(events::event_id.eq(e::event_id)))
        .filter(e::member_id.eq_any(members))
        .filter(e::entry_id.eq_any(entries))
        .select((EntryRow::as_select(), (events::event_type, events::lifecycle)))
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(shown).collect())
}

/// Entries of one lane in order of their place, after `after_seq`; with a status, only those.
pub async fn of_lane(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    status: Option<EntryStatus>,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<EntryRow>, StoreError> {
    let mut query = e::table
        .filter(e::event_id.eq(event))
        .filter(e::lane.eq(lane))
        .filter(e::seq.gt(after_seq))
        .order(e::seq)
        .limit(limit)
        .select(EntryRow::as_select())
        .into_boxed();
    if let Some(status) = status {
        query = query.filter(e::status.eq(i16::from(status.code())));
    }
    Ok(query.load(conn).await?)
}

/// Every lane row of every event, for comparing databases.
pub async fn lanes(conn: &mut Conn) -> Result<Vec<LaneRow>, StoreError> {
    Ok(event_lane::table
        .order((event_lane::event_id, event_lane::lane))
        .select(LaneRow::as_select())
        .load(conn)
        .await?)
}
