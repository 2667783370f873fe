//! What is counted over all events, for the figures of a process (METRICS.md).

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::EventId;

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::schema::{draw, event_lane, event_stock, parked_record};

/// Events that are parked in a lane, and their records that wait.
pub async fn parked(conn: &mut Conn) -> Result<(i64, i64), StoreError> {
    let events = event_lane::table
        .filter(event_lane::parked_offset.is_not_null())
        .select(diesel::dsl::count(event_lane::event_id).aggregate_distinct())
        .get_result(conn)
        .await?;
    let records =
        parked_record::table.filter(parked_record::given_up.eq(false)).count().get_result(conn).await?;
    Ok((events, records))
}

/// Draws by the number of their phase.
pub async fn draws_by_phase(conn: &mut Conn) -> Result<Vec<(i16, i64)>, StoreError> {
    Ok(draw::table.group_by(draw::phase).select((draw::phase, count_star())).load(conn).await?)
}

/// Prizes of each option and lane of these events, unsummed.
pub async fn prizes(conn: &mut Conn, events: &[EventId]) -> Result<Vec<(EventId, i64)>, StoreError> {
    Ok(event_stock::table
        .filter(event_stock::event_id.eq_any(events.iter().copied()))
        .select((event_stock::event_id, event_stock::granted))
        .load(conn)
        .await?)
}
