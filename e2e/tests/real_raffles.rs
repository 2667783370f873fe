//! Raffles over HTTP on the real column: admin-api, api-gateway and both workers.
#![allow(clippy::expect_used)]

use e2e::raffles;
use e2e::system::System;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_of_many_win_and_anyone_can_recompute_it() {
    raffles::thirty_of_many(&System::real("raffle").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_raffles_are_drawn_side_by_side() {
    raffles::small_and_large(&System::real("raffle").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_drawn_is_refused() {
    raffles::refused(&System::real("raffle").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_valid_wins_over_many_lanes() {
    raffles::everybody_wins(&System::real("raffle").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raffle_decided_again_has_the_same_lanes_and_winners() {
    raffles::replayed(&System::real("replayed").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_waits_for_its_beacon() {
    let chain = raffles::TestChain::with_round_in(75);
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("chains.json");
    std::fs::write(&file, &chain.json).expect("file");
    let settings = [("DRAND_CHAINS_FILE", file.to_str().expect("UTF-8"))];
    raffles::waits_for_its_beacon(&System::real_with("beacon", &settings).await, &chain).await;
}
