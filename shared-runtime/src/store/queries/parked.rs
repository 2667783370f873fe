//! Parked events: what an operator sees and asks for.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::EventId;

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::ParkedEvent;
use crate::store::schema::{event_lane, events, parked_record};

/// Event, lane, first offset, since, reason, unpark requested.
type ParkedLane = (EventId, i32, Option<i64>, Option<i64>, Option<String>, bool);

/// All parked events.
pub async fn list(conn: &mut Conn) -> Result<Vec<ParkedEvent>, StoreError> {
    use event_lane as l;
    let counts: Vec<(EventId, i32, i64)> = parked_record::table
        .group_by((parked_record::event_id, parked_record::lane))
        .select((parked_record::event_id, parked_record::lane, diesel::dsl::count_star()))
        .load(conn)
        .await?;
    let rows: Vec<ParkedLane> = l::table
        .filter(l::parked_offset.is_not_null())
        .order((l::event_id, l::lane))
        .select((
            l::event_id,
            l::lane,
            l::parked_offset,
            l::parked_since,
            l::parked_reason,
            l::unpark_requested,
        ))
        .load(conn)
        .await?;
    let ids: Vec<EventId> = rows.iter().map(|r| r.0).collect();
    let topics: Vec<(EventId, Option<String>)> = events::table
        .filter(events::event_id.eq_any(ids))
        .select((events::event_id, events::topic))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(event_id, lane, first, since, reason, unpark_requested)| ParkedEvent {
            event_id,
            lane,
            topic: topics.iter().find(|(id, _)| *id == event_id).and_then(|(_, t)| t.clone()),
            first_offset: first.unwrap_or_default(),
            records: counts.iter().find(|c| (c.0, c.1) == (event_id, lane)).map_or(0, |c| c.2),
            reason: reason.unwrap_or_default(),
            since: since.unwrap_or_default(),
            unpark_requested,
        })
        .collect())
}

/// The first record that waits, by event and lane. While an unpark goes on this is how far it has come.
pub async fn first_offsets(conn: &mut Conn) -> Result<HashMap<(EventId, i32), i64>, StoreError> {
    use parked_record as p;
    let rows: Vec<(EventId, i32, Option<i64>)> = p::table
        .group_by((p::event_id, p::lane))
        .select((p::event_id, p::lane, diesel::dsl::min(p::log_offset)))
        .load(conn)
        .await?;
    Ok(rows.into_iter().filter_map(|(event, lane, first)| Some(((event, lane), first?))).collect())
}

/// Asks the lanes' workers to decide an event's parked records. Returns the number of lanes it is parked in.
pub async fn request_unpark(conn: &mut Conn, event: EventId) -> Result<usize, StoreError> {
    use event_lane as l;
    let rows = l::table.filter(l::event_id.eq(event)).filter(l::parked_offset.is_not_null());
    Ok(diesel::update(rows).set(l::unpark_requested.eq(true)).execute(conn).await?)
}

/// Takes the request back after a record failed again, and says why.
pub async fn refuse_unpark(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    reason: &str,
) -> Result<(), StoreError> {
    use event_lane as l;
    let reason: String = reason.chars().take(1_000).collect();
    let row = l::table.filter(l::event_id.eq(event)).filter(l::lane.eq(lane));
    diesel::update(row)
        .set((l::unpark_requested.eq(false), l::parked_reason.eq(Some(reason))))
        .execute(conn)
        .await?;
    Ok(())
}

/// Events that an operator asked to unpark, with lane and topic.
pub async fn requested(conn: &mut Conn) -> Result<Vec<(EventId, i32, Option<String>)>, StoreError> {
    use event_lane as l;
    Ok(l::table
        .left_join(events::table.on(events::event_id.eq(l::event_id)))
        .filter(l::unpark_requested.eq(true))
        .select((l::event_id, l::lane, events::topic.nullable()))
        .load(conn)
        .await?)
}
