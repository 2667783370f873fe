//! The admin API on the real stack: settings in, a listener and a relay out, and a drain at SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;

use admin_api::{Admin, AdminArgs, AdminParts};
use clap::Args;
use shared_runtime::auth::{Audiences, AuthArgs};
use shared_runtime::clock::{SharedRandom, SystemClock, SystemRandom};
use shared_runtime::config::StartError;
use shared_runtime::http::HttpLimits;
use shared_runtime::keys::{DecisionKeyArgs, KeyEncryptionArgs};
use shared_runtime::log::{
    KafkaArgs, KafkaProducer, check_topics, longest_life, partitions_of, shortest_retention,
};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::service::{self, Binary, Process};
use shared_runtime::store::commands::EventTopics;
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs, Store};

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Takes staff's commands and carries them to the log",
    ops_addr: "127.0.0.1:9091",
};

#[derive(Debug, Args)]
struct AdminProcessArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    key_store: KeyStoreArgs,
    #[command(flatten)]
    key_encryption: KeyEncryptionArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    decision_key: DecisionKeyArgs,
    #[command(flatten)]
    http: HttpLimits,
}

#[tokio::main]
async fn main() -> ExitCode {
    service::main(BINARY, start).await
}

async fn start(args: AdminProcessArgs, process: &Process) -> Result<(), StartError> {
    args.admin.check(args.kafka.allow_unsafe_log)?;
    args.http.check()?;
    let random: SharedRandom = Arc::new(SystemRandom);
    let store = Store::of(&args.database)?;
    let redis = RedisClient::new(&args.redis, Arc::clone(&random))?;
    let verifier = args.auth.build(Audiences::Staff, &[args.admin.admin_addr, process.ops_addr]).await?;
    let decision_key = args.decision_key.read()?;
    let chains = Arc::new(args.admin.drand.read()?);
    let keys = KeyStore::of(&args.key_store, &args.database)?;
    let wrapping = Arc::new(args.key_encryption.read()?);
    let topics = check_topics(&args.kafka).await?;
    admin_api::check_key_encryption_key(&keys, &wrapping).await?;
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let parts = AdminParts {
        store: store.clone(),
        redis: Some(redis),
        verifier,
        clock: Arc::new(SystemClock),
        random,
        ends: producer.clone(),
        topics: args.kafka.topics(),
        event_topics: EventTopics::new(&args.kafka.topics(), |name| partitions_of(&topics, name)),
        decision_key,
        chains,
        log_retention: shortest_retention(&args.kafka, &topics),
        close_grace: args.admin.close_grace,
        keys,
        wrapping,
        backup_life: args.admin.backup_life,
        log_life: longest_life(&args.kafka, &topics),
    };
    process.life.watch("database", move || {
        let store = store.clone();
        async move { store.ping().await.map_err(|error| error.to_string()) }
    });
    Admin::start(parts, args.admin.admin_addr, args.http, producer, &process.life).await?;
    Ok(())
}
