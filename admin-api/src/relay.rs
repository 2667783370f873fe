//! The relay: carries commands from the outbox to the log, at least once and in order (DESIGN section 4, "One outbox").
//!
//! It may be killed anywhere: what was published and not noted is published again, and workers apply a command once.

mod activity_gate;
mod earned;
mod turns;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared_domain::{EventId, Millis};
use shared_proto::{EVENT_ID, Lane, REQUEST_ID};
use shared_runtime::clock::{SharedClock, SharedRandom};
use shared_runtime::log::LogEnds;
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::store::commands::{Change, Changed, CommandError, StaffRequest};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::OutboxRow;
use shared_runtime::store::{CLOSED, STOCK_ADDED, Store};
use shared_runtime::traces::Publishing;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::activity_gate::ActivityGate;
use self::earned::Earned;
use self::turns::{Turn, Turns};
use crate::alarms::Alarms;

const TICK: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const LEASE_MS: i64 = 5_000;
/// Nobody behind new stock is told LOSE from a snapshot that does not show it (DESIGN section 6).
const STOCK_DELAY_MS: i64 = 2_000;
/// A lane that has not applied a `Closed` for so long lags: its event waits for it.
const CLOSE_LAG_MS: i64 = 5_000;
/// Events looked at a pass; the next pass goes on behind them.
const WINDOW: usize = 500;

/// Why one event has to wait. The others go on.
#[derive(Debug, thiserror::Error)]
enum EventError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it has ended and could not be closed: {0}")]
    Close(CommandError),
    #[error("row {0} of the outbox: {1}")]
    Produce(i64, ProduceError),
    #[error("where the activity lanes end is not known: {0}")]
    Ends(String),
}

/// One relay; of several on one database, one at a time works.
pub struct Relay<P>(Arc<Inner<P>>);

struct Inner<P> {
    store: Store,
    producer: Arc<P>,
    clock: SharedClock,
    random: SharedRandom,
    wake: Arc<Notify>,
    close_grace_ms: i64,
    holder: [u8; 16],
    lease_until: AtomicI64,
    turns: Turns,
    earned: Earned,
    gate: ActivityGate,
    alarms: Alarms,
    /// Lanes that lagged at the last look.
    lagging: Mutex<BTreeMap<Lane, EventId>>,
}

/// What a relay works with besides the log that it writes to.
pub(crate) struct RelayParts {
    pub store: Store,
    pub clock: SharedClock,
    pub random: SharedRandom,
    /// Wakes it.
    pub wake: Arc<Notify>,
    pub close_grace: Duration,
    pub alarms: Alarms,
    pub ends: Arc<dyn LogEnds>,
    /// Full name of the activities' topic.
    pub activity_topic: String,
}

impl<P: Producer> Relay<P> {
    pub(crate) fn new(parts: RelayParts, producer: Arc<P>) -> Self {
        let holder = parts.random.id();
        let close_grace_ms = i64::try_from(parts.close_grace.as_millis()).unwrap_or(i64::MAX);
        Self(Arc::new(Inner {
            gate: ActivityGate::new(parts.store.clone(), parts.ends, parts.activity_topic),
            store: parts.store,
            producer,
            clock: parts.clock,
            random: parts.random,
            wake: parts.wake,
            close_grace_ms,
            holder,
            lease_until: AtomicI64::new(i64::MIN),
            turns: Turns::default(),
            earned: Earned::default(),
            alarms: parts.alarms,
            lagging: Mutex::default(),
        }))
    }

    /// Works until shutdown; what has begun is finished, for database futures must not be dropped.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = TICK;
        let mut events = JoinSet::new();
        while !shutdown.is_cancelled() {
            match self.begin(&mut events).await {
                Ok(_) => pause = TICK,
                Err(error) => {
                    metrics::counter!("event_outbox_errors_total").increment(1);
                    tracing::warn!(%error, retry_in = ?pause, "the relay could not finish a pass");
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
            while events.try_join_next().is_some() {}
            let woken = async {
                // A wake-up does not cut a back-off short.
                if pause == TICK { self.0.wake.notified().await } else { std::future::pending().await }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while events.join_next().await.is_some() {}
    }

    /// One pass and everything that it began. False when another relay holds the lease. Errors: the database; what
    /// fails for one event is logged, and that event waits.
    pub async fn pass(&self) -> Result<bool, StoreError> {
        let mut events = JoinSet::new();
        let outcome = self.begin(&mut events).await;
        while events.join_next().await.is_some() {}
        let held = outcome?;
        if held {
            self.0.settle().await?;
        }
        Ok(held)
    }

    /// Begins what is due, one task an event: a lane that does not answer keeps nobody else waiting.
    async fn begin(&self, events: &mut JoinSet<()>) -> Result<bool, StoreError> {
        let relay = &self.0;
        let now = relay.clock.now_ms();
        let until = now + LEASE_MS;
        if !relay.store.hold_relay_lease(&relay.holder, now, until).await? {
            return Ok(false);
        }
        relay.lease_until.store(until, Ordering::Release);
        relay.close_ended(now).await?;
        for turn in relay.turns.take(&relay.due(now).await?, now) {
            let relay = Arc::clone(relay);
            events.spawn(async move { relay.take_turn(turn).await });
        }
        let earned = Arc::clone(relay);
        events.spawn(async move { earned.publish_earned().await });
        relay.settle().await?;
        Ok(true)
    }
}

impl<P: Producer> Inner<P> {
    /// Events with something to publish, from behind the last one looked at, and round.
    async fn due(&self, now: Millis) -> Result<Vec<EventId>, StoreError> {
        let after = self.turns.after();
        let mut due = self.store.events_to_publish(now, after, WINDOW).await?;
        if due.len() < WINDOW {
            due.extend(self.store.events_to_publish(now, EventId::MIN, WINDOW - due.len()).await?);
        }
        Ok(due)
    }

    async fn take_turn(&self, turn: Turn) {
        match self.publish(turn.event).await {
            Ok(()) => self.turns.succeeded(turn.event),
            Err(error) => self.note_failure(turn.event, &error),
        }
    }

    fn note_failure(&self, event: EventId, error: &EventError) {
        let pause_ms = self.turns.failed(event, self.clock.now_ms());
        metrics::counter!("event_outbox_errors_total").increment(1);
        tracing::warn!(event_id = event, %error, pause_ms, "the event waits");
    }

    async fn close_ended(&self, now: Millis) -> Result<(), StoreError> {
        for event in self.store.ended_events(now).await? {
            let id = event.event_id;
            if self.turns.waits(id, now) {
                continue;
            }
            let not_before = event.ends_at.max(now).saturating_add(self.close_grace_ms);
            let request = StaffRequest {
                actor: "relay".to_owned(),
                request_id: "relay".to_owned(),
                route: String::new(),
                key: None,
                now,
            };
            let change = Change::Close { event: id, not_before };
            let answer = |_: &Changed| (202, String::new());
            match self.store.change(&request, &change, &*self.random, &answer).await {
                Ok(_) => tracing::info!(event_id = id, "the event has ended"),
                // Staff closed or deleted it in between.
                Err(CommandError::Conflict(..) | CommandError::EventNotFound) => {}
                Err(error) => self.note_failure(id, &EventError::Close(error)),
            }
        }
        Ok(())
    }

    /// An event's rows in the order of its commands: the next one only after every lane has acknowledged.
    async fn publish(&self, event: EventId) -> Result<(), EventError> {
        loop {
            let mut rows = self.store.unpublished(event).await?;
            // The clock is read behind the rows, and only these rows get the moment: neither a database that stood still
            // nor a row that came in between may shorten the delay.
            let not_before = self.clock.now_ms() + STOCK_DELAY_MS;
            for row in rows.iter_mut().filter(|row| row.kind == STOCK_ADDED && row.not_before.is_none()) {
                self.store.hold_back(row, not_before).await?;
                row.not_before = Some(not_before);
            }
            if rows.is_empty() {
                return Ok(());
            }
            for command in rows.chunk_by(|a, b| a.ordinal == b.ordinal) {
                let now = self.clock.now_ms();
                let held_back = command.iter().any(|row| row.not_before.is_some_and(|at| at > now));
                // Past the lease another relay may be at work; both would write the same, but for nothing.
                if held_back || now >= self.lease_until.load(Ordering::Acquire) {
                    return Ok(());
                }
                let closes = command.first().is_some_and(|row| row.kind == CLOSED);
                if closes && !self.gate.lets_close(event, now).await? {
                    return Ok(());
                }
                let lanes = futures::future::join_all(command.iter().map(|row| self.publish_row(row))).await;
                lanes.into_iter().collect::<Result<(), _>>()?;
            }
        }
    }

    async fn publish_row(&self, row: &OutboxRow) -> Result<(), EventError> {
        let lane = Lane::new(row.topic.clone(), row.lane);
        let key = row.event_id.to_string();
        let headers = [(EVENT_ID, &*key), (REQUEST_ID, &*row.request_id)];
        let publishing = Publishing::root(&lane).of_command(&row.command_id);
        let headers = publishing.headers(&headers);
        let record = ToProduce { lane: &lane, key: key.as_bytes(), value: &row.record, headers: &headers };
        let produced = publishing.ended(self.producer.produce(record).await);
        produced.map_err(|error| EventError::Produce(row.ordinal, error))?;
        self.store.mark_published(row, self.clock.now_ms()).await?;
        metrics::counter!("event_outbox_published_total", "kind" => row.kind.clone()).increment(1);
        Ok(())
    }

    /// Names the lanes for which a closing event waits.
    async fn name_lagging(&self, now: Millis) -> Result<(), StoreError> {
        let (mut lagging, mut alarms) = (BTreeMap::new(), BTreeMap::new());
        for (event, topic, lane, published_at) in self.store.closes_awaited().await? {
            let ms = (now - published_at).max(0);
            if ms < CLOSE_LAG_MS {
                continue;
            }
            let lane = Lane::new(topic, lane);
            let text = format!("lane {lane} has not applied Closed");
            alarms
                .entry(format!("close {event}"))
                .and_modify(|all: &mut String| all.push_str(&format!("; {text}")))
                .or_insert(text);
            // Of several events in a lane the first, which waits longest.
            lagging.entry(lane).or_insert((event, ms));
        }
        let mut known = self.lagging.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in known.keys().filter(|lane| !lagging.contains_key(lane)) {
            tracing::info!(%lane, "the lane has applied Closed");
            close_lag(lane, 0);
        }
        for (lane, (event, ms)) in &lagging {
            if !known.contains_key(lane) {
                tracing::warn!(%lane, event_id = event, alarm = "close", "a closing event waits for this lane");
            }
            close_lag(lane, *ms);
        }
        *known = lagging.into_iter().map(|(lane, (event, _))| (lane, event)).collect();
        drop(known);
        self.alarms.set("closes", alarms);
        Ok(())
    }

    async fn settle(&self) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        self.store.settle_outbox(now).await?;
        for (event, lanes, closed) in self.store.closing_events().await? {
            if closed >= i64::from(lanes) && self.store.finish_close(event, now).await? {
                tracing::info!(event_id = event, "closed in every lane");
            }
        }
        self.name_lagging(now).await?;
        self.alarms.set("activities", self.gate.alarms(now));
        let oldest = [self.store.oldest_unsettled().await?, self.store.oldest_earned().await?];
        let age = oldest.into_iter().flatten().min().map_or(0, |since| (now - since).max(0));
        metrics::gauge!("event_outbox_age_seconds").set(age as f64 / 1000.0);
        Ok(())
    }
}

fn close_lag(lane: &Lane, ms: i64) {
    let labels = [("topic", lane.topic.clone()), ("partition", lane.partition.to_string())];
    metrics::gauge!("event_close_lag_seconds", &labels).set(ms as f64 / 1_000.0);
}
