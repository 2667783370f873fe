//! The edges on the real column: admin-api, api-gateway and apply-worker over Kafka, Redis, MariaDB or MySQL.
#![allow(clippy::expect_used)]

use std::time::Duration;

use e2e::column::Column;
use e2e::process::run_to_end;
use e2e::system::{System, clean, on_column};
use e2e::{bad_input, over_http, personal_data, raffles, schema};
use shared_runtime::auth::DevKey;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_from_its_draft_to_its_end() {
    over_http::whole_path(&System::real("http").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_while_the_event_runs() {
    let system = System::real("http").await;
    over_http::live_limits(&system).await;
    raffles::has_its_own_limit(&system).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_unpark_an_event() {
    over_http::parked(&System::real("http").await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_give_a_record_up() {
    over_http::parked(&System::real("http").await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_keeps_what_was_accepted() {
    over_http::drained(System::real("http").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_whole_and_made_once() {
    over_http::changes_are_whole_and_made_once(&System::real("http").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_die_with_their_event_or_at_a_members_word() {
    personal_data::lives_and_dies(&System::real("http").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_leaves_no_trace() {
    bad_input::is_refused(&System::real("http").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_definitions_mirror_the_migrations() {
    schema::mirrors_the_migrations(&Column::real("schema").await.database_url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_or_a_missing_topic_ends_the_start_of_every_program() {
    let column = Column::real("unsafe").await;
    let folder = tempfile::tempdir().expect("folder");
    let key = folder.path().join("dev.key");
    DevKey::create(&key).expect("key");
    for program in ["apply-worker", "raffle-worker", "admin-api", "api-gateway", "event-system"] {
        for (setting, value, says) in [
            ("ALLOW_UNSAFE_LOG", "false", "ALLOW_UNSAFE_LOG: topic "),
            ("KAFKA_TOPIC_PREFIX", "nowhere-", "KAFKA_BROKERS: topic nowhere-"),
        ] {
            let mut command = clean(program);
            if program == "event-system" {
                command.arg("serve");
            }
            on_column(&mut command, &column).env("AUTH_DEV_KEY_FILE", &key).env("OPS_ADDR", "127.0.0.1:0");
            command.env("PUBLIC_ADDR", "127.0.0.1:0").env("ADMIN_ADDR", "127.0.0.1:0").env(setting, value);
            let output = run_to_end(command, Duration::from_secs(60)).await;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{program} {setting}: {said}");
            assert!(said.contains(says), "{program} {setting}: {said}");
        }
    }
}
