//! The core on the embedded column: mock log, SQLite.
#![allow(clippy::expect_used)]

use e2e::column::Column;
use e2e::scenarios;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stampede_is_first_come_first_served_and_a_second_reader_agrees() {
    scenarios::stampede(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_record_parks_its_event_only_and_unpark_restores_the_order() {
    scenarios::parking(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_given_up_ends_undecidable_at_its_place() {
    scenarios::giving_up(&Column::embedded().await).await;
}
