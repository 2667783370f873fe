//! The gateway on the real stack: settings in, a listener out, and a drain at SIGTERM.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::{Gateway, GatewayArgs, GatewayParts};
use clap::{Parser, Subcommand};
use shared_runtime::auth::{Audiences, AuthArgs};
use shared_runtime::clock::{SharedRandom, SystemClock, SystemRandom};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::http::serve;
use shared_runtime::lifecycle::{LifecycleArgs, OpsArgs, healthcheck, serve_ops};
use shared_runtime::log::{KafkaArgs, KafkaProducer};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::store::{DatabaseArgs, Store};
use shared_runtime::telemetry::TelemetryArgs;
use tokio::net::TcpListener;

/// How long the producer may take to hand over what is queued after the last request.
const FLUSH: Duration = Duration::from_secs(5);

/// Takes members' entries into the log and answers what became of them.
#[derive(Debug, Parser)]
#[command(name = "api-gateway", version, args_conflicts_with_subcommands = true)]
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
    gateway: GatewayArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    lifecycle: LifecycleArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::Healthcheck(ops)) = cli.command {
        return if healthcheck(ops.ops_addr).await { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match run(cli.run).await {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; the exit code says it too.
            drop(writeln!(std::io::stderr(), "api-gateway: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: RunArgs) -> Result<ExitCode, StartError> {
    let metrics = args.telemetry.init()?;
    args.gateway.check()?;
    let url = required("DATABASE_URL", args.database.database_url.as_deref())?;
    required("REDIS_URL", args.redis.redis_url.as_deref())?;
    required("KAFKA_BROKERS", args.kafka.kafka_brokers.as_deref())?;
    let random: SharedRandom = Arc::new(SystemRandom);
    let store = Store::open(&args.database, url)?;
    let redis = RedisClient::new(&args.redis, Arc::clone(&random))?;

    let life = args.lifecycle.build();
    life.listen_for_signals().map_err(|error| unreachable("SIGTERM", error))?;
    let ops = bind("OPS_ADDR", args.ops.ops_addr).await?;
    // Until the listener is there, /readyz must not say yes.
    let start = life.component("listener");
    let ops = tokio::spawn(serve_ops(ops, life.clone(), metrics));

    let verifier = args.auth.build(Audiences::Members, &[args.gateway.public_addr]).await?;
    shared_runtime::log::check_topics(&args.kafka).await?;
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let gateway = Gateway::new(GatewayParts {
        producer: Arc::clone(&producer),
        store,
        redis,
        verifier,
        clock: Arc::new(SystemClock),
        random,
        backlog: None,
        topics: args.kafka.topics(),
        args: args.gateway.clone(),
    });
    let router = gateway.router()?;
    let listener = bind("PUBLIC_ADDR", args.gateway.public_addr).await?;
    tracing::info!(addr = %args.gateway.public_addr, "listening");
    start.ready();
    gateway.spawn_background(&life);
    let (stop, budget) = (life.shutdown_token(), life.drain_budget());
    // The listener cuts what is left at the end of its budget; it needs a moment more to say so.
    life.spawn_with_budget("listener", budget + Duration::from_secs(1), async move {
        let drained = serve(listener, router, stop, budget).await;
        tracing::info!(cut = drained.cut, "the listener has drained");
        Ok(())
    });
    let code = life.run().await;
    producer.flush(FLUSH).await;
    drop(ops.await);
    Ok(code)
}

fn required<'a>(setting: &str, value: Option<&'a str>) -> Result<&'a str, ConfigError> {
    value
        .filter(|value| !value.trim().is_empty())
        .ok_or_else(|| ConfigError::new(setting, "is required; `event-system serve` runs without it"))
}

async fn bind(setting: &str, addr: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(addr).await.map_err(|error| ConfigError::new(setting, format!("{addr}: {error}")))
}

fn unreachable(setting: &str, problem: impl ToString) -> StartError {
    StartError::Unreachable { setting: setting.to_owned(), problem: problem.to_string() }
}
