//! Redis stopped, emptied, hanging, under load through two gateways: Redis is a hint, and who wins does not depend on it.
#![allow(clippy::expect_used)]

use e2e::cluster::Cluster;
use e2e::column::Column;
use e2e::crowd::Crowd;
use e2e::process::Process;
use e2e::rounds::{BUDGET, rounds, strike, wait_until};
use e2e::stack::{redis, stack};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const RATE: u64 = 300;
const DECISIONS: &str = "event_rate_limit_decisions_total";

/// Sum of a metric over all gateways.
async fn sum(system: &Cluster, name: &str, label: &str) -> f64 {
    let mut sum = 0.0;
    for gateway in &system.gateways {
        sum += gateway.process.metric(name, &[label]).await.unwrap_or_default();
    }
    sum
}

async fn wait_for_more(system: &Cluster, name: &str, label: &str, more: f64) {
    let least = sum(system, name, label).await + more;
    wait_until(&format!("{name} {label} grows"), async || sum(system, name, label).await >= least).await;
}

async fn entries_go_on(crowd: &Crowd) {
    let heard = crowd.acked();
    wait_until("entries go on being accepted", async || crowd.acked() >= heard + 150).await;
}

/// Every gateway goes on without Redis: breaker open, admission by its own share, entries accepted.
async fn without_redis(system: &Cluster, crowd: &Crowd) {
    for gateway in &system.gateways {
        gateway.process.wait_for_metric("event_redis_breaker_open", &[], 1.0, BUDGET).await;
        gateway
            .process
            .wait_for_metric("event_redis_requests_total", &["outcome=\"open\""], 1.0, BUDGET)
            .await;
    }
    wait_for_more(system, DECISIONS, "decision=\"local_allowed\"", 100.0).await;
    entries_go_on(crowd).await;
}

/// Redis counts again, at every gateway.
async fn with_redis(system: &Cluster, crowd: &Crowd) {
    for gateway in &system.gateways {
        let closed = async || gateway.process.metric("event_redis_breaker_open", &[]).await == Some(0.0);
        wait_until("the breaker closes", closed).await;
    }
    wait_for_more(system, DECISIONS, "decision=\"allowed\"", 100.0).await;
    entries_go_on(crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_same_log_has_the_same_winners() {
    rounds("redis", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let column = Column::real("redis").await;
        let url = column.database_url.clone();
        let worker = Process::apply_worker(&column, &url, "redis-worker");
        let system = Cluster::start("redis", column, &[&url, &url]).await;
        let stock = random.random_range(800..2_500);
        let event = system.open_event(stock).await;
        let crowd = system.crowd(event.id);
        let stream = crowd.stream(seed, 1, RATE);
        with_redis(&system, &crowd).await;
        let healthy = crowd.acked();
        // More will enter than win: gateways must not hear that it is sold out, for then they ask for no more tokens.
        worker.signal("STOP");

        strike(&mut random).await;
        stack("stop", "redis").await;
        without_redis(&system, &crowd).await;
        stack("start", "redis").await;
        with_redis(&system, &crowd).await;

        strike(&mut random).await;
        redis(&system.redis_url, "FLUSHALL").await;
        with_redis(&system, &crowd).await;

        strike(&mut random).await;
        stack("pause", "redis").await;
        without_redis(&system, &crowd).await;
        stack("resume", "redis").await;
        with_redis(&system, &crowd).await;

        stream.stop().await;
        worker.signal("CONT");
        let local = sum(&system, DECISIONS, "decision=\"local_allowed\"").await;
        let failed = sum(&system, "event_redis_requests_total", "outcome=\"timeout\"").await
            + sum(&system, "event_redis_requests_total", "outcome=\"error\"").await;
        let open = sum(&system, "event_redis_requests_total", "outcome=\"open\"").await;
        let figures = system.check(event, &crowd, stock, false).await;
        figures
            .with("acked_before", healthy)
            .with("admitted_without_redis", local as i64)
            .with("redis_failures", failed as i64)
            .with("not_asked", open as i64)
    })
    .await;
}
