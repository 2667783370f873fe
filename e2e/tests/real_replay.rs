//! `event-system replay` over the whole log, over a stretch of it and for one event: what it decides again, what it leaves
//! out, and what it says where the database was changed. On the real column.
#![allow(clippy::expect_used)]

use std::time::Duration;

use apply_worker::ROLE;
use e2e::column::Column;
use e2e::log::{append, append_bytes, append_entries, read, scheduled};
use e2e::promises::{replay, wait_for_entries};
use e2e::scenarios::InProcess;
use e2e::sql::execute;

const BUDGET: Duration = Duration::from_secs(60);

async fn agrees(column: &Column, args: &[&str], summary: &str) {
    let (code, text, _) = replay(column, args).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(summary), "{summary}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stretch_of_the_log_is_decided_again_and_what_differs_is_named() {
    let column = Column::real("replay").await;
    let worker = InProcess::start(&column, &column.store, &ROLE.group);
    append(&column, 0, 1, scheduled(&column, 1, 10, 0)).await;
    append_entries(&column, 0, 1, (0..40).collect()).await;
    append_bytes(&column, 0, b"\xff\xffrubbish").await;
    // Only the log's clock tells the two stretches apart.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = chrono::Utc::now().to_rfc3339();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = append(&column, 0, 2, scheduled(&column, 2, 10, 0)).await;
    append_entries(&column, 0, 2, (0..40).collect()).await;
    append_entries(&column, 0, 1, (40..50).collect()).await;
    append(&column, 1, 3, scheduled(&column, 3, 10, 1)).await;
    append_entries(&column, 1, 3, (0..40).collect()).await;
    for (event, lane, entries) in [(1, 0, 50), (2, 0, 40), (3, 1, 40)] {
        wait_for_entries(&column.store, event, lane, entries, BUDGET).await;
    }
    worker.stop().await;

    agrees(&column, &[], "3 lanes equal, 0 different, 0 parked, 0 not compared").await;
    agrees(&column, &["--event", "1"], "1 lanes equal, 0 different, 0 parked, 0 not compared").await;
    // The third event's lane is shorter than that: its record lies before the start.
    let offset = second.to_string();
    agrees(&column, &["--from", &offset], "1 lanes equal, 0 different, 0 parked, 2 not compared").await;
    agrees(&column, &["--from", &between], "2 lanes equal, 0 different, 0 parked, 1 not compared").await;
    let dry = ["--dry-run", "--from", &between];
    agrees(&column, &dry, "event 1 lane 0: scheduled before the start, not compared").await;
    agrees(&column, &dry, "2 lanes of events would be compared, 1 not").await;
    assert_eq!(read(&column, format!("{}.DLT", column.topic()), 0).await.len(), 1, "a dead letter, once");

    let wrong = "UPDATE event_entry SET status = 2 WHERE event_id = 2 AND seq = 7";
    execute(&column.database_url, wrong).await;
    let digest = "UPDATE event_lane SET digest = REVERSE(digest) WHERE event_id IN (2, 3)";
    execute(&column.database_url, digest).await;
    let (code, text, _) = replay(&column, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    for said in [
        "event 2 lane 0: the first row that differs is seq 7",
        "event 3 lane 1: every row agrees; the lane's own row was changed",
        "1 lanes equal, 2 different, 0 parked, 0 not compared",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    execute(&column.database_url, "DELETE FROM event_entry WHERE event_id = 3 AND seq = 40").await;
    let (code, text, _) = replay(&column, &["--event", "3"]).await;
    assert!(text.contains("event 3 lane 1: the first row that differs is seq 40"), "{text}");
    assert_eq!(code, Some(1), "{text}");
}

#[tokio::test]
async fn a_start_that_is_none_is_refused() {
    let column = Column::real("replay_start").await;
    let (code, text, _) = replay(&column, &["--from", "yesterday"]).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--from") && text.contains("neither `beginning`, an offset nor a time"), "{text}");
}
