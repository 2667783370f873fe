//! The admin API on the real stack: settings in, a listener and a relay out, and a drain at SIGTERM.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use admin_api::{Admin, AdminArgs, AdminParts};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rdkafka::consumer::{BaseConsumer, Consumer};
use shared_proto::Topic;
use shared_runtime::auth::{Audiences, AuthArgs};
use shared_runtime::clock::{SharedRandom, SystemClock, SystemRandom};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::http::{HttpLimits, serve};
use shared_runtime::lifecycle::{Component, Lifecycle, LifecycleArgs, OpsArgs, healthcheck, serve_ops};
use shared_runtime::log::{KafkaArgs, KafkaProducer};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::store::{DatabaseArgs, Store};
use shared_runtime::telemetry::TelemetryArgs;
use tokio::net::TcpListener;

const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(2);

/// Takes staff's commands and carries them to the log.
#[derive(Debug, Parser)]
#[command(name = "admin-api", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Exits 0 when /readyz of the running process does
    Healthcheck(OpsArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    http: HttpLimits,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    lifecycle: LifecycleArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = OpsArgs::with_default(Cli::command(), "127.0.0.1:9091");
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    if let Some(Command::Healthcheck(ops)) = cli.command {
        return if healthcheck(ops.ops_addr).await { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match run(cli.run).await {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; the exit code says it too.
            drop(writeln!(std::io::stderr(), "admin-api: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: RunArgs) -> Result<ExitCode, StartError> {
    let metrics = args.telemetry.init()?;
    args.admin.check(args.kafka.allow_unsafe_log)?;
    let url = required("DATABASE_URL", args.database.database_url.as_deref())?;
    required("REDIS_URL", args.redis.redis_url.as_deref())?;
    required("KAFKA_BROKERS", args.kafka.kafka_brokers.as_deref())?;
    let random: SharedRandom = Arc::new(SystemRandom);
    let store = Store::open(&args.database, url)?;
    let redis = RedisClient::new(&args.redis, Arc::clone(&random))?;

    let life = args.lifecycle.build();
    life.listen_for_signals().map_err(|error| unreachable("SIGTERM", error))?;
    let ops = bind("OPS_ADDR", args.ops.ops_addr).await?;
    let database = life.component("database");
    let ops = tokio::spawn(serve_ops(ops, life.clone(), metrics));

    let verifier = args.auth.build(Audiences::Staff, &[args.admin.admin_addr, args.ops.ops_addr]).await?;
    shared_runtime::log::check_topics(&args.kafka).await?;
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let admin = Admin::new(AdminParts {
        store: store.clone(),
        redis: Some(redis),
        verifier,
        clock: Arc::new(SystemClock),
        random,
        ends: producer.clone(),
        topics: args.kafka.topics(),
        apply_lanes: apply_lanes(&args.kafka).await?,
        log_retention: Some(args.kafka.min_log_retention),
        close_grace: args.admin.close_grace,
    });
    let router = admin.router(args.http)?;
    let listener = bind("ADMIN_ADDR", args.admin.admin_addr).await?;
    tracing::info!(addr = %args.admin.admin_addr, "listening");
    watch_database(&life, database, store);
    admin.spawn_relay(&life, producer);
    let (stop, budget) = (life.shutdown_token(), life.drain_budget());
    // The listener cuts what is left at the end of its budget; it needs a moment more to say so.
    life.spawn_with_budget("listener", budget + Duration::from_secs(1), async move {
        let drained = serve(listener, router, stop, budget).await;
        tracing::info!(cut = drained.cut, "the listener has drained");
        Ok(())
    });
    let code = life.run().await;
    drop(ops.await);
    Ok(code)
}

/// Ready while the database answers.
fn watch_database(life: &Lifecycle, component: Component, store: Store) {
    let stop = life.shutdown_token();
    life.spawn("database watch", async move {
        while !stop.is_cancelled() {
            match store.ping().await {
                Ok(()) => component.ready(),
                Err(error) => component.not_ready(error.to_string()),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PING_EVERY) => {}
            }
        }
        Ok(())
    });
}

/// How many partitions the apply topic has now.
async fn apply_lanes(args: &KafkaArgs) -> Result<i32, StartError> {
    let topic = args.topics().name(Topic::Apply);
    let config = args.client()?;
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create()?;
        let metadata = client.fetch_metadata(Some(&topic), METADATA_TIMEOUT)?;
        Ok::<_, rdkafka::error::KafkaError>(metadata.topics().first().map_or(0, |t| t.partitions().len()))
    });
    let count = asked
        .await
        .map_err(|error| unreachable("KAFKA_BROKERS", error))?
        .map_err(|error| unreachable("KAFKA_BROKERS", error))?;
    match i32::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(unreachable("KAFKA_BROKERS", "the apply topic is missing (event-system topics create)")),
    }
}

fn required<'a>(setting: &str, value: Option<&'a str>) -> Result<&'a str, ConfigError> {
    value.ok_or_else(|| ConfigError::new(setting, "is required"))
}

async fn bind(setting: &str, addr: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(addr).await.map_err(|error| ConfigError::new(setting, format!("{addr}: {error}")))
}

fn unreachable(setting: &str, problem: impl ToString) -> StartError {
    StartError::Unreachable { setting: setting.to_owned(), problem: problem.to_string() }
}
