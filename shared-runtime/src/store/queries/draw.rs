//! Draws as they stand: their rows, the list of entrants, results.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::draw::{DrawPhase, Entrant};
use shared_domain::{EntryStatus, EventDefinition, EventId, Lifecycle, MissionWeights, Reason};

use super::{Conn, mission};
use crate::store::draw::{DrawLane, DrawParts};
use crate::store::error_class::StoreError;
use crate::store::rows::{DisqualifiedRow, DrawResultRow, DrawRow, EntryIdColumn};
use crate::store::schema::{
    draw as d, draw_disqualified, draw_result as r, event_entry as e, event_lane, events, parked_record,
};

/// Makes a raffle's draw; nothing for other events.
pub async fn insert(conn: &mut Conn, event: EventId, definition: &EventDefinition) -> Result<(), StoreError> {
    if let Some(row) = DrawRow::scheduled(event, definition) {
        diesel::insert_into(d::table).values(row).execute(conn).await?;
    }
    Ok(())
}

/// A draw.
pub async fn get(conn: &mut Conn, event: EventId) -> Result<Option<DrawRow>, StoreError> {
    Ok(d::table.filter(d::event_id.eq(event)).select(DrawRow::as_select()).first(conn).await.optional()?)
}

/// Draws that have further to go: those that staff want run or shown, and lists to freeze for a beacon's round.
pub async fn due(conn: &mut Conn) -> Result<Vec<EventId>, StoreError> {
    let phase = DrawRow::phase_code;
    let run = d::phase.lt(phase(DrawPhase::Decided)).and(d::requested.eq(true));
    let show = d::phase.lt(phase(DrawPhase::Published)).and(d::publish.eq(true));
    let freeze = d::phase.eq(phase(DrawPhase::Scheduled)).and(d::beacon_round.is_not_null());
    Ok(d::table
        .inner_join(events::table.on(events::event_id.eq(d::event_id)))
        .filter(events::lifecycle.eq(Lifecycle::Closed.code()))
        .filter(events::deleted_at.is_null())
        .filter(run.or(show).or(freeze))
        .order(d::event_id)
        .select(d::event_id)
        .load(conn)
        .await?)
}

/// Lane, `seq`, rejections, offset of `Closed`, first parked offset.
type LaneColumns = (i32, i64, i64, Option<i64>, Option<i64>);

/// The event's lanes, in order.
pub async fn lanes(conn: &mut Conn, event: EventId) -> Result<Vec<DrawLane>, StoreError> {
    let rows: Vec<LaneColumns> = event_lane::table
        .filter(event_lane::event_id.eq(event))
        .order(event_lane::lane)
        .select((
            event_lane::lane,
            event_lane::seq,
            event_lane::rejections,
            event_lane::closed_offset,
            event_lane::parked_offset,
        ))
        .load(conn)
        .await?;
    let lane = |(lane, seq, rejections, closed, parked): LaneColumns| DrawLane {
        lane,
        last_seq: seq,
        pending: seq - rejections,
        closed: closed.is_some(),
        parked: parked.is_some(),
    };
    Ok(rows.into_iter().map(lane).collect())
}

/// Whether a record of the event waits for an operator.
pub async fn is_parked(conn: &mut Conn, event: EventId) -> Result<bool, StoreError> {
    let records: i64 =
        parked_record::table.filter(parked_record::event_id.eq(event)).count().get_result(conn).await?;
    Ok(records > 0 || lanes(conn, event).await?.iter().any(|lane| lane.parked))
}

/// What entrants are. What a draw changes of a row later keeps it in the list: no other entry of a raffle wins, loses or is
/// disqualified.
#[diesel::dsl::auto_type(no_type_alias)]
pub fn takes_part() -> _ {
    let rejected: i16 = i16::from(EntryStatus::Rejected.code());
    let taken_out: i16 = i16::from(Reason::Disqualified.code());
    e::status.ne(rejected).or(e::reason.eq(taken_out).assume_not_null())
}

/// Entrants of one lane behind a place and up to another, in order. Without weights their entry ids alone are read, since a
/// column costs about as much as a row.
pub async fn entrants(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    from: i64,
    to: i64,
) -> Result<Vec<Entrant>, StoreError> {
    let weights = mission::weights(conn, event).await?;
    let rows = e::table
        .filter(e::event_id.eq(event))
        .filter(e::lane.eq(lane))
        .filter(e::seq.gt(from))
        .filter(e::seq.le(to))
        .filter(takes_part())
        .order(e::seq);
    if weights.is_empty() {
        let ids: Vec<EntryIdColumn> = rows.select(e::entry_id).load(conn).await?;
        return ids.into_iter().map(|id| entrant(&weights, id, 0)).collect();
    }
    let rows: Vec<(EntryIdColumn, i64)> = rows.select((e::entry_id, e::missions)).load(conn).await?;
    rows.into_iter().map(|(id, missions)| entrant(&weights, id, missions)).collect()
}

/// An entrant with the chances that its missions give it.
pub fn entrant(weights: &MissionWeights, id: EntryIdColumn, missions: i64) -> Result<Entrant, StoreError> {
    let entrant = Entrant::new(id.0, weights.chances(missions));
    entrant.map_err(|_| StoreError::fatal("event_entry: bad weight"))
}

/// Rows of `draw_result` behind a place, in order.
pub async fn results(
    conn: &mut Conn,
    event: EventId,
    after_place: i64,
    limit: i64,
) -> Result<Vec<DrawResultRow>, StoreError> {
    Ok(r::table
        .filter(r::event_id.eq(event))
        .filter(r::place.gt(after_place))
        .order(r::place)
        .limit(limit)
        .select(DrawResultRow::as_select())
        .load(conn)
        .await?)
}

/// A draw with all that its public record shows now. `None`: no raffle, not scheduled, or deleted.
pub async fn parts(conn: &mut Conn, event: EventId) -> Result<Option<DrawParts>, StoreError> {
    let alive = events::table
        .filter(events::event_id.eq(event))
        .filter(events::deleted_at.is_null())
        .select(events::event_id)
        .first::<EventId>(conn)
        .await
        .optional()?;
    let (Some(_), Some(row)) = (alive, get(conn, event).await?) else { return Ok(None) };
    let mut parts = DrawParts { row, results: Vec::new(), disqualified: Vec::new() };
    if parts.row.phase()? == DrawPhase::Published {
        parts.results = results(conn, event, 0, i64::MAX).await?;
        parts.disqualified = draw_disqualified::table
            .filter(draw_disqualified::event_id.eq(event))
            .order(draw_disqualified::ordinal)
            .select(DisqualifiedRow::as_select())
            .load(conn)
            .await?;
    }
    Ok(Some(parts))
}

/// Numbers of alternates, by event, who wait no more: they moved up or were disqualified.
pub async fn alternates_gone(conn: &mut Conn, events: &[EventId]) -> Result<Vec<(EventId, i64)>, StoreError> {
    Ok(r::table
        .filter(r::event_id.eq_any(events.iter().copied()))
        .filter(r::alternate.is_not_null())
        .filter(r::entry_rank.is_not_null().or(r::disqualified.eq(true)))
        .order((r::event_id, r::alternate))
        .select((r::event_id, r::alternate.assume_not_null()))
        .load(conn)
        .await?)
}
