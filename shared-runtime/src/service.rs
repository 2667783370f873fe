//! A service process from its command line to its exit code, written once (DESIGN section 10). Binaries name their
//! settings and wire their parts.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, StartError};
use crate::http::{Router, ServingThreads, serve_on};
use crate::lifecycle::{Lifecycle, LifecycleArgs, OpsArgs, healthcheck, serve_ops};
use crate::telemetry::TelemetryArgs;
use crate::traces::TraceArgs;

/// The listener cuts what is left at the end of its budget; it needs a moment more to say so.
const CUTTING: Duration = Duration::from_secs(1);

/// How long the last spans may take, at most; the drain budget where that is less.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// What sets one binary apart.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// Its name, e.g. `api-gateway`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, for `--help`.
    pub about: &'static str,
    /// Default of `OPS_ADDR`.
    pub ops_addr: &'static str,
}

/// Settings that every service has.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    ops: OpsArgs,
    #[command(flatten)]
    lifecycle: LifecycleArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(flatten)]
    traces: TraceArgs,
}

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli<A: Args> {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    own: A,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Exits 0 when /readyz of the running process does
    Healthcheck(OpsArgs),
}

/// A process that runs.
pub struct Process {
    /// Readiness, tasks and the drain.
    pub life: Lifecycle,
    /// Address of the ops listener.
    pub ops_addr: SocketAddr,
    at_end: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl Process {
    /// Work for after the last task has ended, e.g. flushing a producer.
    pub fn at_end(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.at_end.lock().unwrap_or_else(PoisonError::into_inner).push(work.boxed());
    }
}

/// `main` of a service: its command line, `healthcheck`, and [`run`] with `start` on its own settings. Prints what
/// keeps it from starting; exits 2 for a wrong setting, 3 for a dependency that does not answer.
pub async fn main<A: Args>(
    binary: Binary,
    start: impl AsyncFnOnce(A, &Process) -> Result<(), StartError>,
) -> ExitCode {
    let matches = command::<A>(binary).get_matches();
    let cli = Cli::<A>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(Command::Healthcheck(ops)) = cli.command {
        return if healthcheck(ops.ops_addr).await { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let own = cli.own;
    match run(binary.name, cli.service, async |process| start(own, process).await).await {
        Ok(code) => code,
        Err(error) => error.exit(binary.name),
    }
}

fn command<A: Args>(binary: Binary) -> clap::Command {
    let command = Cli::<A>::command().name(binary.name).version(binary.version).about(binary.about);
    OpsArgs::with_default(command, binary.ops_addr)
}

/// Logs, traces under the program's name, signals and the ops listener; then `start`, which opens what the process needs
/// and spawns its tasks; then until SIGTERM, a failure, and the drain. Errors: what `start` says, an ops address that cannot
/// be bound.
pub async fn run(
    name: &'static str,
    args: ServiceArgs,
    start: impl AsyncFnOnce(&Process) -> Result<(), StartError>,
) -> Result<ExitCode, StartError> {
    let metrics = args.telemetry.init()?;
    let traces = args.traces.start(name, env!("CARGO_PKG_VERSION"))?;
    let life = args.lifecycle.build();
    life.listen_for_signals().map_err(|error| StartError::unreachable("SIGTERM", error))?;
    let (ops, ops_addr) = bind("OPS_ADDR", args.ops.ops_addr).await?;
    // Before anything that may take time: a process that starts can be asked what it waits for.
    let ops = tokio::spawn(serve_ops(ops, life.clone(), metrics));
    let starting = life.component("start");
    let process = Process { life, ops_addr, at_end: Mutex::default() };
    start(&process).await?;
    starting.ready();
    let code = process.life.run().await;
    let drain = process.life.drain_budget();
    let work = process.at_end.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Beside that work, so that a collector that hangs adds nothing to it.
    let spans = async {
        if let Some(traces) = traces {
            traces.close(drain.min(LAST_SPANS)).await;
        }
    };
    futures::join!(futures::future::join_all(work), spans);
    drop(ops.await);
    Ok(code)
}

/// A listener and its address (the port is chosen here where 0 was asked for). Errors: it cannot be bound.
pub async fn bind(setting: &str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ConfigError> {
    let bad = |error| ConfigError::new(setting, format!("{addr}: {error}"));
    let listener = TcpListener::bind(addr).await.map_err(bad)?;
    let addr = listener.local_addr().map_err(bad)?;
    Ok((listener, addr))
}

/// Serves HTTP until shutdown and drains within the budget. The token is cancelled when the drain is over. The threads
/// end with everything else.
pub fn spawn_http<S: Send + Sync + 'static>(
    life: &Lifecycle,
    name: &'static str,
    listener: TcpListener,
    router: Router<S>,
    threads: ServingThreads,
) -> CancellationToken {
    let drained = CancellationToken::new();
    let (stop, budget, then) = (life.shutdown_token(), life.drain_budget(), drained.clone());
    let ended = life.ended_token();
    life.spawn_with_budget(name, budget + CUTTING, async move {
        let outcome = serve_on(&threads, listener, router, stop, budget).await;
        tracing::info!(listener = name, cut = outcome.cut, "the listener has drained");
        then.cancel();
        // Not awaited: the end of everything else includes this task's.
        tokio::spawn(async move {
            ended.cancelled().await;
            drop(threads);
        });
        Ok(())
    });
    drained
}
