//! What completed missions earn, on its way to the log (DESIGN section 4, "One outbox").

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, Lifecycle};
use shared_proto::Lane;

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::EarnedRow;
use crate::store::schema::{events, mission_outbox as o};

/// Ids a statement: fewer than MariaDB turns into a joined table.
const IDS: usize = 900;

/// Rows behind one that are not published, in the order of their making.
pub async fn unpublished(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<EarnedRow>, StoreError> {
    Ok(o::table
        .filter(o::published_at.is_null())
        .filter(o::outbox_id.gt(after))
        .order(o::outbox_id)
        .limit(limit)
        .select(EarnedRow::as_select())
        .load(conn)
        .await?)
}

/// Notes the broker's acks.
pub async fn mark_published(conn: &mut Conn, ids: &[i64], now: i64) -> Result<(), StoreError> {
    for ids in ids.chunks(IDS) {
        diesel::update(o::table.filter(o::outbox_id.eq_any(ids.iter().copied())))
            .set(o::published_at.eq(Some(now)))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Whether something of an event still has to be published.
pub async fn holds(conn: &mut Conn, event: EventId) -> Result<bool, StoreError> {
    let waiting = o::table.filter(o::published_at.is_null()).filter(o::event_id.eq(event));
    Ok(diesel::select(exists(waiting)).get_result(conn).await?)
}

/// When the oldest row was made that is not published.
pub async fn oldest(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    Ok(o::table
        .filter(o::published_at.is_null())
        .order(o::outbox_id)
        .select(o::created_at)
        .first(conn)
        .await
        .optional()?)
}

/// A lane goes on in another log, or elsewhere in this one: what was earned for events that take entries goes out again.
/// A record that is met twice changes nothing.
pub async fn publish_again(conn: &mut Conn, lane: &Lane) -> Result<(), StoreError> {
    let running = events::table
        .filter(events::event_id.eq(o::event_id))
        .filter(events::lifecycle.lt(Lifecycle::Closed.code()))
        .filter(events::deleted_at.is_null());
    let rows = o::table
        .filter(o::topic.eq(&lane.topic))
        .filter(o::lane.eq(lane.partition))
        .filter(o::published_at.is_not_null())
        .filter(exists(running));
    diesel::update(rows).set(o::published_at.eq(None::<i64>)).execute(conn).await?;
    Ok(())
}
