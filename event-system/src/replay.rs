//! `event-system replay`: decides the log again into an empty database and compares lane by lane.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use shared_proto::{Lane, Topic};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::{DecisionKeyArgs, RewardKeys};
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer};
use shared_runtime::store::rows::LaneRow;
use shared_runtime::store::{DatabaseArgs, Store, migrate};
use shared_runtime::telemetry::TelemetryArgs;
use shared_runtime::worker::{Batching, Replay, Role, RoleParts};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::lanes::unreachable;

/// Whatever has lanes.
const TOPICS: &[Topic] = &[Topic::Apply, Topic::Raffle];

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Empty database to decide into; its tables are made here
    #[arg(long)]
    into: String,
    /// Give up when no lane moves for this long
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    stall: Duration,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    batching: Batching,
    #[command(flatten)]
    decision_key: DecisionKeyArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub async fn run(args: ReplayArgs) -> Result<ExitCode, Failure> {
    args.telemetry.init()?;
    let live = Store::of(&args.database)?;
    let keys = RewardKeys::new(args.decision_key.read_if_set()?);
    let into = |e: &dyn std::fmt::Display| StartError::from(ConfigError::new("--into", e.to_string()));
    migrate(&args.into, false).await.map_err(|e| into(&e))?;
    let target = Store::open(&args.database, &args.into).map_err(|e| into(&e))?;
    if !target.progress_rows().await.map_err(unreachable)?.is_empty() {
        return Err(ConfigError::new("--into", "this database is in use; give an empty one").into());
    }
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let (live_lanes, live_progress) = live.lanes_and_progress().await.map_err(unreachable)?;
    let goal: BTreeMap<Lane, i64> = live_progress
        .iter()
        .filter(|r| r.log_id == producer.log_id() && r.next_offset > 0)
        .map(|r| (Lane::new(r.topic.clone(), r.partition_id), r.next_offset))
        .collect();
    // What was erased since is in the log still; it does not come back here.
    let erased = live.contact_erasures().await.map_err(unreachable)?;
    target.note_erasures(&erased).await.map_err(|e| into(&e))?;
    let replay = Replay::prepare(&args.kafka, &live, goal.clone()).await?;
    decide_again(&args, &target, producer, &goal, replay, keys).await?;
    let decided = target.lane_rows().await.map_err(unreachable)?;
    compare(&live_lanes, &decided)
}

async fn decide_again(
    args: &ReplayArgs,
    target: &Store,
    producer: Arc<KafkaProducer>,
    goal: &BTreeMap<Lane, i64>,
    replay: Replay,
    keys: RewardKeys,
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let log_id = producer.log_id().to_owned();
    let role = Role { topics: TOPICS, group: format!("replay-{:016x}", rand::random::<u64>()).into() };
    let parts = RoleParts {
        kafka: args.kafka.clone(),
        store: target.clone(),
        producer,
        batching: args.batching,
        embedded: false,
        backlog: None,
        replay: Some(Arc::new(replay)),
        keys,
        state: Default::default(),
    };
    let token = stop.clone();
    let worker = tokio::spawn(role.run(parts, token, Duration::from_secs(15)));
    let records: i64 = goal.values().sum();
    let (started, mut moved, mut last) = (Instant::now(), Instant::now(), -1);
    let outcome = loop {
        let rows = target.progress_rows().await.map_err(unreachable)?;
        let at = |lane: &Lane| {
            rows.iter()
                .find(|r| r.log_id == log_id && r.topic == lane.topic && r.partition_id == lane.partition)
                .map_or(0, |r| r.next_offset)
        };
        let done: i64 = goal.iter().map(|(lane, to)| at(lane).min(*to)).sum();
        if done == records {
            break Ok(());
        }
        if done != last {
            (last, moved) = (done, Instant::now());
            let rate = done as f64 / started.elapsed().as_secs_f64().max(0.001);
            println!("{done} of {records} records, {rate:.0}/s");
        } else if moved.elapsed() > args.stall || worker.is_finished() {
            break Err(Failure::Check(format!(
                "replay stands still at {done} of {records} records; see its log"
            )));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    stop.cancel();
    match worker.await {
        Ok(Ok(())) => outcome,
        Ok(Err(error)) => Err(Failure::Check(format!("replay ended: {error:#}"))),
        Err(error) => Err(Failure::Check(format!("replay ended: {error}"))),
    }
}

/// Says of each lane whether both databases agree.
fn compare(live: &[LaneRow], decided: &[LaneRow]) -> Result<ExitCode, Failure> {
    let (mut equal, mut different, mut parked) = (0, 0, 0);
    for row in live.iter().filter(|r| r.is_scheduled) {
        let other = decided.iter().find(|d| (d.event_id, d.lane) == (row.event_id, row.lane));
        if row.is_parked() {
            parked += 1;
            println!("event {} lane {}: parked, not compared", row.event_id, row.lane);
        } else if other.is_some_and(|d| (d.seq, &d.digest) == (row.seq, &row.digest)) {
            equal += 1;
        } else {
            different += 1;
            let found = other.map_or_else(|| "missing".to_owned(), |d| format!("{} entries", d.seq));
            println!(
                "event {} lane {}: DIFFERS, live {} entries, replay {found}",
                row.event_id, row.lane, row.seq
            );
        }
    }
    println!("{equal} lanes equal, {different} different, {parked} parked");
    if different == 0 { Ok(ExitCode::SUCCESS) } else { Err(Failure::Check("the digests differ".to_owned())) }
}
