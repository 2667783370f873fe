//! A worker role on the real log and database: which topics, under which group. A worker binary is a [`Role`] and
//! [`main`].

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use shared_proto::Topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Batching, Replay, Worker, WorkerParts, WorkerState};
use crate::clock::{SystemClock, SystemRandom};
use crate::config::StartError;
use crate::embedded::BacklogGuard;
use crate::keys::{DecisionKeyArgs, RewardKeys};
use crate::log::{KafkaArgs, KafkaLaneLog, KafkaProducer, check_topics};
use crate::service::{self, Binary, Process};
use crate::store::{DatabaseArgs, Store};

/// What a worker reads, and as which consumer group; all instances of a role share the group.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its topics.
    pub topics: &'static [Topic],
    /// Name of the consumer group; the topic prefix comes before it.
    pub group: Cow<'static, str>,
}

/// What a role needs from its process.
pub struct RoleParts {
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
    /// Decide a log again, into an empty database.
    pub replay: Option<Arc<Replay>>,
    /// For events with random rewards.
    pub keys: RewardKeys,
    /// Told what becomes of the lanes; whoever wants to know subscribes before.
    pub state: watch::Sender<WorkerState>,
}

/// Settings of a worker binary.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    batching: Batching,
    #[command(flatten)]
    decision_key: DecisionKeyArgs,
}

/// `main` of a worker binary.
pub async fn main(binary: Binary, role: Role) -> ExitCode {
    service::main(binary, async |args: WorkerArgs, process: &Process| start(args, role, process).await).await
}

async fn start(args: WorkerArgs, role: Role, process: &Process) -> Result<(), StartError> {
    let store = Store::of(&args.database)?;
    let keys = RewardKeys::new(args.decision_key.read_if_set()?);
    store.ping().await.map_err(|error| StartError::unreachable("DATABASE_URL", error))?;
    check_topics(&args.kafka).await?;
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let parts = RoleParts {
        kafka: args.kafka,
        store,
        producer,
        batching: args.batching,
        embedded: false,
        backlog: None,
        replay: None,
        keys,
        state: watch::Sender::default(),
    };
    let topic = parts.kafka.topics().name(role.topics[0]);
    let (store, producer) = (parts.store.clone(), parts.producer.clone());
    process.life.watch("database", move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| error.to_string()) }
    });
    process.life.watch("kafka", move || {
        let (producer, topic) = (producer.clone(), topic.clone());
        async move { producer.ping(topic).await }
    });
    let mut state = parts.state.subscribe();
    let life = process.life.clone();
    tokio::spawn(async move {
        // Ends with the worker, which holds the other side.
        while state.changed().await.is_ok() {
            let halted = state.borrow_and_update().halted.clone();
            life.set_alarms(halted.into_iter().map(|(lane, why)| (format!("lane {lane}"), why)).collect());
        }
    });
    let (shutdown, budget) = (process.life.shutdown_token(), process.life.drain_budget());
    process.life.spawn("worker", async move { role.run(parts, shutdown, budget).await });
    Ok(())
}

impl Role {
    /// Joins the group and applies lanes until `shutdown`; drains within `budget`.
    pub async fn run(
        self,
        parts: RoleParts,
        shutdown: CancellationToken,
        budget: Duration,
    ) -> anyhow::Result<()> {
        let names = parts.kafka.topics();
        let topics: Vec<String> = self.topics.iter().map(|topic| names.name(*topic)).collect();
        let group = format!("{}{}", parts.kafka.kafka_topic_prefix, self.group);
        let log = KafkaLaneLog::join(&parts.kafka, &topics, &group).await?;
        let parts = WorkerParts {
            store: parts.store,
            producer: parts.producer,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            batching: parts.batching,
            adopt_unknown_log: parts.embedded,
            drain_backlog: parts.embedded,
            backlog: parts.backlog,
            replay: parts.replay,
            keys: parts.keys,
            state: parts.state,
        };
        Worker::new(log, parts).run(shutdown, budget).await
    }
}
