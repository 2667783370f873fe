//! `event-system`: the embedded server, the demo and the operator's tools in one command.
#![allow(clippy::print_stdout)] // what people and scripts ask this command for goes to standard output

mod demo;
mod keys;
mod lanes;
mod parked;
mod reconcile;
mod replay;
mod serve;
mod system;
mod tools;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shared_runtime::config::StartError;

// Records are made on one thread and given back on another, which the system's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(
    name = "event-system",
    version,
    about = "First-come-first-served events that stay exact under a stampede"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in one process; embedded unless DATABASE_URL, REDIS_URL and KAFKA_BROKERS are set
    Serve(Box<serve::ServeArgs>),
    /// Run a stampede on the embedded stack and check every promise
    Demo(demo::DemoArgs),
    /// Bring a database's tables up to date
    Migrate(tools::MigrateArgs),
    /// Create or check the topics
    #[command(subcommand)]
    Topics(tools::TopicsCommand),
    /// Print one development token
    Token(tools::TokenArgs),
    /// Make key files, rotate the key-encryption key, name the key that certificates are checked by
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Decide the log again into an empty database, and compare
    Replay(replay::ReplayArgs),
    /// Compare log, entries, what is kept of them and Redis, and put right what is derived
    Reconcile(Box<reconcile::ReconcileArgs>),
    /// Events whose records wait for an operator
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// Cursors of the lanes
    #[command(subcommand)]
    Lanes(lanes::LanesCommand),
    /// Recompute a raffle's draw from its public record, offline
    Verify(verify::VerifyArgs),
}

/// How a command ends badly.
#[derive(Debug)]
pub enum Failure {
    /// Settings or dependencies: exit 2 or 3.
    Start(StartError),
    /// A check failed or a promise is broken: exit 1.
    Check(String),
}

impl<E: Into<StartError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Start(error.into())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Migrate(args) => tools::migrate(args).await,
        Command::Topics(command) => tools::topics(command).await,
        Command::Token(args) => tools::token(&args),
        Command::Keys(command) => keys::run(command).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Reconcile(args) => reconcile::run(*args).await,
        Command::Parked(command) => parked::run(command).await,
        Command::Lanes(command) => lanes::run(command).await,
        Command::Verify(args) => verify::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(Failure::Start(error)) => error.exit("event-system"),
        Err(Failure::Check(what)) => {
            println!("{what}");
            ExitCode::from(1)
        }
    }
}
