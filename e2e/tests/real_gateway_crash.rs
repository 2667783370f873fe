//! Gateways killed under load, on the real column: members press again, here or there, until they hear something final.
#![allow(clippy::expect_used)]

use e2e::cluster::Cluster;
use e2e::column::Column;
use e2e::crowd::Crowd;
use e2e::process::Process;
use e2e::rounds::{BUDGET, rounds, strike, wait_until};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const RATE: u64 = 400;

/// 150 more are accepted, or hear that everything is gone.
async fn answered_more(crowd: &Crowd) {
    let answered = || crowd.acked() + crowd.answered("409 LOSE");
    let before = answered();
    wait_until("members are answered", async || answered() >= before + 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_and_doubles_nothing() {
    const KILLS: i64 = 4;
    rounds("gateway-kill", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let column = Column::real("gateway").await;
        let url = column.database_url.clone();
        let _worker = Process::apply_worker(&column, &url, "gateway-worker");
        let mut system = Cluster::start("gateway", column, &[&url, &url]).await;
        let stock = random.random_range(500..1_500);
        let event = system.open_event(stock).await;
        let crowd = system.crowd(event.id);
        let stream = crowd.stream(seed, 1, RATE);
        for kill in 0..KILLS {
            answered_more(&crowd).await;
            strike(&mut random).await;
            // Both in turn; at the last time both at once, so that nobody can go elsewhere.
            let victims = if kill + 1 == KILLS { vec![0, 1] } else { vec![(kill % 2) as usize] };
            for victim in &victims {
                system.gateways[*victim].process.signal("KILL");
            }
            for victim in victims {
                assert_eq!(system.gateways[victim].process.ended(BUDGET).await, None, "ended by the signal");
                strike(&mut random).await;
                system.restart_gateway(victim);
            }
        }
        answered_more(&crowd).await;
        stream.stop().await;
        system.check(event, &crowd, stock, false).await.with("gateways_killed", KILLS + 1)
    })
    .await;
}
