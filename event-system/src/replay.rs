//! `event-system replay`: decides the log again into an empty database and compares lane by lane (DESIGN section 10).

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use shared_domain::{EntryStatus, EventId};
use shared_proto::{Lane, Topic};
use shared_runtime::clock::{Clock, SystemClock};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::{DecisionKeyArgs, RewardKeys};
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer, StartAt, stretches};
use shared_runtime::store::rows::{EntryRow, LaneRow, MissionTotal, ProgressRow};
use shared_runtime::store::{DatabaseArgs, Migration, Store};
use shared_runtime::telemetry::TelemetryArgs;
use shared_runtime::worker::{Batching, Replay, Role, RoleParts};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::lanes::unreachable;

/// Whatever events have lanes of.
const EVENT_TOPICS: &[Topic] = &[Topic::Apply, Topic::Raffle];
/// Counted behind the events, so that every definition is there.
const ACTIVITY_TOPICS: &[Topic] = &[Topic::Activity];
/// Rows that are compared at once.
const BLOCK: i64 = 2_000;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Empty database to decide into; its tables are made here
    #[arg(long, required_unless_present = "dry_run")]
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
    let producer = Arc::new(KafkaProducer::connect(&args.kafka).await?);
    let (live_lanes, live_progress, live_missions) = live.standing().await.map_err(unreachable)?;
    let activity_topic = args.kafka.topics().name(Topic::Activity);
    let (activities, events): (BTreeMap<Lane, i64>, BTreeMap<Lane, i64>) = live_progress
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
    let replay = Arc::new(Replay::prepare(&args.kafka, &live, goal.clone(), args.event).await?);
    let Some(into) = args.into.as_ref().filter(|_| !args.dry_run) else {
        return Ok(tell(&goal, &replay, &live_lanes, args.event));
    };
    let target = empty_database(&args.database, into, producer.log_id(), &goal).await?;
    // What was erased since is in the log still; it does not come back here.
    let erased = live.contact_erasures().await.map_err(unreachable)?;
    target.note_erasures(&erased).await.map_err(|e| ConfigError::new("--into", e.to_string()))?;
    let again = Again { args: &args, target: &target, producer, replay: Arc::clone(&replay), keys };
    again.run(EVENT_TOPICS, &events).await?;
    again.run(ACTIVITY_TOPICS, &activities).await?;
    let missions = compare_missions(&target, &live_missions, &replay).await?;
    compare(&live, &target, &live_lanes, &replay, args.event, missions).await
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

const NOT_COMPARED: &str = "scheduled before the start, not compared";

fn of_interest(live: &[LaneRow], one: Option<EventId>) -> impl Iterator<Item = &LaneRow> {
    live.iter().filter(move |row| row.is_scheduled && one.is_none_or(|one| one == row.event_id))
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
        let (started, mut moved, mut last) = (Instant::now(), Instant::now(), -1);
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
}

/// Says of each mission of the events that were decided whether both databases agree on what members did; gives how many do
/// not.
async fn compare_missions(decided: &Store, live: &[MissionTotal], replay: &Replay) -> Result<usize, Failure> {
    let again = decided.mission_totals().await.map_err(unreachable)?;
    let mut different = 0;
    for total in live.iter().filter(|total| replay.events.values().any(|e| e.contains(&total.event_id))) {
        let key = (total.event_id, total.mission_index);
        let other = again.iter().find(|other| (other.event_id, other.mission_index) == key);
        if other != Some(total) {
            different += 1;
            let shown = |total: &MissionTotal| format!("{} members, {} done", total.members, total.completed);
            let other = other.map_or_else(|| "nobody".to_owned(), shown);
            println!("event {} mission {}: DIFFERS, live {}, replay {other}", key.0, key.1, shown(total));
        }
    }
    Ok(different)
}

/// Says of each lane whether both databases agree.
async fn compare(
    live: &Store,
    decided: &Store,
    live_lanes: &[LaneRow],
    replay: &Replay,
    one: Option<EventId>,
    missions: usize,
) -> Result<ExitCode, Failure> {
    let decided_lanes = decided.lane_rows().await.map_err(unreachable)?;
    let (mut equal, mut different, mut parked, mut left_out) = (0, 0, 0, 0);
    for row in of_interest(live_lanes, one) {
        let (event, lane) = (row.event_id, row.lane);
        let other = decided_lanes.iter().find(|d| (d.event_id, d.lane) == (event, lane));
        if !replay.decides(event, lane) {
            left_out += 1;
            println!("event {event} lane {lane}: {NOT_COMPARED}");
        } else if row.is_parked() {
            parked += 1;
            println!("event {event} lane {lane}: parked, not compared");
        } else if other.is_some_and(|d| (d.seq, &d.digest) == (row.seq, &row.digest)) {
            equal += 1;
        } else {
            different += 1;
            let found = other.map_or_else(|| "missing".to_owned(), |d| format!("{} entries", d.seq));
            println!("event {event} lane {lane}: DIFFERS, live {} entries, replay {found}", row.seq);
            match first_difference(live, decided, event, lane).await? {
                Some(seq) => println!("event {event} lane {lane}: the first row that differs is seq {seq}"),
                None => {
                    println!("event {event} lane {lane}: every row agrees; the lane's own row was changed")
                }
            }
        }
    }
    println!("{equal} lanes equal, {different} different, {parked} parked, {left_out} not compared");
    if different == 0 && missions == 0 {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::Check("the digests differ".to_owned()))
    }
}

/// The first place whose row is not the same on both sides, or is there on one alone.
async fn first_difference(
    live: &Store,
    decided: &Store,
    event: EventId,
    lane: i32,
) -> Result<Option<i64>, Failure> {
    let mut after = 0;
    loop {
        let ours = live.entries_of_lane(event, lane, None, after, BLOCK).await.map_err(unreachable)?;
        let theirs = decided.entries_of_lane(event, lane, None, after, BLOCK).await.map_err(unreachable)?;
        for n in 0..ours.len().max(theirs.len()) {
            match (ours.get(n), theirs.get(n)) {
                (Some(a), Some(b)) if same_outcome(a, b) => after = a.seq,
                (a, b) => return Ok(a.into_iter().chain(b).map(|row| row.seq).min()),
            }
        }
        if ours.is_empty() {
            return Ok(None);
        }
    }
}

/// What the digest covers. An entry that is PENDING by the log has been drawn since, in the database alone.
fn same_outcome(live: &EntryRow, decided: &EntryRow) -> bool {
    let what = |row: &EntryRow| (row.seq, row.entry_id.clone(), row.log_offset);
    let outcome = |row: &EntryRow| (row.status, row.reason, row.option_index, row.reward_amount);
    let chances = |row: &EntryRow| row.missions;
    let drawn = decided.status == i16::from(EntryStatus::Pending.code());
    what(live) == what(decided)
        && chances(live) == chances(decided)
        && (drawn || outcome(live) == outcome(decided))
}
