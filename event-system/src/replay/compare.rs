//! Two databases beside each other, lane by lane: the live one, and the one that the log was decided into.

use std::process::ExitCode;

use shared_domain::EventId;
use shared_runtime::compare::row_differences;
use shared_runtime::store::Store;
use shared_runtime::store::reading::Standing;
use shared_runtime::store::rows::{LaneRow, MissionTotal};
use shared_runtime::worker::Replay;

use crate::Failure;
use crate::lanes::unreachable;

/// Rows that are compared at once.
const BLOCK: i64 = 2_000;
pub const NOT_COMPARED: &str = "scheduled before the start, not compared";

pub fn of_interest(live: &[LaneRow], one: Option<EventId>) -> impl Iterator<Item = &LaneRow> {
    live.iter().filter(move |row| row.is_scheduled && one.is_none_or(|one| one == row.event_id))
}

/// Says of each mission of the events that were decided whether both databases agree on what members did; gives how many do
/// not.
pub async fn compare_missions(
    decided: &Store,
    live: &[MissionTotal],
    replay: &Replay,
) -> Result<usize, Failure> {
    let again = decided.mission_totals().await.map_err(unreachable)?;
    let mut different = 0;
    for total in live.iter().filter(|total| replay.events.values().any(|e| e.contains_key(&total.event_id))) {
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
pub async fn compare(
    live: &Store,
    decided: &Store,
    standing: &Standing,
    replay: &Replay,
    one: Option<EventId>,
    missions: usize,
) -> Result<ExitCode, Failure> {
    let decided_lanes = decided.lane_rows().await.map_err(unreachable)?;
    let (mut equal, mut different, mut parked, mut left_out) = (0, 0, 0, 0);
    for row in of_interest(&standing.lanes, one) {
        let (event, lane) = (row.event_id, row.lane);
        if !replay.decides(event, lane) {
            left_out += 1;
            println!("event {event} lane {lane}: {NOT_COMPARED}");
            continue;
        }
        if let Some(offset) = standing.parked.get(&(event, lane)) {
            parked += 1;
            println!("event {event} lane {lane}: parked, compared up to offset {offset}");
        }
        let other = decided_lanes.iter().find(|d| (d.event_id, d.lane) == (event, lane));
        if other.is_some_and(|d| (d.seq, &d.digest) == (row.seq, &row.digest)) {
            equal += 1;
        } else {
            different += 1;
            let found = other.map_or_else(|| "missing".to_owned(), |d| format!("{} entries", d.seq));
            println!("event {event} lane {lane}: DIFFERS, live {} entries, replay {found}", row.seq);
            let until = row.seq.max(other.map_or(0, |d| d.seq));
            match first_difference(live, decided, (event, lane), until).await? {
                Some((seq, how)) => {
                    println!("event {event} lane {lane}: the first row that differs is seq {seq}: {how}")
                }
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

/// The first place up to `until` whose row is not the same on both sides, or is there on one alone, and how it differs. What
/// the live database decided since it was read lies behind.
async fn first_difference(
    live: &Store,
    decided: &Store,
    (event, lane): (EventId, i32),
    until: i64,
) -> Result<Option<(i64, String)>, Failure> {
    let mut after = 0;
    while after < until {
        let most = BLOCK.min(until - after);
        let ours = live.entries_of_lane(event, lane, None, after, most).await.map_err(unreachable)?;
        let theirs = decided.entries_of_lane(event, lane, None, after, most).await.map_err(unreachable)?;
        for n in 0..ours.len().max(theirs.len()) {
            let (seq, how) = match (ours.get(n), theirs.get(n)) {
                (Some(a), Some(b)) if a.seq == b.seq => {
                    after = a.seq;
                    let differ = row_differences(a, b, true);
                    if differ.is_empty() {
                        continue;
                    }
                    let how = differ
                        .into_iter()
                        .map(|(what, live, log)| format!("{what} live {live}, replay {log}"));
                    (a.seq, how.collect::<Vec<_>>().join("; "))
                }
                (Some(a), b) if b.is_none_or(|b| b.seq > a.seq) => (a.seq, "only live has it".to_owned()),
                (_, Some(b)) => (b.seq, "live lacks it".to_owned()),
                (a, None) => return Ok(a.map(|a| (a.seq, "only live has it".to_owned()))),
            };
            return Ok((seq <= until).then_some((seq, how)));
        }
        if ours.is_empty() {
            return Ok(None);
        }
    }
    Ok(None)
}
