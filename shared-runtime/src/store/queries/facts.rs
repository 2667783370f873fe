//! What staff see of an event beside its row.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::EventId;

use super::Conn;
use crate::store::commands::EventFacts;
use crate::store::error_class::StoreError;
use crate::store::schema::{event_lane, event_stock};

/// What the lanes say about these events, in the same order.
pub async fn of(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<EventFacts>, StoreError> {
    let lanes: Vec<(EventId, bool, Option<i64>)> = event_lane::table
        .filter(event_lane::event_id.eq_any(ids.iter().copied()))
        .select((event_lane::event_id, event_lane::is_scheduled, event_lane::exhausted_offset))
        .load(conn)
        .await?;
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
            scheduled_lanes: lanes.iter().filter(|l| l.0 == *id && l.1).count(),
            exhausted: lanes.iter().any(|l| l.0 == *id && l.2.is_some()),
            options: stock
                .iter()
                .filter(|s| s.0 == *id)
                .map(|(_, name, granted, left)| (name.clone(), *granted, *left))
                .collect(),
        })
        .collect())
}
