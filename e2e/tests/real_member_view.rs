//! What a member's app shows, on the real column.
#![allow(clippy::expect_used)]

use std::sync::Arc;

use e2e::system::System;
use e2e::{my_entries, ranking, streams};
use shared_runtime::clock::SystemRandom;
use shared_runtime::redis::{RedisArgs, RedisClient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_lists_own_entries() {
    my_entries::listed(&System::real("member").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ranking_follows_what_is_committed() {
    // There is one ranking a Redis database: this test has its own.
    let url = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make test`");
    let (server, _) = url.rsplit_once('/').expect("a database in REDIS_URL");
    let url = format!("{server}/15");
    let redis = RedisClient::new(&RedisArgs::for_url(&url), Arc::new(SystemRandom)).expect("settings");
    let system = System::real_with("ranking", &[("REDIS_URL", &url)]).await;
    ranking::follows_what_is_committed(&system, Some(&redis)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_hear_their_results() {
    streams::everybody_hears_the_result(&System::real_with("streams", &streams::SETTINGS).await).await;
}
