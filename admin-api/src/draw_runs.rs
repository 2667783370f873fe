//! Carries draws on in the background: what staff asked for is in the database, so a process that starts again goes on by
//! itself. One task a draw, so that two events draw side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared_domain::EventId;
use shared_runtime::draw::{DrawError, DrawRunner, Reached};
use shared_runtime::store::Store;
use shared_runtime::store::error_class::StoreError;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alarms::Alarms;

const TICK: Duration = Duration::from_millis(500);
const FAILED_PAUSE: Duration = Duration::from_secs(5);
/// A deadlock or a lost connection is over sooner.
const TRANSIENT_PAUSE: Duration = Duration::from_millis(200);
/// Draws at work at the same time: each keeps its list in memory, and a few blocks.
const AT_ONCE: usize = 2;

/// The draws that are under way.
pub struct DrawRuns {
    store: Store,
    runner: DrawRunner,
    wake: Arc<Notify>,
    alarms: Alarms,
    busy: Arc<Mutex<BTreeSet<EventId>>>,
    failed: Arc<Mutex<BTreeMap<String, String>>>,
    places: Arc<Semaphore>,
}

impl DrawRuns {
    pub(crate) fn new(store: Store, runner: DrawRunner, wake: Arc<Notify>, alarms: Alarms) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { store, runner, wake, alarms, busy: Arc::default(), failed: Arc::default(), places }
    }

    /// Works until shutdown; a block that has begun is finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut draws = JoinSet::new();
        while !shutdown.is_cancelled() {
            if let Err(error) = self.begin(&mut draws, &shutdown).await {
                tracing::warn!(%error, "the draws could not be looked at");
            }
            while draws.try_join_next().is_some() {}
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        while draws.join_next().await.is_some() {}
    }

    /// Carries everything that is due as far as it goes. Errors: the database, while it is asked what is due.
    pub async fn pass(&self) -> Result<(), StoreError> {
        let mut draws = JoinSet::new();
        let begun = self.begin(&mut draws, &CancellationToken::new()).await;
        while draws.join_next().await.is_some() {}
        begun
    }

    async fn begin(&self, draws: &mut JoinSet<()>, stop: &CancellationToken) -> Result<(), StoreError> {
        for event in self.store.draws_due().await? {
            if !lock(&self.busy).insert(event) {
                continue;
            }
            let (runner, stop) = (self.runner.clone(), stop.clone());
            let (busy, failed, alarms) = (self.busy.clone(), self.failed.clone(), self.alarms.clone());
            let places = Arc::clone(&self.places);
            draws.spawn(async move {
                let _free = Busy { busy, event };
                let Ok(_place) = places.acquire().await else { return };
                let outcome = runner.advance(event, &stop).await;
                note(&failed, &alarms, event, &outcome);
                if let Err(error) = &outcome {
                    // Draws that fail wait; an alarm stays until the next try is better.
                    let pause = if is_transient(error) { TRANSIENT_PAUSE } else { FAILED_PAUSE };
                    drop(tokio::time::timeout(pause, stop.cancelled()).await);
                }
            });
        }
        Ok(())
    }
}

/// One event's turn, until it is dropped.
struct Busy {
    busy: Arc<Mutex<BTreeSet<EventId>>>,
    event: EventId,
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.event);
    }
}

fn note(
    failed: &Mutex<BTreeMap<String, String>>,
    alarms: &Alarms,
    event: EventId,
    outcome: &Result<Reached, DrawError>,
) {
    let name = format!("draw {event}");
    let text = match outcome {
        Ok(Reached::Parked) => Some("waits: records of the event are parked".to_owned()),
        Ok(_) => None,
        Err(error) if is_transient(error) => {
            tracing::warn!(event_id = event, %error, "the draw is tried again");
            return;
        }
        Err(error) => {
            metrics::counter!("event_draw_errors_total").increment(1);
            tracing::error!(event_id = event, %error, alarm = "draw", "the draw cannot go on");
            Some(error.to_string())
        }
    };
    let mut failed = lock(failed);
    match text {
        Some(text) => failed.insert(name, text),
        None => failed.remove(&name),
    };
    metrics::gauge!("event_draws_waiting").set(failed.len() as f64);
    alarms.set("draws", failed.clone());
}

fn is_transient(error: &DrawError) -> bool {
    matches!(error, DrawError::Store(e) if e.class.is_retried(0))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain values, whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
