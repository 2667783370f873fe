//! Every role in one process: on the embedded stack, or on the real one when the three URLs are set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin_api::{Admin, AdminArgs, AdminParts};
use api_gateway::{Gateway, GatewayArgs, GatewayParts};
use clap::Args;
use shared_proto::{Lane, Topic};
use shared_runtime::auth::{Audiences, AuthArgs, DevKey};
use shared_runtime::clock::{SharedRandom, SystemClock, SystemRandom};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::embedded::{BacklogGuard, CountedProducer, FakeRedis, MockLog};
use shared_runtime::http::HttpLimits;
use shared_runtime::keys::{DecisionKey, DecisionKeyArgs, KeyEncryptionArgs, KeyEncryptionKey, RewardKeys};
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::log::{
    KafkaArgs, KafkaProducer, check_topics, longest_life, partitions_of, shortest_retention,
};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::store::commands::EventTopics;
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs, Store, migrate, migrate_key_store};
use shared_runtime::worker::{Batching, RoleParts, WorkerState};
use tokio::sync::watch;

/// Lanes of each embedded topic.
const EMBEDDED_LANES: i32 = 4;

/// Settings of all roles.
#[derive(Debug, Clone, Args)]
pub struct SystemArgs {
    /// Embedded database and development keys
    #[arg(long, env, default_value = "./data")]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub gateway: GatewayArgs,
    #[command(flatten)]
    pub admin: AdminArgs,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub key_store: KeyStoreArgs,
    #[command(flatten)]
    pub key_encryption: KeyEncryptionArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    pub auth: AuthArgs,
    #[command(flatten)]
    pub batching: Batching,
    #[command(flatten)]
    pub decision_key: DecisionKeyArgs,
}

/// A running system.
pub struct System {
    /// Address of the public listener.
    pub public: SocketAddr,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// The development key, where it is used.
    pub dev_key: Option<PathBuf>,
    /// The files that wrap contact keys, and reward keys and seeds.
    pub wrapping_keys: Vec<PathBuf>,
    /// Whether the stores are embedded.
    pub embedded: bool,
    /// Kafka as this process uses it.
    pub kafka: KafkaArgs,
    /// The database.
    pub store: Store,
    /// The log.
    pub producer: Arc<KafkaProducer>,
    /// Embedded: bounds the log.
    pub backlog: Option<Arc<BacklogGuard>>,
    _embedded: Option<(FakeRedis, MockLog)>,
}

impl System {
    /// Starts every role under `life`.
    pub async fn start(mut args: SystemArgs, life: &Lifecycle) -> Result<Self, StartError> {
        args.gateway.check()?;
        let embedded = is_embedded(&args)?;
        args.admin.check(embedded || args.kafka.allow_unsafe_log)?;
        let (mut guard, mut servers) = (None, None);
        if embedded {
            servers = Some(start_embedded(&mut args).await?);
            guard = Some(Arc::new(BacklogGuard::new()));
        }
        // Settings first, then whoever must answer.
        let listeners = [args.gateway.public_addr, args.admin.admin_addr];
        let verifier = args.auth.build(Audiences::Both, &listeners).await?;
        let decision_key = args.decision_key.read()?;
        let chains = args.admin.drand.read()?;
        let store = Store::of(&args.database)?;
        let keys = KeyStore::of(&args.key_store, &args.database)?;
        let wrapping = Arc::new(args.key_encryption.read()?);
        let random: SharedRandom = Arc::new(SystemRandom);
        let redis = RedisClient::new(&args.redis, random.clone())?;
        store.ping().await.map_err(|e| StartError::unreachable("DATABASE_URL", e))?;
        let names = args.kafka.topics();
        // Embedded, the log goes with the process.
        let (event_topics, activity_lanes, retention, log_life) = if embedded {
            (EventTopics::new(&names, |_| EMBEDDED_LANES), EMBEDDED_LANES, None, Some(Duration::ZERO))
        } else {
            let states = check_topics(&args.kafka).await?;
            (
                EventTopics::new(&names, |name| partitions_of(&states, name)),
                partitions_of(&states, &names.name(Topic::Activity)),
                shortest_retention(&args.kafka, &states),
                longest_life(&args.kafka, &states),
            )
        };
        admin_api::check_key_encryption_key(&keys, &wrapping).await?;
        if embedded {
            // The log is a new, empty one: what a killed process had published and not applied went with the old one.
            for topic in [Topic::Apply, Topic::Raffle] {
                for lane in 0..EMBEDDED_LANES {
                    let lane = Lane::new(names.name(topic), lane);
                    store
                        .publish_again(&lane)
                        .await
                        .map_err(|e| StartError::unreachable("DATABASE_URL", e))?;
                }
            }
        }
        let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);

        let gateway = GatewayParts {
            producer: producer.clone(),
            store: store.clone(),
            redis: redis.clone(),
            verifier: verifier.clone(),
            clock: Arc::new(SystemClock),
            random: random.clone(),
            backlog: guard.clone(),
            topics: args.kafka.topics(),
            activity_partitions: (0..activity_lanes).collect(),
            args: args.gateway,
        };
        let admin = AdminParts {
            store: store.clone(),
            redis: Some(redis),
            verifier,
            clock: Arc::new(SystemClock),
            random,
            ends: producer.clone(),
            topics: names,
            event_topics,
            decision_key: Arc::clone(&decision_key),
            chains: Arc::new(chains),
            log_retention: retention,
            close_grace: args.admin.close_grace,
            keys,
            wrapping,
            backup_life: args.admin.backup_life,
            log_life,
        };
        let counted = Arc::new(CountedProducer::new(producer.clone(), guard.clone()));
        let staff_addr =
            Admin::start(admin, args.admin.admin_addr, HttpLimits::default(), counted, life).await?;
        // Staff are answered from the first moment.
        let listed = async {
            while life.not_ready().iter().any(|waits| waits.component == "erasures") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        life.shutdown_token().run_until_cancelled(listed).await;
        // The workers stop behind the gateway, so that what was acknowledged last is still decided.
        let (public_addr, worker_stop) = Gateway::start(gateway, life).await?;
        let budget = life.drain_budget();
        let mut states = Vec::new();
        for role in apply_worker::ROLES.into_iter().chain([raffle_worker::ROLE]) {
            let parts = RoleParts {
                kafka: args.kafka.clone(),
                store: store.clone(),
                producer: producer.clone(),
                batching: args.batching,
                embedded,
                backlog: guard.clone(),
                replay: None,
                keys: RewardKeys::new(Some(Arc::clone(&decision_key))),
                state: watch::Sender::default(),
            };
            states.push(parts.state.subscribe());
            let stop = worker_stop.clone();
            life.spawn_with_budget(role.group.clone(), budget * 2, async move {
                role.run(parts, stop, budget).await
            });
        }
        // On Kafka other instances may own the lanes. Here these workers do, and no event opens before they read them.
        if embedded {
            let ended = life.shutdown_token();
            for mut worker in states {
                let lanes_read = tokio::select! {
                    state = worker.wait_for(WorkerState::is_at_work) => state.is_ok(),
                    // The listeners are up: what was acknowledged by now is drained as at any other stop.
                    () = ended.cancelled() => true,
                };
                if !lanes_read {
                    return Err(StartError::unreachable(
                        "KAFKA_BROKERS",
                        "a worker ended before it read its lanes",
                    ));
                }
            }
        }
        Ok(Self {
            public: public_addr,
            admin: staff_addr,
            dev_key: args.auth.auth_dev_key_file,
            wrapping_keys: [args.key_encryption.key_encryption_key_file, args.decision_key.decision_key_file]
                .into_iter()
                .flatten()
                .collect(),
            embedded,
            kafka: args.kafka,
            store,
            producer,
            backlog: guard,
            _embedded: servers,
        })
    }
}

/// All three URLs or none.
fn is_embedded(args: &SystemArgs) -> Result<bool, ConfigError> {
    let set = [
        ("DATABASE_URL", args.database.database_url.is_some()),
        ("REDIS_URL", args.redis.redis_url.is_some()),
        ("KAFKA_BROKERS", args.kafka.kafka_brokers.is_some()),
    ];
    match set.iter().find(|(_, set)| !set) {
        None => Ok(false),
        Some(_) if set.iter().all(|(_, set)| !set) => Ok(true),
        Some((missing, _)) => Err(ConfigError::new(
            *missing,
            "is not set; set all of DATABASE_URL, REDIS_URL and KAFKA_BROKERS, or none for the embedded stack",
        )),
    }
}

/// Starts FakeRedis and the mock log, makes database and development key, and points the settings at them.
async fn start_embedded(args: &mut SystemArgs) -> Result<(FakeRedis, MockLog), StartError> {
    let bad = |e: &dyn std::fmt::Display| ConfigError::new("DATA_DIR", e.to_string());
    if let Some(setting) = args.kafka.security.given() {
        return Err(
            ConfigError::new(setting, "is for KAFKA_BROKERS; the embedded log is in this process").into()
        );
    }
    std::fs::create_dir_all(&args.data_dir).map_err(|e| bad(&e))?;
    let redis = FakeRedis::start().map_err(|e| StartError::unreachable("REDIS_URL", e))?;
    let topics: Vec<(String, i32)> = Topic::ALL
        .into_iter()
        .flat_map(|t| {
            let names = args.kafka.topics();
            [names.name(t), names.dead_letter_name(t)]
        })
        .map(|name| (name, EMBEDDED_LANES))
        .collect();
    let log = MockLog::start(&topics).map_err(|e| StartError::unreachable("KAFKA_BROKERS", e))?;
    let url = format!("sqlite://{}", args.data_dir.join("events.db").display());
    migrate(&url, false).await.map_err(|e| bad(&e))?;
    let keys = args.key_store.key_store_url.as_ref().unwrap_or(&url);
    migrate_key_store(keys, false).await.map_err(|e| ConfigError::new("KEY_STORE_URL", e.to_string()))?;
    if args.key_encryption.key_encryption_key_file.is_none() {
        let path = args.data_dir.join("key-encryption.key");
        KeyEncryptionKey::read_or_create(&path).map_err(|e| bad(&e))?;
        args.key_encryption.key_encryption_key_file = Some(path);
    }
    args.database.database_url = Some(url);
    args.redis.redis_url = Some(redis.url());
    args.kafka.kafka_brokers = Some(log.bootstrap_servers().to_owned());
    args.kafka.kafka_session_timeout = Duration::from_secs(6);
    // The log ends with this process: nobody comes back to it.
    args.kafka.kafka_group_instance_id = None;
    if args.auth.auth_jwks.is_none() && args.auth.auth_dev_key_file.is_none() {
        args.auth.auth_dev_key_file = Some(dev_key_path(&args.data_dir));
        DevKey::read_or_create(&dev_key_path(&args.data_dir)).map_err(|e| bad(&e))?;
    }
    if args.decision_key.decision_key_file.is_none() {
        let path = args.data_dir.join("decision.key");
        DecisionKey::read_or_create(&path).map_err(|e| bad(&e))?;
        args.decision_key.decision_key_file = Some(path);
    }
    Ok((redis, log))
}

/// Where the embedded development key lies.
pub fn dev_key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("dev.key")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        system: SystemArgs,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_system_that_has_started_reads_every_lane() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let any = "127.0.0.1:0";
        let args = ["x", "--data-dir", folder, "--public-addr", any, "--admin-addr", any];
        let life = Lifecycle::new(Duration::from_secs(5), Duration::from_secs(15));
        let mut args = Cli::parse_from(args).system;
        // Embedded, whatever the environment of the tests names.
        (args.database.database_url, args.redis.redis_url, args.kafka.kafka_brokers) = (None, None, None);
        (args.key_store, args.key_encryption) = Default::default();
        args.decision_key.decision_key_file = None;
        let system = System::start(args, &life).await.unwrap();
        let cursors = system.store.progress_rows().await.unwrap();
        assert_eq!(cursors.len(), 3 * EMBEDDED_LANES as usize, "the workers have a cursor in every lane");
        life.begin_shutdown();
        assert!(life.finish().await);
    }
}
