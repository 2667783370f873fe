//! Which streams a new snapshot wakes: those whose place in the log is behind it. The others sleep on, however many.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared_domain::EventId;
use tokio::sync::Notify;

use crate::snapshot::Snapshot;

/// Streams of one lane by offset; the number tells streams of one entry apart.
type Lane = BTreeMap<(i64, u64), Arc<Notify>>;

/// The streams that wait.
#[derive(Debug, Default)]
pub(crate) struct StreamWakes(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lanes: HashMap<(EventId, i32), Lane>,
    streams: u64,
}

/// One stream that waits; it is forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Wake {
    wakes: Arc<StreamWakes>,
    lane: (EventId, i32),
    place: (i64, u64),
    notify: Arc<Notify>,
}

impl StreamWakes {
    /// Waits for what stands at an offset to be decided.
    pub(crate) fn at(self: &Arc<Self>, event: EventId, lane: i32, offset: i64) -> Wake {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.lock();
        waiting.streams += 1;
        let (lane, place) = ((event, lane), (offset, waiting.streams));
        waiting.lanes.entry(lane).or_default().insert(place, Arc::clone(&notify));
        Wake { wakes: Arc::clone(self), lane, place, notify }
    }

    /// There is a new snapshot. Each stream is woken once; events that are gone wake all of theirs.
    pub(crate) fn look(&self, snapshot: &Snapshot) {
        self.wake(|event, lane| {
            let Some(event) = snapshot.event(event) else { return i64::MAX };
            event.lane_index(lane).and_then(|index| event.cursors[index]).unwrap_or(i64::MIN)
        });
    }

    /// `cursor`: the next offset to be applied.
    fn wake(&self, cursor: impl Fn(EventId, i32) -> i64) {
        self.lock().lanes.retain(|(event, lane), streams| {
            let sleeping = streams.split_off(&(cursor(*event, *lane), 0));
            for notify in std::mem::replace(streams, sleeping).into_values() {
                notify.notify_one();
            }
            !streams.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake {
    /// Until it is woken, which may have been before.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let mut waiting = self.wakes.lock();
        if let Some(streams) = waiting.lanes.get_mut(&self.lane) {
            streams.remove(&self.place);
            if streams.is_empty() {
                waiting.lanes.remove(&self.lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn those_behind_the_cursor_are_woken_once() {
        let wakes = Arc::new(StreamWakes::default());
        let woken = |wake: &Wake| wake.woken().now_or_never().is_some();
        let [first, same, second, other] =
            [(1, 5), (1, 5), (1, 6), (2, 5)].map(|(lane, at)| wakes.at(7, lane, at));
        let cursor = |next: i64| move |_, lane| if lane == 1 { next } else { i64::MIN };
        wakes.wake(cursor(5));
        assert!(!woken(&first), "the cursor is the next to be applied");
        wakes.wake(cursor(6));
        assert!(woken(&first) && woken(&same));
        assert!(!woken(&second) && !woken(&other));
        wakes.wake(cursor(6));
        assert!(!woken(&first), "once");
        wakes.wake(|_, _| i64::MAX);
        assert!(woken(&second) && woken(&other));
        let left = wakes.at(7, 1, 9);
        drop((first, same, second, other, left));
        assert!(wakes.lock().lanes.is_empty());
    }
}
