//! What carries a draw on, one transaction each: a phase by compare-and-set under the event's lock row, or one block.
//! False: somebody else was faster, or it is not due; the caller reads the draw again.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use shared_domain::draw::DrawPhase;
use shared_domain::{EntryStatus, EventId, Hex32, Lifecycle};

use super::{Conn, audit, draw, events as staff, insert_result_rows};
use crate::store::draw::{Decided, Frozen, LoserRange};
use crate::store::error_class::StoreError;
use crate::store::rows::{AuditLine, DrawResultRow, DrawRow};
use crate::store::schema::{draw as d, draw_result as r, event_entry as e};

fn code(phase: DrawPhase) -> i16 {
    DrawRow::phase_code(phase)
}

/// A step that staff did not take themselves.
async fn note(
    conn: &mut Conn,
    event: EventId,
    action: &str,
    detail: Value,
    now: i64,
) -> Result<(), StoreError> {
    let line = AuditLine {
        at: now,
        actor: "draw".to_owned(),
        action: action.to_owned(),
        event_id: Some(event),
        request_id: "draw".to_owned(),
        outcome: "APPLIED".to_owned(),
        detail: detail.to_string(),
    };
    audit::append(conn, &line).await
}

/// SCHEDULED to FROZEN, if the event is closed and nothing of it is parked.
pub async fn freeze(conn: &mut Conn, event: EventId, frozen: &Frozen) -> Result<bool, StoreError> {
    if staff::lock(conn, event).await?.is_none() {
        return Ok(false);
    }
    let closed = staff::get(conn, event)
        .await?
        .is_some_and(|row| row.lifecycle == Lifecycle::Closed.code() && row.deleted_at.is_none());
    if !closed || draw::is_parked(conn, event).await? {
        return Ok(false);
    }
    let row = d::table.filter(d::event_id.eq(event)).filter(d::phase.eq(code(DrawPhase::Scheduled)));
    let moved = diesel::update(row)
        .set((
            d::phase.eq(code(DrawPhase::Frozen)),
            d::entrants.eq(Some(frozen.entrants)),
            d::list_digest.eq(Some(frozen.list_digest.to_vec())),
            d::trust.eq(DrawRow::trust_code(frozen.trust)),
            d::frozen_at.eq(Some(frozen.at)),
        ))
        .execute(conn)
        .await?;
    if moved == 0 {
        return Ok(false);
    }
    let detail = json!({"entrants": frozen.entrants, "list_digest": Hex32(frozen.list_digest)});
    note(conn, event, "DRAW_FROZEN", detail, frozen.at).await?;
    staff::bump(conn, event, frozen.at).await?;
    Ok(true)
}

/// Stores a block of winners and alternates behind `from`.
pub async fn store_results(
    conn: &mut Conn,
    event: EventId,
    from: i64,
    block: Vec<DrawResultRow>,
) -> Result<bool, StoreError> {
    let to = from + block.len() as i64;
    let row = d::table
        .filter(d::event_id.eq(event))
        .filter(d::phase.eq(code(DrawPhase::Frozen)))
        .filter(d::stored_places.eq(from));
    if diesel::update(row).set(d::stored_places.eq(to)).execute(conn).await? == 0 {
        return Ok(false);
    }
    insert_result_rows(conn, block).await?;
    Ok(true)
}

/// FROZEN to DECIDED, if every place is stored.
pub async fn decide(conn: &mut Conn, event: EventId, decided: &Decided) -> Result<bool, StoreError> {
    if staff::lock(conn, event).await?.is_none() {
        return Ok(false);
    }
    let row = d::table
        .filter(d::event_id.eq(event))
        .filter(d::phase.eq(code(DrawPhase::Frozen)))
        .filter(d::stored_places.eq(decided.places));
    let moved = diesel::update(row)
        .set((
            d::phase.eq(code(DrawPhase::Decided)),
            d::winners.eq(decided.winners),
            d::paid.eq(decided.paid),
            d::decided_at.eq(Some(decided.at)),
        ))
        .execute(conn)
        .await?;
    if moved == 0 {
        return Ok(false);
    }
    let detail = json!({"winners": decided.winners, "paid": decided.paid});
    note(conn, event, "DRAW_DECIDED", detail, decided.at).await?;
    staff::bump(conn, event, decided.at).await?;
    Ok(true)
}

/// The entries of the next places get their outcome: a winner's rank and amount, or an alternate's number.
pub async fn apply_places(
    conn: &mut Conn,
    event: EventId,
    from: i64,
    limit: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let block = draw::results(conn, event, from, limit).await?;
    let to = from + block.len() as i64;
    let row = d::table
        .filter(d::event_id.eq(event))
        .filter(d::phase.eq(code(DrawPhase::Decided)))
        .filter(d::publish.eq(true))
        .filter(d::applied_places.eq(from));
    if diesel::update(row).set(d::applied_places.eq(to)).execute(conn).await? == 0 {
        return Ok(false);
    }
    let (winners, alternates): (Vec<_>, Vec<_>) =
        block.into_iter().map(|row| (row.entry_rank.is_some(), row.entry_id)).partition(|(won, _)| *won);
    for (ids, status) in [(winners, EntryStatus::Win), (alternates, EntryStatus::Lose)] {
        if ids.is_empty() {
            continue;
        }
        let mine = || r::table.filter(r::event_id.eq(e::event_id)).filter(r::entry_id.eq(e::entry_id));
        let entries = e::table
            .filter(e::event_id.eq(event))
            .filter(e::status.eq(i16::from(EntryStatus::Pending.code())))
            .filter(e::entry_id.eq_any(ids.into_iter().map(|(_, id)| id)));
        if status == EntryStatus::Win {
            diesel::update(entries)
                .set((
                    e::status.eq(i16::from(status.code())),
                    e::entry_rank.eq(mine().select(r::entry_rank).single_value()),
                    e::reward_amount.eq(mine().select(r::reward_amount).single_value().assume_not_null()),
                    e::decided_at.eq(now),
                ))
                .execute(conn)
                .await?;
        } else {
            diesel::update(entries)
                .set((
                    e::status.eq(i16::from(status.code())),
                    e::entry_rank.eq(mine().select(r::alternate).single_value()),
                    e::decided_at.eq(now),
                ))
                .execute(conn)
                .await?;
        }
    }
    Ok(true)
}

/// The other entries of a range of a lane lose.
pub async fn apply_losers(
    conn: &mut Conn,
    event: EventId,
    range: &LoserRange,
    now: i64,
) -> Result<bool, StoreError> {
    let row = d::table
        .filter(d::event_id.eq(event))
        .filter(d::phase.eq(code(DrawPhase::Decided)))
        .filter(d::publish.eq(true))
        .filter(d::applied_lane.eq(range.was.0))
        .filter(d::applied_seq.eq(range.was.1));
    let moved = diesel::update(row)
        .set((d::applied_lane.eq(range.lane), d::applied_seq.eq(range.to)))
        .execute(conn)
        .await?;
    if moved == 0 {
        return Ok(false);
    }
    let entries = e::table
        .filter(e::event_id.eq(event))
        .filter(e::lane.eq(range.lane))
        .filter(e::seq.gt(range.from))
        .filter(e::seq.le(range.to))
        .filter(e::status.eq(i16::from(EntryStatus::Pending.code())));
    diesel::update(entries)
        .set((e::status.eq(i16::from(EntryStatus::Lose.code())), e::decided_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(true)
}

/// DECIDED to PUBLISHED: seed, winners and outcomes are shown. The caller has applied every block.
pub async fn publish(conn: &mut Conn, event: EventId, seed: &[u8; 32], now: i64) -> Result<bool, StoreError> {
    if staff::lock(conn, event).await?.is_none() {
        return Ok(false);
    }
    let row = d::table
        .filter(d::event_id.eq(event))
        .filter(d::phase.eq(code(DrawPhase::Decided)))
        .filter(d::publish.eq(true))
        .filter(d::applied_places.eq(d::stored_places));
    let moved = diesel::update(row)
        .set((
            d::phase.eq(code(DrawPhase::Published)),
            d::seed.eq(Some(seed.to_vec())),
            d::published_at.eq(Some(now)),
        ))
        .execute(conn)
        .await?;
    if moved == 0 {
        return Ok(false);
    }
    note(conn, event, "DRAW_PUBLISHED", json!({}), now).await?;
    staff::set_lifecycle(conn, event, Lifecycle::Closed, Lifecycle::Drawn, now).await
}
