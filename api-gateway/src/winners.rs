//! The winners of sold-out events, loaded once each: everybody else may hear LOSE without a look-up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use shared_domain::{EntryId, EntryStatus, EventId};
use shared_runtime::log::producer::Producer;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EntryRow;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Edge;
use crate::snapshot::ExhaustedAt;

/// Rows read at once.
const BLOCK: i64 = 1_000;

/// All winners of one event at one exhaustion.
#[derive(Debug)]
pub(crate) struct WinnerSet {
    at: ExhaustedAt,
    rows: HashMap<EntryId, Arc<EntryRow>>,
}

impl WinnerSet {
    /// The row of a winner.
    pub(crate) fn get(&self, entry: EntryId) -> Option<&Arc<EntryRow>> {
        self.rows.get(&entry)
    }
}

/// Complete sets only, by event.
#[derive(Debug, Default)]
pub(crate) struct Winners {
    sets: ArcSwap<HashMap<EventId, Arc<WinnerSet>>>,
    look: Notify,
}

impl Winners {
    /// The set for exactly this exhaustion; `None` while it is not complete.
    pub(crate) fn of(&self, event: EventId, at: &ExhaustedAt) -> Option<Arc<WinnerSet>> {
        self.sets.load().get(&event).filter(|set| set.at == *at).cloned()
    }

    /// There is a new snapshot to look at.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }
}

/// Loads the sets that the snapshot asks for until `stop`. What fails is tried again at the next snapshot.
pub(crate) async fn load_until<P: Producer>(
    edge: Arc<Edge<P>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while stop.run_until_cancelled(edge.winners.look.notified()).await.is_some() {
        let Some(snapshot) = edge.snapshots.latest() else { continue };
        let mut sold_out = HashSet::new();
        for id in &snapshot.ids {
            let Some(at) = snapshot.event(*id).and_then(|event| event.exhausted.as_ref()) else { continue };
            sold_out.insert(*id);
            if stop.is_cancelled() || edge.winners.of(*id, at).is_some() {
                continue;
            }
            match load(&edge, *id, at).await {
                Ok(Some(set)) => {
                    let mut sets = HashMap::clone(&edge.winners.sets.load());
                    sets.insert(*id, Arc::new(set));
                    edge.winners.sets.store(Arc::new(sets));
                }
                // Stock came in between: the next snapshot says so.
                Ok(None) => {}
                Err(error) => tracing::warn!(event_id = id, %error, "winners could not be read"),
            }
        }
        let sets = edge.winners.sets.load();
        if sets.keys().any(|id| !sold_out.contains(id)) {
            let mut kept = HashMap::clone(&sets);
            kept.retain(|id, _| sold_out.contains(id));
            edge.winners.sets.store(Arc::new(kept));
        }
    }
    Ok(())
}

/// As many rows as the lane has winners, or nothing.
async fn load<P>(edge: &Edge<P>, event: EventId, at: &ExhaustedAt) -> Result<Option<WinnerSet>, StoreError> {
    let mut rows = HashMap::new();
    let mut after = i64::MIN;
    loop {
        let block = edge.store.entries_of_lane(event, at.lane, Some(EntryStatus::Win), after, BLOCK).await?;
        let Some(last) = block.last() else { break };
        after = last.seq;
        for row in block {
            rows.insert(row.id()?, Arc::new(row));
        }
    }
    let complete = i64::try_from(rows.len()) == Ok(at.wins);
    Ok(complete.then(|| WinnerSet { at: at.clone(), rows }))
}
