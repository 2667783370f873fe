//! Deletions and erasures, step by step (DESIGN section 8). Every step may be met again.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::{EventId, MemberId, Millis};
use shared_proto::v1::{self, log_record::Kind};

use super::{Conn, contact, outbox};
use crate::store::erasures::{DeletionState, UnfinishedDeletion};
use crate::store::error_class::StoreError;
use crate::store::rows::{CommandStatus, ContactErasureRow, OutboxRow, Subject};
use crate::store::schema::{
    command_applied, contact as c, contact_erasure as x, event_entry, event_lane, event_lock, events,
    outbox as o, parked_record, partition_progress as p,
};

use super::command::{DELETED, NO_LANE};

/// Ids a statement.
const IDS: usize = 1_000;
/// Parked records looked at a statement.
const PARKED: i64 = 500;

/// Waits for the batches that are being written, and holds off the next ones until this transaction ends: what they
/// wrote is seen here, and they will see what is written here. Always the first lock of a transaction, as it is theirs.
pub async fn hold_lanes(conn: &mut Conn) -> Result<(), StoreError> {
    diesel::update(p::table).set(p::updated_at.eq(p::updated_at)).execute(conn).await?;
    Ok(())
}

/// Takes the lock rows of these events; gives how many there are.
pub async fn hold_events(conn: &mut Conn, ids: &[EventId]) -> Result<usize, StoreError> {
    let mut held = 0;
    for ids in ids.chunks(IDS) {
        let rows = event_lock::table.filter(event_lock::event_id.eq_any(ids.iter().copied()));
        let set = event_lock::next_ordinal.eq(event_lock::next_ordinal);
        held += diesel::update(rows).set(set).execute(conn).await?;
    }
    Ok(held)
}

/// What was erased of these events and members.
pub async fn among(
    conn: &mut Conn,
    events: &[EventId],
    members: &[MemberId],
) -> Result<Vec<ContactErasureRow>, StoreError> {
    let mut found = Vec::new();
    for (subject, ids) in [(Subject::Event, events), (Subject::Member, members)] {
        for ids in ids.chunks(IDS) {
            let rows: Vec<ContactErasureRow> = x::table
                .filter(x::subject.eq(subject.code()))
                .filter(x::subject_id.eq_any(ids.iter().copied()))
                .select(ContactErasureRow::as_select())
                .load(conn)
                .await?;
            found.extend(rows);
        }
    }
    Ok(found)
}

/// All of them.
pub async fn all(conn: &mut Conn) -> Result<Vec<ContactErasureRow>, StoreError> {
    Ok(x::table.select(ContactErasureRow::as_select()).load(conn).await?)
}

/// Notes that contacts given until a moment (ms) must not come back. The lanes are held.
pub async fn note(conn: &mut Conn, subject: Subject, id: i64, until: Millis) -> Result<(), StoreError> {
    let row = x::table.filter(x::subject.eq(subject.code())).filter(x::subject_id.eq(id));
    let known: Option<i64> = row.select(x::erased_until).first(conn).await.optional()?;
    match known {
        Some(known) => {
            let set = (x::erased_until.eq(known.max(until)), x::is_done.eq(false));
            diesel::update(row).set(set).execute(conn).await?;
        }
        None => {
            let new = ContactErasureRow {
                subject: subject.code(),
                subject_id: id,
                erased_until: until,
                contacts_destroyed: 0,
                is_done: false,
            };
            diesel::insert_into(x::table).values(new).execute(conn).await?;
        }
    }
    Ok(())
}

async fn count(
    conn: &mut Conn,
    subject: Subject,
    id: i64,
    destroyed: usize,
    is_done: bool,
) -> Result<(), StoreError> {
    let destroyed = i64::try_from(destroyed).unwrap_or(i64::MAX);
    let row = x::table.filter(x::subject.eq(subject.code())).filter(x::subject_id.eq(id));
    let set = (x::contacts_destroyed.eq(x::contacts_destroyed + destroyed), x::is_done.eq(is_done));
    diesel::update(row).set(set).execute(conn).await?;
    Ok(())
}

/// Soft-deletes an event and keeps its contacts from coming back. An event that this database does not know is noted
/// all the same: its `Scheduled` may still come.
pub async fn soft_delete(conn: &mut Conn, event: EventId, now: Millis) -> Result<(), StoreError> {
    hold_lanes(conn).await?;
    hold_events(conn, &[event]).await?;
    note(conn, Subject::Event, event, i64::MAX).await?;
    super::events::set_deleted(conn, event, now).await
}

/// Deletes some of an event's contacts; gives how many. None are left when it gives 0.
pub async fn delete_contacts(conn: &mut Conn, event: EventId, limit: i64) -> Result<usize, StoreError> {
    let ids: Vec<Vec<u8>> = c::table
        .filter(c::event_id.eq(event))
        .order(c::entry_id)
        .limit(limit)
        .select(c::entry_id)
        .load(conn)
        .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let destroyed = contact::delete(conn, event, &ids).await?;
    count(conn, Subject::Event, event, destroyed, false).await?;
    Ok(destroyed)
}

/// Nulls the salt, in the event's own column and in the definition; in the outbox where the command is in the log.
pub async fn forget_salt(conn: &mut Conn, event: EventId) -> Result<(), StoreError> {
    let row = events::table.filter(events::event_id.eq(event));
    let scheduled: Option<Option<Vec<u8>>> = row.select(events::scheduled).first(conn).await.optional()?;
    let bare = scheduled.flatten().map(|record| without_salt(event, &record)).transpose()?;
    let set = (events::salt.eq(None::<Vec<u8>>), events::scheduled.eq(bare));
    diesel::update(row).set(set).execute(conn).await?;
    let kept = o::table
        .filter(o::event_id.eq(event))
        .filter(o::kind.eq("SCHEDULED"))
        .filter(o::settled_at.is_not_null());
    let records: Vec<(i64, i32, Vec<u8>)> = kept.select((o::ordinal, o::lane, o::record)).load(conn).await?;
    for (ordinal, lane, record) in records {
        let row =
            o::table.filter(o::event_id.eq(event)).filter(o::ordinal.eq(ordinal)).filter(o::lane.eq(lane));
        diesel::update(row).set(o::record.eq(without_salt(event, &record)?)).execute(conn).await?;
    }
    Ok(())
}

/// A `Scheduled` record without its salt; anything else as it is.
pub fn without_salt(event: EventId, record: &[u8]) -> Result<Vec<u8>, StoreError> {
    match shared_proto::decode(record) {
        Ok((id, Kind::Scheduled(mut scheduled))) => {
            scheduled.salt.clear();
            Ok(shared_proto::encode(id, Kind::Scheduled(scheduled)))
        }
        Ok(_) => Ok(record.to_vec()),
        Err(error) => Err(StoreError::fatal(format!("event {event}: bad Scheduled record: {error}"))),
    }
}

/// Deletions whose last step is not noted yet.
pub async fn unfinished(conn: &mut Conn) -> Result<Vec<UnfinishedDeletion>, StoreError> {
    let rows: Vec<OutboxRow> = o::table
        .filter(o::settled_at.is_null())
        .filter(o::lane.eq(NO_LANE))
        .filter(o::kind.eq(DELETED))
        .order((o::created_at, o::event_id))
        .select(OutboxRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let command_id = row.command_id.as_slice().try_into();
            Ok(UnfinishedDeletion {
                command_id: command_id.map_err(|_| StoreError::fatal("outbox: bad command id"))?,
                event_id: row.event_id,
                actor: row.actor,
                request_id: row.request_id,
                asked_at: row.created_at,
            })
        })
        .collect()
}

/// `Scheduled` record, topic, `deleted_at`.
type DeletedEvent = (Option<Vec<u8>>, Option<String>, Option<i64>);

/// Where a deletion stands.
pub async fn state(conn: &mut Conn, event: EventId) -> Result<Option<DeletionState>, StoreError> {
    let row: Option<DeletedEvent> = events::table
        .filter(events::event_id.eq(event))
        .select((events::scheduled, events::topic, events::deleted_at))
        .first(conn)
        .await
        .optional()?;
    let Some((scheduled, topic, deleted_at)) = row else { return Ok(None) };
    let commands: Vec<OutboxRow> = o::table
        .filter(o::event_id.eq(event))
        .filter(o::kind.eq(DELETED))
        .order(o::lane)
        .select(OutboxRow::as_select())
        .load(conn)
        .await?;
    if commands.is_empty() {
        return Ok(None);
    }
    let lanes: Vec<&OutboxRow> = commands.iter().filter(|row| row.lane != NO_LANE).collect();
    let scheduled_by = match scheduled.as_deref().map(shared_proto::decode) {
        Some(Ok((_, Kind::Scheduled(v1::Scheduled { command_id, .. })))) => command_id,
        _ => Vec::new(),
    };
    let ids = [scheduled_by.clone(), commands[0].command_id.clone()];
    let applied: Vec<(Vec<u8>, i32, i64)> = command_applied::table
        .filter(command_applied::command_id.eq_any(ids))
        .select((command_applied::command_id, command_applied::lane, command_applied::log_offset))
        .load(conn)
        .await?;
    let offset = |id: &[u8], lane: i32| applied.iter().find(|(i, l, _)| i == id && *l == lane).map(|a| a.2);
    let ranges = lanes
        .iter()
        .filter_map(|row| {
            Some((row.lane, offset(&scheduled_by, row.lane)?, offset(&row.command_id, row.lane)?))
        })
        .collect();
    let decided: Vec<i64> =
        event_lane::table.filter(event_lane::event_id.eq(event)).select(event_lane::seq).load(conn).await?;
    let erased = among(conn, &[event], &[]).await?;
    let left: i64 = c::table.filter(c::event_id.eq(event)).count().get_result(conn).await?;
    Ok(Some(DeletionState {
        topic,
        is_applied: lanes.iter().all(|row| row.settled_at.is_some()),
        ranges,
        entries_kept: decided.iter().sum(),
        contacts_destroyed: erased.iter().map(|row| row.contacts_destroyed).sum(),
        contacts_left: left,
        deleted_at,
    }))
}

/// Notes a deletion's last step: its command is in effect when its lanes are.
pub async fn finish(conn: &mut Conn, deletion: &UnfinishedDeletion, now: Millis) -> Result<(), StoreError> {
    let id = deletion.command_id.to_vec();
    let row = o::table.filter(o::command_id.eq(id.clone())).filter(o::lane.eq(NO_LANE));
    let changed = diesel::update(row.filter(o::settled_at.is_null()))
        .set((o::settled_at.eq(Some(now)), o::status.eq(CommandStatus::Applied.code())))
        .execute(conn)
        .await?;
    if changed > 0 {
        outbox::audit_settled(conn, &id, now).await?;
    }
    count(conn, Subject::Event, deletion.event_id, 0, true).await
}

/// Destroys a member's contacts in every event, those given until `until` (ms), and keeps them from coming back. Gives
/// the events and how many contacts there were.
pub async fn erase_member(
    conn: &mut Conn,
    member: MemberId,
    until: Millis,
) -> Result<(Vec<EventId>, usize), StoreError> {
    hold_lanes(conn).await?;
    let mut ids: Vec<EventId> = event_entry::table
        .filter(event_entry::member_id.eq(member))
        .select(event_entry::event_id)
        .distinct()
        .load(conn)
        .await?;
    ids.sort_unstable();
    hold_events(conn, &ids).await?;
    note(conn, Subject::Member, member, until).await?;
    let same = c::event_id.eq(event_entry::event_id).and(c::entry_id.eq(event_entry::entry_id));
    let found: Vec<(EventId, Vec<u8>)> = event_entry::table
        .inner_join(c::table.on(same))
        .filter(event_entry::member_id.eq(member))
        .filter(c::at.le(until))
        .select((c::event_id, c::entry_id))
        .order((c::event_id, c::entry_id))
        .load(conn)
        .await?;
    let (mut touched, mut destroyed) = (Vec::new(), 0);
    for rows in found.chunk_by(|a, b| a.0 == b.0) {
        let event = rows[0].0;
        touched.push(event);
        for rows in rows.chunks(IDS) {
            let entries: Vec<Vec<u8>> = rows.iter().map(|(_, entry)| entry.clone()).collect();
            destroyed += contact::delete(conn, event, &entries).await?;
        }
    }
    strip_parked(conn, member).await?;
    count(conn, Subject::Member, member, destroyed, true).await?;
    Ok((touched, destroyed))
}

/// Records that wait for an operator lose the member's contact. The lanes are held.
async fn strip_parked(conn: &mut Conn, member: MemberId) -> Result<(), StoreError> {
    use parked_record as k;
    let mut after = (i64::MIN, i32::MIN, i64::MIN);
    loop {
        let (event, lane, offset) = after;
        let behind = k::event_id.gt(event).or(k::event_id
            .eq(event)
            .and(k::lane.gt(lane).or(k::lane.eq(lane).and(k::log_offset.gt(offset)))));
        let rows: Vec<(i64, i32, i64, Vec<u8>)> = k::table
            .filter(behind)
            .order((k::event_id, k::lane, k::log_offset))
            .limit(PARKED)
            .select((k::event_id, k::lane, k::log_offset, k::record))
            .load(conn)
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = (last.0, last.1, last.2);
        for (event, lane, offset, record) in rows {
            let Ok((id, Kind::Entry(mut entry))) = shared_proto::decode(&record) else { continue };
            if entry.member_id != member || entry.sealed_contact.is_empty() {
                continue;
            }
            entry.sealed_contact.clear();
            let row = k::table
                .filter(k::event_id.eq(event))
                .filter(k::lane.eq(lane))
                .filter(k::log_offset.eq(offset));
            let bare = shared_proto::encode(id, Kind::Entry(entry));
            diesel::update(row).set(k::record.eq(bare)).execute(conn).await?;
        }
    }
}
