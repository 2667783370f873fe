//! Who may hand a record to librdkafka now, so that it sends whole batches.
//!
//! With idempotence librdkafka keeps a partition's next batch until the one before is acknowledged, and its broker thread
//! spins from the moment that batch has lingered (`rd_kafka_toppar_producer_serve`, 2.12). Records that come while a batch
//! is on its way therefore wait here, and all go with the next one: a lower p99, and on a busy machine much less CPU. On an
//! idle one CPU is about the same, and few connections in closed loop get fewer requests through (`make bench`, part b).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use shared_proto::Lane;
use tokio::sync::Notify;

/// The batches of every lane. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Batches {
    /// A batch takes records for so long from its first one on.
    open_for: Duration,
    lanes: Arc<DashMap<Lane, Arc<LaneBatch>>>,
}

#[derive(Debug, Default)]
struct LaneBatch {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Records handed over and not acknowledged.
    under_way: usize,
    /// When the first of them was.
    since: Option<Instant>,
}

/// The place of one record in a batch, given back when its outcome is known.
#[derive(Debug)]
pub(super) struct Place(Arc<LaneBatch>);

impl Batches {
    pub(super) fn new(open_for: Duration) -> Self {
        Self { open_for, lanes: Arc::default() }
    }

    /// A place in the lane's open batch, at once or after the one that is under way.
    pub(super) async fn place(&self, lane: &Lane) -> Place {
        let batch = self.lane(lane);
        while !batch.enter(self.open_for) {
            let done = batch.done.notified();
            // It may have ended before `done` began to listen.
            if batch.enter(self.open_for) {
                break;
            }
            done.await;
        }
        Place(batch)
    }

    fn lane(&self, lane: &Lane) -> Arc<LaneBatch> {
        if let Some(batch) = self.lanes.get(lane) {
            return Arc::clone(&batch);
        }
        Arc::clone(&self.lanes.entry(lane.clone()).or_default())
    }
}

impl LaneBatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, open_for: Duration) -> bool {
        let mut state = self.state();
        match state.since {
            Some(since) if since.elapsed() >= open_for => return false,
            Some(_) => {}
            None => state.since = Some(Instant::now()),
        }
        state.under_way += 1;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.since = None;
            drop(state);
            self.0.done.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn records_wait_for_the_batch_under_way_and_then_share_one() {
        let (batches, lane) = (Batches::new(Duration::ZERO), Lane::new("t", 0));
        let first = batches.place(&lane).now_or_never().expect("an idle lane is open");
        let mut waiting = [Box::pin(batches.place(&lane)), Box::pin(batches.place(&lane))];
        for place in &mut waiting {
            assert!(place.as_mut().now_or_never().is_none());
        }
        assert!(
            batches.place(&Lane::new("t", 1)).now_or_never().is_some(),
            "lanes do not wait for each other"
        );
        drop(first);
        let [second, _] = waiting;
        // The batch is closed again as soon as one is in it: it is open for no time here.
        drop(second.await);
        assert!(batches.place(&lane).now_or_never().is_some());
    }

    #[tokio::test]
    async fn an_open_batch_takes_everybody() {
        let (batches, lane) = (Batches::new(Duration::from_secs(3_600)), Lane::new("t", 0));
        let places: Vec<_> = (0..3).map(|_| batches.place(&lane).now_or_never()).collect();
        assert!(places.iter().all(Option::is_some));
    }
}
