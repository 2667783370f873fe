//! Servers restarted under the worker, and its database restored from a backup, on the real column.
#![allow(clippy::expect_used)]

use std::time::Instant;

use e2e::campaign::{check, set_up, wait_for_progress};
use e2e::column::fresh_database;
use e2e::load::Load;
use e2e::process::Process;
use e2e::rounds::{rounds, strike};
use e2e::stack::{backup, load_backup, stack, swap_in};

const RATE: u64 = 800;

/// Restarts a server of the stack under load, round by round.
async fn restarted_under_load(name: &'static str, server: &'static str) {
    rounds(name, async |seed| {
        let (column, mut random, stock) = set_up(name, seed).await;
        let load = Load::start(&column, seed, 0, RATE);
        let mut worker = Process::apply_worker(&column, &column.database_url, name);
        wait_for_progress(&column, 20).await;
        strike(&mut random).await;
        stack("restart", server).await;
        let back = Instant::now();
        wait_for_progress(&column, 20).await;
        let went_on = back.elapsed();
        assert!(worker.is_running());
        check(&column, stock, &load.stop().await).await.with("went_on_after_ms", went_on.as_millis() as i64)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_may_restart_under_load() {
    restarted_under_load("mariadb", "mariadb").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_may_restart_under_load() {
    restarted_under_load("broker", "kafka-1").await;
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
        let (_, name) = column.database_url.rsplit_once('/').expect("a database in the URL");
        let restored = fresh_database(&column.database_url, &format!("{name}_r")).await;
        load_backup(&restored, dump).await;
        swap_in(&column.database_url, &restored).await;
        wait_for_progress(&column, 200).await;
        assert!(worker.is_running());
        check(&column, stock, &load.stop().await).await
    })
    .await;
}
