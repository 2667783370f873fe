//! Sealed contacts: written by the worker (AT_APPLY) or by a winner's claim, read by exports.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EntryId, EntryStatus, EventId, MemberId, Millis};

use super::{Conn, erasure};
use crate::store::Claimed;
use crate::store::error_class::StoreError;
use crate::store::rows::{ContactRow, Subject};
use crate::store::schema::{contact as c, event_entry, events};

/// Ids a statement.
const IDS: usize = 1_000;

/// Writes contacts in the place of those that the same entries had.
pub async fn put(conn: &mut Conn, mut rows: Vec<ContactRow>) -> Result<(), StoreError> {
    rows.sort_unstable_by(|a, b| (a.event_id, &a.entry_id).cmp(&(b.event_id, &b.entry_id)));
    let mut by_event: BTreeMap<EventId, Vec<Vec<u8>>> = BTreeMap::new();
    for row in &rows {
        by_event.entry(row.event_id).or_default().push(row.entry_id.clone());
    }
    for (event, ids) in by_event {
        for ids in ids.chunks(IDS) {
            delete(conn, event, ids).await?;
        }
    }
    insert_in_chunks!(conn, c::table, rows, IDS)
}

/// Deletes contacts of these entries (at most 1,000); gives how many there were.
pub async fn delete(conn: &mut Conn, event: EventId, entries: &[Vec<u8>]) -> Result<usize, StoreError> {
    let rows = c::table.filter(c::event_id.eq(event)).filter(c::entry_id.eq_any(entries.iter().cloned()));
    Ok(diesel::delete(rows).execute(conn).await?)
}

/// Entry id and sealed contact of these entries.
pub async fn of(
    conn: &mut Conn,
    event: EventId,
    entries: &[Vec<u8>],
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
    let mut found = Vec::with_capacity(entries.len());
    for entries in entries.chunks(IDS) {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = c::table
            .filter(c::event_id.eq(event))
            .filter(c::entry_id.eq_any(entries.iter().cloned()))
            .select((c::entry_id, c::sealed))
            .load(conn)
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// A winner's claim, under the event's lock row: a deletion or an erasure is wholly before it or wholly behind it.
pub async fn claim(
    conn: &mut Conn,
    event: EventId,
    entry: EntryId,
    member: MemberId,
    sealed: Vec<u8>,
    at: Millis,
) -> Result<Claimed, StoreError> {
    if erasure::hold_events(conn, &[event]).await? == 0 {
        return Ok(Claimed::EventGone);
    }
    let deleted: Option<Option<i64>> = events::table
        .filter(events::event_id.eq(event))
        .select(events::deleted_at)
        .first(conn)
        .await
        .optional()?;
    if deleted != Some(None) {
        return Ok(Claimed::EventGone);
    }
    let status: Option<i16> = event_entry::table
        .filter(event_entry::event_id.eq(event))
        .filter(event_entry::entry_id.eq(entry.as_bytes().to_vec()))
        .filter(event_entry::member_id.eq(member))
        .select(event_entry::status)
        .first(conn)
        .await
        .optional()?;
    if status != Some(i16::from(EntryStatus::Win.code())) {
        return Ok(Claimed::NotAWinner);
    }
    let erased = erasure::among(conn, &[], &[member]).await?;
    if erased.iter().any(|row| row.subject == Subject::Member.code() && row.erased_until >= at) {
        return Ok(Claimed::ErasedSince);
    }
    let row = ContactRow { event_id: event, entry_id: entry.as_bytes().to_vec(), sealed, at };
    put(conn, vec![row]).await?;
    Ok(Claimed::Kept)
}
