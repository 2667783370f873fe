//! What completed missions earned, on its way to the log (DESIGN section 9). At least once: a record that is met twice
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shared_domain::{EventId, Millis};
use shared_proto::{EVENT_ID, Lane};
use shared_runtime::log::LogEnds;
use shared_runtime::log::producer::{Producer, ToProduce};
use shared_runtime::store::Store;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EarnedRow;

use super::{CLOSE_LAG_MS, EventError, Inner};

/// Rows on their way at once.
const BLOCK: i64 = 1_000;

/// At most one task publishes.
#[derive(Debug, Default)]
pub(super) struct Earned(AtomicBool);

struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<P: Producer> Inner<P> {
    /// Publishes what is there, oldest first; a lane that does not answer keeps the others waiting for one time-out.
    pub(super) async fn publish_earned(&self) {
        if self.earned.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let _busy = Busy(&self.earned.0);
        if let Err(error) = self.publish_blocks().await {
            metrics::counter!("event_outbox_errors_total").increment(1);
            tracing::warn!(%error, "what missions earned waits");
        }
    }

    async fn publish_blocks(&self) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let rows = self.store.earned(after, BLOCK).await?;
            // Past the lease another relay may be at work; both would write the same, but for nothing.
            if rows.is_empty() || self.clock.now_ms() >= self.lease_until.load(Ordering::Acquire) {
                return Ok(());
            }
            after = rows.last().map_or(after, |row| row.outbox_id);
            let acks = futures::future::join_all(rows.iter().map(|row| self.produce_earned(row))).await;
            let mut published = Vec::with_capacity(rows.len());
            let mut refused = None;
            for (row, ack) in rows.iter().zip(acks) {
                match ack {
                    Ok(()) => published.push(row.outbox_id),
                    Err(error) => refused = Some((row.event_id, error)),
                }
            }
            self.store.mark_earned_published(&published, self.clock.now_ms()).await?;
            metrics::counter!("event_outbox_published_total", "kind" => "EARNED")
                .increment(published.len() as u64);
            if let Some((event, error)) = refused {
                metrics::counter!("event_outbox_errors_total").increment(1);
                tracing::warn!(event_id = event, %error, "what missions earned waits");
            }
        }
    }

    async fn produce_earned(&self, row: &EarnedRow) -> Result<(), EventError> {
        let lane = Lane::new(row.topic.clone(), row.lane);
        let key = row.event_id.to_string();
        let record =
            ToProduce { lane: &lane, key: key.as_bytes(), value: &row.record, headers: &[(EVENT_ID, &key)] };
        let produced = self.producer.produce(record).await;
        produced.map(drop).map_err(|error| EventError::Produce(row.outbox_id, error))
    }
}

/// Closes of events with missions: what was reported in time must have earned its entry before the event closes.
pub(super) struct ActivityGate {
    store: Store,
    ends: Arc<dyn LogEnds>,
    topic: String,
    waiting: Mutex<BTreeMap<EventId, Waiting>>,
}

struct Waiting {
    since: Millis,
    /// Where the activity lanes ended when nothing could count for the event any more.
    goal: Vec<(Lane, i64)>,
    /// What it waited for at the last look.
    behind: String,
}

impl ActivityGate {
    pub(super) fn new(store: Store, ends: Arc<dyn LogEnds>, topic: String) -> Self {
        Self { store, ends, topic, waiting: Mutex::default() }
    }

    /// Whether an event, whose end and grace are over, may close: every activity lane has passed the end that it had when
    /// this was first asked, and nothing that the event's missions earned is still to be published.
    pub(super) async fn lets_close(&self, event: EventId, now: Millis) -> Result<bool, EventError> {
        if !self.store.has_missions(event).await? {
            return Ok(true);
        }
        let goal = match self.goal_of(event) {
            Some(goal) => goal,
            None => {
                let lanes = self.ends.lanes(self.topic.clone()).await.map_err(EventError::Ends)?;
                let ends = self.ends.ends(lanes.clone()).await.map_err(EventError::Ends)?;
                let goal: Vec<(Lane, i64)> = lanes.into_iter().zip(ends).collect();
                let waiting = Waiting { since: now, goal: goal.clone(), behind: String::new() };
                self.lock().insert(event, waiting);
                goal
            }
        };
        let cursors: BTreeMap<(String, i32), i64> = self
            .store
            .progress_rows()
            .await?
            .into_iter()
            .filter(|row| row.log_id == self.ends.log_id())
            .map(|row| ((row.topic, row.partition_id), row.next_offset))
            .collect();
        let behind = goal.iter().find(|(lane, end)| {
            let key = (lane.topic.clone(), lane.partition);
            *end > 0 && cursors.get(&key).is_none_or(|cursor| cursor < end)
        });
        let behind = match behind {
            Some((lane, end)) => format!("activity lane {lane} is not at {end}"),
            None if self.store.holds_earned(event).await? => "its missions' entries are not published".into(),
            None => {
                self.lock().remove(&event);
                return Ok(true);
            }
        };
        if let Some(waiting) = self.lock().get_mut(&event) {
            waiting.behind = behind;
        }
        Ok(false)
    }

    /// Events that have waited for long, and for what.
    pub(super) fn alarms(&self, now: Millis) -> BTreeMap<String, String> {
        let waiting = self.lock();
        let long = waiting.iter().filter(|(_, waiting)| now - waiting.since >= CLOSE_LAG_MS);
        long.map(|(event, waiting)| (format!("close {event}"), waiting.behind.clone())).collect()
    }

    fn goal_of(&self, event: EventId) -> Option<Vec<(Lane, i64)>> {
        self.lock().get(&event).map(|waiting| waiting.goal.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<EventId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
