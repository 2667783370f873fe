//! The producer on Kafka: idempotent, `acks=all`, with a deadline (DESIGN section 5, "Gateway produce").

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use shared_proto::Lane;

use super::args::KafkaArgs;
use super::lane_queue::{LaneQueue, Offered};
use super::outcomes::{Desks, Outcome, Waiter, give_out};
use super::producer::{ProduceError, Producer, ToProduce};
use crate::config::StartError;

/// How long librdkafka waits for more records before it sends a batch.
const LINGER: &str = "1";
/// How long a batch takes records; less, so that none arrives just after it was sent.
const OPEN_FOR: Duration = Duration::from_micros(800);
/// Records in librdkafka's queue, and in that of each lane before it.
const QUEUED: usize = 100_000;
/// How long the acknowledgements' thread waits before it looks whether anybody still needs it.
const LOOK: Duration = Duration::from_millis(100);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A record that waits for its turn.
#[derive(Debug)]
struct Queued {
    key: Vec<u8>,
    value: Vec<u8>,
    headers: OwnedHeaders,
    since: Instant,
    delivery: Box<Delivery>,
}

/// A lane that is written to.
#[derive(Debug)]
struct Outgoing {
    lane: Lane,
    queue: LaneQueue<Queued>,
    /// Outcomes of the batch under way, until all of them are known.
    known: Mutex<Vec<(Waiter, Outcome)>>,
}

impl Outgoing {
    /// The outcome of a record is known. Gives what is to be handed over now.
    fn settled(&self, waiter: Waiter, outcome: Outcome) -> VecDeque<Queued> {
        self.known().push((waiter, outcome));
        let Some(next) = self.queue.settled() else { return VecDeque::new() };
        let known = std::mem::take(&mut *self.known());
        give_out(known);
        next
    }

    fn known(&self) -> MutexGuard<'_, Vec<(Waiter, Outcome)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka gives back with a record's outcome.
#[derive(Debug)]
pub(super) struct Delivery {
    outgoing: Arc<Outgoing>,
    waiter: Waiter,
}

/// Hands each record's offset to whoever waits for it. (rdkafka's own future producer copies every delivered record for
/// that.)
pub(super) struct Acknowledgements {
    timeout: Duration,
    /// What they are acknowledgements of; takes what waited for them.
    producer: OnceLock<Weak<BaseProducer<Self>>>,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let next = delivery.ends(match result {
            Ok(message) => Ok(message.offset()),
            Err((KafkaError::MessageProduction(code), _)) if is_refusal(*code) => {
                Err(ProduceError::Refused(code.to_string()))
            }
            Err((error, _)) => Err(ProduceError::Unknown(error.to_string())),
        });
        // A producer that is being dropped takes nothing any more: who waits for those hears that it stopped.
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade) {
            hand_over_all(&producer, next);
        }
    }
}

impl Delivery {
    /// Gives what is to be handed over now.
    fn ends(self, outcome: Outcome) -> VecDeque<Queued> {
        self.outgoing.settled(self.waiter, outcome)
    }
}

/// A producer on a Kafka cluster. Clones share it.
#[derive(Clone)]
pub struct KafkaProducer {
    pub(super) inner: Arc<BaseProducer<Acknowledgements>>,
    log_id: String,
    lanes: Arc<DashMap<Lane, Arc<Outgoing>>>,
    desks: Arc<Desks>,
    acked: metrics::Histogram,
    failed: metrics::Histogram,
}

impl KafkaProducer {
    /// Connects and reads the cluster's identity.
    pub async fn connect(args: &KafkaArgs) -> Result<Self, StartError> {
        let mut config = args.client()?;
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", args.kafka_message_timeout.as_millis().to_string())
            .set("linger.ms", LINGER)
            .set("queue.buffering.max.messages", QUEUED.to_string())
            .set("queue.buffering.max.kbytes", "65536");
        let acknowledgements =
            Acknowledgements { timeout: args.kafka_message_timeout, producer: OnceLock::new() };
        let inner = BaseProducer::from_config_and_context(&config, acknowledgements);
        let inner: Arc<BaseProducer<_>> = Arc::new(inner.map_err(unreachable)?);
        let polled = Arc::downgrade(&inner);
        drop(inner.context().producer.set(Weak::clone(&polled)));
        let polling = std::thread::Builder::new().name("acknowledgements".to_owned()).spawn(move || {
            while let Some(producer) = polled.upgrade() {
                producer.poll(LOOK);
            }
        });
        polling.map_err(unreachable)?;
        let client = Arc::clone(&inner);
        let log_id =
            tokio::task::spawn_blocking(move || client.client().fetch_cluster_id(Duration::from_secs(10)))
                .await
                .ok()
                .flatten()
                .ok_or_else(|| unreachable("no broker answers"))?;
        Ok(Self {
            inner,
            log_id,
            lanes: Arc::default(),
            desks: Arc::default(),
            acked: metrics::histogram!("event_produce_ack_seconds", "outcome" => "acked"),
            failed: metrics::histogram!("event_produce_ack_seconds", "outcome" => "failed"),
        })
    }

    /// Asks the brokers for an answer. Errors: none came, or not in time.
    pub async fn ping(&self, topic: String) -> Result<(), String> {
        let inner = self.inner.clone();
        let asked = tokio::task::spawn_blocking(move || {
            inner.client().fetch_metadata(Some(&topic), PING_TIMEOUT).map(drop)
        });
        asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Waits for what is queued, in vain when the budget ends.
    pub async fn flush(&self, budget: Duration) {
        let until = Instant::now() + budget;
        while Instant::now() < until && !self.lanes.iter().all(|lane| lane.queue.is_idle()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (inner, left) = (Arc::clone(&self.inner), until.saturating_duration_since(Instant::now()));
        let flushed = tokio::task::spawn_blocking(move || inner.flush(left)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the producer's queue was not empty at the end of the flush budget");
        }
    }

    fn outgoing(&self, lane: &Lane) -> Arc<Outgoing> {
        if let Some(outgoing) = self.lanes.get(lane) {
            return Arc::clone(&outgoing);
        }
        let new = || {
            let queue = LaneQueue::new(OPEN_FOR);
            Arc::new(Outgoing { lane: lane.clone(), queue, known: Mutex::default() })
        };
        Arc::clone(&self.lanes.entry(lane.clone()).or_insert_with(new))
    }
}

impl Producer for KafkaProducer {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        let started = Instant::now();
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let (waiter, settled) = self.desks.wait();
        let outgoing = self.outgoing(record.lane);
        let delivery = Box::new(Delivery { outgoing: Arc::clone(&outgoing), waiter });
        let (key, value) = (record.key.to_vec(), record.value.to_vec());
        match outgoing.queue.offer(Queued { key, value, headers, since: started, delivery }, QUEUED) {
            Offered::Go(record) => {
                let next = hand_over(&self.inner, record);
                hand_over_all(&self.inner, next);
            }
            Offered::Waits => {}
            Offered::Full => return Err(ProduceError::QueueFull),
        }
        // Without an outcome the producer is gone, with the record or before it.
        let outcome =
            settled.await.unwrap_or_else(|_| Err(ProduceError::Unknown("the producer stopped".to_owned())));
        let histogram = if outcome.is_ok() { &self.acked } else { &self.failed };
        histogram.record(started.elapsed());
        outcome
    }
}

fn hand_over_all(producer: &BaseProducer<Acknowledgements>, mut records: VecDeque<Queued>) {
    while let Some(record) = records.pop_front() {
        records.extend(hand_over(producer, record));
    }
}

/// Gives a record to librdkafka, which reports its outcome if it takes it. If it does not, that is the outcome, and what
/// waited for it comes next.
fn hand_over(producer: &BaseProducer<Acknowledgements>, record: Queued) -> VecDeque<Queued> {
    match offer(producer, record) {
        Ok(()) => VecDeque::new(),
        Err((delivery, error)) => delivery.ends(Err(error)),
    }
}

fn offer(
    producer: &BaseProducer<Acknowledgements>,
    record: Queued,
) -> Result<(), (Box<Delivery>, ProduceError)> {
    let Queued { key, value, headers, since, delivery } = record;
    if since.elapsed() >= producer.context().timeout {
        // The batch before had no answer in all that time: this record would not have one either.
        return Err((delivery, ProduceError::QueueFull));
    }
    let outgoing = Arc::clone(&delivery.outgoing);
    let message = BaseRecord::with_opaque_to(&outgoing.lane.topic, delivery)
        .partition(outgoing.lane.partition)
        .key(&key)
        .payload(&value)
        .headers(headers);
    producer.send(message).map_err(|(error, message)| {
        let error = match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => ProduceError::QueueFull,
            error => ProduceError::Refused(error.to_string()),
        };
        (message.delivery_opaque, error)
    })
}

fn unreachable(problem: impl ToString) -> StartError {
    StartError::unreachable("KAFKA_BROKERS", problem)
}

/// Errors after which the record is certainly not in the log and never will be.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
    )
}
