//! The offset authority: reading cursors, making and moving them by an operator.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_proto::Lane;

use super::Conn;
use crate::store::error_class::StoreError;
use crate::store::rows::ProgressRow;
use crate::store::schema::partition_progress as p;

/// Every row of one lane, whatever the log.
pub async fn of_lane(conn: &mut Conn, lane: &Lane) -> Result<Vec<ProgressRow>, StoreError> {
    Ok(p::table
        .filter(p::topic.eq(&lane.topic))
        .filter(p::partition_id.eq(lane.partition))
        .order(p::updated_at)
        .select(ProgressRow::as_select())
        .load(conn)
        .await?)
}

/// Every row.
pub async fn all(conn: &mut Conn) -> Result<Vec<ProgressRow>, StoreError> {
    Ok(p::table
        .order((p::topic, p::partition_id, p::log_id))
        .select(ProgressRow::as_select())
        .load(conn)
        .await?)
}

/// Rows of one log.
pub async fn of_log(conn: &mut Conn, log_id: &str) -> Result<Vec<ProgressRow>, StoreError> {
    Ok(p::table.filter(p::log_id.eq(log_id)).select(ProgressRow::as_select()).load(conn).await?)
}

/// A new row.
pub async fn insert(conn: &mut Conn, row: &ProgressRow) -> Result<(), StoreError> {
    diesel::insert_into(p::table).values(row).execute(conn).await?;
    Ok(())
}

/// Moves a cursor on an operator's word; the next record is not compared with the last one applied. False when there
/// is no such row.
pub async fn reset(
    conn: &mut Conn,
    log_id: &str,
    lane: &Lane,
    to: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let row = p::table
        .filter(p::log_id.eq(log_id))
        .filter(p::topic.eq(&lane.topic))
        .filter(p::partition_id.eq(lane.partition));
    let changed = diesel::update(row)
        .set((p::next_offset.eq(to), p::last_hash.eq(None::<Vec<u8>>), p::updated_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(changed == 1)
}
