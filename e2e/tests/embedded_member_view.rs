//! What a member's app shows, on the embedded column.
#![allow(clippy::expect_used)]

use e2e::system::System;
use e2e::{my_entries, ranking};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_lists_own_entries() {
    my_entries::listed(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ranking_follows_what_is_committed() {
    ranking::follows_what_is_committed(&System::embedded().await, None).await;
}
