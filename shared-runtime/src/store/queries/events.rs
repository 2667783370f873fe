//! Events as staff change them. Every change bumps `version`, which is how gateways notice it.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, Lifecycle};

use super::{Conn, functions};
use crate::store::error_class::StoreError;
use crate::store::rows::{EventRow, LiveLimits, NewEvent};
use crate::store::schema::{event_lane, event_lock, events};

/// Inserts a draft and gives its id.
pub async fn create(conn: &mut Conn, event: &NewEvent) -> Result<EventId, StoreError> {
    diesel::insert_into(events::table).values(event).execute(conn).await?;
    Ok(diesel::select(functions::last_insert_id()).get_result(conn).await?)
}

/// One event.
pub async fn get(conn: &mut Conn, id: EventId) -> Result<Option<EventRow>, StoreError> {
    Ok(events::table
        .filter(events::event_id.eq(id))
        .select(EventRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Takes the event's lock row and gives the next place among its commands. `None`: there is no such event (or it is a
/// draft, which has no lock row yet).
pub async fn lock(conn: &mut Conn, id: EventId) -> Result<Option<i64>, StoreError> {
    let row = event_lock::table.filter(event_lock::event_id.eq(id));
    let locked = diesel::update(row)
        .set(event_lock::next_ordinal.eq(event_lock::next_ordinal + 1))
        .execute(conn)
        .await?;
    if locked == 0 {
        return Ok(None);
    }
    let next: i64 = event_lock::table
        .filter(event_lock::event_id.eq(id))
        .select(event_lock::next_ordinal)
        .first(conn)
        .await?;
    Ok(Some(next - 1))
}

/// Takes a draft by its own row, so that it is scheduled once. False when it is no draft any more.
pub async fn take_draft(conn: &mut Conn, id: EventId, now: i64) -> Result<bool, StoreError> {
    let row = events::table
        .filter(events::event_id.eq(id))
        .filter(events::lifecycle.eq(Lifecycle::Draft.code()))
        .filter(events::deleted_at.is_null());
    let taken = diesel::update(row)
        .set((
            events::lifecycle.eq(Lifecycle::Scheduled.code()),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(taken == 1)
}

/// Writes what scheduling fixes.
pub async fn set_scheduled(
    conn: &mut Conn,
    id: EventId,
    record: &[u8],
    topic: &str,
    lane_count: i32,
    salt: &[u8],
    claim_until: i64,
) -> Result<(), StoreError> {
    diesel::update(events::table.filter(events::event_id.eq(id)))
        .set((
            events::scheduled.eq(Some(record)),
            events::topic.eq(Some(topic)),
            events::lane_count.eq(lane_count),
            events::salt.eq(Some(salt)),
            events::claim_until.eq(Some(claim_until)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// A new version, for gateways to read: something beside the row has changed.
pub async fn bump(conn: &mut Conn, id: EventId, now: i64) -> Result<(), StoreError> {
    diesel::update(events::table.filter(events::event_id.eq(id)))
        .set((events::version.eq(events::version + 1), events::updated_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Marks an event as deleted, once.
pub async fn set_deleted(conn: &mut Conn, id: EventId, now: i64) -> Result<(), StoreError> {
    let row = events::table.filter(events::event_id.eq(id)).filter(events::deleted_at.is_null());
    diesel::update(row)
        .set((
            events::deleted_at.eq(Some(now)),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Moves the life cycle on. False when it did not stand at `from`.
pub async fn set_lifecycle(
    conn: &mut Conn,
    id: EventId,
    from: Lifecycle,
    to: Lifecycle,
    now: i64,
) -> Result<bool, StoreError> {
    let row = events::table.filter(events::event_id.eq(id)).filter(events::lifecycle.eq(from.code()));
    let moved = diesel::update(row)
        .set((
            events::lifecycle.eq(to.code()),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(moved == 1)
}

/// Pauses or resumes admission.
pub async fn set_paused(conn: &mut Conn, id: EventId, paused: bool, now: i64) -> Result<(), StoreError> {
    diesel::update(events::table.filter(events::event_id.eq(id)))
        .set((events::paused.eq(paused), events::version.eq(events::version + 1), events::updated_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets the limits; `None` is the default of the settings.
pub async fn set_limits(
    conn: &mut Conn,
    id: EventId,
    per_second: Option<i64>,
    raffle_per_second: Option<i64>,
    per_member: Option<i64>,
    now: i64,
) -> Result<(), StoreError> {
    diesel::update(events::table.filter(events::event_id.eq(id)))
        .set((
            events::limit_per_second.eq(per_second),
            events::raffle_limit_per_second.eq(raffle_per_second),
            events::member_limit_per_second.eq(per_member),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets the high-traffic flag.
pub async fn set_high_traffic(
    conn: &mut Conn,
    id: EventId,
    enabled: bool,
    now: i64,
) -> Result<(), StoreError> {
    diesel::update(events::table.filter(events::event_id.eq(id)))
        .set((
            events::high_traffic.eq(Some(enabled)),
            events::version.eq(events::version + 1),
            events::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Scheduled events whose end has come.
pub async fn ended(conn: &mut Conn, now: i64) -> Result<Vec<EventRow>, StoreError> {
    Ok(events::table
        .filter(events::lifecycle.eq(Lifecycle::Scheduled.code()))
        .filter(events::ends_at.le(now))
        .filter(events::deleted_at.is_null())
        .select(EventRow::as_select())
        .limit(100)
        .load(conn)
        .await?)
}

/// Live limits of every scheduled event that is not closed.
pub async fn live_limits(conn: &mut Conn) -> Result<Vec<LiveLimits>, StoreError> {
    Ok(events::table
        .filter(events::lifecycle.eq_any([Lifecycle::Scheduled.code(), Lifecycle::Closing.code()]))
        .filter(events::deleted_at.is_null())
        .order(events::event_id)
        .select(LiveLimits::as_select())
        .load(conn)
        .await?)
}

/// Closing events with the number of lanes that have applied a `Closed`.
pub async fn closing(conn: &mut Conn) -> Result<Vec<(EventId, i32, i64)>, StoreError> {
    let events: Vec<(EventId, i32)> = events::table
        .filter(events::lifecycle.eq(Lifecycle::Closing.code()))
        .select((events::event_id, events::lane_count))
        .load(conn)
        .await?;
    let ids: Vec<EventId> = events.iter().map(|(id, _)| *id).collect();
    let closed: Vec<(EventId, i64)> = event_lane::table
        .filter(event_lane::event_id.eq_any(ids))
        .filter(event_lane::closed_offset.is_not_null())
        .group_by(event_lane::event_id)
        .select((event_lane::event_id, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    Ok(events
        .into_iter()
        .map(|(id, lanes)| (id, lanes, closed.iter().find(|(c, _)| *c == id).map_or(0, |(_, n)| *n)))
        .collect())
}

/// Events that may still pay, or ended after `ended_after` (ms): with winners and points of their lanes, unsummed.
pub async fn lane_totals(conn: &mut Conn, ended_after: i64) -> Result<Vec<(EventId, i64, i64)>, StoreError> {
    Ok(events::table
        .inner_join(event_lane::table.on(event_lane::event_id.eq(events::event_id)))
        .filter(events::lifecycle.ne(Lifecycle::Draft.code()))
        .filter(events::deleted_at.is_null())
        .filter(events::lifecycle.lt(Lifecycle::Closed.code()).or(events::ends_at.gt(ended_after)))
        .order(events::event_id)
        .select((events::event_id, event_lane::wins, event_lane::paid))
        .load(conn)
        .await?)
}

/// How many events that are not closed have each lane, by topic: for choosing the least loaded one.
pub async fn lanes_in_use(conn: &mut Conn, topic: &str) -> Result<Vec<(i32, i64)>, StoreError> {
    let live: Vec<Vec<u8>> = events::table
        .filter(events::lifecycle.eq(Lifecycle::Scheduled.code()))
        .filter(events::topic.eq(Some(topic)))
        .filter(events::scheduled.is_not_null())
        .select(events::scheduled.assume_not_null())
        .load(conn)
        .await?;
    let mut counts = std::collections::BTreeMap::new();
    for record in live {
        if let Ok((_, shared_proto::v1::log_record::Kind::Scheduled(s))) = shared_proto::decode(&record) {
            for lane in s.lanes {
                *counts.entry(lane).or_insert(0i64) += 1;
            }
        }
    }
    Ok(counts.into_iter().collect())
}
