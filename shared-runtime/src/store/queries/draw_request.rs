//! What staff ask of a draw, under the event's lock row.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::draw::{BEACON_LEAD_MS, Chains, DrawPhase, Trust};
use shared_domain::{EntryId, EntryStatus, EventId, HexBytes, Lifecycle, Reason};
use uuid::Uuid;

use super::command::Outcome;
use super::{Conn, draw, events};
use crate::store::commands::{Changed, CommandError};
use crate::store::error_class::StoreError;
use crate::store::rows::{DisqualifiedRow, DrawResultRow, DrawRow, EventRow};
use crate::store::schema::{draw as d, draw_disqualified, draw_result as r, event_entry as e};

/// Wants the draw run, and shown. A repeat changes nothing but, at most, `publish`.
pub async fn run(conn: &mut Conn, event: &EventRow, publish: bool, chains: &Chains, now: i64) -> Outcome {
    let id = event.event_id;
    match Lifecycle::from_code(event.lifecycle) {
        Some(Lifecycle::Closed | Lifecycle::Drawn) => {}
        Some(Lifecycle::Closing) => {
            let lanes = draw::lanes(conn, id).await?;
            let lagging: Vec<String> =
                lanes.iter().filter(|lane| !lane.closed).map(|lane| lane.lane.to_string()).collect();
            let topic = event.topic.as_deref().unwrap_or_default();
            let detail = format!("lanes of {topic} that have not applied Closed yet: {}", lagging.join(", "));
            return Err(CommandError::NotYet("EVENT_NOT_CLOSED", detail));
        }
        _ => return Err(CommandError::Conflict("EVENT_NOT_CLOSED", "the event takes entries, or will")),
    }
    let row = known(conn, id).await?;
    let phase = row.phase()?;
    if phase == DrawPhase::Scheduled && draw::is_parked(conn, id).await? {
        return Err(CommandError::Conflict("EVENT_PARKED", "records of the event wait to be unparked"));
    }
    if phase < DrawPhase::Decided && awaits_beacon(&row, phase, chains, now)? {
        let detail = "the draw waits for the round that its definition names";
        return Err(CommandError::Conflict("BEACON_PENDING", detail));
    }
    if !row.requested || (publish && !row.publish) {
        diesel::update(d::table.filter(d::event_id.eq(id)))
            .set((d::requested.eq(true), d::publish.eq(publish || row.publish)))
            .execute(conn)
            .await?;
    }
    answer(&row)
}

/// Whether the named round counts and is not there. Before FROZEN it counts unless it is too late to freeze for it.
fn awaits_beacon(row: &DrawRow, phase: DrawPhase, chains: &Chains, now: i64) -> Result<bool, CommandError> {
    let Some(beacon) = row.beacon()?.filter(|_| row.beacon_randomness.is_none()) else { return Ok(false) };
    if phase == DrawPhase::Frozen {
        return Ok(row.trust() == Trust::Beacon);
    }
    let known = chains.get(&beacon.chain_hash).and_then(|chain| chain.round_time(beacon.round));
    let made =
        known.map_err(|error| StoreError::fatal(format!("draw of event {}: {error}", row.event_id)))?;
    Ok(now <= made.saturating_sub(BEACON_LEAD_MS))
}

/// Wants a decided draw shown.
pub async fn publish(conn: &mut Conn, event: &EventRow) -> Outcome {
    let row = known(conn, event.event_id).await?;
    if row.phase()? < DrawPhase::Decided {
        return Err(CommandError::Conflict("DRAW_NOT_DECIDED", "the draw is not decided"));
    }
    diesel::update(d::table.filter(d::event_id.eq(event.event_id)))
        .set(d::publish.eq(true))
        .execute(conn)
        .await?;
    answer(&row)
}

/// Takes the named round.
pub async fn beacon(
    conn: &mut Conn,
    event: &EventRow,
    round: u64,
    signature: &HexBytes,
    chains: &Chains,
    now: i64,
) -> Outcome {
    let row = known(conn, event.event_id).await?;
    let beacon = row.beacon()?.ok_or_else(|| CommandError::invalid("/round", "the draw names no beacon"))?;
    if beacon.round != round {
        return Err(CommandError::invalid(
            "/round",
            format_args!("the draw waits for round {}", beacon.round),
        ));
    }
    let value = chains.verify(&beacon, &signature.0).map_err(|e| CommandError::invalid("/signature", e))?;
    // Every right signature of a round has the same randomness; the first one stays.
    if row.beacon_randomness.is_none() {
        diesel::update(d::table.filter(d::event_id.eq(event.event_id)))
            .set((
                d::beacon_randomness.eq(Some(value.0.to_vec())),
                d::beacon_signature.eq(Some(signature.0.clone())),
            ))
            .execute(conn)
            .await?;
        events::bump(conn, event.event_id, now).await?;
    }
    answer(&row)
}

/// Takes an entry out of a published draw; the next alternate moves up to its rank and amount.
pub async fn disqualify(
    conn: &mut Conn,
    event: &EventRow,
    claim_until: i64,
    ordinal: i64,
    entry: &EntryId,
    reason: &str,
    now: i64,
) -> Result<(), CommandError> {
    let id = event.event_id;
    if known(conn, id).await?.phase()? != DrawPhase::Published {
        return Err(CommandError::Conflict("DRAW_NOT_PUBLISHED", "the draw is not published"));
    }
    if now >= claim_until {
        return Err(CommandError::Conflict("CLAIM_CLOSED", "alternates move up until claim_until only"));
    }
    let status: Option<(i16, Option<i16>)> = e::table
        .filter(e::event_id.eq(id))
        .filter(e::entry_id.eq(entry.as_bytes().to_vec()))
        .select((e::status, e::reason))
        .first(conn)
        .await
        .optional()?;
    let disqualified = Some(i16::from(Reason::Disqualified.code()));
    match status {
        None => return Err(CommandError::EntryNotFound),
        Some((_, reason)) if reason == disqualified => {
            return Err(CommandError::Conflict("ALREADY_DISQUALIFIED", "the entry was disqualified before"));
        }
        Some((status, _)) if status == i16::from(EntryStatus::Rejected.code()) => {
            return Err(CommandError::Conflict("ENTRY_REJECTED", "the entry did not take part"));
        }
        Some(_) => {}
    }
    set_entry(conn, id, entry.as_bytes(), EntryStatus::Rejected, disqualified, None, 0, now).await?;
    let replaced_by = take_out(conn, id, entry, now).await?;
    let line = DisqualifiedRow {
        event_id: id,
        ordinal,
        entry_id: entry.as_bytes().to_vec(),
        replaced_by,
        reason: reason.to_owned(),
        at: now,
    };
    diesel::insert_into(draw_disqualified::table).values(line).execute(conn).await?;
    Ok(events::bump(conn, id, now).await?)
}

/// Who moves up.
async fn take_out(
    conn: &mut Conn,
    event: EventId,
    entry: &EntryId,
    now: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let drawn: Option<DrawResultRow> = r::table
        .filter(r::event_id.eq(event))
        .filter(r::entry_id.eq(entry.as_bytes().to_vec()))
        .select(DrawResultRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(drawn) = drawn else { return Ok(None) };
    diesel::update(r::table.filter(r::event_id.eq(event)).filter(r::place.eq(drawn.place)))
        .set(r::disqualified.eq(true))
        .execute(conn)
        .await?;
    let Some(rank) = drawn.entry_rank else { return Ok(None) };
    let next: Option<DrawResultRow> = r::table
        .filter(r::event_id.eq(event))
        .filter(r::entry_rank.is_null())
        .filter(r::disqualified.eq(false))
        .order(r::place)
        .select(DrawResultRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(next) = next else {
        diesel::update(d::table.filter(d::event_id.eq(event)))
            .set((d::winners.eq(d::winners - 1), d::paid.eq(d::paid - drawn.reward_amount)))
            .execute(conn)
            .await?;
        return Ok(None);
    };
    diesel::update(r::table.filter(r::event_id.eq(event)).filter(r::place.eq(next.place)))
        .set((r::entry_rank.eq(Some(rank)), r::reward_amount.eq(drawn.reward_amount)))
        .execute(conn)
        .await?;
    let id = next.id()?;
    set_entry(conn, event, id.as_bytes(), EntryStatus::Win, None, Some(rank), drawn.reward_amount, now)
        .await?;
    Ok(Some(next.entry_id))
}

#[allow(clippy::too_many_arguments)] // one row's columns
async fn set_entry(
    conn: &mut Conn,
    event: EventId,
    entry: &[u8; 16],
    status: EntryStatus,
    reason: Option<i16>,
    rank: Option<i64>,
    amount: i64,
    now: i64,
) -> Result<(), StoreError> {
    diesel::update(e::table.filter(e::event_id.eq(event)).filter(e::entry_id.eq(entry.to_vec())))
        .set((
            e::status.eq(i16::from(status.code())),
            e::reason.eq(reason),
            e::entry_rank.eq(rank),
            e::reward_amount.eq(amount),
            e::decided_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

async fn known(conn: &mut Conn, event: EventId) -> Result<DrawRow, CommandError> {
    // Every scheduled raffle has one.
    let missing = CommandError::Conflict("EVENT_NOT_CLOSED", "the event is a draft");
    draw::get(conn, event).await?.ok_or(missing)
}

fn answer(row: &DrawRow) -> Outcome {
    Ok(Changed::Draw(row.event_id, Uuid::from_slice(&row.draw_id).unwrap_or_default()))
}
