//! (i) Activities a second, topic to row, beside raw multi-row upserts of the same progress rows.

use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncMysqlConnection};
use shared_domain::{ActivityReport, Mission, MissionType, Progress, ProgressKey};
use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, Topic};
use shared_runtime::store::put_progress;
use tokio::task::JoinSet;

use super::decide::batch_size;
use super::{Bar, Meter, Runs, Sample, Table};
use crate::column::Column;
use crate::log::{append, produce, scheduled};
use crate::process::Process;

const EVENT: i64 = 7;
const LANE: i32 = 0;
const NOW: i64 = 1_700_000_000_000;
/// Reports a member.
const REPORTS: i64 = 4;
/// One member in ten reaches it with the last report.
const GOAL: i64 = 100_000;

/// The n-th report: members take turns.
fn report(n: i64, members: i64) -> (ActivityReport, i64) {
    let (member, round) = (n % members + 1, n / members);
    let value = if member % 10 == 0 && round == REPORTS - 1 { GOAL } else { round + 1 };
    let report = ActivityReport {
        member,
        mission_type: MissionType::StepCount,
        value: Some(value),
        friend: None,
        occurred_at: NOW + round,
    };
    (report, value)
}

/// A scheduled event with a step mission, and its activities in one lane.
async fn preloaded(activities: i64) -> Column {
    let column = Column::real("bench_activities").await;
    let Kind::Scheduled(mut event) = scheduled(&column, EVENT, activities, LANE) else { unreachable!() };
    event.missions = vec![
        Mission {
            title: "Walk".into(),
            mission_type: MissionType::StepCount,
            goal_value: GOAL,
            self_reported: false,
            option: None,
            weight: None,
        }
        .to_record(),
    ];
    append(&column, LANE, EVENT, Kind::Scheduled(event)).await;
    let lane = Lane::new(column.kafka.topics().name(Topic::Activity), LANE);
    let (members, since) = (activities / REPORTS, Instant::now());
    let mut sends = JoinSet::new();
    for n in 0..activities {
        let record = report(n, members).0.to_record([1; 16], NOW, &[(EVENT, 0)]);
        let (producer, lane) = (column.producer.clone(), lane.clone());
        let bytes = shared_proto::encode(0, Kind::Activity(record));
        while sends.len() >= 1_000 {
            sends.join_next().await;
        }
        sends.spawn(async move { produce(&*producer, lane, &bytes).await });
    }
    while sends.join_next().await.is_some() {}
    println!("  {activities} activities preloaded in {:.1} s", since.elapsed().as_secs_f64());
    column
}

/// Counts the whole lane into a fresh database with the shipped worker.
async fn worker(column: &Column, activities: i64) -> Sample {
    let (url, store) = column.second_database().await;
    let lane = Lane::new(column.kafka.topics().name(Topic::Activity), LANE);
    let process = Process::apply_worker_with(column, &url, "bench", &[]);
    let cursor = || async {
        let rows = store.progress_of(&lane).await.expect("cursors");
        rows.first().map_or(0, |row| row.next_offset)
    };
    let until = Instant::now() + Duration::from_secs(300);
    let mut first = cursor().await;
    while first == 0 {
        assert!(Instant::now() < until, "nothing is counted; the log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
        first = cursor().await;
    }
    let meter = Meter::start(process.pid());
    while cursor().await < activities {
        assert!(Instant::now() < until, "not all is counted; the log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sample = meter.stop((activities - first) as u64);
    drop(process);
    let total = store.mission_totals().await.expect("progress").remove(0);
    let members = (activities / REPORTS) as u64;
    assert_eq!((total.members, total.completed), (members, members / 10));
    sample
}

/// The rows as the worker leaves them behind each batch, by the same statement, on one connection and nothing else.
async fn raw_upsert(column: &Column, activities: i64) -> Sample {
    let (url, _store) = column.second_database().await;
    let mut conn = AsyncMysqlConnection::establish(&url).await.expect("MySQL");
    let members = activities / REPORTS;
    let rows: Vec<(ProgressKey, Progress)> = (0..activities)
        .map(|n| {
            let (report, value) = report(n, members);
            let completed_at = (value >= GOAL).then_some(NOW);
            let latest_at = Some(report.occurred_at);
            ((report.member, EVENT, 0), Progress { current_value: value, latest_at, completed_at })
        })
        .collect();
    let meter = Meter::start(std::process::id());
    for batch in rows.chunks(batch_size()) {
        let mut batch: Vec<(&ProgressKey, &Progress)> = batch.iter().map(|(key, row)| (key, row)).collect();
        batch.sort_unstable_by_key(|(key, _)| **key);
        put_progress(&mut conn, &batch).await.expect("rows");
    }
    meter.stop(activities as u64)
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, activities: i64) {
    let activities = activities / (REPORTS * 10) * REPORTS * 10;
    let column = preloaded(activities).await;
    let [mut ours, mut raw] = [(); 2].map(|()| Runs::default());
    for n in 1..=repetitions {
        ours.push(&worker(&column, activities).await);
        raw.push(&raw_upsert(&column, activities).await);
        println!("  (i) repetition {n} of {repetitions}");
    }
    table.heading(&format!("(i) activities, topic to progress, {} members", activities / REPORTS));
    table.runs("worker", &ours);
    table.runs("raw multi-row upsert of the same rows", &raw);
    table.against("worker / raw", &ours.rate.relative_to(&raw.rate), 2, "x", Bar::Least(0.5));
}
