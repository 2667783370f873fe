//! Keeps the embedded log from forgetting what nobody has read yet.
//!
//! librdkafka's mock log drops the oldest records of a partition beyond 5 MiB or 100,000 produce batches. The edge
//! asks `admit` before it produces and answers TRY_AGAIN while a lane's slowest reader is far behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use shared_proto::Lane;

use crate::log::producer::{ProduceError, Producer, ToProduce};

/// Bytes a lane may hold unread: 2 MiB below the mock log's limit, for what is in flight when the answer turns.
pub const MAX_BACKLOG_BYTES: u64 = 3 * 1024 * 1024;
/// Records a lane may hold unread.
pub const MAX_BACKLOG_RECORDS: u64 = 60_000;
/// What the log adds to a record at most: a batch header and the record's framing.
const RECORD_OVERHEAD: u64 = 96;

/// The backlog of every lane of the embedded log. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct BacklogGuard {
    lanes: Arc<DashMap<Lane, Arc<LaneBacklog>>>,
}

#[derive(Debug, Default)]
struct LaneBacklog {
    bytes: AtomicU64,
    records: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Offset of the first entry of `sizes`: what the slowest reader wants next.
    base: i64,
    /// Bytes of each record from `base` on, by offset; 0 where the ack is still to come.
    sizes: VecDeque<u32>,
    /// Next offset of each reader, by its number.
    readers: BTreeMap<u64, i64>,
    next_reader: u64,
}

impl BacklogGuard {
    /// No lanes yet; each appears with its first record or reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log has acknowledged a record of `bytes` (key, value and headers) at `offset`. In any order.
    pub fn acked(&self, lane: &Lane, offset: i64, bytes: usize) {
        self.lane(lane).acked(offset, bytes as u64 + RECORD_OVERHEAD);
    }

    /// A new reader of a lane, at the lane's oldest unread record. Until there is one, everything counts as unread.
    pub fn reader(&self, lane: &Lane) -> ReaderPosition {
        let lane = self.lane(lane);
        let id = {
            let mut state = lane.lock();
            let (id, base) = (state.next_reader, state.base);
            state.next_reader += 1;
            state.readers.insert(id, base);
            id
        };
        ReaderPosition { lane, id }
    }

    /// Whether the lane has room for more. Reads two counters, waits for nobody.
    pub fn admit(&self, lane: &Lane) -> bool {
        let Some(lane) = self.lanes.get(lane) else { return true };
        lane.bytes.load(Ordering::Relaxed) <= MAX_BACKLOG_BYTES
            && lane.records.load(Ordering::Relaxed) <= MAX_BACKLOG_RECORDS
    }

    /// A lane's unread records and bytes.
    pub fn backlog(&self, lane: &Lane) -> (u64, u64) {
        self.lanes
            .get(lane)
            .map_or((0, 0), |lane| (lane.records.load(Ordering::Relaxed), lane.bytes.load(Ordering::Relaxed)))
    }

    fn lane(&self, lane: &Lane) -> Arc<LaneBacklog> {
        match self.lanes.get(lane) {
            Some(found) => found.clone(),
            None => self.lanes.entry(lane.clone()).or_default().clone(),
        }
    }
}

/// A producer whose records count as backlog, too: the relay's, whose `Scheduled` records are the largest of all.
#[derive(Debug)]
pub struct CountedProducer<P> {
    inner: Arc<P>,
    guard: Option<Arc<BacklogGuard>>,
}

impl<P> CountedProducer<P> {
    /// Counts what `inner` produces; without a guard it only passes on.
    pub fn new(inner: Arc<P>, guard: Option<Arc<BacklogGuard>>) -> Self {
        Self { inner, guard }
    }
}

impl<P: Producer> Producer for CountedProducer<P> {
    fn log_id(&self) -> &str {
        self.inner.log_id()
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        let offset = self.inner.produce(record).await?;
        if let Some(guard) = &self.guard {
            guard.acked(record.lane, offset, record.size());
        }
        Ok(offset)
    }
}

impl LaneBacklog {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters only: a panic elsewhere leaves nothing worse than a wrong count.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acked(&self, offset: i64, bytes: u64) {
        let mut state = self.lock();
        // Read before its ack was heard: no longer a backlog.
        let Ok(index) = usize::try_from(offset - state.base) else { return };
        if state.sizes.len() <= index {
            state.sizes.resize(index + 1, 0);
        }
        if state.sizes[index] == 0 {
            state.sizes[index] = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.bytes.fetch_add(state.sizes[index].into(), Ordering::Relaxed);
        }
        self.records.store(state.sizes.len() as u64, Ordering::Relaxed);
    }

    /// Forgets what every reader has passed.
    fn trim(&self, state: &mut State) {
        let Some(slowest) = state.readers.values().min().copied() else { return };
        let mut freed = 0;
        while state.base < slowest {
            match state.sizes.pop_front() {
                Some(bytes) => {
                    freed += u64::from(bytes);
                    state.base += 1;
                }
                None => state.base = slowest,
            }
        }
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.records.store(state.sizes.len() as u64, Ordering::Relaxed);
    }
}

/// How far one reader of one lane has come. Dropping it stops counting that reader.
#[derive(Debug)]
pub struct ReaderPosition {
    lane: Arc<LaneBacklog>,
    id: u64,
}

impl ReaderPosition {
    /// The reader is done with everything before `next_offset`. Going back is ignored.
    pub fn advance(&self, next_offset: i64) {
        let mut state = self.lane.lock();
        if let Some(position) = state.readers.get_mut(&self.id)
            && *position < next_offset
        {
            *position = next_offset;
            self.lane.trim(&mut state);
        }
    }
}

impl Drop for ReaderPosition {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        state.readers.remove(&self.id);
        self.lane.trim(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane::new("event-apply-topic", 0)
    }

    #[test]
    fn records_and_bytes_are_bounded_by_the_slowest_reader() {
        let guard = BacklogGuard::new();
        let (fast, slow) = (guard.reader(&lane()), guard.reader(&lane()));
        assert!(guard.admit(&lane()));
        for offset in 0..=MAX_BACKLOG_RECORDS as i64 {
            guard.acked(&lane(), offset, 0);
        }
        assert!(!guard.admit(&lane()));
        assert!(guard.admit(&Lane::new("event-apply-topic", 1)), "lanes are apart");
        fast.advance(60_001);
        assert!(!guard.admit(&lane()), "the slow reader still needs them");
        slow.advance(40_000);
        assert!(guard.admit(&lane()));
        slow.advance(60_001);
        assert_eq!(guard.backlog(&lane()), (0, 0));

        guard.acked(&lane(), 60_001, MAX_BACKLOG_BYTES as usize);
        assert!(!guard.admit(&lane()));
        fast.advance(60_002);
        drop(slow);
        assert!(guard.admit(&lane()), "a reader that is gone holds nothing up");
    }

    #[test]
    fn acks_may_come_late_and_out_of_order() {
        let guard = BacklogGuard::new();
        let reader = guard.reader(&lane());
        guard.acked(&lane(), 2, 4);
        guard.acked(&lane(), 0, 4);
        assert_eq!(guard.backlog(&lane()), (3, 200));
        guard.acked(&lane(), 2, 4);
        assert_eq!(guard.backlog(&lane()), (3, 200), "a repeated ack counts once");
        reader.advance(2);
        guard.acked(&lane(), 1, 4);
        assert_eq!(guard.backlog(&lane()), (1, 100));
        reader.advance(5);
        guard.acked(&lane(), 4, 4);
        assert_eq!(guard.backlog(&lane()), (0, 0));
        reader.advance(1);
        guard.acked(&lane(), 5, 4);
        assert_eq!(guard.backlog(&lane()), (1, 100));
    }

    struct Appended(AtomicU64);

    impl Producer for Appended {
        fn log_id(&self) -> &str {
            "memory"
        }

        async fn produce(&self, _: ToProduce<'_>) -> Result<i64, ProduceError> {
            Ok(self.0.fetch_add(1, Ordering::Relaxed) as i64)
        }
    }

    #[tokio::test]
    async fn what_a_counted_producer_appends_is_backlog() {
        let guard = Arc::new(BacklogGuard::new());
        let producer = CountedProducer::new(Arc::new(Appended(AtomicU64::new(0))), Some(guard.clone()));
        let (lane, value) = (lane(), vec![0; 1024 * 1024]);
        let record = ToProduce { lane: &lane, key: b"key", value: &value, headers: &[("name", "value")] };
        let size = 1024 * 1024 + 3 + 9;
        assert_eq!(record.size(), size);
        for _ in 0..3 {
            assert!(guard.admit(&lane));
            producer.produce(record).await.unwrap();
        }
        assert_eq!(guard.backlog(&lane), (3, 3 * (size as u64 + RECORD_OVERHEAD)));
        assert!(!guard.admit(&lane));
    }

    #[test]
    fn without_a_reader_everything_is_backlog() {
        let guard = BacklogGuard::new();
        guard.acked(&lane(), 0, 1000);
        drop(guard.reader(&lane()));
        assert_eq!(guard.backlog(&lane()).0, 1);
        guard.reader(&lane()).advance(1);
        assert_eq!(guard.backlog(&lane()).0, 0);
    }

    #[test]
    fn the_count_is_exact_under_concurrency() {
        let guard = BacklogGuard::new();
        let reader = guard.reader(&lane());
        std::thread::scope(|scope| {
            for part in 0..4 {
                let guard = guard.clone();
                scope.spawn(move || (0..5000).for_each(|n| guard.acked(&lane(), n * 4 + part, 10)));
            }
            scope.spawn(|| (0..=20_000).for_each(|n| reader.advance(n)));
        });
        assert_eq!(guard.backlog(&lane()), (0, 0));
    }
}
