//! `event-system replay --shadow`: the latest records of every lane decided by this binary beside the live rows, before it is
//! rolled out.

use std::process::ExitCode;

use shared_domain::EventId;
use shared_runtime::compare::{LaneCompared, Log, Moment, Verdict, compare_with_log};
use shared_runtime::config::ConfigError;
use shared_runtime::keys::RewardKeys;
use shared_runtime::log::producer::Producer;
use shared_runtime::log::{KafkaArgs, KafkaProducer, StartAt};
use shared_runtime::store::Store;

use super::Progress;
use crate::Failure;
use crate::lanes::unreachable;

/// Decides the last `records` of every lane again; nothing is written.
pub async fn run(
    live: &Store,
    kafka: &KafkaArgs,
    (keys, batch): (RewardKeys, usize),
    records: i64,
    one: Option<EventId>,
) -> Result<ExitCode, Failure> {
    let producer = KafkaProducer::connect(kafka).await?;
    let mut moment = Moment::of(live).await.map_err(unreachable)?;
    check_known(&moment, one)?;
    let log = Log { kafka, log_id: producer.log_id(), keys, batch };
    let mut progress = Progress::new();
    let from = StartAt::Last(records);
    let compared =
        compare_with_log(&mut moment, &log, from, one, &mut |done, of| progress.tell(done, of)).await?;
    for undefined in moment.undefined.iter().filter(|d| one.is_none_or(|one| one == d.event_id)) {
        println!("{undefined}");
    }
    let said = tell(&compared);
    let quiet = moment.lanes(one).count().saturating_sub(compared.len());
    println!(
        "{} lanes equal, {} different, {} parked, {} not compared; {quiet} without a record among the last {records}",
        said.equal, said.different, said.parked, said.left_out
    );
    if said.different == 0 && moment.undefined.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::Check("this build does not decide what was decided".to_owned()))
    }
}

/// `--event` must name an event that was scheduled.
pub fn check_known(moment: &Moment, one: Option<EventId>) -> Result<(), ConfigError> {
    match one.filter(|one| !moment.knows(*one)) {
        Some(one) => Err(ConfigError::new("--event", format_args!("no event {one} was scheduled"))),
        None => Ok(()),
    }
}

/// How many lanes came out how.
#[derive(Debug, Default)]
pub struct Said {
    pub equal: usize,
    pub different: usize,
    pub parked: usize,
    pub left_out: usize,
}

/// Says of each lane whether the log, decided again, gives what is there.
pub fn tell(compared: &[LaneCompared]) -> Said {
    let mut said = Said::default();
    for lane in compared {
        let place = format!("event {} lane {}", lane.event_id, lane.lane);
        let begun = if lane.is_whole { "" } else { ", from the state before the start" };
        if let Some(offset) = lane.parked {
            said.parked += 1;
            println!("{place}: parked, compared up to offset {offset}");
        }
        match &lane.verdict {
            Verdict::Equal => {
                said.equal += 1;
                println!("{place}: equal, {} entries{begun}", lane.rows);
            }
            Verdict::Different(differences, more, _) => {
                said.different += 1;
                println!("{place}: DIFFERS, {} entries compared{begun}", lane.rows);
                differences.iter().for_each(|difference| println!("{difference}"));
                if *more > 0 {
                    println!("{place}: {more} more rows differ");
                }
            }
            Verdict::NotCompared(why) => {
                said.left_out += 1;
                println!("{place}: {why}, not compared");
            }
        }
    }
    said
}
