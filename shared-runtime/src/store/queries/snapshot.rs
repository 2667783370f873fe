//! What gateways watch: a constant number of queries a tick, however many requests there are (DESIGN section 6).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, Lifecycle};

use super::{Conn, progress};
use crate::store::error_class::StoreError;
use crate::store::rows::{EventRow, SnapshotRows, StockRow, WatchedLane};
use crate::store::schema::{event_lane, event_stock, events, outbox};

/// Kind of the outbox rows that add stock.
pub const STOCK_ADDED: &str = "STOCK_ADDED";

/// Events that did not close before `closed_after` (ms) or whose winners may still claim at `now`, their lanes and stock, and the cursors of `log_id`.
pub async fn load(
    conn: &mut Conn,
    log_id: &str,
    closed_after: i64,
    now: i64,
) -> Result<SnapshotRows, StoreError> {
    // First: a StockAdded that is settled here is applied in the lane rows read below. The other way round a snapshot
    // could show a sold-out lane and no pending stock although both are past.
    let stock_pending = outbox::table
        .filter(outbox::settled_at.is_null())
        .filter(outbox::kind.eq(STOCK_ADDED))
        .select(outbox::event_id)
        .load(conn)
        .await?;
    let versions = watched(conn, closed_after, now).await?;
    let ids: Vec<EventId> = versions.iter().map(|(id, _)| *id).collect();
    let lanes = event_lane::table
        .filter(event_lane::event_id.eq_any(ids.clone()))
        .order((event_lane::event_id, event_lane::lane))
        .select(WatchedLane::as_select())
        .load(conn)
        .await?;
    let stock = event_stock::table
        .filter(event_stock::event_id.eq_any(ids))
        .order((event_stock::event_id, event_stock::option_index))
        .select(StockRow::as_select())
        .load(conn)
        .await?;
    let progress = progress::of_log(conn, log_id).await?;
    Ok(SnapshotRows { versions, lanes, stock, progress, stock_pending })
}

/// Ids and versions of the events that [`load`] shows.
pub async fn watched(
    conn: &mut Conn,
    closed_after: i64,
    now: i64,
) -> Result<Vec<(EventId, i64)>, StoreError> {
    Ok(events::table
        .filter(events::lifecycle.ne(Lifecycle::Draft.code()))
        .filter(events::deleted_at.is_null())
        .filter(
            events::lifecycle
                .lt(Lifecycle::Closed.code())
                .or(events::ends_at.gt(closed_after))
                .or(events::claim_until.gt(now)),
        )
        .order(events::event_id)
        .select((events::event_id, events::version))
        .load(conn)
        .await?)
}

/// Full rows of the events that changed since the last tick.
pub async fn changed(conn: &mut Conn, ids: &[EventId]) -> Result<Vec<EventRow>, StoreError> {
    Ok(events::table
        .filter(events::event_id.eq_any(ids.iter().copied()))
        .select(EventRow::as_select())
        .load(conn)
        .await?)
}
