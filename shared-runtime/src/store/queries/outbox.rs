//! Commands on their way to the log (DESIGN section 4, "One outbox").

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use shared_domain::EventId;
use shared_proto::Lane;

use super::{Conn, audit, parked};
use crate::store::commands::CommandView;
use crate::store::error_class::StoreError;
use crate::store::rows::{AuditLine, CommandAppliedRow, CommandStatus, OutboxRow};
use crate::store::schema::{command_applied, outbox as o, relay_lease};

/// Kind of the rows that close an event.
pub const CLOSED: &str = "CLOSED";
const LEASE: &str = "outbox";
const ROWS: i64 = 500;

/// Adds rows of one command.
pub async fn insert(conn: &mut Conn, rows: Vec<OutboxRow>) -> Result<(), StoreError> {
    insert_rows!(conn, o::table, rows)?;
    Ok(())
}

/// Rows of a command, by lane.
pub async fn command(conn: &mut Conn, id: &[u8; 16]) -> Result<Vec<OutboxRow>, StoreError> {
    Ok(o::table
        .filter(o::command_id.eq(id.to_vec()))
        .order(o::lane)
        .select(OutboxRow::as_select())
        .load(conn)
        .await?)
}

/// Which of these commands took effect, and in which lanes.
pub async fn in_effect(conn: &mut Conn, ids: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, i32)>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(1_000) {
        let rows = command_applied::table
            .filter(command_applied::command_id.eq_any(ids.iter().cloned()))
            .filter(command_applied::status.eq(CommandStatus::Applied.code()))
            .select((command_applied::command_id, command_applied::lane))
            .load::<(Vec<u8>, i32)>(conn)
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// Takes or keeps the relay's lease until `until` (ms). False while somebody else holds it.
pub async fn hold_lease(
    conn: &mut Conn,
    holder: &[u8; 16],
    now: i64,
    until: i64,
) -> Result<bool, StoreError> {
    let row = relay_lease::table
        .filter(relay_lease::name.eq(LEASE))
        .filter(relay_lease::holder.eq(holder.to_vec()).or(relay_lease::held_until.lt(now)));
    let held = diesel::update(row)
        .set((relay_lease::holder.eq(holder.to_vec()), relay_lease::held_until.eq(until)))
        .execute(conn)
        .await?;
    Ok(held == 1)
}

/// Events behind `after` with rows that may be published now, by id. A row that must still wait names no event here,
/// so that events that wait, however many, keep no other from its turn.
pub async fn events_to_publish(
    conn: &mut Conn,
    now: i64,
    after: EventId,
    limit: i64,
) -> Result<Vec<EventId>, StoreError> {
    Ok(o::table
        .filter(o::published_at.is_null())
        .filter(o::not_before.is_null().or(o::not_before.le(now)))
        .filter(o::event_id.gt(after))
        .select(o::event_id)
        .distinct()
        .order(o::event_id)
        .limit(limit)
        .load(conn)
        .await?)
}

/// An event's rows that are not published, in the order of its commands.
pub async fn unpublished(conn: &mut Conn, event: EventId) -> Result<Vec<OutboxRow>, StoreError> {
    Ok(o::table
        .filter(o::published_at.is_null())
        .filter(o::event_id.eq(event))
        .order((o::ordinal, o::lane))
        .limit(ROWS)
        .select(OutboxRow::as_select())
        .load(conn)
        .await?)
}

/// Gives a row its earliest moment (ms), unless it has one.
pub async fn hold_back(
    conn: &mut Conn,
    event: EventId,
    ordinal: i64,
    lane: i32,
    not_before: i64,
) -> Result<(), StoreError> {
    let row = o::table.filter(o::event_id.eq(event)).filter(o::ordinal.eq(ordinal)).filter(o::lane.eq(lane));
    let row = row.filter(o::not_before.is_null());
    diesel::update(row).set(o::not_before.eq(Some(not_before))).execute(conn).await?;
    Ok(())
}

/// Notes the broker's ack.
pub async fn mark_published(
    conn: &mut Conn,
    event: EventId,
    ordinal: i64,
    lane: i32,
    now: i64,
) -> Result<(), StoreError> {
    let row = o::table.filter(o::event_id.eq(event)).filter(o::ordinal.eq(ordinal)).filter(o::lane.eq(lane));
    diesel::update(row).set(o::published_at.eq(Some(now))).execute(conn).await?;
    Ok(())
}

/// A lane goes on in another log, or elsewhere in this one: its commands that are not applied go out again.
pub async fn publish_again(conn: &mut Conn, lane: &Lane) -> Result<(), StoreError> {
    let rows = o::table
        .filter(o::settled_at.is_null())
        .filter(o::published_at.is_not_null())
        .filter(o::topic.eq(&lane.topic))
        .filter(o::lane.eq(lane.partition));
    diesel::update(rows).set(o::published_at.eq(None::<i64>)).execute(conn).await?;
    Ok(())
}

/// Carries what the lanes did over into the outbox; returns how many rows were settled. Where a record was given up,
/// its event is then unparked: not before, or the lane's worker would meet the same record again.
pub async fn settle(conn: &mut Conn, now: i64) -> Result<usize, StoreError> {
    let waiting: Vec<(EventId, i64)> = o::table
        .filter(o::settled_at.is_null())
        .filter(o::kind.eq("REJECTED"))
        .select((o::event_id, o::ordinal))
        .load(conn)
        .await?;
    let settled = carry_over(conn, now).await?;
    for (event, ordinal) in waiting {
        let done: i64 = o::table
            .filter(o::event_id.eq(event))
            .filter(o::ordinal.eq(ordinal))
            .filter(o::settled_at.is_not_null())
            .count()
            .get_result(conn)
            .await?;
        if done > 0 {
            parked::request_unpark(conn, event).await?;
        }
    }
    Ok(settled)
}

async fn carry_over(conn: &mut Conn, now: i64) -> Result<usize, StoreError> {
    // Only what can be settled: rows of lanes that stand still keep no others waiting.
    let both = command_applied::command_id.eq(o::command_id).and(command_applied::lane.eq(o::lane));
    let applied: Vec<CommandAppliedRow> = o::table
        .inner_join(command_applied::table.on(both))
        .filter(o::settled_at.is_null())
        .filter(o::published_at.is_not_null())
        .select(CommandAppliedRow::as_select())
        .limit(ROWS)
        .load(conn)
        .await?;
    let mut settled = 0;
    let mut touched = BTreeSet::new();
    for row in &applied {
        let target = o::table
            .filter(o::command_id.eq(row.command_id.clone()))
            .filter(o::lane.eq(row.lane))
            .filter(o::settled_at.is_null());
        let changed = diesel::update(target)
            .set((o::settled_at.eq(Some(now)), o::status.eq(row.status), o::reason.eq(row.reason.clone())))
            .execute(conn)
            .await?;
        settled += changed;
        if changed > 0 {
            touched.insert(row.command_id.clone());
        }
    }
    for id in touched {
        audit_settled(conn, &id, now).await?;
    }
    Ok(settled)
}

/// Notes how a command ended, once its last lane has settled it.
pub async fn audit_settled(conn: &mut Conn, id: &[u8], now: i64) -> Result<(), StoreError> {
    let rows: Vec<OutboxRow> =
        o::table.filter(o::command_id.eq(id)).select(OutboxRow::as_select()).load(conn).await?;
    let Some(command) = CommandView::of(&rows).filter(|c| c.status != CommandStatus::Pending) else {
        return Ok(());
    };
    let line = AuditLine {
        at: now,
        actor: command.actor,
        action: command.kind,
        event_id: Some(command.event_id),
        request_id: rows.into_iter().next().map(|row| row.request_id).unwrap_or_default(),
        outcome: if command.status == CommandStatus::Applied { "APPLIED" } else { "REJECTED" }.to_owned(),
        detail: json!({
            "command_id": uuid::Uuid::from_bytes(command.command_id),
            "reason": command.reason,
        })
        .to_string(),
    };
    audit::append(conn, &line).await
}

/// `Closed` records that were published at least once and that their lanes have not applied: event, topic, lane, since (ms).
pub async fn closes_awaited(conn: &mut Conn) -> Result<Vec<(EventId, String, i32, i64)>, StoreError> {
    Ok(o::table
        .filter(o::settled_at.is_null())
        .filter(o::kind.eq(CLOSED))
        .filter(o::published_at.is_not_null())
        .order((o::event_id, o::lane))
        .select((o::event_id, o::topic, o::lane, o::published_at.assume_not_null()))
        .load(conn)
        .await?)
}

/// Commands that are not settled, oldest first: for the age of the outbox.
pub async fn oldest_unsettled(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    Ok(o::table
        .filter(o::settled_at.is_null())
        .filter(o::status.eq(CommandStatus::Pending.code()))
        .select(o::created_at)
        .order(o::created_at)
        .first(conn)
        .await
        .optional()?)
}
