//! Activities straight in the log, on both columns: what can be counted is, and what cannot holds nobody up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use apply_worker::{ACTIVITY_ROLE, ROLE};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared_domain::{ActivityReport, EventDefinition, Mission, MissionType, counts, tally};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic, dead_letter_name};

use crate::column::Column;
use crate::log::{append, append_to, entry, read, scheduled};
use crate::promises::wait_for_entries;
use crate::rounds::wait_until;
use crate::scenarios::InProcess;

const EVENT: i64 = 7;
const LANE: i32 = 1;
const NOW: i64 = 1_700_000_000_000;

fn come_once() -> Mission {
    Mission {
        title: "Come".into(),
        mission_type: MissionType::Attendance,
        goal_value: 1,
        self_reported: false,
        option: None,
        weight: None,
    }
}

/// An event whose one mission is to come once.
fn with_a_mission(column: &Column, event: i64) -> Kind {
    let Kind::Scheduled(mut scheduled) = scheduled(column, event, 100, LANE) else { unreachable!() };
    scheduled.missions = vec![come_once().to_record()];
    Kind::Scheduled(scheduled)
}

fn came(member: i64, counts_for: &[(i64, u16)]) -> v1::Activity {
    let report = ActivityReport {
        member,
        mission_type: MissionType::Attendance,
        value: None,
        friend: None,
        occurred_at: NOW,
    };
    report.to_record([1; 16], NOW, counts_for)
}

fn activity_lane(column: &Column) -> Lane {
    Lane::new(column.kafka.topics().name(Topic::Activity), LANE)
}

async fn report(column: &Column, activity: v1::Activity) {
    append_to(column, activity_lane(column), &shared_proto::encode(0, Kind::Activity(activity))).await;
}

/// Members who have come, as far as it is counted.
async fn counted(column: &Column) -> u64 {
    column.store.mission_totals().await.expect("progress").iter().map(|total| total.members).sum()
}

/// A stamp that no definition knows, an unknown type, a record of another topic's kind and rubbish go to the dead letters,
/// and what stands behind them is counted; an activity in an event's lane parks nothing there.
pub async fn what_cannot_be_counted_holds_nobody_up(column: &Column) {
    let events = InProcess::start(column, &column.store, &ROLE.group);
    let activities = InProcess::start_role(column, &column.store, &ACTIVITY_ROLE);
    append(column, LANE, EVENT, with_a_mission(column, EVENT)).await;
    append(column, LANE, EVENT, entry(5)).await;
    wait_for_entries(&column.store, EVENT, LANE, 1, Duration::from_secs(60)).await;

    let lane = activity_lane(column);
    report(column, came(1, &[(EVENT, 0)])).await;
    report(column, came(2, &[(EVENT, 9)])).await;
    report(column, v1::Activity { mission_type: "SWIM".into(), ..came(3, &[(EVENT, 0)]) }).await;
    append_to(column, lane.clone(), &shared_proto::encode(EVENT, entry(4))).await;
    append_to(column, lane.clone(), b"\xff\xffrubbish").await;
    report(column, came(6, &[(EVENT, 0)])).await;
    wait_until("both good ones are counted", async || counted(column).await == 2).await;
    let dead = read(column, dead_letter_name(&lane.topic), LANE).await;
    assert_eq!(dead.len(), 4, "two that no definition knows, one kind of another topic, and rubbish");
    let earned = column.store.earned(0, 10).await.expect("the outbox");
    assert_eq!(earned.len(), 2, "each of the two has earned an entry");

    // The other way round: the event of this id goes on.
    let stray = shared_proto::encode(0, Kind::Activity(came(EVENT, &[(EVENT, 0)])));
    append_to(column, Lane::new(column.topic(), LANE), &stray).await;
    append(column, LANE, EVENT, entry(8)).await;
    wait_for_entries(&column.store, EVENT, LANE, 2, Duration::from_secs(60)).await;
    assert!(column.store.parked_events().await.expect("parked").is_empty());
    assert_eq!(read(column, dead_letter_name(&column.topic()), LANE).await.len(), 1);
    events.stop().await;
    activities.stop().await;
}

/// Reports of steps that come late, twice and in any order, some of them at the goal: each row is what a fold over the whole
/// log gives, and each mission that was completed has earned one entry.
pub async fn the_row_is_what_the_whole_log_folds_to(column: &Column) {
    const GOAL: i64 = 90;
    const MEMBERS: i64 = 20;
    let Kind::Scheduled(mut scheduled) = scheduled(column, EVENT, 100, LANE) else { unreachable!() };
    let walk = Mission { mission_type: MissionType::StepCount, goal_value: GOAL, ..come_once() };
    scheduled.missions = vec![walk.to_record()];
    let definition = Arc::new(EventDefinition::from_record(&scheduled).expect("a definition"));
    let events = InProcess::start(column, &column.store, &ROLE.group);
    append(column, LANE, EVENT, Kind::Scheduled(scheduled)).await;
    append(column, LANE, EVENT, entry(5)).await;
    wait_for_entries(&column.store, EVENT, LANE, 1, Duration::from_secs(60)).await;

    let (lane, mut random) = (activity_lane(column), StdRng::seed_from_u64(7));
    let activities = InProcess::start_role(column, &column.store, &ACTIVITY_ROLE);
    let mut all = Vec::new();
    // Several batches, whatever the worker makes of each block.
    for _ in 0..5 {
        for _ in 0..100 {
            let report = ActivityReport {
                member: random.random_range(1..=MEMBERS),
                mission_type: MissionType::StepCount,
                value: Some(random.random_range(0..100)),
                friend: None,
                occurred_at: NOW + random.random_range(0..30),
            };
            let activity = report.to_record([1; 16], NOW, &[(EVENT, 0)]);
            append_to(column, lane.clone(), &shared_proto::encode(0, Kind::Activity(activity.clone()))).await;
            all.push(activity);
        }
        wait_until("the block is counted", async || {
            let cursors = column.store.progress_of(&lane).await.expect("cursors");
            cursors.first().is_some_and(|row| row.next_offset == all.len() as i64)
        })
        .await;
    }
    let definitions = HashMap::from([(EVENT, definition)]);
    let all: Vec<_> = all.iter().flat_map(|a| counts(a, &definitions).expect("judged")).collect();
    let folded = tally(&all, &HashMap::new(), &HashSet::new());
    let members: Vec<i64> = (1..=MEMBERS).collect();
    let rows = column.store.mission_progress(&members, &[EVENT]).await.expect("progress");
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.key().expect("a key"), row.progress())).collect();
    assert_eq!(rows, folded.progress);
    let completed = folded.completions.len();
    assert!(completed > 0 && completed < MEMBERS as usize, "{completed} completed: the seed shows nothing");
    assert_eq!(column.store.earned(0, 1_000).await.expect("the outbox").len(), completed);
    events.stop().await;
    activities.stop().await;
}

/// An activity for an event that the database does not know yet waits for it, as after a restore, and nothing is lost.
pub async fn an_activity_waits_for_its_event(column: &Column) {
    report(column, came(1, &[(EVENT, 0)])).await;
    report(column, came(2, &[(EVENT, 0)])).await;
    let activities = InProcess::start_role(column, &column.store, &ACTIVITY_ROLE);
    let lane = activity_lane(column);
    wait_until("the lane is open", async || {
        !column.store.progress_of(&lane).await.expect("cursors").is_empty()
    })
    .await;
    // Longer than three tries a second apart, after which a record that can never be counted is given up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let cursor = column.store.progress_of(&lane).await.expect("cursors")[0].next_offset;
    assert_eq!((cursor, counted(column).await), (0, 0));
    let events = InProcess::start(column, &column.store, &ROLE.group);
    append(column, LANE, EVENT, with_a_mission(column, EVENT)).await;
    wait_until("both are counted", async || counted(column).await == 2).await;
    assert!(read(column, dead_letter_name(&lane.topic), LANE).await.is_empty());
    events.stop().await;
    activities.stop().await;
}
