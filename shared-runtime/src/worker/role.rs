//! A worker role on the real log and database: which topics, under which group. A worker binary is a [`Role`] and
//! [`main`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared_proto::Topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ActivityStore, Batching, Replay, Worker, WorkerParts, WorkerState};
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
pub async fn main(binary: Binary, roles: &'static [Role]) -> ExitCode {
    service::main(binary, async |args: WorkerArgs, process: &Process| start(args, roles, process).await).await
}

async fn start(args: WorkerArgs, roles: &'static [Role], process: &Process) -> Result<(), StartError> {
    let store = Store::of(&args.database)?;
    let keys = RewardKeys::new(args.decision_key.read_if_set()?);
    store.ping().await.map_err(|error| StartError::unreachable("DATABASE_URL", error))?;
    check_topics(&args.kafka).await?;
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let asked = store.clone();
    process.life.watch("database", move || {
        let store = asked.clone();
        async move { store.ping().await.map_err(|error| error.to_string()) }
    });
    let topic = args.kafka.topics().name(roles[0].topics[0]);
    let asked = Arc::clone(&producer);
    process.life.watch("kafka", move || {
        let (producer, topic) = (Arc::clone(&asked), topic.clone());
        async move { producer.ping(topic).await }
    });
    let alarms = Arc::new(Mutex::new(vec![BTreeMap::new(); roles.len()]));
    for (n, role) in roles.iter().enumerate() {
        let parts = RoleParts {
            kafka: args.kafka.clone(),
            store: store.clone(),
            producer: Arc::clone(&producer),
            batching: args.batching,
            embedded: false,
            backlog: None,
            replay: None,
            keys: keys.clone(),
            state: watch::Sender::default(),
        };
        let (mut state, alarms) = (parts.state.subscribe(), Arc::clone(&alarms));
        let life = process.life.clone();
        tokio::spawn(async move {
            // Ends with the worker, which holds the other side.
            while state.changed().await.is_ok() {
                let halted = state.borrow_and_update().halted.clone();
                let mut all = alarms.lock().unwrap_or_else(PoisonError::into_inner);
                all[n] = halted.into_iter().map(|(lane, why)| (format!("lane {lane}"), why)).collect();
                life.set_alarms(all.iter().cloned().reduce(merged).unwrap_or_default());
            }
        });
        let (shutdown, budget) = (process.life.shutdown_token(), process.life.drain_budget());
        process.life.spawn(&*role.group, async move { role.clone().run(parts, shutdown, budget).await });
    }
    Ok(())
}

/// Roles have lanes of different topics.
fn merged(mut a: BTreeMap<String, String>, b: BTreeMap<String, String>) -> BTreeMap<String, String> {
    a.extend(b);
    a
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
        if self.topics.contains(&Topic::Activity) {
            let store = ActivityStore::new(parts.store.clone(), parts.replay.is_some());
            return Worker::new(log, parts.with_store(store)).run(shutdown, budget).await;
        }
        let store = parts.store.clone();
        Worker::new(log, parts.with_store(store)).run(shutdown, budget).await
    }
}

impl RoleParts {
    fn with_store<S>(self, store: S) -> WorkerParts<S, KafkaProducer> {
        let parts = self;
        WorkerParts {
            store,
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
        }
    }
}
