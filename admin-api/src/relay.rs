//! The relay: carries commands from the outbox to the log, at least once and in order (DESIGN section 4, "One outbox").
//!
//! It may be killed anywhere: what was published and not noted is published again, and workers apply a command once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use shared_domain::EventId;
use shared_proto::{EVENT_ID, Lane, REQUEST_ID};
use shared_runtime::clock::{SharedClock, SharedRandom};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::store::commands::{Change, Changed, CommandError, StaffRequest};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::OutboxRow;
use shared_runtime::store::{STOCK_ADDED, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const LEASE_MS: i64 = 5_000;
/// Nobody behind new stock is told LOSE from a snapshot that does not show it (DESIGN section 6).
const STOCK_DELAY_MS: i64 = 2_000;
const EVENTS_AT_ONCE: usize = 4;

/// Why a pass ended early. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event that has ended could not be closed.
    #[error("event {0} could not be closed: {1}")]
    Close(EventId, CommandError),
    /// The log did not take a record.
    #[error("event {0}, command {1}: {2}")]
    Produce(EventId, i64, ProduceError),
}

/// One relay; of several on one database, one at a time works.
pub struct Relay<P> {
    store: Store,
    producer: Arc<P>,
    clock: SharedClock,
    random: SharedRandom,
    wake: Arc<Notify>,
    close_grace_ms: i64,
    holder: [u8; 16],
}

impl<P: Producer> Relay<P> {
    /// A relay that is woken by `wake`.
    pub fn new(
        store: Store,
        producer: Arc<P>,
        clock: SharedClock,
        random: SharedRandom,
        wake: Arc<Notify>,
        close_grace: Duration,
    ) -> Self {
        let holder = random.id();
        let close_grace_ms = i64::try_from(close_grace.as_millis()).unwrap_or(i64::MAX);
        Self { store, producer, clock, random, wake, close_grace_ms, holder }
    }

    /// Works until shutdown; a pass that has begun is finished, for database futures must not be dropped.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = TICK;
        while !shutdown.is_cancelled() {
            match self.pass().await {
                Ok(_) => pause = TICK,
                Err(error) => {
                    metrics::counter!("event_outbox_errors_total").increment(1);
                    tracing::warn!(%error, retry_in = ?pause, "the relay could not finish a pass");
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
            let woken = async {
                // A wake-up does not cut a back-off short.
                if pause == TICK { self.wake.notified().await } else { std::future::pending().await }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = woken => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One pass. False when another relay holds the lease.
    pub async fn pass(&self) -> Result<bool, RelayError> {
        let now = self.clock.now_ms();
        let until = now + LEASE_MS;
        if !self.store.hold_relay_lease(&self.holder, now, until).await? {
            return Ok(false);
        }
        // What fails for one part must not keep the others waiting; the first error is the pass's.
        let closed = self.close_ended(now).await;
        let published = self.publish(until).await;
        let settled = self.settle().await;
        closed.and(published).and(settled)?;
        Ok(true)
    }

    async fn close_ended(&self, now: i64) -> Result<(), RelayError> {
        let mut outcome = Ok(());
        for event in self.store.ended_events(now).await? {
            let id = event.event_id;
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
                Err(error) => outcome = outcome.and(Err(RelayError::Close(id, error))),
            }
        }
        outcome
    }

    async fn publish(&self, lease_until: i64) -> Result<(), RelayError> {
        let mut rows = self.store.unpublished().await?;
        // The clock is read behind the rows, and only these rows get the moment: a database that stood still in between
        // must not date a row before its own commit.
        let not_before = self.clock.now_ms() + STOCK_DELAY_MS;
        for row in rows.iter_mut().filter(|row| row.kind == STOCK_ADDED && row.not_before.is_none()) {
            self.store.hold_back(row, not_before).await?;
            row.not_before = Some(not_before);
        }
        let mut events = Vec::new();
        while let Some(first) = rows.first() {
            let event = first.event_id;
            let rest = rows.split_off(rows.partition_point(|row| row.event_id == event));
            events.push(std::mem::replace(&mut rows, rest));
        }
        let work = events.into_iter().map(|rows| self.publish_event(rows, lease_until));
        let outcomes: Vec<_> = futures::stream::iter(work).buffer_unordered(EVENTS_AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    /// An event's rows in the order of its commands: the next one only after every lane has acknowledged.
    async fn publish_event(&self, rows: Vec<OutboxRow>, lease_until: i64) -> Result<(), RelayError> {
        for command in rows.chunk_by(|a, b| a.ordinal == b.ordinal) {
            let now = self.clock.now_ms();
            let held_back = command.iter().any(|row| row.not_before.is_some_and(|at| at > now));
            // Past the lease another relay may be at work; both would write the same, but for nothing.
            if held_back || now >= lease_until {
                break;
            }
            let lanes = futures::future::join_all(command.iter().map(|row| self.publish_row(row))).await;
            lanes.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    async fn publish_row(&self, row: &OutboxRow) -> Result<(), RelayError> {
        let lane = Lane::new(row.topic.clone(), row.lane);
        let key = row.event_id.to_string();
        let record = ToProduce {
            lane: &lane,
            key: key.as_bytes(),
            value: &row.record,
            headers: &[(EVENT_ID, &key), (REQUEST_ID, &row.request_id)],
        };
        let produced = self.producer.produce(record).await;
        produced.map_err(|error| RelayError::Produce(row.event_id, row.ordinal, error))?;
        self.store.mark_published(row, self.clock.now_ms()).await?;
        metrics::counter!("event_outbox_published_total", "kind" => row.kind.clone()).increment(1);
        Ok(())
    }

    async fn settle(&self) -> Result<(), RelayError> {
        let now = self.clock.now_ms();
        self.store.settle_outbox(now).await?;
        for (event, lanes, closed) in self.store.closing_events().await? {
            if closed >= i64::from(lanes) && self.store.finish_close(event, now).await? {
                tracing::info!(event_id = event, "closed in every lane");
            }
        }
        let age = self.store.oldest_unsettled().await?.map_or(0, |since| (now - since).max(0));
        metrics::gauge!("event_outbox_age_seconds").set(age as f64 / 1000.0);
        Ok(())
    }
}
