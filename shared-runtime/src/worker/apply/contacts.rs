//! Contacts that came with the entry (AT_APPLY): kept sealed, beside the entries they belong to.

use std::collections::{BTreeSet, HashMap};

use shared_domain::{ContactCollection, EntryStatus, EventId, Fold, LogEntry};
use shared_proto::v1::log_record::Kind;

use super::{ApplyError, Work};
use crate::store::lane_tx::LaneTx;
use crate::store::rows::{ContactRow, Subject};

impl Work<'_> {
    /// Keeps the contacts of entries that have won or may still win; nobody else's is needed. What was erased in the
    /// meantime does not come back.
    pub(super) async fn write_contacts<T: LaneTx>(
        &self,
        tx: &mut T,
        records: &[&LogEntry],
        fold: &Fold,
    ) -> Result<(), ApplyError> {
        let collects = |id: &EventId| {
            let event = fold.events.get(id);
            event.is_some_and(|e| e.definition.contact_collection == ContactCollection::AtApply)
        };
        if !fold.events.keys().any(collects) {
            return Ok(());
        }
        let sealed: HashMap<i64, &[u8]> = records
            .iter()
            .filter_map(|record| match &record.kind {
                Kind::Entry(entry) if !entry.sealed_contact.is_empty() => {
                    Some((record.offset, entry.sealed_contact.as_slice()))
                }
                _ => None,
            })
            .collect();
        let mut given: Vec<(i64, ContactRow)> = Vec::new();
        for entry in &fold.decisions.entries {
            let may_win = matches!(entry.status, EntryStatus::Win | EntryStatus::Pending);
            if let Some(sealed) = sealed.get(&entry.offset)
                && may_win
                && collects(&entry.event_id)
            {
                let row = ContactRow {
                    event_id: entry.event_id,
                    entry_id: entry.entry_id.as_bytes().to_vec(),
                    sealed: sealed.to_vec(),
                    at: entry.accepted_at,
                };
                given.push((entry.member_id, row));
            }
        }
        if given.is_empty() {
            return Ok(());
        }
        let events: BTreeSet<i64> = given.iter().map(|(_, row)| row.event_id).collect();
        let members: BTreeSet<i64> = given.iter().map(|(member, _)| *member).collect();
        let (events, members): (Vec<i64>, Vec<i64>) =
            (events.into_iter().collect(), members.into_iter().collect());
        let erased: HashMap<(i16, i64), i64> = tx
            .erased(&events, &members)
            .await?
            .into_iter()
            .map(|row| ((row.subject, row.subject_id), row.erased_until))
            .collect();
        given.retain(|(member, row)| {
            let until = |subject: Subject, id: i64| erased.get(&(subject.code(), id)).copied();
            until(Subject::Event, row.event_id).is_none()
                && until(Subject::Member, *member).is_none_or(|until| row.at > until)
        });
        let rows: Vec<ContactRow> = given.into_iter().map(|(_, row)| row).collect();
        if rows.is_empty() { Ok(()) } else { Ok(tx.put_contacts(rows).await?) }
    }
}
