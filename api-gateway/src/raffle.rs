//! Raffles without the high-traffic flag: the answer waits for the row, which everybody reads in one query a tick.

use std::sync::Arc;
use std::time::Duration;

use shared_domain::Receipt;
use shared_runtime::log::producer::Producer;
use shared_runtime::store::rows::EntryRow;
use tokio::time::Instant;

use crate::Edge;

/// How long a member waits for the row; then the entry is merely queued.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the snapshot is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(25);

/// The row of an entry, if its lane has passed it. `None` also where the event is parked, or the database is away.
pub(crate) async fn row_now<P: Producer>(edge: &Edge<P>, receipt: &Receipt) -> Option<Arc<EntryRow>> {
    if !is_passed(edge, receipt) {
        return None;
    }
    edge.results.by_event(receipt.event_id, receipt.entry_id).await.ok().flatten()
}

/// The same, waited for.
pub(crate) async fn row_in_time<P: Producer>(edge: &Edge<P>, receipt: &Receipt) -> Option<Arc<EntryRow>> {
    let until = Instant::now() + PATIENCE;
    while !is_passed(edge, receipt) {
        if Instant::now() >= until {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::timeout_at(until, row_now(edge, receipt)).await.ok().flatten()
}

fn is_passed<P>(edge: &Edge<P>, receipt: &Receipt) -> bool {
    let Some(snapshot) = edge.snapshots.latest() else { return false };
    let Some(event) = snapshot.event(receipt.event_id) else { return false };
    let cursor = event.lane_index(receipt.lane).and_then(|lane| event.cursors[lane]);
    cursor.is_some_and(|next| next > receipt.offset)
}
