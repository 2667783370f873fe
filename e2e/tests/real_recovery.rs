//! What operators have when something is lost or in doubt, on the real column: `reconcile`, `replay --shadow`, parked events
//! beside a replay, a consumer group that somebody reset, and the restore drill.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use e2e::campaign::{check, set_up, wait_for_progress};
use e2e::column::{Column, LANES};
use e2e::load::{Load, event_of};
use e2e::log::{append, append_entries, scheduled};
use e2e::process::{Process, binary, on_column, run};
use e2e::promises::{replay, wait_for_entries};
use e2e::reconciled::{decided_column, names_each_difference, reconcile};
use e2e::rounds::{BUDGET, wait_until};
use e2e::scenarios::{InProcess, refusal};
use e2e::sql::{execute, number};
use e2e::stack::{committed, reset_group};
use shared_runtime::clock::SystemRandom;
use shared_runtime::redis::{RedisArgs, RedisClient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconcile_names_each_difference_and_puts_right_what_only_counts() {
    names_each_difference(&Column::real("reconcile").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconcile_finds_nothing_while_the_system_works() {
    let (column, _, stock) = set_up("reconciling", 5).await;
    let load = Load::start(&column, 5, 0, 800);
    let worker = Process::apply_worker(&column, &column.database_url, "reconciling");
    for _ in 0..3 {
        wait_for_progress(&column, 100).await;
        let (code, text) = reconcile(&column, &["--without-redis"]).await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("log: 4 lanes equal, 0 different, 0 parked"), "{text}");
    }
    check(&column, stock, &load.stop().await).await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconcile_puts_redis_right() {
    let column = Column::real("reconcile_redis").await;
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make test`");
    let (server, _) = url.rsplit_once('/').expect("a database in REDIS_URL");
    let url = format!("{server}/{}", rand::random_range(20..250));
    let redis = RedisClient::new(&RedisArgs::for_url(&url), Arc::new(SystemRandom)).expect("settings");
    let worker = InProcess::start(&column, &column.store, "reconcile-redis");
    append(&column, 0, 1, scheduled(&column, 1, 10, 0)).await;
    append_entries(&column, 0, 1, (0..20).collect()).await;
    wait_for_entries(&column.store, 1, 0, 20, BUDGET).await;
    worker.stop().await;
    execute(&column.database_url, "UPDATE events SET limit_per_second = 77 WHERE event_id = 1").await;
    let reconcile = async |args: &[&str]| {
        let mut command = on_column("event-system", &column, &column.database_url);
        command.arg("reconcile").args(args).env("REDIS_URL", &url);
        run(command).await
    };
    // Nobody has told Redis anything yet.
    let (code, text) = reconcile(&["--repair"]).await;
    assert_eq!(code, Some(0), "{text}");
    for said in [
        "event 1: redis event:reward:count:1 is missing, by the database 10",
        "event 1: redis event:ranking 1 is missing, by the database 20",
        "redis: 3 values put right",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let (code, text) = reconcile(&[]).await;
    assert_eq!(code, Some(0), "{text}");
    // Where Redis has no limit gateways take the database's; a wrong one would count.
    redis.set("event:reward:sum:1", "7000").await.expect("set");
    redis.set("event:limit:1", "5").await.expect("set");
    let (code, text) = reconcile(&[]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("event 1: redis event:limit:1 is 5, by the database 77"), "{text}");
    assert!(text.contains("event 1: redis event:reward:sum:1 is 7000, by the database 10"), "{text}");
    assert!(text.contains("2 differences remain"), "{text}");
    assert_eq!(redis.get("event:reward:sum:1").await.expect("get").as_deref(), Some("7000"), "only told");
    let (code, text) = reconcile(&["--repair"]).await;
    assert_eq!(
        (code, redis.get("event:reward:sum:1").await.expect("get").as_deref()),
        (Some(0), Some("10")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_run_decides_the_latest_records_beside_the_live_rows() {
    let column = Column::real("shadow").await;
    decided_column(&column).await;
    let shadow = async |args: &[&str]| {
        let mut command = on_column("event-system", &column, &column.database_url);
        command.args(["replay", "--shadow"]).args(args);
        run(command).await
    };
    let raffles = LANES as usize;
    let agrees = async |last: &str, summary: String| {
        let (code, text) = shadow(&["--last", last]).await;
        assert_eq!(code, Some(0), "{last}: {text}");
        assert!(text.contains(&summary), "{last}: {summary}: {text}");
    };
    let all =
        format!("{} lanes equal, 0 different, 0 parked, 0 not compared; 0 without a record", 3 + raffles);
    agrees("100000", all.clone()).await;
    // The lane of the mugs: Scheduled, 24 entries, rubbish, an approval, stock twice, 40 entries; then 26 of the points.
    // From within the mugs' entries, before the approval, before and between the two records of one grant.
    for last in ["50", "67", "68", "70", "94"] {
        agrees(last, all.clone()).await;
        let (_, text) = shadow(&["--last", last, "--event", "1"]).await;
        assert!(text.contains("event 1 lane 0: equal") && text.contains("from the state before"), "{text}");
    }
    let few = format!("2 lanes equal, 0 different, 0 parked, {raffles} not compared; 1 without a record");
    agrees("12", few).await;
    let (_, text) = shadow(&["--last", "12"]).await;
    assert!(
        text.contains("event 40 lane 0: scheduled before the start, and missions add chances, not compared"),
        "{text}"
    );

    let differs = async |change: &str, said: &str| {
        execute(&column.database_url, change).await;
        let (code, text) = shadow(&["--last", "50"]).await;
        assert_eq!(code, Some(1), "{change}: {text}");
        assert!(text.contains(said) && text.contains(" 1 different"), "{change}: {said}: {text}");
    };
    let status = |seq: i64, status: i16| {
        format!("UPDATE event_entry SET status = {status} WHERE event_id = 1 AND seq = {seq}")
    };
    differs(&status(39, 1), "event 1 lane 0 seq 39: event_entry.status is WIN, by the log LOSE").await;
    execute(&column.database_url, &status(39, 2)).await;
    // Before the start only the chain can tell.
    differs(&status(15, 3), "event 1 lane 0: event_lane.digest is").await;
    execute(&column.database_url, &status(15, 2)).await;
    differs(
        "UPDATE event_stock SET stock_count = 2 WHERE event_id = 1",
        "event 1 lane 0: event_stock.stock_count of option 0 is 2, by the log 0",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_event_is_compared_up_to_its_first_parked_offset() {
    let column = Column::real("parked_replay").await;
    execute(&column.database_url, &refusal(&column.database_url, 13)).await;
    let worker = InProcess::start(&column, &column.store, "parked-replay");
    append(&column, 0, 1, scheduled(&column, 1, 20, 0)).await;
    append(&column, 0, 2, scheduled(&column, 2, 20, 0)).await;
    append_entries(&column, 0, 1, (0..10).collect()).await;
    let first = append_entries(&column, 0, 1, vec![13]).await[0].0;
    append_entries(&column, 0, 1, (100..120).collect()).await;
    append_entries(&column, 0, 2, (200..230).collect()).await;
    wait_for_entries(&column.store, 2, 0, 30, BUDGET).await;
    worker.stop().await;
    let parked = format!("event 1 lane 0: parked, compared up to offset {first}");
    let (code, text, _) = replay(&column, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&parked), "{text}");
    assert!(text.contains("2 lanes equal, 0 different, 1 parked, 0 not compared"), "{text}");
    let (code, text) = reconcile(&column, &["--without-redis"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&parked) && text.contains("log: 2 lanes equal, 0 different, 1 parked"), "{text}");

    execute(&column.database_url, "UPDATE event_entry SET reward_amount = 5 WHERE event_id = 1 AND seq = 4")
        .await;
    execute(&column.database_url, "UPDATE event_lane SET digest = REVERSE(digest) WHERE event_id = 1").await;
    let (code, text, _) = replay(&column, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    let named =
        "event 1 lane 0: the first row that differs is seq 4: event_entry.reward_amount live 5, replay 1";
    assert!(text.contains(named), "{text}");
}

/// Counts and checksums of what must not change when records are met again.
async fn fingerprint(column: &Column) -> Vec<i64> {
    let mut sums = Vec::new();
    for sql in [
        "SELECT COUNT(*) AS n FROM event_entry",
        "SELECT CAST(SUM(CRC32(CONCAT_WS('|', event_id, lane, seq, HEX(entry_id), status, reward_amount, log_offset, \
         decided_at))) AS SIGNED) AS n FROM event_entry",
        "SELECT CAST(SUM(CRC32(CONCAT_WS('|', event_id, lane, seq, wins, HEX(digest)))) AS SIGNED) AS n FROM event_lane",
        "SELECT CAST(SUM(stock_count) AS SIGNED) AS n FROM event_stock",
        "SELECT CAST(SUM(next_offset) AS SIGNED) AS n FROM partition_progress",
    ] {
        sums.push(number(&column.database_url, sql).await);
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_group_reset_to_earliest_changes_nothing() {
    let (column, ..) = set_up("group_reset", 9).await;
    let group = format!("{}{}", column.kafka.kafka_topic_prefix, apply_worker::ROLE.group);
    for lane in 0..LANES {
        append_entries(&column, lane, event_of(lane), (0..200).collect()).await;
    }
    let ends = vec![Some(201); LANES as usize];
    let mirrored = async || committed(&column, &group).await == ends;
    let mut worker = Process::apply_worker(&column, &column.database_url, "group-before");
    for lane in 0..LANES {
        wait_for_entries(&column.store, event_of(lane), lane, 200, BUDGET).await;
    }
    wait_until("the offsets are mirrored", mirrored).await;
    let before = fingerprint(&column).await;

    // While the group works, Kafka refuses.
    let said = reset_group(&column, &group).await;
    assert!(said.contains("inactive"), "{said}");
    assert_eq!(committed(&column, &group).await, ends);

    worker.signal("TERM");
    assert_eq!(worker.ended(BUDGET).await, Some(0), "{}", worker.log());
    let said = reset_group(&column, &group).await;
    assert_eq!(committed(&column, &group).await, vec![Some(0); LANES as usize], "{said}");

    let worker = Process::apply_worker(&column, &column.database_url, "group-after");
    // It goes on at the database's cursors, and says so to Kafka.
    wait_until("the offsets are mirrored again", mirrored).await;
    assert_eq!(fingerprint(&column).await, before);
    for metric in
        ["event_batches_total", "event_batch_retries_total", "event_fences_lost_total", "event_repeats_total"]
    {
        assert_eq!(worker.metric(metric, &[]).await, Some(0.0), "{metric}");
    }
    for lane in 0..LANES {
        append_entries(&column, lane, event_of(lane), (200..220).collect()).await;
        wait_for_entries(&column.store, event_of(lane), lane, 220, BUDGET).await;
    }
    let (code, text) = reconcile(&column, &["--without-redis"]).await;
    assert_eq!(code, Some(0), "{text}");
}

/// The drill as operators run it (`compose/restore-drill.sh`).
#[tokio::test]
async fn the_restore_drill_loses_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose/restore-drill.sh");
    let programs = binary("event-system");
    let mut drill = Command::new(script);
    drill.env("PROGRAMS", programs.parent().expect("a folder"));
    let (code, text) = run(drill).await;
    println!("{text}");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("SUMMARY restore-drill"), "{text}");
}

#[tokio::test]
async fn what_operators_ask_for_by_mistake_is_named() {
    let column = Column::real("recovery_input").await;
    let nobody = "mysql://event:event@127.0.0.1:1/events";
    for (args, unset, set, code, named) in [
        ("replay --shadow --last 0", "", "", 2, "--last"),
        ("replay --shadow --last few", "", "", 2, "--last"),
        ("replay --last 5 --into sqlite:///nowhere/at/all.db", "", "", 2, "--last"),
        ("replay --last 5", "", "", 2, "--shadow"),
        ("replay --shadow --into sqlite:///nowhere/at/all.db", "", "", 2, "--into"),
        ("replay --shadow --from 5", "", "", 2, "--from"),
        ("replay --shadow --event 99", "", "", 2, "--event: no event 99 was scheduled"),
        ("replay --dry-run --event 99", "", "", 2, "--event: no event 99 was scheduled"),
        ("replay", "", "", 2, "--into"),
        ("replay --into sqlite:///nowhere/at/all.db", "", "", 2, "--into"),
        ("replay --shadow", "KAFKA_BROKERS", "", 2, "KAFKA_BROKERS"),
        ("replay --shadow", "", nobody, 3, "DATABASE_URL"),
        ("reconcile --event 99", "", "", 2, "--event: no event 99 was scheduled"),
        ("reconcile --event first", "", "", 2, "--event"),
        ("reconcile", "REDIS_URL", "", 2, "REDIS_URL"),
        ("reconcile", "KAFKA_BROKERS", "", 2, "KAFKA_BROKERS"),
        ("reconcile", "DATABASE_URL", "", 2, "DATABASE_URL"),
        ("reconcile --batch-records 0", "", "", 2, "--batch-records"),
        ("reconcile", "", nobody, 3, "DATABASE_URL"),
    ] {
        let url = if set.is_empty() { column.database_url.as_str() } else { set };
        let mut command = on_column("event-system", &column, url);
        command.args(args.split(' '));
        if !unset.is_empty() {
            command.env_remove(unset);
        }
        let (ended, text) = run(command).await;
        assert_eq!(ended, Some(code), "{args} without {unset:?}: {text}");
        assert!(text.contains(named), "{args}: {named}: {text}");
    }
    let worker = InProcess::start(&column, &column.store, "input");
    append(&column, 0, 1, scheduled(&column, 1, 5, 0)).await;
    append_entries(&column, 0, 1, (0..9).collect()).await;
    wait_for_entries(&column.store, 1, 0, 9, BUDGET).await;
    worker.stop().await;
    let mut command = on_column("event-system", &column, &column.database_url);
    command.args(["replay", "--into", &column.database_url]);
    let (code, text) = run(command).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--into: this database is in use"), "{text}");
}
