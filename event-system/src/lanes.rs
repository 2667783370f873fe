//! `event-system lanes`: cursors, and an operator's word where a lane has halted.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use rdkafka::consumer::{BaseConsumer, Consumer};
use shared_proto::Lane;
use shared_runtime::clock::{Clock, SystemClock};
use shared_runtime::config::StartError;
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer};
use shared_runtime::store::rows::{AuditLine, ProgressRow};
use shared_runtime::store::{DatabaseArgs, Store};
use shared_runtime::worker::cursor::check_cursor;

use crate::Failure;

#[derive(Debug, Args)]
pub struct Stores {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

#[derive(Debug, Subcommand)]
pub enum LanesCommand {
    /// Every cursor, with what the log says of it
    List(Stores),
    /// Take up a log that the database does not know, at an offset
    Adopt(MoveArgs),
    /// Move the cursor of a known log
    Reset(MoveArgs),
}

#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Full topic name
    topic: String,
    /// Partition
    partition: i32,
    /// Offset of the next record to apply
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
    /// Why; goes to the audit log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    stores: Stores,
}

pub async fn run(command: LanesCommand) -> Result<ExitCode, Failure> {
    match command {
        LanesCommand::List(stores) => list(&stores).await,
        LanesCommand::Adopt(args) => move_cursor(args, true).await,
        LanesCommand::Reset(args) => move_cursor(args, false).await,
    }
}

/// A database that does not answer.
pub fn unreachable(error: impl ToString) -> StartError {
    StartError::unreachable("DATABASE_URL", error)
}

/// Who runs this command, for the audit log.
pub fn operator() -> String {
    std::env::var("USER").unwrap_or_else(|_| "operator".to_owned())
}

async fn list(stores: &Stores) -> Result<ExitCode, Failure> {
    let store = Store::of(&stores.database)?;
    let rows = store.progress_rows().await.map_err(unreachable)?;
    let producer = KafkaProducer::connect(&stores.kafka).await?;
    let client: BaseConsumer =
        stores.kafka.client()?.create().map_err(|e| StartError::unreachable("KAFKA_BROKERS", e))?;
    println!("log {}", producer.log_id());
    for row in &rows {
        let lane = Lane::new(row.topic.clone(), row.partition_id);
        let marks = client.fetch_watermarks(&row.topic, row.partition_id, std::time::Duration::from_secs(5));
        let verdict = match marks {
            Err(error) => format!("no answer: {error}"),
            Ok((low, high)) if row.log_id == producer.log_id() => {
                match check_cursor(&rows, &row.log_id, &lane, low, high, false) {
                    Ok(_) => format!("ok, lag {}", high - row.next_offset),
                    Err(halt) => halt.to_string(),
                }
            }
            Ok(_) => "of another log".to_owned(),
        };
        println!("{lane} log {} next {} {verdict}", row.log_id, row.next_offset);
    }
    Ok(ExitCode::SUCCESS)
}

async fn move_cursor(args: MoveArgs, adopt: bool) -> Result<ExitCode, Failure> {
    let store = Store::of(&args.stores.database)?;
    let producer = KafkaProducer::connect(&args.stores.kafka).await?;
    let now = SystemClock.now_ms();
    let row = ProgressRow {
        log_id: producer.log_id().to_owned(),
        topic: args.topic.clone(),
        partition_id: args.partition,
        next_offset: args.to,
        last_hash: None,
        updated_at: now,
    };
    let action = if adopt { "LANE_ADOPTED" } else { "LANE_RESET" };
    let audit = AuditLine {
        at: now,
        actor: operator(),
        action: action.to_owned(),
        event_id: None,
        request_id: "command-line".to_owned(),
        outcome: "DONE".to_owned(),
        detail: serde_json::json!({"topic": args.topic, "partition": args.partition, "to": args.to,
            "log_id": row.log_id, "reason": args.reason})
        .to_string(),
    };
    if store.move_cursor(&row, adopt, &audit).await.map_err(unreachable)? {
        println!("{}/{} continues at {}", args.topic, args.partition, args.to);
        Ok(ExitCode::SUCCESS)
    } else if adopt {
        Err(Failure::Check("this log has a cursor there: use `lanes reset`".to_owned()))
    } else {
        Err(Failure::Check("this log has no cursor there: use `lanes adopt`".to_owned()))
    }
}
