//! What staff see of an event beside its row.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::EventId;

use super::Conn;
use crate::store::commands::EventFacts;
use crate::store::error_class::StoreError;
use crate::store::rows::WatchedLane;
use crate::store::schema::{event_lane, event_stock};

/// What the lanes say about these events, in the same order.
pub async fn of(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<EventFacts>, StoreError> {
    let lanes = event_lane::table
        .filter(event_lane::event_id.eq_any(ids.iter().copied()))
        .select(WatchedLane::as_select())
        .load(conn)
        .await?;
    let approval = |id: EventId| {
        let of = |l: &WatchedLane| Some((l.review_number.clone()?, l.approved_from?, l.approved_until?));
        let mut all = lanes.iter().filter(|l| l.event_id == id).map(of);
        let first = all.next()??;
        all.all(|other| other.as_ref() == Some(&first)).then_some(first)
    };
    let stock: Vec<(EventId, String, i64, i64)> = event_stock::table
        .filter(event_stock::event_id.eq_any(ids.iter().copied()))
        .order((event_stock::event_id, event_stock::option_index))
        .select((
            event_stock::event_id,
            event_stock::option_name,
            event_stock::granted,
            event_stock::stock_count,
        ))
        .load(conn)
        .await?;
    Ok(ids
        .iter()
        .map(|id| EventFacts {
            scheduled_lanes: lanes.iter().filter(|l| l.event_id == *id && l.is_scheduled).count(),
            exhausted: lanes.iter().any(|l| l.event_id == *id && l.exhausted_offset.is_some()),
            options: stock
                .iter()
                .filter(|s| s.0 == *id)
                .map(|(_, name, granted, left)| (name.clone(), *granted, *left))
                .collect(),
            approval: approval(*id),
        })
        .collect())
}
