//! The gateway on the real stack: settings in, a listener out, and a drain at SIGTERM.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::{Gateway, GatewayArgs, GatewayParts};
use clap::Args;
use shared_proto::Topic;
use shared_runtime::auth::{Audiences, AuthArgs};
use shared_runtime::clock::{SharedRandom, SystemClock, SystemRandom};
use shared_runtime::config::StartError;
use shared_runtime::log::{KafkaArgs, KafkaProducer, check_topics, partitions_of};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::service::{self, Binary, Process};
use shared_runtime::store::{DatabaseArgs, Store};

// Records are made on one thread and given back on another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BINARY: Binary = Binary {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    about: "Takes members' entries into the log and answers what became of them",
    ops_addr: "127.0.0.1:9090",
};

/// How long the producer may take to hand over what is queued after the last request.
const FLUSH: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
struct GatewayProcessArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    auth: AuthArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    service::main(BINARY, start).await
}

async fn start(args: GatewayProcessArgs, process: &Process) -> Result<(), StartError> {
    args.gateway.check()?;
    let random: SharedRandom = Arc::new(SystemRandom);
    let store = Store::of(&args.database)?;
    let redis = RedisClient::new(&args.redis, Arc::clone(&random))?;
    let verifier = args.auth.build(Audiences::Members, &[args.gateway.public_addr]).await?;
    let topics = check_topics(&args.kafka).await?;
    let activity_topic = args.kafka.topics().name(Topic::Activity);
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let parts = GatewayParts {
        producer: Arc::clone(&producer),
        store,
        redis,
        verifier,
        clock: Arc::new(SystemClock),
        random,
        backlog: None,
        activity_partitions: (0..partitions_of(&topics, &activity_topic)).collect(),
        topics: args.kafka.topics(),
        args: args.gateway,
    };
    Gateway::start(parts, &process.life).await?;
    process.at_end(async move { producer.flush(FLUSH).await });
    Ok(())
}
