//! The fault campaign on the real column. Each scenario runs `CRASH_ROUNDS` times (default 1), one at a time; the
//! printed seed decides its timing, and `CRASH_SEED` repeats one.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use e2e::column::{Column, LANES};
use e2e::load::{Acked, Load, event_of, schedule};
use e2e::log::{append_bytes, append_entries, entry, read_entries};
use e2e::process::Process;
use e2e::promises::{entries, first_come_first_served, same_digests, wait_for_entries};
use e2e::proxy::Proxy;
use e2e::rounds::rounds;
use e2e::scenarios::InProcess;
use e2e::sql::number;
use e2e::stack::{backup, delete_records, load_backup, recreate_topic, stack, swap_in};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use shared_proto::{DecodeError, decode, encode};

const BUDGET: Duration = Duration::from_secs(60);
const RATE: u64 = 800;

/// Entries decided so far in each lane; `None` while the database does not answer.
async fn decided(column: &Column) -> Option<Vec<i64>> {
    let rows = column.store.lane_rows().await.ok()?;
    let of = |lane| rows.iter().find(|r| r.event_id == event_of(lane)).map_or(0, |r| r.seq);
    Some((0..LANES).map(of).collect())
}

/// Waits until every lane has decided `more` entries from now on.
async fn wait_for_progress(column: &Column, more: i64) {
    let until = Instant::now() + BUDGET;
    let mut before = None;
    loop {
        let now = decided(column).await;
        if before.is_none() {
            before.clone_from(&now);
        }
        if let (Some(before), Some(now)) = (&before, &now)
            && before.iter().zip(now).all(|(b, n)| n - b >= more)
        {
            return;
        }
        assert!(Instant::now() < until, "no progress: {before:?} to {now:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + BUDGET;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The promises, lane by lane, and a second reader of the whole log.
async fn check(column: &Column, stock: i64, acked: &[Acked]) {
    let mut logs = Vec::new();
    for lane in 0..LANES {
        let log = read_entries(column, lane).await;
        for entry in acked.iter().filter(|a| a.lane == lane) {
            let at = log.binary_search_by_key(&entry.offset, |(offset, _)| *offset);
            assert_eq!(log[at.expect("an acknowledged entry is in the log")].1, entry.member);
        }
        logs.push(log);
    }
    let (_url, other) = column.second_database().await;
    let second = InProcess::start(column, &other, "second-reader");
    for (lane, log) in (0..LANES).zip(&logs) {
        let event = event_of(lane);
        let members: HashSet<i64> = log.iter().map(|(_, member)| *member).collect();
        for store in [&column.store, &other] {
            wait_for_entries(store, event, lane, members.len() as i64, BUDGET).await;
        }
        let rows = entries(&column.store, event, lane).await;
        first_come_first_served(&rows, log, stock as usize);
        let left = format!("SELECT stock_count AS n FROM event_stock WHERE event_id = {event}");
        let wins = rows.iter().filter(|r| r.status == 1).count() as i64;
        assert_eq!(wins + number(&column.database_url, &left).await, stock, "wins + stock = granted");
    }
    same_digests(&column.store, &other).await;
    second.stop().await;
    let entries: usize = logs.iter().map(Vec::len).sum();
    println!("  {} acknowledged, {entries} in the log, all promises hold", acked.len());
}

async fn set_up(name: &str, seed: u64) -> (Column, StdRng, i64) {
    let column = Column::real(name).await;
    let mut random = StdRng::seed_from_u64(seed);
    let stock = random.random_range(200..3_000);
    schedule(&column, stock).await;
    (column, random, stock)
}

/// Up to half a second, which the seed decides: when a fault strikes, not how long something may take.
async fn strike(random: &mut StdRng) {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_and_doubles_nothing() {
    rounds("kill", async |seed| {
        let (column, mut random, stock) = set_up("kill", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        for _ in 0..3 {
            let mut worker = Process::apply_worker(&column, &column.database_url, "kill");
            wait_for_progress(&column, 20).await;
            strike(&mut random).await;
            worker.signal("KILL");
            assert_eq!(worker.ended(BUDGET).await, None, "ended by the signal");
        }
        let _last = Process::apply_worker(&column, &column.database_url, "kill");
        wait_for_progress(&column, 20).await;
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombies_transaction_is_fenced() {
    rounds("zombie", async |seed| {
        let (column, mut random, stock) = set_up("zombie", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let proxy = Proxy::start(&column.database_url).await;
        // Its session must outlive the stop, so that the transaction itself meets the fence.
        let settings = [("DATABASE_IDLE_TIMEOUT", "60s")];
        let zombie = Process::apply_worker_with(&column, proxy.url(), "zombie", &settings);
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        proxy.hold_behind_begin();
        wait_until("not every lane's transaction was held", || proxy.held() == LANES as u64).await;
        zombie.signal("STOP");
        let _heir = Process::apply_worker(&column, &column.database_url, "heir");
        wait_for_progress(&column, 200).await;
        proxy.release();
        zombie.signal("CONT");
        zombie.wait_for_metric("event_fences_lost_total", &[], 1.0, BUDGET).await;
        let fenced = zombie.metric("event_fences_lost_total", &[]).await;
        println!("  fences lost by the zombie: {fenced:?}");
        wait_for_progress(&column, 20).await;
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_anywhere_is_followed_by_another() {
    rounds("stop", async |seed| {
        let (column, mut random, stock) = set_up("stop", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let stopped = Process::apply_worker(&column, &column.database_url, "stopped");
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        stopped.signal("STOP");
        let _heir = Process::apply_worker(&column, &column.database_url, "heir");
        wait_for_progress(&column, 200).await;
        stopped.signal("CONT");
        wait_for_progress(&column, 200).await;
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_come_and_go() {
    rounds("members", async |seed| {
        let (column, mut random, stock) = set_up("members", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut old = Process::apply_worker(&column, &column.database_url, "member");
        wait_for_progress(&column, 20).await;
        for _ in 0..3 {
            let new = Process::apply_worker(&column, &column.database_url, "member");
            new.wait_for_metric("event_batches_total", &[], 5.0, BUDGET).await;
            strike(&mut random).await;
            old.signal("TERM");
            assert_eq!(old.ended(BUDGET).await, Some(0), "{}", old.log());
            wait_for_progress(&column, 20).await;
            old = new;
        }
        check(&column, stock, &load.stop().await).await;
        old.signal("TERM");
        assert_eq!(old.ended(BUDGET).await, Some(0), "{}", old.log());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_found_committed() {
    const CUTS: u64 = 5;
    rounds("commit", async |seed| {
        let (column, mut random, stock) = set_up("commit", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let proxy = Proxy::start(&column.database_url).await;
        let worker = Process::apply_worker(&column, proxy.url(), "commit");
        wait_for_progress(&column, 20).await;
        for cut in 1..=CUTS {
            strike(&mut random).await;
            proxy.cut_at_commit();
            wait_until("no COMMIT was cut", || proxy.cuts() == cut).await;
            wait_for_progress(&column, 20).await;
        }
        check(&column, stock, &load.stop().await).await;
        let found = worker.metric("event_batches_found_committed_total", &[]).await;
        assert_eq!(found, Some(CUTS as f64), "each cut batch was found committed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_may_restart_under_load() {
    rounds("mariadb", async |seed| {
        let (column, mut random, stock) = set_up("mariadb", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut worker = Process::apply_worker(&column, &column.database_url, "mariadb");
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        stack("restart", "mariadb").await;
        let back = Instant::now();
        wait_for_progress(&column, 20).await;
        println!("  went on {:.1} s after MariaDB answered", back.elapsed().as_secs_f64());
        assert!(worker.is_running());
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_may_restart_under_load() {
    rounds("broker", async |seed| {
        let (column, mut random, stock) = set_up("broker", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut worker = Process::apply_worker(&column, &column.database_url, "broker");
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        stack("restart", "kafka-1").await;
        let back = Instant::now();
        wait_for_progress(&column, 20).await;
        println!("  went on {:.1} s after the broker answered", back.elapsed().as_secs_f64());
        assert!(worker.is_running());
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}

fn halted(lane: i32, alarm: &str) -> [String; 2] {
    [format!("partition=\"{lane}\""), format!("reason=\"{alarm}\"")]
}

async fn wait_for_halt(worker: &Process, lane: i32, alarm: &str) {
    let labels = halted(lane, alarm);
    worker.wait_for_metric("event_lane_halted", &[&labels[0], &labels[1]], 1.0, BUDGET).await;
    let named = format!("{alarm}: ");
    assert!(worker.log().contains(&named), "the log names the alarm {alarm}");
}

/// A worker that decides `count` entries of each lane, and ends.
async fn decide_and_stop(column: &Column, count: i64) {
    for lane in 0..LANES {
        append_entries(column, lane, event_of(lane), (0..count).collect()).await;
    }
    let mut worker = Process::apply_worker(column, &column.database_url, "before");
    for lane in 0..LANES {
        wait_for_entries(&column.store, event_of(lane), lane, count, BUDGET).await;
    }
    worker.signal("TERM");
    assert_eq!(worker.ended(BUDGET).await, Some(0), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_again_halts_its_lanes() {
    rounds("recreated", async |seed| {
        let (column, _, _) = set_up("recreated", seed).await;
        decide_and_stop(&column, 50).await;
        recreate_topic(&column).await;
        // Lane 1 has more records than the cursor knows, lane 2 fewer.
        append_entries(&column, 1, event_of(1), (1_000..1_200).collect()).await;
        append_entries(&column, 2, event_of(2), (1_000..1_010).collect()).await;
        let worker = Process::apply_worker(&column, &column.database_url, "recreated");
        wait_for_halt(&worker, 1, "mismatch").await;
        wait_for_halt(&worker, 2, "beyond_end").await;
        assert_eq!(decided(&column).await, Some(vec![50; 4]), "nothing was applied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_passed_the_cursor_is_a_gap() {
    rounds("gap", async |seed| {
        let (column, _, _) = set_up("gap", seed).await;
        decide_and_stop(&column, 50).await;
        for lane in 0..LANES {
            append_entries(&column, lane, event_of(lane), (100..150).collect()).await;
        }
        // 51 records were applied in each lane. Lane 1 loses some that were not; lane 2 only what was applied.
        delete_records(&column, 1, 70).await;
        delete_records(&column, 2, 51).await;
        let worker = Process::apply_worker(&column, &column.database_url, "gap");
        wait_for_halt(&worker, 1, "gap").await;
        for lane in [0, 2, 3] {
            wait_for_entries(&column.store, event_of(lane), lane, 100, BUDGET).await;
        }
        assert_eq!(decided(&column).await, Some(vec![100, 50, 100, 100]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_halts_its_lane_and_is_named() {
    rounds("schema", async |seed| {
        let (column, _, _) = set_up("schema", seed).await;
        let mut newer = encode(event_of(1), entry(500));
        newer[1] = 9;
        assert_eq!(decode(&newer), Err(DecodeError::NewerSchema(9)));
        append_entries(&column, 1, event_of(1), (0..30).collect()).await;
        append_bytes(&column, 1, &newer).await;
        append_entries(&column, 1, event_of(1), (30..60).collect()).await;
        append_entries(&column, 2, event_of(2), (0..60).collect()).await;
        let worker = Process::apply_worker(&column, &column.database_url, "schema");
        wait_for_halt(&worker, 1, "newer_schema").await;
        assert!(worker.log().contains("schema version 9"));
        wait_for_entries(&column.store, event_of(2), 2, 60, BUDGET).await;
        wait_for_entries(&column.store, event_of(1), 1, 30, BUDGET).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restored_from_a_backup_catches_up_by_itself() {
    rounds("backup", async |seed| {
        let (column, mut random, stock) = set_up("backup", seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut worker = Process::apply_worker(&column, &column.database_url, "backup");
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        let dump = backup(&column.database_url).await;
        wait_for_progress(&column, 200).await;
        let restored = format!("{}_r", column.database_url);
        let (_, name) = restored.rsplit_once('/').expect("a database in the URL");
        e2e::sql::execute(&column.database_url, &format!("CREATE DATABASE `{name}`")).await;
        load_backup(&restored, dump).await;
        swap_in(&column.database_url, &restored).await;
        wait_for_progress(&column, 200).await;
        assert!(worker.is_running());
        check(&column, stock, &load.stop().await).await;
    })
    .await;
}
