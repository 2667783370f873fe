//! Missions on the embedded column: `event-system serve`.
#![allow(clippy::expect_used)]

use e2e::column::Column;
use e2e::system::System;
use e2e::{activity_log, missions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_members_did_becomes_entries() {
    let system = System::embedded_with(&missions::SETTINGS).await;
    missions::steps_become_an_entry(&system).await;
    missions::attendance_across_midnight(&system).await;
    missions::one_entry_whoever_races(&system).await;
    system.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_report_and_when_it_counts() {
    let system = System::embedded_with(&missions::SETTINGS).await;
    missions::own_word(&system).await;
    missions::outside_the_period(&system).await;
    system.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_reported_in_time_is_in_before_the_close() {
    let system = System::embedded_with(&missions::SETTINGS).await;
    missions::in_time_or_not_at_all(&system).await;
    missions::add_to_a_raffles_draw(&system).await;
    system.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_in_one_request_are_judged_each_by_itself() {
    let system = System::embedded_with(&missions::SETTINGS).await;
    missions::several_at_once(&system).await;
    system.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_counted_holds_nobody_up() {
    activity_log::what_cannot_be_counted_holds_nobody_up(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_waits_for_its_event() {
    activity_log::an_activity_waits_for_its_event(&Column::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_is_what_the_whole_log_folds_to() {
    activity_log::the_row_is_what_the_whole_log_folds_to(&Column::embedded().await).await;
}
