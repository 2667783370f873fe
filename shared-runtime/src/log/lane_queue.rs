//! One batch a lane on its way at a time: what comes meanwhile waits here, and goes all at once after it.
//!
//! With idempotence librdkafka keeps a partition's next batch until the one before is acknowledged, and its broker thread
//! spins from the moment that batch has lingered (`rd_kafka_toppar_producer_serve`, 2.12). Records that wait here instead
//! cost nothing meanwhile, and make one whole batch.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The records of one lane that are not handed over yet, and how many are on their way.
#[derive(Debug)]
pub(super) struct LaneQueue<M> {
    /// A batch takes records for so long from its first one on.
    open_for: Duration,
    state: Mutex<State<M>>,
}

#[derive(Debug)]
struct State<M> {
    /// Records handed over whose outcome is not known.
    under_way: usize,
    /// When the first of them was.
    since: Instant,
    waiting: VecDeque<M>,
}

/// What becomes of a record that is offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered<M> {
    /// Hand it over now; its outcome is to be [`settled`](LaneQueue::settled).
    Go(M),
    /// It waits, and comes out of `settled`.
    Waits,
    /// Too many wait.
    Full,
}

impl<M> LaneQueue<M> {
    pub(super) fn new(open_for: Duration) -> Self {
        let state = State { under_way: 0, since: Instant::now(), waiting: VecDeque::new() };
        Self { open_for, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record joins the batch that is open, opens one, or waits, at most `most` of them.
    pub(super) fn offer(&self, record: M, most: usize) -> Offered<M> {
        let mut state = self.state();
        if state.under_way == 0 {
            state.since = Instant::now();
        } else if state.since.elapsed() >= self.open_for {
            if state.waiting.len() >= most {
                return Offered::Full;
            }
            state.waiting.push_back(record);
            return Offered::Waits;
        }
        state.under_way += 1;
        Offered::Go(record)
    }

    /// The outcome of one record is known. If it was the last one under way: what is to be handed over now, all that
    /// waited.
    pub(super) fn settled(&self) -> Option<VecDeque<M>> {
        let mut state = self.state();
        state.under_way -= 1;
        if state.under_way > 0 {
            return None;
        }
        let next = std::mem::take(&mut state.waiting);
        state.under_way = next.len();
        state.since = Instant::now();
        Some(next)
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.state().waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_wait_for_the_batch_under_way_and_then_go_together_in_order() {
        let queue = LaneQueue::<i32>::new(Duration::ZERO);
        assert_eq!(queue.offer(1, 2), Offered::Go(1));
        assert_eq!([queue.offer(2, 2), queue.offer(3, 2)], [Offered::Waits, Offered::Waits]);
        assert_eq!(queue.offer(4, 2), Offered::Full);
        assert!(!queue.is_idle());
        assert_eq!(queue.settled().unwrap(), [2, 3]);
        assert!(queue.is_idle());
        assert_eq!(queue.offer(5, 2), Offered::Waits, "two are under way");
        assert_eq!(queue.settled(), None);
        assert_eq!(queue.settled().unwrap(), [5]);
        assert!(queue.settled().unwrap().is_empty());
        assert_eq!(queue.offer(6, 2), Offered::Go(6), "an idle lane is open");
    }

    #[test]
    fn an_open_batch_takes_everybody() {
        let queue = LaneQueue::<i32>::new(Duration::from_secs(3_600));
        assert!((0..3).all(|n| queue.offer(n, 0) == Offered::Go(n)));
    }
}
