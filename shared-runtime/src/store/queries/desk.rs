//! What staff look up: audit lines, winners, a member's entries, counters.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::draw::DrawPhase;
use shared_domain::{EntryStatus, EventId, EventType, Lifecycle, MemberId};

use super::Conn;
use super::entries::{OfEvent, shown};
use crate::store::desk::{AuditFilter, DrawnStats, EventFilter, MemberEntry, Place, StatsRows, WinnerRow};
use crate::store::error_class::StoreError;
use crate::store::rows::{ApprovalRow, DrawRow, EntryRow, EventRow, LaneRow, StockRow};
use crate::store::schema::{
    audit_log as a, draw, draw_disqualified, event_approval, event_entry as e, event_lane, event_stock,
    events, parked_record,
};

/// Events below an id, newest first.
pub async fn events(
    conn: &mut Conn,
    filter: &EventFilter,
    before: EventId,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let mut query = events::table.filter(events::event_id.lt(before)).into_boxed();
    query = match filter.draft {
        Some(true) => query.filter(events::lifecycle.eq(Lifecycle::Draft.code())),
        Some(false) => query.filter(events::lifecycle.ne(Lifecycle::Draft.code())),
        None => query,
    };
    if let Some(event_type) = filter.event_type {
        query = query.filter(events::event_type.eq(event_type as i16));
    }
    query = match filter.deleted {
        Some(true) => query.filter(events::deleted_at.is_not_null()),
        Some(false) => query.filter(events::deleted_at.is_null()),
        None => query,
    };
    Ok(query.order(events::event_id.desc()).limit(limit).select(EventRow::as_select()).load(conn).await?)
}

type AuditRow = (i64, i64, String, String, Option<i64>, String, String, String);

/// Audit lines below an id, newest first.
pub async fn audit(
    conn: &mut Conn,
    filter: &AuditFilter,
    before: i64,
    limit: i64,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = a::table.filter(a::audit_id.lt(before)).into_boxed();
    if let Some(event) = filter.event {
        query = query.filter(a::event_id.eq(event));
    }
    if let Some(actor) = &filter.actor {
        query = query.filter(a::actor.eq(actor.clone()));
    }
    if let Some(action) = &filter.action {
        query = query.filter(a::action.eq(action.clone()));
    }
    if let Some(from) = filter.from {
        query = query.filter(a::at.ge(from));
    }
    if let Some(until) = filter.until {
        query = query.filter(a::at.lt(until));
    }
    Ok(query
        .order(a::audit_id.desc())
        .limit(limit)
        .select((a::audit_id, a::at, a::actor, a::action, a::event_id, a::request_id, a::outcome, a::detail))
        .load(conn)
        .await?)
}

/// Winners of one lane behind a place, in order; of a raffle none before its draw is published.
pub async fn winners(
    conn: &mut Conn,
    event: EventId,
    after: Place,
    limit: i64,
) -> Result<Vec<WinnerRow>, StoreError> {
    let shown =
        events::event_type.ne(EventType::Raffle as i16).or(events::lifecycle.eq(Lifecycle::Drawn.code()));
    Ok(e::table
        .inner_join(events::table.on(events::event_id.eq(e::event_id)))
        .filter(shown)
        .filter(e::event_id.eq(event))
        .filter(e::lane.eq(after.lane))
        .filter(e::seq.gt(after.seq))
        .filter(e::status.eq(i16::from(EntryStatus::Win.code())))
        .order(e::seq)
        .limit(limit)
        .select(WinnerRow::as_select())
        .load(conn)
        .await?)
}

/// The event's lanes in order, each with its number of winners.
pub async fn winning_lanes(conn: &mut Conn, event: EventId) -> Result<Vec<(i32, i64)>, StoreError> {
    Ok(event_lane::table
        .filter(event_lane::event_id.eq(event))
        .order(event_lane::lane)
        .select((event_lane::lane, event_lane::wins))
        .load(conn)
        .await?)
}

/// Entries of a member, newest event first, below a place.
pub async fn of_member(
    conn: &mut Conn,
    member: MemberId,
    before: Option<(EventId, Place)>,
    limit: i64,
) -> Result<Vec<MemberEntry>, StoreError> {
    let mut query = e::table
        .inner_join(events::table.on(events::event_id.eq(e::event_id)))
        .filter(e::member_id.eq(member))
        .into_boxed();
    if let Some((event, place)) = before {
        let same_lane = e::lane.eq(place.lane).and(e::seq.lt(place.seq));
        let same_event = e::event_id.eq(event).and(e::lane.lt(place.lane).or(same_lane));
        query = query.filter(e::event_id.lt(event).or(same_event));
    }
    let rows: Vec<(EntryRow, OfEvent)> = query
        .order((e::event_id.desc(), e::lane.desc(), e::seq.desc()))
        .limit(limit)
        .select((EntryRow::as_select(), (events::event_type, events::lifecycle)))
        .load(conn)
        .await?;
    let rows: Vec<EntryRow> = rows.into_iter().map(shown).collect();
    let ids: Vec<EventId> = rows.iter().map(|row| row.event_id).collect();
    let texts: Vec<(EventId, String, Option<Vec<u8>>)> = events::table
        .filter(events::event_id.eq_any(ids.clone()))
        .select((events::event_id, events::title, events::scheduled))
        .load(conn)
        .await?;
    let approvals: Vec<ApprovalRow> = event_approval::table
        .filter(event_approval::event_id.eq_any(ids))
        .order((event_approval::event_id, event_approval::lane, event_approval::from_seq))
        .select(ApprovalRow::as_select())
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|entry| {
            let text = texts.iter().find(|(id, ..)| *id == entry.event_id);
            let changed = approvals
                .iter()
                .rfind(|a| (a.event_id, a.lane) == (entry.event_id, entry.lane) && a.from_seq <= entry.seq);
            MemberEntry {
                title: text.map(|(_, title, _)| title.clone()).unwrap_or_default(),
                scheduled: text.and_then(|(.., scheduled)| scheduled.clone()),
                approval: changed.cloned(),
                entry,
            }
        })
        .collect())
}

/// Counters of these events.
pub async fn stats(conn: &mut Conn, ids: &[EventId]) -> Result<StatsRows, StoreError> {
    let lanes = event_lane::table
        .filter(event_lane::event_id.eq_any(ids.iter().copied()))
        .select(LaneRow::as_select())
        .load(conn)
        .await?;
    let stock = event_stock::table
        .filter(event_stock::event_id.eq_any(ids.iter().copied()))
        .order((event_stock::event_id, event_stock::option_index))
        .select(StockRow::as_select())
        .load(conn)
        .await?;
    let parked = parked_record::table
        .filter(parked_record::event_id.eq_any(ids.iter().copied()))
        .group_by(parked_record::event_id)
        .select((parked_record::event_id, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    let topics = events::table
        .filter(events::event_id.eq_any(ids.iter().copied()))
        .filter(events::topic.is_not_null())
        .select((events::event_id, events::topic.assume_not_null()))
        .load(conn)
        .await?;
    let drawn = drawn(conn, ids).await?;
    Ok(StatsRows { lanes, stock, parked, topics, drawn })
}

/// What published draws of these events came to.
pub async fn drawn(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<DrawnStats>, StoreError> {
    let draws: Vec<(EventId, Option<i64>, i64, i64)> = draw::table
        .filter(draw::event_id.eq_any(ids.iter().copied()))
        .filter(draw::phase.eq(DrawRow::phase_code(DrawPhase::Published)))
        .select((draw::event_id, draw::entrants, draw::winners, draw::paid))
        .load(conn)
        .await?;
    if draws.is_empty() {
        return Ok(Vec::new());
    }
    let out: Vec<(EventId, i64)> = draw_disqualified::table
        .filter(draw_disqualified::event_id.eq_any(draws.iter().map(|(id, ..)| *id)))
        .group_by(draw_disqualified::event_id)
        .select((draw_disqualified::event_id, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    let of = |(event_id, entrants, won, paid): (EventId, Option<i64>, i64, i64)| {
        let disqualified = out.iter().find(|(id, _)| *id == event_id).map_or(0, |(_, n)| *n);
        DrawnStats { event_id, won, lost: entrants.unwrap_or(0) - won - disqualified, disqualified, paid }
    };
    Ok(draws.into_iter().map(of).collect())
}

/// When the entry at an offset was decided, ms. Places and offsets of a lane grow together, so some 30 rows tell.
pub async fn decided_at_offset(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    offset: i64,
    last_seq: i64,
) -> Result<Option<i64>, StoreError> {
    let (mut low, mut high) = (1, last_seq);
    while low <= high {
        let middle = low + (high - low) / 2;
        let row: Option<(i64, i64)> = e::table
            .filter(e::event_id.eq(event))
            .filter(e::lane.eq(lane))
            .filter(e::seq.eq(middle))
            .select((e::log_offset, e::decided_at))
            .first(conn)
            .await
            .optional()?;
        match row {
            Some((at, decided_at)) if at == offset => return Ok(Some(decided_at)),
            Some((at, _)) if at < offset => low = middle + 1,
            Some(_) => high = middle - 1,
            None => return Ok(None),
        }
    }
    Ok(None)
}
