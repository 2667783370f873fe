//! Results are read once each: whoever waits registers an id, and one query a tick reads them all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use shared_domain::{EntryId, EntryStatus, EventId, EventType, MemberId};
use shared_runtime::http::Problem;
use shared_runtime::log::producer::Producer;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EntryRow;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::Edge;

/// How long ids are gathered before they are read.
const GATHER: Duration = Duration::from_millis(20);
/// Ids in one query.
const BLOCK: usize = 1_000;
/// Decided rows remembered: some 30 MiB.
const CAPACITY: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Event(EventId, EntryId),
    Member(MemberId, EntryId),
}

type Answer = Result<Option<Arc<EntryRow>>, ()>;

/// Who waits for what, and what was decided.
#[derive(Debug)]
pub(crate) struct Results {
    decided: Cache<EntryId, Arc<EntryRow>>,
    waiting: Mutex<HashMap<Key, Vec<oneshot::Sender<Answer>>>>,
    someone: Notify,
    /// Nobody reads any more. Set and read under the lock of `waiting`.
    closed: AtomicBool,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            decided: Cache::new(CAPACITY),
            waiting: Mutex::default(),
            someone: Notify::new(),
            closed: AtomicBool::new(false),
        }
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
            None => self.wait(Key::Event(event, entry)).await,
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
            None => self.wait(Key::Member(member, entry)).await,
        }
    }

    async fn wait(&self, key: Key) -> Result<Option<Arc<EntryRow>>, Problem> {
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if self.closed.load(Ordering::Relaxed) {
                return Err(Problem::unavailable("shutting down"));
            }
            waiting.entry(key).or_default().push(tell);
        }
        self.someone.notify_one();
        match told.await {
            Ok(Ok(row)) => Ok(row),
            Ok(Err(())) | Err(_) => Err(Problem::unavailable("results cannot be read now")),
        }
    }

    fn take(&self) -> Vec<(Key, Vec<oneshot::Sender<Answer>>)> {
        let mut waiting = self.lock();
        let keys: Vec<Key> = waiting.keys().take(BLOCK).copied().collect();
        keys.into_iter().filter_map(|key| waiting.remove_entry(&key)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<oneshot::Sender<Answer>>>> {
        // Whole at every moment.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what is awaited until `stop`; who waits then is told that it cannot be read.
pub(crate) async fn read_until<P: Producer>(
    edge: Arc<Edge<P>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let results = &edge.results;
    while stop.run_until_cancelled(results.someone.notified()).await.is_some() {
        tokio::time::sleep(GATHER).await;
        loop {
            let batch = results.take();
            if batch.is_empty() {
                break;
            }
            let rows = read(&edge, &batch).await;
            if let Err(error) = &rows {
                tracing::warn!(%error, "results could not be read");
            }
            answer(results, batch, rows, &final_rows(&edge));
        }
    }
    // Handlers that drain need not wait for their deadline.
    {
        let _waiting = results.lock();
        results.closed.store(true, Ordering::Relaxed);
    }
    loop {
        let batch = results.take();
        if batch.is_empty() {
            break;
        }
        answer(results, batch, Err(StoreError::fatal("shutting down")), &|_| false);
    }
    Ok(())
}

async fn read<P>(
    edge: &Edge<P>,
    batch: &[(Key, Vec<oneshot::Sender<Answer>>)],
) -> Result<Vec<EntryRow>, StoreError> {
    let (mut by_event, mut by_member) = (Vec::new(), Vec::new());
    for (key, _) in batch {
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

fn answer(
    results: &Results,
    batch: Vec<(Key, Vec<oneshot::Sender<Answer>>)>,
    rows: Result<Vec<EntryRow>, StoreError>,
    is_final: &dyn Fn(&EntryRow) -> bool,
) {
    let found = rows.map(|rows| {
        let mut found: HashMap<EntryId, Arc<EntryRow>> = HashMap::with_capacity(rows.len());
        for row in rows {
            let Ok(id) = row.id() else { continue };
            let row = Arc::new(row);
            if is_final(&row) {
                results.decided.insert(id, Arc::clone(&row));
            }
            found.insert(id, row);
        }
        found
    });
    for (key, waiting) in batch {
        let row = match &found {
            Err(_) => Err(()),
            Ok(found) => Ok(match key {
                Key::Event(event, id) => found.get(&id).filter(|row| row.event_id == event),
                Key::Member(member, id) => found.get(&id).filter(|row| row.member_id == member),
            }),
        };
        for tell in waiting {
            // Who hung up needs no answer.
            drop(tell.send(row.map(|row| row.cloned())));
        }
    }
}
