//! The core on the embedded column: mock log, SQLite.
#![allow(clippy::expect_used)]

use e2e::column::Column;
use e2e::{raffle_log, scenarios};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raffle_closes_by_position_and_every_reader_draws_the_same() {
    raffle_log::closed_by_position(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_its_decision_key_halts_and_decides_nothing() {
    raffle_log::rewards_need_their_key(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_of_a_hundred_thousand_win_though_two_draw_at_once() {
    raffle_log::ten_thousand_of_a_hundred_thousand(&Column::embedded().await).await;
}
