//! `event-system parked`: events whose records wait for an operator.

use std::process::ExitCode;

use clap::Subcommand;
use shared_runtime::clock::{Clock, Random, SystemClock, SystemRandom};
use shared_runtime::store::commands::{Change, StaffRequest};
use shared_runtime::store::{DatabaseArgs, Store};

use crate::Failure;
use crate::lanes::unreachable;

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    /// Every parked event
    List {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Decide an event's parked records in their order, or give one of them up
    Unpark {
        /// Event
        event: i64,
        /// Offset of the record to give up: it ends as REJECTED(UNDECIDABLE)
        #[arg(long)]
        reject: Option<i64>,
        /// Its lane, where the event is parked in several
        #[arg(long, requires = "reject")]
        lane: Option<i32>,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

pub async fn run(command: ParkedCommand) -> Result<ExitCode, Failure> {
    match command {
        ParkedCommand::List { database } => {
            let parked = Store::of(&database)?.parked_events().await.map_err(unreachable)?;
            for p in &parked {
                let state = if p.unpark_requested { ", unpark requested" } else { "" };
                println!(
                    "event {} lane {} first offset {} records {}{state}: {}",
                    p.event_id, p.lane, p.first_offset, p.records, p.reason
                );
            }
            println!("{} parked", parked.len());
            Ok(ExitCode::SUCCESS)
        }
        ParkedCommand::Unpark { event, reject, lane, database } => {
            let store = Store::of(&database)?;
            let request = StaffRequest {
                actor: std::env::var("USER").unwrap_or_else(|_| "operator".to_owned()),
                request_id: format!("command-line-{:016x}", SystemRandom.next_u64()),
                route: "event-system parked unpark".to_owned(),
                key: None,
                now: SystemClock.now_ms(),
            };
            let change = Change::Unpark { event, reject, lane };
            match store.change(&request, &change, &SystemRandom, &|_| (202, String::new())).await {
                Ok(_) => {
                    println!("asked for; `parked list` shows when it is done");
                    Ok(ExitCode::SUCCESS)
                }
                Err(error) => Err(Failure::Check(error.to_string())),
            }
        }
    }
}
