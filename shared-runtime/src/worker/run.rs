//! The loop: one task owns all lanes; batches run beside it (DESIGN section 5, "Assignment" and "Poison").

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared_domain::EventId;
use shared_proto::Lane;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempted, Attempts, DeadLetter};
use super::cursor::{Halt, Start, check_cursor};
use super::lane::{Batching, LaneState};
use super::lane_store::LaneStore;
use crate::clock::{SharedClock, SharedRandom};
use crate::embedded::{BacklogGuard, ReaderPosition};
use crate::log::producer::Producer;
use crate::log::reader::{LaneLog, LogEvent};
use crate::store::rows::ProgressRow;

const TICK: Duration = Duration::from_millis(100);
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
const HALT_RECHECK: Duration = Duration::from_secs(5);
const PARKS_BRAKE: usize = 5;
const PARKS_WINDOW: Duration = Duration::from_secs(600);
const DEAD_BRAKE: usize = 100;
const PAUSE_AFTER: Duration = Duration::from_millis(500);

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
    /// A replay reads each lane up to here, and lanes that are not named not at all.
    pub stop_at: Option<Arc<HashMap<Lane, i64>>>,
}

enum Done {
    Opened { epoch: u64, lane: Lane, result: Result<(Start, i64), OpenError> },
    Batch { epoch: u64, lane: Lane, outcome: Attempted },
    Unparked { epoch: u64, lane: Lane, event: EventId, outcome: Attempted },
    Requests(Vec<(EventId, i32, Option<String>)>),
    Lag(Vec<(Lane, i64, i64)>),
}

enum OpenError {
    Halt(Halt),
    Later(String),
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
    stop_at: Option<Arc<HashMap<Lane, i64>>>,
    readers: BTreeMap<Lane, ReaderPosition>,
    lanes: BTreeMap<Lane, LaneState>,
    jobs: JoinSet<Done>,
    epoch: u64,
    parks: VecDeque<(Instant, EventId)>,
    ticks: u64,
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
            }),
            batching: parts.batching,
            adopt: parts.adopt_unknown_log,
            drain_backlog: parts.drain_backlog,
            backlog: parts.backlog,
            stop_at: parts.stop_at,
            readers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            jobs: JoinSet::new(),
            epoch: 0,
            parks: VecDeque::new(),
            ticks: 0,
        }
    }

    /// Runs until `shutdown`, then drains within `budget`.
    pub async fn run(mut self, shutdown: CancellationToken, budget: Duration) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
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
        }
        self.drain(budget).await;
        self.log.close().await;
        Ok(())
    }

    /// Takes what the client has at hand without going round the select for each record.
    async fn take_more(&mut self) {
        for _ in 0..self.batching.records {
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
            LogEvent::Record(record) => {
                let behind = |stops: &Arc<HashMap<Lane, i64>>| {
                    stops.get(&record.lane).is_none_or(|stop| record.offset >= *stop)
                };
                if self.stop_at.as_ref().is_some_and(behind) {
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

    /// Reads the cursors of new lanes, off the loop.
    fn open(&mut self, lanes: Vec<Lane>) {
        metrics::counter!("event_rebalances_total", "kind" => "assigned").increment(1);
        self.epoch += 1;
        let mut fresh = Vec::new();
        for lane in lanes {
            let limit = self.batching.records as usize;
            self.lanes.insert(lane.clone(), LaneState::new(lane.clone(), self.epoch, limit));
            // Started paused: the cursor is read off the loop, and the lane then starts at it explicitly.
            fresh.push((lane.clone(), None));
            if let Some(guard) = &self.backlog {
                self.readers.insert(lane.clone(), guard.reader(&lane));
            }
        }
        tracing::info!(lanes = fresh.len(), "lanes assigned");
        self.log.start(&fresh);
        for (lane, _) in fresh {
            self.spawn_open(lane, Duration::ZERO);
        }
    }

    fn reopen(&mut self, lane: &Lane) {
        let Some(old) = self.lanes.remove(lane) else { return };
        old.cancel.cancel();
        self.log.pause(lane);
        self.epoch += 1;
        let mut state = LaneState::new(lane.clone(), self.epoch, self.batching.records as usize);
        state.halted = old.halted;
        state.recovering = old.recovering;
        state.park = old.park;
        // Or each look at a halted lane would let another hundred pass the brake.
        state.dead_run = old.dead_run;
        self.lanes.insert(lane.clone(), state);
        self.spawn_open(lane.clone(), Duration::ZERO);
    }

    fn spawn_open(&mut self, lane: Lane, after: Duration) {
        let Some(state) = self.lanes.get(&lane) else { return };
        let epoch = state.epoch;
        let watermarks = self.log.watermarks(vec![lane.clone()]);
        let (attempts, log_id, adopt) = (self.attempts.clone(), self.log_id.clone(), self.adopt);
        self.jobs.spawn(async move {
            tokio::time::sleep(after).await;
            let result = open_lane(&attempts, &log_id, &lane, watermarks, adopt).await;
            Done::Opened { epoch, lane, result }
        });
    }

    async fn revoke(&mut self, lanes: Vec<Lane>, lost: bool) {
        let kind = if lost { "lost" } else { "revoked" };
        metrics::counter!("event_rebalances_total", "kind" => kind).increment(1);
        if !lost {
            // Let what is in flight commit, so that the next owner starts behind it. The fence would hold without.
            let until = tokio::time::Instant::now() + Duration::from_secs(5);
            while lanes.iter().any(|l| self.lanes.get(l).is_some_and(|s| s.busy_since.is_some())) {
                match tokio::time::timeout_at(until, self.jobs.join_next()).await {
                    Ok(Some(done)) => self.done(done),
                    _ => break,
                }
            }
            self.mirror();
        }
        let mut ours = Vec::new();
        for lane in lanes {
            if let Some(state) = self.lanes.remove(&lane) {
                state.cancel.cancel();
                ours.push(lane.clone());
            }
            self.readers.remove(&lane);
            clear_gauges(&lane);
        }
        self.log.stop(&ours);
        tracing::info!(lanes = ours.len(), lost, "lanes revoked");
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

    fn current(&self, lane: &Lane, epoch: u64) -> bool {
        self.lanes.get(lane).is_some_and(|state| state.epoch == epoch)
    }

    fn opened(&mut self, lane: Lane, result: Result<(Start, i64), OpenError>) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        let start = match result {
            Ok((start, _high)) => start,
            Err(OpenError::Halt(halt)) => return self.halt(&lane, halt),
            Err(OpenError::Later(why)) => {
                tracing::warn!(%lane, why, "the lane cannot be opened yet");
                return self.spawn_open(lane, BETWEEN_TRIES);
            }
        };
        // The alarm stays up until the lane has moved: what stopped it may be met again behind the cursor.
        if let Some((halt, _)) = state.halted.take() {
            state.recovering = Some(halt);
        }
        let from = match start {
            Start::Fresh(at) | Start::At(at) => {
                state.cursor = at;
                at
            }
            Start::VerifyFrom { cursor, hash } => {
                state.cursor = cursor;
                state.verify = Some(hash);
                cursor - 1
            }
        };
        state.paused = false;
        if let Some(reader) = self.readers.get(&lane) {
            reader.advance(state.cursor);
        }
        tracing::debug!(%lane, cursor = state.cursor, "lane opened");
        self.log.resume_at(&lane, from);
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
                let mut outcome = attempts.batch(&cut.batch, &cut.dead, &memory, &cancel).await;
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
        }
    }

    /// Narrows the batch down to the failing record, tries it, and then parks its event.
    fn failing(&mut self, lane: &Lane, record: Option<(EventId, i64)>, why: String) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let from = state.cursor;
        let size = state.put_back();
        if size > 1 {
            state.limit = match record {
                // Everything before the record can be decided now.
                Some((_, offset)) => usize::try_from(offset - from).unwrap_or(1).clamp(1, size - 1),
                None => size / 2,
            };
            return;
        }
        state.limit = 1;
        state.tries += 1;
        let Some((event, offset)) = state.front_event() else { return };
        tracing::warn!(event, offset, %lane, why, tries = state.tries, "a record fails");
        if state.tries < TRIES {
            state.wait_until = Some(Instant::now() + BETWEEN_TRIES);
            return;
        }
        self.parks.retain(|(at, _)| at.elapsed() < PARKS_WINDOW);
        if self.parks.iter().filter(|(_, parked)| *parked != event).count() >= PARKS_BRAKE {
            return self.halt(
                lane,
                Halt::Brake(format!("{PARKS_BRAKE} events parked within 10 minutes; now: {why}")),
            );
        }
        state.tries = 0;
        state.park.insert(event, why);
    }

    fn halt(&mut self, lane: &Lane, halt: Halt) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let name = halt.name();
        let known = state.halted.as_ref().map(|(old, _)| old).or(state.recovering.as_ref());
        if known != Some(&halt) {
            clear_gauges(lane);
            tracing::error!(%lane, alarm = name, detail = %halt, "lane halted");
        }
        metrics::gauge!("event_lane_halted", "topic" => lane.topic.clone(),
            "partition" => lane.partition.to_string(), "reason" => name)
        .set(1.0);
        state.put_back();
        state.paused = true;
        state.halted = Some((halt, Instant::now()));
        self.log.pause(lane);
    }

    fn recovered(&mut self, lane: &Lane) {
        if self.lanes.get_mut(lane).is_some_and(|state| state.recovering.take().is_some()) {
            tracing::info!(%lane, "the lane goes on");
            clear_gauges(lane);
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        self.mirror();
        let slow: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| !l.paused && l.buffered() >= self.batching.records as usize * 4)
            .filter(|l| l.busy_since.is_some_and(|at| at.elapsed() > PAUSE_AFTER))
            .map(|l| l.lane.clone())
            .collect();
        for lane in slow {
            // The client must stay polled; what it would give us now has no room.
            self.log.pause(&lane);
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.paused = true;
            }
        }
        let ready: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| l.paused && l.halted.is_none() && l.buffered() < self.batching.records as usize)
            .map(|l| l.lane.clone())
            .collect();
        for lane in ready {
            self.log.resume(&lane);
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.paused = false;
            }
        }
        let recheck: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| l.halted.as_ref().is_some_and(|(_, at)| at.elapsed() > HALT_RECHECK))
            .map(|l| l.lane.clone())
            .collect();
        recheck.iter().for_each(|lane| self.reopen(lane));
        if self.ticks.is_multiple_of(10) && !self.lanes.is_empty() {
            let attempts = self.attempts.clone();
            self.jobs.spawn(async move {
                Done::Requests(attempts.store.unpark_requests().await.unwrap_or_default())
            });
            self.lanes.values_mut().for_each(|l| l.seen = l.cursor);
            let watermarks = self.log.watermarks(self.lanes.keys().cloned().collect());
            self.jobs.spawn(async move { Done::Lag(watermarks.await.unwrap_or_default()) });
        }
    }

    fn unpark(&mut self, requests: Vec<(EventId, i32, Option<String>)>) {
        for (event, partition, topic) in requests {
            let state = self.lanes.values_mut().find(|l| {
                l.lane.partition == partition
                    && topic.as_ref().is_none_or(|t| *t == l.lane.topic)
                    && l.busy_since.is_none()
                    && l.halted.is_none()
                    && l.verify.is_none()
            });
            let Some(state) = state else { continue };
            state.busy_since = Some(Instant::now());
            let batch = state.at_cursor(&self.log_id);
            let (attempts, memory, cancel) =
                (self.attempts.clone(), state.memory.clone(), state.cancel.clone());
            let (epoch, lane) = (state.epoch, state.lane.clone());
            self.jobs.spawn(async move {
                let outcome = attempts.unpark(&batch, event, &memory, &cancel).await;
                Done::Unparked { epoch, lane, event, outcome }
            });
        }
    }

    fn unparked(&mut self, lane: &Lane, event: EventId, outcome: Attempted) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        state.put_back();
        match outcome {
            Attempted::Done(_) => tracing::info!(event, %lane, "event unparked"),
            Attempted::FenceLost => self.reopen(lane),
            other => tracing::error!(event, %lane, ?other, "the event stays parked"),
        }
    }

    fn advance_reader(&self, lane: &Lane) {
        if let (Some(reader), Some(state)) = (self.readers.get(lane), self.lanes.get(lane)) {
            reader.advance(state.cursor);
        }
    }

    fn mirror(&mut self) {
        let moved: Vec<(Lane, i64)> = self
            .lanes
            .values_mut()
            .filter(|l| l.cursor > l.committed && l.verify.is_none() && l.halted.is_none() && l.cursor > 0)
            .map(|l| {
                l.committed = l.cursor;
                (l.lane.clone(), l.cursor)
            })
            .collect();
        if !moved.is_empty() {
            self.log.commit(&moved);
        }
    }

    fn report_lag(&mut self, watermarks: &[(Lane, i64, i64)]) {
        let shorter = |(lane, _, high): &(Lane, i64, i64)| {
            self.lanes.get(lane).is_some_and(|s| s.halted.is_none() && s.verify.is_none() && s.seen > *high)
        };
        if watermarks.iter().any(shorter) {
            // The client does not tell of a topic made again, and would go on in it where its offset exists.
            tracing::warn!("a lane is shorter than it was: every lane is compared with the log");
            let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
            return lanes.iter().for_each(|lane| self.reopen(lane));
        }
        for (lane, _, high) in watermarks {
            // Nothing left to stumble over.
            let idle = |s: &LaneState| s.halted.is_none() && s.verify.is_none() && s.cursor >= *high;
            if self.lanes.get(lane).is_some_and(idle) {
                self.recovered(lane);
            }
        }
        let now = self.attempts.clock.now_ms();
        for (lane, _, high) in watermarks {
            let Some(state) = self.lanes.get(lane) else { continue };
            let lag = (high - state.cursor).max(0);
            let seconds = match state.oldest_timestamp() {
                Some(at) if lag > 0 => (now - at).max(0) as f64 / 1_000.0,
                _ => 0.0,
            };
            let labels = [("topic", lane.topic.clone()), ("partition", lane.partition.to_string())];
            metrics::gauge!("event_lane_lag_records", &labels).set(lag as f64);
            metrics::gauge!("event_lane_lag_seconds", &labels).set(seconds);
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

async fn open_lane<S: LaneStore, P: Producer>(
    attempts: &Attempts<S, P>,
    log_id: &str,
    lane: &Lane,
    watermarks: impl Future<Output = Result<Vec<(Lane, i64, i64)>, String>>,
    adopt: bool,
) -> Result<(Start, i64), OpenError> {
    let later = |e: crate::store::error_class::StoreError| OpenError::Later(e.to_string());
    let (_, low, high) = watermarks
        .await
        .map_err(OpenError::Later)?
        .pop()
        .ok_or_else(|| OpenError::Later("no watermarks".to_owned()))?;
    let rows = attempts.store.progress_of(lane).await.map_err(later)?;
    let start = check_cursor(&rows, log_id, lane, low, high, adopt).map_err(OpenError::Halt)?;
    if let Start::Fresh(at) = start {
        let row = ProgressRow {
            log_id: log_id.to_owned(),
            topic: lane.topic.clone(),
            partition_id: lane.partition,
            next_offset: at,
            last_hash: None,
            updated_at: attempts.clock.now_ms(),
        };
        // Another worker may have made it in between: then the row is read again.
        attempts.store.insert_progress(&row).await.map_err(later)?;
    }
    Ok((start, high))
}

fn observe(lane: &Lane, applied: &super::apply::Applied, oldest: Option<i64>, now: i64) {
    for (status, n) in ["PENDING", "WIN", "LOSE", "REJECTED"].into_iter().zip(applied.decided) {
        if n > 0 {
            metrics::counter!("event_entries_decided_total", "status" => status).increment(n);
        }
    }
    metrics::counter!("event_batches_total", "topic" => lane.topic.clone()).increment(1);
    metrics::counter!("event_repeats_total", "topic" => lane.topic.clone()).increment(applied.repeats);
    if let Some(at) = oldest {
        metrics::histogram!("event_decision_age_seconds").record((now - at).max(0) as f64 / 1_000.0);
    }
}

fn clear_gauges(lane: &Lane) {
    for reason in [
        "unknown_log",
        "gap",
        "beyond_end",
        "mismatch",
        "newer_schema",
        "changed_outside_the_log",
        "brake",
        "database",
    ] {
        let labels = [
            ("topic", lane.topic.clone()),
            ("partition", lane.partition.to_string()),
            ("reason", reason.to_owned()),
        ];
        metrics::gauge!("event_lane_halted", &labels).set(0.0);
    }
}
