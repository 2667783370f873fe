//! The producer on Kafka: idempotent, `acks=all`, with a deadline (DESIGN section 5, "Gateway produce").

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::args::KafkaArgs;
use super::batching::Batches;
use super::producer::{ProduceError, Producer, ToProduce};
use crate::config::StartError;

/// How long librdkafka waits for more records before it sends a batch.
const LINGER: Duration = Duration::from_millis(2);
/// How long a batch takes records; less, so that none arrives just after it was sent.
const OPEN_FOR: Duration = Duration::from_micros(1_500);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A producer on a Kafka cluster. Cheap to clone.
#[derive(Clone)]
pub struct KafkaProducer {
    pub(super) inner: FutureProducer,
    log_id: String,
    batches: Batches,
    message_timeout: Duration,
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
            .set("linger.ms", LINGER.as_millis().to_string())
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "65536");
        let inner: FutureProducer = config.create().map_err(unreachable)?;
        let client = inner.clone();
        let log_id =
            tokio::task::spawn_blocking(move || client.client().fetch_cluster_id(Duration::from_secs(10)))
                .await
                .ok()
                .flatten()
                .ok_or_else(|| unreachable("no broker answers"))?;
        Ok(Self {
            inner,
            log_id,
            batches: Batches::new(OPEN_FOR),
            message_timeout: args.kafka_message_timeout,
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

    /// Waits for what is queued; blocks the calling task's thread pool, not the runtime.
    pub async fn flush(&self, budget: Duration) {
        let inner = self.inner.clone();
        let flushed = tokio::task::spawn_blocking(move || inner.flush(budget)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the producer's queue was not empty at the end of the flush budget");
        }
    }
}

impl Producer for KafkaProducer {
    fn log_id(&self) -> &str {
        &self.log_id
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        let started = Instant::now();
        let _place = self.batches.place(record.lane).await;
        if started.elapsed() >= self.message_timeout {
            // The batch before had no answer in all that time: this record would not have one either.
            return Err(ProduceError::QueueFull);
        }
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let message = FutureRecord::to(&record.lane.topic)
            .partition(record.lane.partition)
            .key(record.key)
            .payload(record.value)
            .headers(headers);
        let delivery = match self.inner.send_result(message) {
            Ok(delivery) => delivery,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                return Err(ProduceError::QueueFull);
            }
            Err((error, _)) => return Err(ProduceError::Refused(error.to_string())),
        };
        let outcome = match delivery.await {
            Ok(Ok(delivered)) => Ok(delivered.offset),
            Ok(Err((KafkaError::MessageProduction(code), _))) if is_refusal(code) => {
                Err(ProduceError::Refused(code.to_string()))
            }
            Ok(Err((error, _))) => Err(ProduceError::Unknown(error.to_string())),
            Err(_) => Err(ProduceError::Unknown("the producer stopped".to_owned())),
        };
        let histogram = if outcome.is_ok() { &self.acked } else { &self.failed };
        histogram.record(started.elapsed());
        outcome
    }
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
