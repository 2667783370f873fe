//! The edges on the embedded column: `event-system serve`.
#![allow(clippy::expect_used)]

use e2e::column::Column;
use e2e::system::System;
use e2e::{bad_input, contract, over_http, personal_data, raffles, schema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_from_its_draft_to_its_end() {
    over_http::whole_path(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_while_the_event_runs() {
    let system = System::embedded().await;
    over_http::live_limits(&system).await;
    raffles::has_its_own_limit(&system).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_unpark_an_event() {
    over_http::parked(&System::embedded().await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_give_a_record_up() {
    over_http::parked(&System::embedded().await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_keeps_what_was_accepted() {
    over_http::drained(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_whole_and_made_once() {
    over_http::changes_are_whole_and_made_once(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_die_with_their_event_or_at_a_members_word() {
    personal_data::lives_and_dies(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_leaves_no_trace() {
    bad_input::is_refused(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_agree_with_the_routes() {
    let system = System::embedded().await;
    contract::agrees_with_routes(system.public).await;
    contract::agrees_with_routes(system.admin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_definitions_mirror_the_migrations() {
    schema::mirrors_the_migrations(&Column::embedded().await.database_url).await;
}
