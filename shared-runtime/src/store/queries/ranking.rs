//! What the ranking of events is made of.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::EventId;

use super::{Conn, snapshot};
use crate::store::error_class::StoreError;
use crate::store::schema::event_lane;

/// Entries of each event that gateways show, as far as they are committed.
pub async fn totals(
    conn: &mut Conn,
    closed_after: i64,
    now: i64,
) -> Result<BTreeMap<EventId, i64>, StoreError> {
    let ids = snapshot::watched(conn, closed_after, now).await?.into_iter().map(|(id, _)| id);
    let lanes: Vec<(EventId, i64, Option<i64>)> = event_lane::table
        .filter(event_lane::event_id.eq_any(ids))
        .select((event_lane::event_id, event_lane::seq, event_lane::deleted_offset))
        .load(conn)
        .await?;
    let mut totals = BTreeMap::new();
    for (event, seq, _) in &lanes {
        *totals.entry(*event).or_default() += seq;
    }
    // The log says it before a restored database does.
    for (event, ..) in lanes.iter().filter(|(.., deleted)| deleted.is_some()) {
        totals.remove(event);
    }
    Ok(totals)
}
