//! `event-system replay`: decides the log again into an empty database and compares lane by lane (DESIGN section 10); or the
//! end of it in memory, before a rollout.

mod compare;
pub mod shadow;

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use shared_domain::EventId;
use shared_proto::{Lane, Topic};
use shared_runtime::clock::{Clock, SystemClock};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::{DecisionKeyArgs, RewardKeys};
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer, StartAt, stretches};
use shared_runtime::store::rows::{LaneRow, ProgressRow};
use shared_runtime::store::{DatabaseArgs, Migration, Store};
use shared_runtime::telemetry::TelemetryArgs;
use shared_runtime::worker::{Batching, Replay, Role, RoleParts};
use tokio_util::sync::CancellationToken;

use self::compare::{NOT_COMPARED, compare, compare_missions, of_interest};
use crate::Failure;
use crate::lanes::unreachable;

/// Whatever events have lanes of.
const EVENT_TOPICS: &[Topic] = &[Topic::Apply, Topic::Raffle];
/// Counted behind the events, so that every definition is there.
const ACTIVITY_TOPICS: &[Topic] = &[Topic::Activity];

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Empty database to decide into; its tables are made here
    #[arg(long, required_unless_present_any = ["dry_run", "shadow"])]
    into: Option<String>,
    /// Where to begin in every lane: `beginning` (of what the log still has), an offset, or a time (RFC 3339). Events that
    /// were scheduled before are named and not compared
    #[arg(long, default_value = "beginning")]
    from: From,
    /// Decide and compare this event alone
    #[arg(long, value_name = "EVENT")]
    event: Option<EventId>,
    /// Say what would be read and compared, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Decide the latest records of every lane by this binary in memory and compare with the live rows, before a rollout;
    /// nothing is written
    #[arg(long, conflicts_with_all = ["into", "from", "dry_run"])]
    shadow: bool,
    /// With --shadow: how many records of each lane
    #[arg(long, value_name = "RECORDS", default_value_t = 100_000, requires = "shadow", conflicts_with_all = ["into", "from", "dry_run"], value_parser = clap::value_parser!(i64).range(1..))]
    last: i64,
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

/// `--from`.
#[derive(Debug, Clone, Copy)]
struct From(StartAt);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = if text == "beginning" {
            StartAt::Beginning
        } else if let Ok(offset) = text.parse::<u32>() {
            StartAt::Offset(offset.into())
        } else {
            let time = chrono::DateTime::parse_from_rfc3339(text)
                .map_err(|_| "is neither `beginning`, an offset nor a time (RFC 3339)".to_owned())?;
            StartAt::Time(time.timestamp_millis())
        };
        Ok(Self(at))
    }
}

pub async fn run(args: ReplayArgs) -> Result<ExitCode, Failure> {
    args.telemetry.init()?;
    let live = Store::of(&args.database)?;
    let keys = RewardKeys::new(args.decision_key.read_if_set()?);
    if args.shadow {
        return shadow::run(
            &live,
            &args.kafka,
            (keys, args.batching.records as usize),
            args.last,
            args.event,
        )
        .await;
    }
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let standing = live.standing().await.map_err(unreachable)?;
    if let Some(one) = args.event
        && of_interest(&standing.lanes, Some(one)).next().is_none()
    {
        return Err(ConfigError::new("--event", format_args!("no event {one} was scheduled")).into());
    }
    let activity_topic = args.kafka.topics().name(Topic::Activity);
    let (activities, events): (BTreeMap<Lane, i64>, BTreeMap<Lane, i64>) = standing
        .progress
        .iter()
        .filter(|r| r.log_id == producer.log_id() && r.next_offset > 0)
        .map(|r| (Lane::new(r.topic.clone(), r.partition_id), r.next_offset))
        .partition(|(lane, _)| lane.topic == activity_topic);
    let events = stretches(&args.kafka, events, args.from.0).await?;
    // An offset in the lanes of events says nothing of theirs: what counts for events that are not decided is passed over.
    let activities_from = match args.from.0 {
        StartAt::Offset(_) => StartAt::Beginning,
        from => from,
    };
    let activities = stretches(&args.kafka, activities, activities_from).await?;
    let goal: BTreeMap<Lane, Range<i64>> = events.clone().into_iter().chain(activities.clone()).collect();
    let replay = Replay::prepare(&args.kafka, &live, goal.clone(), &standing.parked, args.event);
    let replay = Arc::new(replay.await?);
    let Some(into) = args.into.as_ref().filter(|_| !args.dry_run) else {
        return Ok(tell(&goal, &replay, &standing.lanes, args.event));
    };
    let target = empty_database(&args.database, into, producer.log_id(), &goal).await?;
    // What was erased since is in the log still; it does not come back here.
    let erased = live.contact_erasures().await.map_err(unreachable)?;
    target.note_erasures(&erased).await.map_err(|e| ConfigError::new("--into", e.to_string()))?;
    let again = Again { args: &args, target: &target, producer, replay: Arc::clone(&replay), keys };
    again.run(EVENT_TOPICS, &events).await?;
    again.run(ACTIVITY_TOPICS, &activities).await?;
    let missions = compare_missions(&target, &standing.missions, &replay).await?;
    compare(&live, &target, &standing, &replay, args.event, missions).await
}

/// A database with tables and nothing else, its cursors where the stretches begin.
async fn empty_database(
    args: &DatabaseArgs,
    url: &str,
    log_id: &str,
    goal: &BTreeMap<Lane, Range<i64>>,
) -> Result<Store, Failure> {
    let into = |e: &dyn std::fmt::Display| StartError::from(ConfigError::new("--into", e.to_string()));
    Migration { url, tls: &args.tls, dry_run: false }.database().await.map_err(|e| into(&e))?;
    let target = Store::open(args, url).map_err(|e| into(&e))?;
    if !target.progress_rows().await.map_err(unreachable)?.is_empty() {
        return Err(ConfigError::new("--into", "this database is in use; give an empty one").into());
    }
    for (lane, stretch) in goal {
        let row = ProgressRow {
            log_id: log_id.to_owned(),
            topic: lane.topic.clone(),
            partition_id: lane.partition,
            next_offset: stretch.start,
            last_hash: None,
            updated_at: SystemClock.now_ms(),
        };
        target.insert_progress(&row).await.map_err(|e| into(&e))?;
    }
    Ok(target)
}

/// `--dry-run`.
fn tell(
    goal: &BTreeMap<Lane, Range<i64>>,
    replay: &Replay,
    live: &[LaneRow],
    one: Option<EventId>,
) -> ExitCode {
    for (lane, stretch) in goal {
        let events = replay.events.get(lane).map_or(0, |events| events.len());
        let (from, until) = (stretch.start, stretch.end);
        println!("{lane} offsets {from} to {until}: {} records, {events} events", until - from);
    }
    let (mut compared, mut left_out) = (0, 0);
    for row in of_interest(live, one) {
        if replay.decides(row.event_id, row.lane) {
            compared += 1;
        } else {
            left_out += 1;
            println!("event {} lane {}: {NOT_COMPARED}", row.event_id, row.lane);
        }
    }
    println!("{compared} lanes of events would be compared, {left_out} not");
    ExitCode::SUCCESS
}

/// Says how far a command is, and how fast: twice a second at most.
pub struct Progress {
    started: Instant,
    told: Option<Instant>,
}

impl Progress {
    /// It begins.
    pub fn new() -> Self {
        Self { started: Instant::now(), told: None }
    }

    /// So many records are done.
    pub fn tell(&mut self, done: i64, of: i64) {
        if done < of && self.told.is_some_and(|at| at.elapsed() < Duration::from_millis(500)) {
            return;
        }
        self.told = Some(Instant::now());
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let left = Duration::from_secs_f64((of - done) as f64 / rate.max(1.0)).as_secs();
        println!("{done} of {of} records, {rate:.0}/s, {left} s left");
    }
}

/// Deciding again.
struct Again<'a> {
    args: &'a ReplayArgs,
    target: &'a Store,
    producer: Arc<KafkaProducer>,
    replay: Arc<Replay>,
    keys: RewardKeys,
}

impl Again<'_> {
    /// Applies these topics until every lane has reached its goal.
    async fn run(&self, topics: &'static [Topic], goal: &BTreeMap<Lane, Range<i64>>) -> Result<(), Failure> {
        let (args, target) = (self.args, self.target);
        let stop = CancellationToken::new();
        let log_id = self.producer.log_id().to_owned();
        let role = Role { topics, group: format!("replay-{:016x}", rand::random::<u64>()).into() };
        let parts = RoleParts {
            kafka: args.kafka.clone(),
            store: target.clone(),
            producer: Arc::clone(&self.producer),
            batching: args.batching,
            embedded: false,
            backlog: None,
            replay: Some(Arc::clone(&self.replay)),
            keys: self.keys.clone(),
            state: Default::default(),
        };
        let token = stop.clone();
        let worker = tokio::spawn(role.run(parts, token, Duration::from_secs(15)));
        let records: i64 = goal.values().map(|stretch| stretch.end - stretch.start).sum();
        let (mut progress, mut moved, mut last) = (Progress::new(), Instant::now(), -1);
        let outcome = loop {
            let rows = target.progress_rows().await.map_err(unreachable)?;
            let at = |lane: &Lane| {
                rows.iter()
                    .find(|r| r.log_id == log_id && r.topic == lane.topic && r.partition_id == lane.partition)
                    .map_or(0, |r| r.next_offset)
            };
            let done: i64 = goal.iter().map(|(lane, to)| at(lane).clamp(to.start, to.end) - to.start).sum();
            if done == records {
                break Ok(());
            }
            if done != last {
                (last, moved) = (done, Instant::now());
                progress.tell(done, records);
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
}
