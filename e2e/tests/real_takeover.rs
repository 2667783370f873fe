//! Workers that end in every way under load: how long their lanes wait for a peer, or for a worker of the same name.
#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use e2e::campaign::{check, set_up, wait_for_progress};
use e2e::column::{Column, LANES};
use e2e::load::Load;
use e2e::process::Process;
use e2e::rounds::{BUDGET, Figures, rounds, strike};
use serde_json::Value;

const RATE: u64 = 800;
/// Default of `DRAIN_BUDGET`.
const DRAIN: Duration = Duration::from_secs(15);
/// From SIGTERM: a peer decides the lanes of a worker that was told to stop.
const HANDED_OVER: Duration = Duration::from_secs(3);
/// Over the session's length: a peer decides the lanes of a worker that was killed.
const DISCOVERED: Duration = Duration::from_secs(5);
/// From its start: a worker that was killed decides again.
const BACK: Duration = Duration::from_secs(5);
/// So long that no bound here can hold because a session ended.
const LONG: (&str, &str) = ("KAFKA_SESSION_TIMEOUT", "30s");

fn named(instance_id: &str) -> (&'static str, &str) {
    ("KAFKA_GROUP_INSTANCE_ID", instance_id)
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("fits")
}

fn within(what: &str, took: Duration, bound: Duration) {
    assert!(took <= bound, "{what} took {took:?}, more than {bound:?}");
}

/// So long without a rebalance: none is left over.
const QUIET: Duration = Duration::from_millis(1_500);

/// Two workers of these settings, each with its half of the lanes, for good.
async fn pair(column: &Column, settings: [&[(&str, &str)]; 2]) -> [Process; 2] {
    let [one, two] = settings.map(|s| Process::apply_worker_with(column, &column.database_url, "pair", s));
    let (until, mut seen, mut since) = (Instant::now() + BUDGET, Vec::new(), Instant::now());
    loop {
        let mut now = Vec::new();
        for worker in [&one, &two] {
            now.push((lanes(worker), rebalances(worker).await));
        }
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() > QUIET && seen.iter().all(|(lanes, _)| *lanes == i64::from(LANES)) {
            break;
        }
        assert!(Instant::now() < until, "the lanes were not shared: {seen:?}: {}", one.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for worker in [&one, &two] {
        worker.wait_for_metric("event_batches_total", &[], 5.0, BUDGET).await;
    }
    [one, two]
}

/// How many lanes a worker has, by its log: a gauge of a lane that went away stays at 0.
fn lanes(worker: &Process) -> i64 {
    let sign = |message: &Value| match message.as_str() {
        Some("lanes assigned") => 1,
        Some("lanes revoked") => -1,
        _ => 0,
    };
    let log = worker.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| sign(&line["message"]) * line["lanes"].as_i64().unwrap_or(0)).sum()
}

/// How many rebalances a worker has taken part in; none before it answers.
async fn rebalances(worker: &Process) -> Option<u64> {
    worker.metric("event_rebalances_total", &[]).await.map(|count| count as u64)
}

/// Lanes change hands without an alarm.
fn no_halt(worker: &Process) {
    let log = worker.log();
    assert!(!log.contains("lane halted"), "{log}");
}

/// Ends a worker by SIGTERM: until it has ended, and until its peer has decided in every lane since.
async fn told_to_stop(column: &Column, worker: &mut Process) -> [Duration; 2] {
    let since = Instant::now();
    worker.signal("TERM");
    assert_eq!(worker.ended(BUDGET).await, Some(0), "{}", worker.log());
    let ended = since.elapsed();
    wait_for_progress(column, 1).await;
    let followed = since.elapsed();
    within("the drain", ended, DRAIN);
    within("handing the lanes over", followed, HANDED_OVER);
    [ended, followed]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_hands_its_lanes_over() {
    rounds("drain", async |seed| {
        let (column, mut random, stock) = set_up("drain", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut figures = Figures::default();
        for (settings, ended, followed) in [
            ([[LONG; 2], [LONG; 2]], "ended_ms", "followed_ms"),
            ([[LONG, named("a")], [LONG, named("b")]], "static_ended_ms", "static_followed_ms"),
        ] {
            let [mut one, mut two] = pair(&column, settings.each_ref().map(|s| &s[..])).await;
            strike(&mut random).await;
            let [ended_after, followed_after] = told_to_stop(&column, &mut one).await;
            figures.count(ended, ms(ended_after));
            figures.count(followed, ms(followed_after));
            two.signal("TERM");
            assert_eq!(two.ended(BUDGET).await, Some(0), "{}", two.log());
            for worker in [&one, &two] {
                no_halt(worker);
            }
        }
        let _last = Process::apply_worker(&column, &column.database_url, "drain");
        check(&column, stock, &load.stop().await).await.and(figures)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_told_to_stop_at_once_all_leave() {
    rounds("leave", async |seed| {
        let (column, mut random, stock) = set_up("leave", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut workers = pair(&column, [&[LONG, named("a")], &[LONG, named("b")]]).await;
        for worker in &workers {
            // The second one is told while the group rebalances because of the first.
            strike(&mut random).await;
            worker.signal("TERM");
        }
        let since = Instant::now();
        for worker in &mut workers {
            assert_eq!(worker.ended(BUDGET).await, Some(0), "{}", worker.log());
            let log = worker.log();
            assert!(!log.contains("the group still knows this member"), "{log}");
        }
        let ended = since.elapsed();
        let next = Process::apply_worker_with(&column, &column.database_url, "leave", &[LONG, named("c")]);
        wait_for_progress(&column, 1).await;
        let followed = since.elapsed() - ended;
        within("following two that have left", followed, BACK);
        no_halt(&next);
        let figures = check(&column, stock, &load.stop().await).await;
        figures.with("ended_ms", ms(ended)).with("followed_ms", ms(followed))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_followed_when_its_session_ends() {
    const SESSION: Duration = Duration::from_secs(6);
    rounds("follow", async |seed| {
        let (column, mut random, stock) = set_up("follow", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let session = humantime::format_duration(SESSION).to_string();
        let settings = [("KAFKA_SESSION_TIMEOUT", session.as_str())];
        let [mut one, two] = pair(&column, [&settings, &settings]).await;
        strike(&mut random).await;
        let since = Instant::now();
        one.signal("KILL");
        assert_eq!(one.ended(BUDGET).await, None, "ended by the signal");
        wait_for_progress(&column, 1).await;
        let followed = since.elapsed();
        within("following a killed worker", followed, SESSION + DISCOVERED);
        no_halt(&two);
        check(&column, stock, &load.stop().await).await.with("followed_ms", ms(followed))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_that_is_started_again_has_its_lanes_back() {
    rounds("back", async |seed| {
        let (column, mut random, stock) = set_up("back", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let (a, b) = ([LONG, named("a")], [LONG, named("b")]);
        let [mut one, two] = pair(&column, [&a, &b]).await;
        let before = rebalances(&two).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..3 {
            strike(&mut random).await;
            one.signal("KILL");
            assert_eq!(one.ended(BUDGET).await, None, "ended by the signal");
            strike(&mut random).await;
            let since = Instant::now();
            one = Process::apply_worker_with(&column, &column.database_url, "back", &a);
            one.wait_for_metric("event_entries_decided_total", &[], 1.0, BUDGET).await;
            slowest = slowest.max(since.elapsed());
            no_halt(&one);
        }
        within("coming back", slowest, BACK);
        assert_eq!(rebalances(&two).await, before, "no peer takes part: {}", two.log());
        wait_for_progress(&column, 1).await;
        check(&column, stock, &load.stop().await).await.with("back_ms", ms(slowest))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_with_one_name_the_older_one_says_so_and_ends() {
    rounds("fenced-name", async |seed| {
        let (column, mut random, stock) = set_up("name", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let settings = [named("twice")];
        let mut older = Process::apply_worker_with(&column, &column.database_url, "older", &settings);
        older.wait_for_metric("event_batches_total", &[], 5.0, BUDGET).await;
        strike(&mut random).await;
        let since = Instant::now();
        let mut newer = Process::apply_worker_with(&column, &column.database_url, "newer", &settings);
        assert_eq!(older.ended(BUDGET).await, Some(1), "{}", older.log());
        let ended = since.elapsed();
        let said = older.log();
        assert!(said.contains("KAFKA_GROUP_INSTANCE_ID: another process has joined"), "{said}");
        wait_for_progress(&column, 20).await;
        assert!(newer.is_running(), "{}", newer.log());
        check(&column, stock, &load.stop().await).await.with("fenced_ms", ms(ended))
    })
    .await;
}
