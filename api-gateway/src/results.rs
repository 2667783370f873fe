//! Results are read once each: whoever waits registers an id, and one query a tick reads them all.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::sync::Cache;
use shared_domain::{EntryId, EntryStatus, EventId, EventType, MemberId};
use shared_runtime::http::Problem;
use shared_runtime::log::producer::Producer;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EntryRow;
use tokio_util::sync::CancellationToken;

use crate::Edge;
use crate::gather::Gathered;

/// Ids in one query.
const BLOCK: usize = 1_000;
/// Decided rows remembered: some 30 MiB.
const CAPACITY: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Event(EventId, EntryId),
    Member(MemberId, EntryId),
}

/// Who waits for what, and what was decided.
#[derive(Debug)]
pub(crate) struct Results {
    decided: Cache<EntryId, Arc<EntryRow>>,
    asked: Gathered<Key, Option<Arc<EntryRow>>>,
}

impl Default for Results {
    fn default() -> Self {
        Self { decided: Cache::new(CAPACITY), asked: Gathered::new("results") }
    }
}

impl Results {
    /// A decided row that was read before.
    pub(crate) fn known(&self, entry: EntryId) -> Option<Arc<EntryRow>> {
        self.decided.get(&entry)
    }

    /// An event's entry. Errors: 503 when the database does not answer.
    pub(crate) async fn by_event(
        &self,
        event: EventId,
        entry: EntryId,
    ) -> Result<Option<Arc<EntryRow>>, Problem> {
        match self.known(entry).filter(|row| row.event_id == event) {
            Some(row) => Ok(Some(row)),
            None => self.asked.ask(Key::Event(event, entry)).await,
        }
    }

    /// A member's entry. Errors: 503 when the database does not answer.
    pub(crate) async fn by_member(
        &self,
        member: MemberId,
        entry: EntryId,
    ) -> Result<Option<Arc<EntryRow>>, Problem> {
        match self.known(entry) {
            Some(row) => Ok(Some(row).filter(|row| row.member_id == member)),
            None => self.asked.ask(Key::Member(member, entry)).await,
        }
    }
}

/// Reads what is awaited until `stop`; who waits then is told that it cannot be read.
pub(crate) async fn read_until<P: Producer>(
    edge: Arc<Edge<P>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut reader = edge.results.asked.reader(BLOCK);
    while let Some(batch) = reader.next(&stop).await {
        match read(&edge, &batch.keys()).await {
            Ok(rows) => {
                let found = remembered(&edge.results, rows, &final_rows(&edge));
                batch.answer(|key| {
                    let row = match *key {
                        Key::Event(event, id) => found.get(&id).filter(|row| row.event_id == event),
                        Key::Member(member, id) => found.get(&id).filter(|row| row.member_id == member),
                    };
                    row.cloned()
                });
            }
            Err(error) => {
                tracing::warn!(%error, "results could not be read");
                batch.fail();
            }
        }
    }
    Ok(())
}

async fn read<P>(edge: &Edge<P>, keys: &[Key]) -> Result<Vec<EntryRow>, StoreError> {
    let (mut by_event, mut by_member) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Event(event, entry) => by_event.push((*event, *entry)),
            Key::Member(member, entry) => by_member.push((*member, *entry)),
        }
    }
    let mut rows = Vec::new();
    if !by_event.is_empty() {
        rows.extend(edge.store.entries_by_ids(&by_event).await?);
    }
    if !by_member.is_empty() {
        rows.extend(edge.store.entries_by_members(&by_member).await?);
    }
    Ok(rows)
}

/// Whether a row stays as it is for ever: a raffle's entry is decided later, and may be disqualified or move up after that.
fn final_rows<P>(edge: &Edge<P>) -> impl Fn(&EntryRow) -> bool {
    let snapshot = edge.snapshots.latest();
    move |row| {
        let event = snapshot.as_ref().and_then(|snapshot| snapshot.event(row.event_id));
        let raffle = event.is_none_or(|event| event.facts.definition.event_type == EventType::Raffle);
        row.status != i16::from(EntryStatus::Pending.code()) && !raffle
    }
}

/// The rows by id; final ones are kept.
fn remembered(
    results: &Results,
    rows: Vec<EntryRow>,
    is_final: &dyn Fn(&EntryRow) -> bool,
) -> HashMap<EntryId, Arc<EntryRow>> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let Ok(id) = row.id() else { continue };
        let row = Arc::new(row);
        if is_final(&row) {
            results.decided.insert(id, Arc::clone(&row));
        }
        found.insert(id, row);
    }
    found
}
