//! The loop: one task owns all lanes; batches run beside it (DESIGN section 5).

mod halts;
mod rebalance;
mod unparking;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared_domain::EventId;
use shared_proto::Lane;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::rebalance::OpenError;
use super::attempt::{Attempted, Attempts, DeadLetter};
use super::cursor::{Halt, Start};
use super::lane::{Batching, LaneState};
use super::lane_store::LaneStore;
use super::replay::Replay;
use super::state::WorkerState;
use crate::clock::{SharedClock, SharedRandom};
use crate::embedded::{BacklogGuard, ReaderPosition};
use crate::keys::RewardKeys;
use crate::log::producer::Producer;
use crate::log::reader::{LaneLog, LogEvent};
use crate::traces::BatchSpan;

const TICK: Duration = Duration::from_millis(100);
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
const DEAD_BRAKE: usize = 100;

/// How a worker runs.
pub struct WorkerParts<S, P> {
    /// Store.
    pub store: S,
    /// For dead letters.
    pub producer: Arc<P>,
    /// Clock.
    pub clock: SharedClock,
    /// For jitter.
    pub random: SharedRandom,
    /// Batches.
    pub batching: Batching,
    /// An unknown log is adopted by itself (embedded only).
    pub adopt_unknown_log: bool,
    /// Decide everything that is in the log before stopping (embedded: the log dies with the process).
    pub drain_backlog: bool,
    /// Told of progress, so that the embedded log is not outrun.
    pub backlog: Option<Arc<BacklogGuard>>,
    /// Decide a log again: how far, and what was given up.
    pub replay: Option<Arc<Replay>>,
    /// For events with random rewards.
    pub keys: RewardKeys,
    /// Told what becomes of the lanes.
    pub state: watch::Sender<WorkerState>,
}

enum Done {
    Opened { epoch: u64, lane: Lane, result: Result<(Start, i64), OpenError> },
    Batch { epoch: u64, lane: Lane, outcome: Attempted },
    Unparked { epoch: u64, lane: Lane, event: EventId, outcome: Attempted },
    Requests(Vec<(EventId, i32, Option<String>)>),
    Lag(Vec<(Lane, i64, i64)>),
}

/// The loop over one topic's lanes.
pub struct Worker<L, S, P> {
    log: L,
    log_id: Arc<str>,
    attempts: Arc<Attempts<S, P>>,
    batching: Batching,
    adopt: bool,
    drain_backlog: bool,
    backlog: Option<Arc<BacklogGuard>>,
    replay: Option<Arc<Replay>>,
    keys: RewardKeys,
    state: watch::Sender<WorkerState>,
    readers: BTreeMap<Lane, ReaderPosition>,
    lanes: BTreeMap<Lane, LaneState>,
    jobs: JoinSet<Done>,
    epoch: u64,
    parks: VecDeque<(Instant, EventId)>,
    ticks: u64,
    broken: Option<String>,
}

impl<L: LaneLog, S: LaneStore, P: Producer> Worker<L, S, P> {
    /// A worker over a joined log.
    pub fn new(log: L, parts: WorkerParts<S, P>) -> Self {
        let log_id: Arc<str> = log.log_id().into();
        Self {
            log,
            log_id,
            attempts: Arc::new(Attempts {
                store: parts.store,
                producer: parts.producer,
                clock: parts.clock,
                random: parts.random,
                keeps_dead_letters: parts.replay.is_none(),
            }),
            batching: parts.batching,
            adopt: parts.adopt_unknown_log,
            drain_backlog: parts.drain_backlog,
            backlog: parts.backlog,
            replay: parts.replay,
            keys: parts.keys,
            state: parts.state,
            readers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            jobs: JoinSet::new(),
            epoch: 0,
            parks: VecDeque::new(),
            ticks: 0,
            broken: None,
        }
    }

    /// Runs until `shutdown`, then drains within `budget`. Errors: the log is of no use any more.
    pub async fn run(mut self, shutdown: CancellationToken, budget: Duration) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.broken.is_none() {
            let due = self.next_due();
            let room = self.has_room();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(done) = self.jobs.join_next() => self.done(done),
                _ = tick.tick() => self.tick(),
                event = self.log.next(), if room => {
                    self.event(event).await;
                    self.take_more().await;
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
            self.dispatch(false);
            self.tell();
        }
        self.drain(budget).await;
        self.log.close().await;
        self.broken.map_or(Ok(()), |why| Err(anyhow::Error::msg(why)))
    }

    /// Takes what the client has at hand without going round the select for each record; not for long, because a lane whose
    /// batch is done waits for its next one.
    async fn take_more(&mut self) {
        const RECORDS: usize = 128;
        for _ in 0..RECORDS {
            if !self.has_room() {
                return;
            }
            let Some(event) = futures::FutureExt::now_or_never(self.log.next()) else { return };
            self.event(event).await;
        }
    }

    fn has_room(&self) -> bool {
        let cap = self.batching.records as usize * 4;
        self.lanes.values().all(|l| l.paused || l.buffered() < cap)
    }

    fn next_due(&self) -> Instant {
        let due = self.lanes.values().filter_map(|l| l.due_at(&self.batching)).min();
        due.unwrap_or_else(|| Instant::now() + TICK)
    }

    async fn event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Assigned(lanes) => self.open(lanes),
            LogEvent::Revoked { lanes, lost } => self.revoke(lanes, lost).await,
            LogEvent::OffsetLost => {
                let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
                for lane in lanes {
                    self.reopen(&lane);
                }
            }
            LogEvent::Broken(why) => self.broken = Some(why),
            LogEvent::Record(record) => {
                let behind = |replay: &Arc<Replay>| {
                    replay.stretches.get(&record.lane).is_none_or(|stretch| record.offset >= stretch.end)
                };
                if self.replay.as_ref().is_some_and(behind) {
                    return;
                }
                let Some(state) = self.lanes.get_mut(&record.lane) else { return };
                if state.halted.is_some() {
                    return;
                }
                let lane = record.lane.clone();
                if let Err(halt) = state.take(record) {
                    self.halt(&lane, halt);
                }
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                // A panic in a batch rolled its transaction back. Lanes that were busy start again from the database.
                tracing::error!(%error, "a batch task died");
                let busy: Vec<Lane> =
                    self.lanes.values().filter(|l| l.busy_since.is_some()).map(|l| l.lane.clone()).collect();
                busy.iter().for_each(|lane| self.reopen(lane));
                return;
            }
        };
        match done {
            Done::Opened { epoch, lane, result } if self.current(&lane, epoch) => self.opened(lane, result),
            Done::Batch { epoch, lane, outcome } if self.current(&lane, epoch) => {
                self.batch_done(&lane, outcome)
            }
            Done::Unparked { epoch, lane, event, outcome } if self.current(&lane, epoch) => {
                self.unparked(&lane, event, outcome);
            }
            Done::Requests(requests) => self.unpark(requests),
            Done::Lag(watermarks) => self.report_lag(&watermarks),
            // Of an earlier assignment: the fence has judged it.
            _ => {}
        }
    }

    /// A lane as it begins.
    fn fresh(&self, lane: &Lane) -> LaneState {
        let mut state = LaneState::new(lane.clone(), S::HOLDS, self.epoch, self.batching.records as usize);
        if let Some(replay) = &self.replay {
            state.only = replay.events.get(lane).cloned();
            state.memory.rejected_offsets = replay.given_up.get(lane).cloned().unwrap_or_default();
        }
        state.memory.keys = self.keys.clone();
        state
    }

    /// Says what has become of the lanes, where that changed.
    fn tell(&self) {
        let opening = |l: &&LaneState| !l.open && l.halted.is_none();
        let alarm = |l: &LaneState| {
            let halt = l.halted.as_ref().map(|(halt, _)| halt).or(l.recovering.as_ref())?;
            Some((l.lane.clone(), halt.to_string()))
        };
        let state = WorkerState {
            joined: self.epoch > 0,
            opening: self.lanes.values().filter(opening).map(|l| l.lane.clone()).collect(),
            halted: self.lanes.values().filter_map(alarm).collect(),
        };
        self.state.send_if_modified(|told| {
            let changed = *told != state;
            if changed {
                *told = state;
            }
            changed
        });
    }

    fn current(&self, lane: &Lane, epoch: u64) -> bool {
        self.lanes.get(lane).is_some_and(|state| state.epoch == epoch)
    }

    fn dispatch(&mut self, draining: bool) {
        let due: Vec<Lane> =
            self.lanes.values().filter(|l| l.due(&self.batching, draining)).map(|l| l.lane.clone()).collect();
        for lane in due {
            let Some(state) = self.lanes.get_mut(&lane) else { continue };
            let cut = match state.cut(&self.log_id, DEAD_BRAKE) {
                Ok(cut) => cut,
                Err(halt) => {
                    self.halt(&lane, halt);
                    continue;
                }
            };
            let (attempts, memory, cancel) =
                (self.attempts.clone(), state.memory.clone(), state.cancel.clone());
            let epoch = state.epoch;
            self.jobs.spawn(async move {
                let (offsets, records) = (cut.batch.from..cut.batch.to, cut.batch.records.len());
                let span = BatchSpan::begin(&cut.batch.lane, offsets, records, cut.linked);
                let mut outcome = attempts.batch(&cut.batch, &cut.dead, &memory, &cancel, &span).await;
                span.ended(outcome.name(), outcome.is_committed());
                if let Attempted::Done(applied) = &mut outcome {
                    observe(&cut.batch.lane, applied, cut.timestamp, attempts.clock.now_ms());
                    for record in
                        cut.batch.records.iter().filter(|r| applied.parked_offsets.contains(&r.entry.offset))
                    {
                        // A copy for tools; `parked_record` has the record itself, in the same transaction.
                        let letter = DeadLetter {
                            offset: record.entry.offset,
                            bytes: record.bytes.clone(),
                            reason: "parked".to_owned(),
                        };
                        attempts.dead_letter(&cut.batch.lane, &letter, &cancel).await;
                    }
                }
                Done::Batch { epoch, lane, outcome }
            });
        }
    }

    fn batch_done(&mut self, lane: &Lane, outcome: Attempted) {
        let full = self.batching.records as usize;
        let Some(state) = self.lanes.get_mut(lane) else { return };
        match outcome {
            Attempted::Done(applied) => {
                state.committed();
                state.limit = (state.limit * 2).min(full);
                for event in &applied.newly_parked {
                    state.park.remove(event);
                }
                for event in applied.newly_parked {
                    tracing::error!(event, %lane, "event parked");
                    self.parks.push_back((Instant::now(), event));
                }
                self.recovered(lane);
                self.advance_reader(lane);
            }
            Attempted::DoneBefore => {
                metrics::counter!("event_batches_found_committed_total").increment(1);
                state.committed();
                // What this batch was to park is parked; a later record of the event finds that in its row.
                for event in std::mem::take(&mut state.park).into_keys() {
                    tracing::error!(event, %lane, "event parked");
                    self.parks.push_back((Instant::now(), event));
                }
                self.recovered(lane);
                self.advance_reader(lane);
            }
            Attempted::FenceLost => {
                tracing::warn!(%lane, "the fence was lost: another worker has moved the cursor");
                self.reopen(lane);
            }
            Attempted::Cancelled => {
                state.put_back();
            }
            Attempted::Failing { record, why } => self.failing(lane, record, why),
            Attempted::ChangedOutsideTheLog(what) => self.halt(lane, Halt::ChangedOutsideTheLog(what)),
            Attempted::Refused(what) => self.halt(lane, Halt::Database(what)),
            Attempted::KeyRefused(what) => self.halt(lane, Halt::DecisionKey(what)),
        }
    }

    fn advance_reader(&self, lane: &Lane) {
        if let (Some(reader), Some(state)) = (self.readers.get(lane), self.lanes.get(lane)) {
            reader.advance(state.cursor);
        }
    }

    /// Waits for the first assignment: a process that is stopped right behind its start has a backlog, too.
    async fn joined(&mut self, until: tokio::time::Instant) {
        while self.epoch == 0 {
            match tokio::time::timeout_at(until, self.log.next()).await {
                Ok(event) => self.event(event).await,
                Err(_) => return tracing::error!("stopped before any lane was assigned"),
            }
        }
    }

    async fn drain(&mut self, budget: Duration) {
        let until = tokio::time::Instant::now() + budget;
        let started = Instant::now();
        if self.drain_backlog {
            self.joined(until).await;
        }
        let mut goal = if self.drain_backlog {
            self.log.watermarks(self.lanes.keys().cloned().collect()).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        loop {
            goal.retain(|(lane, _, high)| {
                self.lanes.get(lane).is_some_and(|s| s.halted.is_none() && s.cursor < *high)
            });
            let busy = self.lanes.values().any(|l| l.busy_since.is_some());
            if (goal.is_empty() && !busy) || tokio::time::Instant::now() >= until {
                break;
            }
            if !goal.is_empty() {
                self.dispatch(true);
            }
            let (room, wants) = (self.has_room(), !goal.is_empty());
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => {}
                Some(done) = self.jobs.join_next() => self.done(done),
                event = self.log.next(), if room && wants => self.event(event).await,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        self.mirror();
        self.log.leave();
        let revoked = tokio::time::Instant::now() + Duration::from_secs(3);
        while !self.lanes.is_empty() {
            match tokio::time::timeout_at(revoked, self.log.next()).await {
                Ok(event @ LogEvent::Revoked { .. }) => self.event(event).await,
                // The group was rebalancing: unanswered, it would wait with letting us go.
                Ok(LogEvent::Assigned(_)) => self.log.accept(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.lanes.values().for_each(|l| l.cancel.cancel());
        // A database future is never dropped half-way: what still runs ends by itself, within the rest of the budget.
        while let Ok(Some(_)) = tokio::time::timeout_at(until, self.jobs.join_next()).await {}
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "worker drained");
    }
}

fn observe(lane: &Lane, applied: &super::apply::Applied, oldest: Option<i64>, now: i64) {
    for (status, n) in ["PENDING", "WIN", "LOSE", "REJECTED"].into_iter().zip(applied.decided) {
        if n > 0 {
            metrics::counter!("event_entries_decided_total", "status" => status).increment(n);
        }
    }
    if applied.counted > 0 {
        metrics::counter!("event_activities_counted_total").increment(applied.counted);
        metrics::counter!("event_missions_completed_total").increment(applied.completed);
    }
    metrics::counter!("event_batches_total", "topic" => lane.topic.clone()).increment(1);
    metrics::counter!("event_repeats_total", "topic" => lane.topic.clone()).increment(applied.repeats);
    if let Some(at) = oldest {
        metrics::histogram!("event_decision_age_seconds").record((now - at).max(0) as f64 / 1_000.0);
    }
}
