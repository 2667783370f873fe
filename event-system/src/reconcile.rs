//! `event-system reconcile`: the log, the entries, what is kept of them and Redis, each against what it follows from; and what
//! is derived put right. Entries, stock and digests are never written: they are brought back by a restore, from the log.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use admin_api::{Mirror, MirrorError, Ranking, RewardTotals};
use clap::Args;
use shared_domain::EventId;
use shared_runtime::clock::{Clock, SystemClock, SystemRandom};
use shared_runtime::compare::{
    Difference, LaneCompared, Log, Moment, Verdict, Witness, check_contacts, check_draw, check_missions,
    check_rows, compare_with_log,
};
use shared_runtime::config::{ConfigError, StartError};
use shared_runtime::keys::{DecisionKeyArgs, RewardKeys};
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer, StartAt};
use shared_runtime::redis::{RedisArgs, RedisClient, Unlike};
use shared_runtime::store::rows::{AuditLine, LaneRow};
use shared_runtime::store::{DatabaseArgs, Store};
use shared_runtime::telemetry::TelemetryArgs;
use shared_runtime::worker::Batching;

use crate::Failure;
use crate::lanes::{operator, unreachable};
use crate::replay::Progress;
use crate::replay::shadow::{check_known, tell};

/// admin-api puts Redis right once a second: what differs after this long, nobody is putting right.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// Columns of `event_lane` that follow from the entries, and that nothing is proven by.
const COUNTERS: [&str; 6] = [
    "event_lane.wins",
    "event_lane.losses",
    "event_lane.rejections",
    "event_lane.paid",
    "event_lane.block_paid",
    "event_lane.exhausted_offset",
];

#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// This event alone (and Redis)
    #[arg(long, value_name = "EVENT")]
    event: Option<EventId>,
    /// Put right what is derived: the values in Redis, and counters of lanes whose entries, stock and digest are what the log
    /// gives. Without it nothing is written
    #[arg(long)]
    repair: bool,
    /// Compare the database with itself only: no Kafka is asked
    #[arg(long)]
    without_log: bool,
    /// Leave Redis out
    #[arg(long)]
    without_redis: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    batching: Batching,
    #[command(flatten)]
    decision_key: DecisionKeyArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

pub async fn run(args: ReconcileArgs) -> Result<ExitCode, Failure> {
    args.telemetry.init()?;
    let store = Store::of(&args.database)?;
    let keys = RewardKeys::new(args.decision_key.read_if_set()?);
    let mirrors = match args.without_redis {
        true => None,
        false => Some(Mirrors::new(&store, &args.redis)?),
    };
    let producer = match args.without_log {
        true => None,
        false => Some(KafkaProducer::connect(&args.kafka).await?),
    };
    let mut moment = Moment::of(&store).await.map_err(unreachable)?;
    check_known(&moment, args.event)?;

    let mut found: Vec<Difference> = moment.undefined.clone();
    found.retain(|difference| args.event.is_none_or(|one| one == difference.event_id));
    found.iter().for_each(|difference| println!("{difference}"));
    let mut compared = Vec::new();
    if let Some(producer) = &producer {
        let batch = args.batching.records as usize;
        let log = Log { kafka: &args.kafka, log_id: producer.log_id(), keys, batch };
        let mut progress = Progress::new();
        let tell_progress = &mut |done, of| progress.tell(done, of);
        compared = compare_with_log(&mut moment, &log, StartAt::Beginning, args.event, tell_progress).await?;
        let said = tell(&compared);
        let lanes = moment.lanes(args.event).count();
        let gone = lanes.saturating_sub(said.equal + said.different + said.left_out);
        println!(
            "log: {} lanes equal, {} different, {} parked, {} not compared, {gone} without a record in it",
            said.equal, said.different, said.parked, said.left_out
        );
    }
    let beside = beside(&mut moment, args.event).await?;
    beside.iter().for_each(|difference| println!("{difference}"));
    println!("entries: {} differences in totals, stock, draws, contacts and missions", beside.len());
    found.extend(compared.iter().flat_map(differences).cloned());
    found.extend(beside);
    if args.repair {
        let written = repair(&store, &compared).await?;
        found.retain(|difference| !is_mended(difference, &written));
    }
    let mut left = found.len();
    match &mirrors {
        None => println!("redis: left out"),
        Some(mirrors) => left += mirrors.reconcile(args.repair).await?,
    }
    if left == 0 {
        println!("all agrees");
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::Check(format!("{left} differences remain")))
    }
}

fn differences(lane: &LaneCompared) -> &[Difference] {
    match &lane.verdict {
        Verdict::Different(differences, ..) => differences,
        Verdict::Equal | Verdict::NotCompared(_) => &[],
    }
}

/// The database against itself.
async fn beside(moment: &mut Moment, one: Option<EventId>) -> Result<Vec<Difference>, StartError> {
    let mut found = Vec::new();
    let lanes: Vec<LaneRow> = moment.lanes(one).cloned().collect();
    for row in &lanes {
        let Some(definition) = moment.definitions.get(&row.event_id).cloned() else { continue };
        let stock = moment.stock_of(row.event_id, row.lane);
        found.extend(check_rows(&mut moment.live, row, &stock, &definition).await.map_err(unreachable)?);
    }
    let events = moment.events.clone();
    for event in events.iter().filter(|event| one.is_none_or(|one| one == event.event_id)) {
        found.extend(check_draw(&mut moment.live, event.event_id).await.map_err(unreachable)?);
        found.extend(check_contacts(&mut moment.live, event).await.map_err(unreachable)?);
    }
    let totals = &moment.standing.missions;
    found.extend(check_missions(&mut moment.live, totals, one).await.map_err(unreachable)?);
    Ok(found)
}

/// Lanes of which the log proves that only counters are wrong, as they should be.
fn repairable(compared: &[LaneCompared]) -> Vec<LaneRow> {
    let only_counters = |lane: &LaneCompared| match &lane.verdict {
        Verdict::Different(differences, 0, Some(row)) if lane.is_whole => {
            differences.iter().all(|d| COUNTERS.contains(&d.what.as_str())).then(|| LaneRow::clone(row))
        }
        _ => None,
    };
    compared.iter().filter_map(only_counters).collect()
}

async fn repair(store: &Store, compared: &[LaneCompared]) -> Result<BTreeSet<(EventId, i32)>, StartError> {
    let rows = repairable(compared);
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let audit = |row: &LaneRow| AuditLine {
        at: SystemClock.now_ms(),
        actor: operator(),
        action: "COUNTERS_REPAIRED".to_owned(),
        event_id: Some(row.event_id),
        request_id: "command-line".to_owned(),
        outcome: "DONE".to_owned(),
        detail: serde_json::json!({"lane": row.lane, "seq": row.seq, "wins": row.wins, "losses": row.losses,
            "rejections": row.rejections, "paid": row.paid, "block_paid": row.block_paid,
            "exhausted_offset": row.exhausted_offset})
        .to_string(),
    };
    let rows: Vec<(LaneRow, AuditLine)> = rows.into_iter().map(|row| (row.clone(), audit(&row))).collect();
    let written = store.repair_counters(&rows).await.map_err(unreachable)?;
    for (row, _) in &rows {
        let place = format!("event {} lane {}", row.event_id, row.lane);
        if written.contains(&(row.event_id, row.lane)) {
            println!("{place}: counters put right");
        } else {
            println!("{place}: moved on meanwhile, nothing written; run it again");
        }
    }
    Ok(written.into_iter().collect())
}

/// Whether writing a lane's counters has done away with a difference.
fn is_mended(difference: &Difference, written: &BTreeSet<(EventId, i32)>) -> bool {
    difference.lane.is_some_and(|lane| written.contains(&(difference.event_id, lane)))
        && COUNTERS.contains(&difference.what.as_str())
}

/// What admin-api keeps in Redis.
struct Mirrors {
    limits: Mirror,
    rewards: RewardTotals,
    ranking: Ranking,
}

impl Mirrors {
    fn new(store: &Store, args: &RedisArgs) -> Result<Self, ConfigError> {
        let redis = RedisClient::new(args, Arc::new(SystemRandom))?;
        let clock = Arc::new(SystemClock);
        Ok(Self {
            limits: Mirror::new(store.clone(), redis.clone()),
            rewards: RewardTotals::new(store.clone(), redis.clone(), clock.clone()),
            ranking: Ranking::new(store.clone(), redis, clock),
        })
    }

    /// Says what differs, and puts it right if that is wanted. Gives how much still differs.
    async fn reconcile(&self, repair: bool) -> Result<usize, StartError> {
        let unlike = self.unlike().await.map_err(failed)?;
        for unlike in &unlike {
            let shown = |value: Option<i64>| value.map_or_else(|| "missing".to_owned(), |v| v.to_string());
            let difference = Difference {
                event_id: unlike.event_id,
                lane: None,
                seq: None,
                what: format!("redis {}", unlike.key),
                found: shown(unlike.found),
                expected: shown(unlike.expected),
                by: Witness::Database,
            };
            println!("{difference}");
        }
        if !repair || unlike.is_empty() {
            println!("redis: {} values differ", unlike.len());
            return Ok(unlike.len());
        }
        self.put_right().await.map_err(failed)?;
        println!("redis: {} values put right", unlike.len());
        Ok(0)
    }

    async fn put_right(&self) -> Result<(), MirrorError> {
        self.limits.put_right().await?;
        self.rewards.put_right().await?;
        self.ranking.put_right().await.map(drop)
    }

    /// What differs and stays so. Totals run behind the entries by a second while admin-api works: those that have reached
    /// what the database said before are on their way.
    async fn unlike(&self) -> Result<Vec<Unlike>, MirrorError> {
        let first = self.look().await?;
        if first.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(SECOND_LOOK).await;
        let mut second = self.look().await?;
        second.retain(|now| {
            let before = first.iter().find(|before| before.key == now.key);
            before.is_some_and(|before| before.found == now.found || now.found < before.expected)
        });
        Ok(second)
    }

    async fn look(&self) -> Result<Vec<Unlike>, MirrorError> {
        let mut unlike = self.limits.unlike().await?;
        // Without a key of its own there, gateways take the database's.
        unlike.retain(|limit| limit.found.is_some());
        unlike.extend(self.rewards.unlike().await?);
        unlike.extend(self.ranking.unlike().await?);
        Ok(unlike)
    }
}

fn failed(error: MirrorError) -> StartError {
    match error {
        MirrorError::Store(error) => unreachable(error),
        MirrorError::Redis(error) => StartError::unreachable("REDIS_URL", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(verdict: Verdict, is_whole: bool) -> LaneCompared {
        LaneCompared { event_id: 1, lane: 0, rows: 5, is_whole, parked: None, verdict }
    }

    fn differs(what: &str) -> Difference {
        Difference {
            event_id: 1,
            lane: Some(0),
            seq: None,
            what: what.to_owned(),
            found: "1".to_owned(),
            expected: "2".to_owned(),
            by: Witness::Log,
        }
    }

    #[test]
    fn only_counters_that_the_log_proves_wrong_are_written() {
        let state = shared_domain::LaneState::new(None);
        let row = LaneRow::new(1, 0, &state, "log");
        let different = |what: &[&str], more| {
            let differences = what.iter().map(|what| differs(what)).collect();
            Verdict::Different(differences, more, Some(Box::new(row.clone())))
        };
        assert_eq!(repairable(&[lane(different(&COUNTERS, 0), true)]), std::slice::from_ref(&row));
        for (verdict, is_whole) in [
            (Verdict::Equal, true),
            (Verdict::NotCompared("why"), true),
            // From rows that the log does not have any more.
            (different(&["event_lane.wins"], 0), false),
            (different(&["event_lane.wins"], 1), true),
            (different(&["event_lane.wins", "event_lane.digest"], 0), true),
            (different(&["event_lane.wins", "event_entry.status"], 0), true),
            (different(&["event_stock.stock_count of option 0"], 0), true),
            (Verdict::Different(vec![differs("event_lane.wins")], 0, None), true),
        ] {
            assert_eq!(repairable(&[lane(verdict.clone(), is_whole)]), [], "{verdict:?}");
        }
    }
}
