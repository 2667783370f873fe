//! The native system under load while its workers go from one to three and back, and every role is restarted in turn.
//!
//! `ROLLING_ENTRIES` (6,000) entries are accepted meanwhile, `ROLLING_RATE` (500) a second; `make test-rolling` has 100,000.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use e2e::cluster::{Event, agrees_with_replay, check};
use e2e::column::{Column, LANES};
use e2e::crowd::Crowd;
use e2e::native::Native;
use e2e::promises::entries;
use e2e::rounds::{Figures, rounds};
use e2e::sql::execute;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// In this order, each once a tenth of the entries is accepted.
const STEPS: [&[&str]; 9] = [
    &["scale", "apply-worker", "3"],
    &["scale", "raffle-worker", "3"],
    &["restart", "api-gateway-1"],
    &["restart", "api-gateway-2"],
    &["restart", "admin-api"],
    &["restart", "apply-worker-1"],
    &["restart", "raffle-worker-1"],
    &["scale", "apply-worker", "1"],
    &["scale", "raffle-worker", "1"],
];
/// Receipts asked for at the end, an event.
const ASKED: usize = 2_000;

fn setting(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// Schedules an event and waits until members see it open.
async fn open(system: &Native, parts: Value) -> i64 {
    let id = system.staff.drafted(parts).await;
    let limits = json!({"per_second": 50_000, "raffle_per_second": 50_000, "per_member_per_second": 1_000});
    let path = format!("/admin/v1/events/{id}");
    for (method, path, body, wanted) in [
        ("PUT", format!("{path}/limits"), limits, 200),
        ("POST", format!("{path}/schedule"), Value::Null, 202),
    ] {
        let (status, said) = system.staff.send(method, &path, None, &body).await.expect("an answer");
        assert_eq!(status, wanted, "{path}: {said}");
    }
    system.wait_for_status(id, "OPEN").await;
    id
}

/// The longest time in which nothing of an event was decided, until it is told to stop.
async fn longest_pause(column: &Column, event: i64, stop: CancellationToken) -> Duration {
    let (mut longest, mut last, mut since) = (Duration::ZERO, 0, Instant::now());
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(20))).await.is_some() {
        let rows = column.store.lane_rows().await.expect("lanes");
        let now = rows.iter().filter(|r| r.event_id == event).map(|r| r.seq).sum();
        if now != last {
            longest = longest.max(since.elapsed());
            (last, since) = (now, Instant::now());
        }
    }
    longest.max(since.elapsed())
}

/// Every acknowledged entrant of a raffle has one row, and nobody else has.
async fn entered(column: &Column, raffle: i64, crowd: &Crowd) -> i64 {
    let mut rows = HashMap::new();
    for lane in 0..LANES {
        for row in entries(&column.store, raffle, lane).await {
            let id = row.id().expect("id").to_string();
            assert!(rows.insert(row.member_id, id).is_none(), "member {} entered twice", row.member_id);
        }
    }
    let members = crowd.members();
    for (member, heard) in &members {
        let id = rows.get(member).unwrap_or_else(|| panic!("member {member} is lost: {heard:?}"));
        assert!(heard.entry_ids.iter().eq([id]), "one entry a member: {heard:?}");
    }
    assert_eq!(rows.len(), members.len());
    rows.len() as i64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_scale_and_every_role_restarts_under_load() {
    rounds("rolling", async |seed| {
        let (wanted, rate) = (setting("ROLLING_ENTRIES", 6_000), setting("ROLLING_RATE", 500) as u64);
        let column = Column::real("rolling").await;
        // Redis is shared by all tests, and its keys go by the event's id.
        let first: i64 = rand::random_range(1_000_000..1_000_000_000_000);
        execute(&column.database_url, &format!("ALTER TABLE events AUTO_INCREMENT = {first}")).await;
        let Some(system) = Native::up(&column).await else { return Figures::default() };
        let (plenty, few) = (wanted * 10, wanted / 20);
        let stock = |n: i64| json!({"type": "FIRST_COME", "stock": [{"option": "DEFAULT", "count": n}]});
        let events = [open(&system, stock(plenty)).await, open(&system, stock(few)).await];
        let raffle = open(&system, json!({"type": "RAFFLE", "max_winners": 10})).await;
        let crowds = [events[0], events[1], raffle].map(|e| Crowd::new(vec![system.public], e, system.key()));
        let streams = [0, 1, 2].map(|n| crowds[n].stream(seed.wrapping_add(n as u64), 1, rate / 3));
        let acked = || crowds.iter().map(Crowd::acked).sum::<i64>();
        let (stop, started) = (CancellationToken::new(), Instant::now());
        let drill = async {
            let mut said = String::new();
            for (n, step) in STEPS.iter().enumerate() {
                accepted(&acked, wanted * (n as i64 + 1) / 10).await;
                let since = Instant::now();
                said += &system.run(step).await;
                println!(
                    "{:>6.1} s: {} took {:.1} s",
                    started.elapsed().as_secs_f64(),
                    step.join(" "),
                    since.elapsed().as_secs_f64()
                );
            }
            accepted(&acked, wanted).await;
            stop.cancel();
            said
        };
        let (said, pause) = tokio::join!(drill, longest_pause(&column, events[0], stop.clone()));
        let load_seconds = started.elapsed().as_secs();
        for stream in streams {
            stream.stop().await;
        }
        // The whole log is decided, and nothing of what operators are called for was seen.
        system.wait_for_values("sum(event_lane_lag_records)", &[0.0]).await;
        system.wait_for_values("count(up == 1)", &[7.0]).await;
        let alerts = "count_over_time(ALERTS{alertstate=\"firing\"}[1h])";
        let fired = system.series(alerts).await;
        assert!(fired.is_empty(), "{fired:?}");

        let mut figures = Figures::default().with("load_seconds", load_seconds as i64);
        for crowd in &crowds {
            println!("{:?}", crowd.answers());
            assert_eq!(crowd.answered("no answer"), 0, "the load balancer answers always");
        }
        let sum = |what: &str| crowds.iter().map(|c| c.answered(what)).sum::<i64>();
        figures = figures.with("accepted", acked()).with("lose", sum("409 LOSE"));
        figures = figures.with("try_again", sum("429")).with("unavailable", sum("503"));
        let rows = column.store.lane_rows().await.expect("lanes");
        for ((id, crowd), granted) in events.into_iter().zip(&crowds).zip([plenty, few]) {
            let lane = rows.iter().find(|r| r.event_id == id).expect("a lane").lane;
            check(&column, Event { id, lane }, crowd, granted, false, ASKED).await;
        }
        figures.count("raffle_entries", entered(&column, raffle, &crowds[2]).await);
        agrees_with_replay(&column).await;
        let drains: Vec<f64> = said.lines().filter_map(drain_seconds).collect();
        assert_eq!(drains.len(), 9, "five restarts and four workers scaled away: {said}");
        let slowest = drains.into_iter().fold(0.0, f64::max);
        figures
            .with("slowest_drain_ms", (slowest * 1e3) as i64)
            .with("longest_pause_ms", pause.as_millis() as i64)
    })
    .await;
}

async fn accepted(acked: &impl Fn() -> i64, wanted: i64) {
    let (mut last, mut until) = (acked(), Instant::now() + e2e::rounds::BUDGET);
    while acked() < wanted {
        if acked() != last {
            (last, until) = (acked(), Instant::now() + e2e::rounds::BUDGET);
        }
        assert!(Instant::now() < until, "nobody is accepted any more: {last} of {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Of a line of the script: `NAME ended with 0 after 0.4 s`.
fn drain_seconds(line: &str) -> Option<f64> {
    line.split_once("ended with 0 after ")?.1.strip_suffix(" s")?.parse().ok()
}
