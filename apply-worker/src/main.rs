//! `apply-worker`: decides entries of FCFS and general events; several instances share the lanes.

use std::process::ExitCode;
use std::sync::Arc;

use apply_worker::{ApplyParts, GROUP};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::lifecycle::{LifecycleArgs, OpsArgs, healthcheck, serve_ops};
use shared_runtime::log::{KafkaArgs, KafkaProducer};
use shared_runtime::store::{DatabaseArgs, Store};
use shared_runtime::telemetry::TelemetryArgs;
use shared_runtime::worker::Batching;

#[derive(Parser)]
#[command(name = "apply-worker", version, about = "Decides entries of FCFS and general events")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    batching: Batching,
    #[command(flatten)]
    lifecycle: LifecycleArgs,
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Exits 0 when the running process is ready.
    Healthcheck,
}

#[tokio::main]
async fn main() -> ExitCode {
    let matches = OpsArgs::with_default(Cli::command(), "127.0.0.1:9092").get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    if matches!(cli.command, Some(Command::Healthcheck)) {
        return if healthcheck(cli.ops.ops_addr).await { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match start(cli).await {
        Ok(code) => code,
        Err(error) => error.exit("apply-worker"),
    }
}

async fn start(cli: Cli) -> Result<ExitCode, StartError> {
    let metrics = cli.telemetry.init()?;
    let url = cli
        .database
        .database_url
        .clone()
        .ok_or_else(|| ConfigError::new("DATABASE_URL", "is required (mysql:// or sqlite://)"))?;
    let store = Store::open(&cli.database, &url)?;
    store.ping().await.map_err(|e| StartError::Unreachable {
        setting: "DATABASE_URL".to_owned(),
        problem: e.to_string(),
    })?;
    shared_runtime::log::check_topics(&cli.kafka).await?;
    let producer = Arc::new(KafkaProducer::connect(&cli.kafka).await?);
    let listener = tokio::net::TcpListener::bind(cli.ops.ops_addr)
        .await
        .map_err(|e| ConfigError::new("OPS_ADDR", e.to_string()))?;
    let life = cli.lifecycle.build();
    life.listen_for_signals().map_err(|e| ConfigError::new("SIGTERM", e.to_string()))?;
    tokio::spawn(serve_ops(listener, life.clone(), metrics));
    let parts = ApplyParts {
        kafka: cli.kafka,
        store,
        producer,
        batching: cli.batching,
        embedded: false,
        backlog: None,
        group: GROUP.to_owned(),
        stop_at: None,
    };
    let (shutdown, budget) = (life.shutdown_token(), life.drain_budget());
    life.component("worker").ready();
    life.spawn("worker", async move { apply_worker::run(parts, shutdown, budget).await });
    Ok(life.run().await)
}
