//! The key store: contact keys of events, and the list of deletions and erasures.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, Millis};

use super::Conn;
use crate::store::error_class::{StoreError, is_duplicate_key};
use crate::store::rows::{ErasureRow, EventKeyRow, Subject};
use crate::store::schema::{erasure as r, event_key as k};

/// An event's key, destroyed ones too.
pub async fn key(conn: &mut Conn, event: EventId) -> Result<Option<EventKeyRow>, StoreError> {
    Ok(k::table
        .filter(k::event_id.eq(event))
        .select(EventKeyRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Adds a key. False when the event has one.
pub async fn insert_key(conn: &mut Conn, row: &EventKeyRow) -> Result<bool, StoreError> {
    match diesel::insert_into(k::table).values(row).execute(conn).await {
        Ok(_) => Ok(true),
        Err(error) if is_duplicate_key(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Living keys behind `after` that another key-encryption key wraps, by event.
pub async fn keys_not_wrapped_by(
    conn: &mut Conn,
    id: &[u8; 16],
    after: EventId,
    limit: i64,
) -> Result<Vec<EventKeyRow>, StoreError> {
    Ok(k::table
        .filter(k::wrapped_key.is_not_null())
        .filter(k::wrapped_by.ne(id.to_vec()))
        .filter(k::event_id.gt(after))
        .order(k::event_id)
        .limit(limit)
        .select(EventKeyRow::as_select())
        .load(conn)
        .await?)
}

/// Writes a key's new wrapping in the place of the old one. False when it is another by now, or destroyed.
pub async fn rewrap(
    conn: &mut Conn,
    old: &EventKeyRow,
    wrapped: Vec<u8>,
    by: &[u8; 16],
) -> Result<bool, StoreError> {
    let row =
        k::table.filter(k::event_id.eq(old.event_id)).filter(k::wrapped_key.eq(old.wrapped_key.clone()));
    let set = (k::wrapped_key.eq(Some(wrapped)), k::wrapped_by.eq(by.to_vec()));
    Ok(diesel::update(row).set(set).execute(conn).await? == 1)
}

/// Destroys an event's key, if it lives.
pub async fn destroy_key(conn: &mut Conn, event: EventId, now: Millis) -> Result<(), StoreError> {
    let row = k::table.filter(k::event_id.eq(event)).filter(k::wrapped_key.is_not_null());
    let set = (k::wrapped_key.eq(None::<Vec<u8>>), k::destroyed_at.eq(Some(now)));
    diesel::update(row).set(set).execute(conn).await?;
    Ok(())
}

/// Adds to the list, once; gives what stands there.
pub async fn note(conn: &mut Conn, row: &ErasureRow) -> Result<ErasureRow, StoreError> {
    match diesel::insert_into(r::table).values(row).execute(conn).await {
        Ok(_) => return Ok(row.clone()),
        Err(error) if is_duplicate_key(&error) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(r::table
        .filter(r::erasure_id.eq(row.erasure_id.clone()))
        .select(ErasureRow::as_select())
        .first(conn)
        .await?)
}

/// Keeps what staff are told in the end; the first word stands.
pub async fn complete(conn: &mut Conn, id: &[u8], record: &str) -> Result<(), StoreError> {
    let row = r::table.filter(r::erasure_id.eq(id.to_vec())).filter(r::record.is_null());
    diesel::update(row).set(r::record.eq(Some(record))).execute(conn).await?;
    Ok(())
}

/// Deletions or erasures of one event or member.
pub async fn of(conn: &mut Conn, subject: Subject, id: i64) -> Result<Vec<ErasureRow>, StoreError> {
    Ok(r::table
        .filter(r::subject.eq(subject.code()))
        .filter(r::subject_id.eq(id))
        .order(r::erased_at)
        .select(ErasureRow::as_select())
        .load(conn)
        .await?)
}

/// The list behind an id, by id.
pub async fn list(conn: &mut Conn, after: &[u8], limit: i64) -> Result<Vec<ErasureRow>, StoreError> {
    Ok(r::table
        .filter(r::erasure_id.gt(after.to_vec()))
        .order(r::erasure_id)
        .limit(limit)
        .select(ErasureRow::as_select())
        .load(conn)
        .await?)
}

/// What staff were told of the deletion of an event that was asked for last, of those that have ended.
pub async fn last_certificate(conn: &mut Conn) -> Result<Option<String>, StoreError> {
    let ended = r::table.filter(r::subject.eq(Subject::Event.code())).filter(r::record.is_not_null());
    let record = ended.order(r::erased_at.desc()).select(r::record.assume_not_null()).first(conn).await;
    Ok(record.optional()?)
}
