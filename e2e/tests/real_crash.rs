//! Workers killed, frozen, replaced, and COMMITs whose answer is lost, under load on the real column.
#![allow(clippy::expect_used)]

use e2e::campaign::{check, set_up, wait_for_progress};
use e2e::column::LANES;
use e2e::load::Load;
use e2e::process::Process;
use e2e::proxy::Proxy;
use e2e::rounds::{BUDGET, rounds, strike, wait_until};

const RATE: u64 = 800;

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
        check(&column, stock, &load.stop().await).await
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
        wait_until("not every lane's transaction was held", async || proxy.held() == LANES as u64).await;
        zombie.signal("STOP");
        let _heir = Process::apply_worker(&column, &column.database_url, "heir");
        wait_for_progress(&column, 200).await;
        proxy.release();
        zombie.signal("CONT");
        zombie.wait_for_metric("event_fences_lost_total", &[], 1.0, BUDGET).await;
        let fenced = zombie.metric("event_fences_lost_total", &[]).await.expect("the zombie lives");
        wait_for_progress(&column, 20).await;
        check(&column, stock, &load.stop().await).await.with("fenced", fenced as i64)
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
        check(&column, stock, &load.stop().await).await
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
        let figures = check(&column, stock, &load.stop().await).await;
        old.signal("TERM");
        assert_eq!(old.ended(BUDGET).await, Some(0), "{}", old.log());
        figures
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
            wait_until("no COMMIT was cut", async || proxy.cuts() == cut).await;
            wait_for_progress(&column, 20).await;
        }
        let figures = check(&column, stock, &load.stop().await).await;
        let found = worker.metric("event_batches_found_committed_total", &[]).await;
        assert_eq!(found, Some(CUTS as f64), "each cut batch was found committed");
        figures.with("commits_cut", CUTS as i64)
    })
    .await;
}
