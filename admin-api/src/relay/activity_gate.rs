//! What holds the close of an event with missions up (DESIGN section 7, "Closing").

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared_domain::{EventId, Millis};
use shared_proto::Lane;
use shared_runtime::log::LogEnds;
use shared_runtime::store::Store;

use super::{CLOSE_LAG_MS, EventError};

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
