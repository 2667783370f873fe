//! The worker for FCFS and general entries: wiring over `shared-runtime`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared_proto::{Lane, Topic};
use shared_runtime::clock::{SystemClock, SystemRandom};
use shared_runtime::config::StartError;
use shared_runtime::embedded::BacklogGuard;
use shared_runtime::log::{KafkaArgs, KafkaLaneLog, KafkaProducer};
use shared_runtime::store::Store;
use shared_runtime::worker::{Batching, Worker, WorkerParts};
use tokio_util::sync::CancellationToken;

/// What the role needs from its process.
pub struct ApplyParts {
    /// Kafka.
    pub kafka: KafkaArgs,
    /// Database.
    pub store: Store,
    /// For dead letters.
    pub producer: Arc<KafkaProducer>,
    /// Batches.
    pub batching: Batching,
    /// Embedded: the log is in memory, so a new one is adopted and the backlog is decided before the end.
    pub embedded: bool,
    /// Embedded: told of progress.
    pub backlog: Option<Arc<BacklogGuard>>,
    /// Consumer group, under the topic prefix.
    pub group: String,
    /// A replay reads each lane up to here.
    pub stop_at: Option<Arc<HashMap<Lane, i64>>>,
}

/// Name of the consumer group that all instances share.
pub const GROUP: &str = "apply-worker";

/// Joins the group and applies lanes until `shutdown`; drains within `budget`.
pub async fn run(parts: ApplyParts, shutdown: CancellationToken, budget: Duration) -> anyhow::Result<()> {
    let worker = join(parts).await?;
    worker.run(shutdown, budget).await
}

async fn join(parts: ApplyParts) -> Result<Worker<KafkaLaneLog, Store, KafkaProducer>, StartError> {
    let topic = parts.kafka.topics().name(Topic::Apply);
    let group = format!("{}{}", parts.kafka.kafka_topic_prefix, parts.group);
    let log = KafkaLaneLog::join(&parts.kafka, &topic, &group).await?;
    Ok(Worker::new(
        log,
        WorkerParts {
            store: parts.store,
            producer: parts.producer,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            batching: parts.batching,
            adopt_unknown_log: parts.embedded,
            drain_backlog: parts.embedded,
            backlog: parts.backlog,
            stop_at: parts.stop_at,
        },
    ))
}
