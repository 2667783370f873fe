//! The client, the rate limit and the presence over the embedded Redis, and over one that hangs, is slow, is
//! emptied or is gone.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;
use shared_runtime::clock::{Clock, ManualClock, SeededRandom, SharedRandom, SystemClock};
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{
    Decision, LeasedRateLimit, LivePolicy, Presence, RedisArgs, RedisClient, RedisUnavailable,
};
use tokio_util::sync::CancellationToken;

/// What no call may take longer than, with some room for a busy machine.
const BOUND: Duration = Duration::from_millis(350 + 150);

fn random() -> SharedRandom {
    Arc::new(SeededRandom::new(7))
}

fn client(server: &FakeRedis) -> RedisClient {
    RedisClient::new(&RedisArgs::for_url(server.url()), random()).unwrap()
}

fn limiter(server: &FakeRedis) -> LeasedRateLimit {
    LeasedRateLimit::new(client(server), Presence::default(), random())
}

/// `tries` requests at once; how many were let in.
async fn stampede(limit: &LeasedRateLimit, event: i64, per_second: i64, now_ms: i64, tries: usize) -> i64 {
    let tasks: Vec<_> = (0..tries)
        .map(|_| {
            let limit = limit.clone();
            tokio::spawn(async move { limit.acquire(event, per_second, now_ms).await })
        })
        .collect();
    let mut allowed = 0;
    for task in tasks {
        match task.await.unwrap() {
            Decision::Allowed => allowed += 1,
            Decision::Limited { retry_after_s } => assert!((1..=3).contains(&retry_after_s)),
        }
    }
    allowed
}

#[test]
fn settings_are_checked() {
    let wrong = |change: fn(&mut RedisArgs)| {
        let mut args = RedisArgs::for_url("redis://user:secret@127.0.0.1:1/0");
        change(&mut args);
        let error = RedisClient::new(&args, random()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        error.setting
    };
    assert_eq!(wrong(|args| args.redis_url = None), "REDIS_URL");
    assert_eq!(wrong(|args| args.redis_url = Some("http://u:secret@h".to_owned())), "REDIS_URL");
    assert_eq!(wrong(|args| args.redis_url = Some("redis://u:secret@h:99999999".to_owned())), "REDIS_URL");
    assert_eq!(wrong(|args| args.redis_timeout = Duration::ZERO), "REDIS_TIMEOUT");
    assert_eq!(wrong(|args| args.redis_connect_timeout = Duration::MAX), "REDIS_CONNECT_TIMEOUT");
    assert_eq!(wrong(|args| args.redis_pool_size = 0), "REDIS_POOL_SIZE");
    RedisClient::new(&RedisArgs::for_url("redis://127.0.0.1:1/0"), random()).unwrap();
    RedisClient::new(&RedisArgs::for_url("rediss://127.0.0.1:1/0"), random()).unwrap();
}

#[tokio::test]
async fn helpers_do_what_they_say() {
    let server = FakeRedis::start().unwrap();
    let redis = client(&server);
    assert_eq!(redis.get("k").await.unwrap(), None);
    redis.set("k", "v").await.unwrap();
    assert_eq!(redis.get("k").await.unwrap().as_deref(), Some("v"));
    assert!(redis.del("k").await.unwrap());
    assert!(!redis.del("k").await.unwrap());
    redis.set("rubbish", "12x").await.unwrap();
    assert_eq!(redis.incr_by_with_expiry("n", 5, 10).await.unwrap(), 5);
    assert_eq!(redis.incr_by_with_expiry("n", 2, 10).await.unwrap(), 7);
    assert_eq!(redis.command::<i64>(cmd("TTL").arg("n")).await.unwrap(), 10);
    let keys = ["n", "rubbish", "none"].map(str::to_owned);
    assert_eq!(redis.mget_i64(&keys).await.unwrap(), [Some(7), None, None]);
    assert_eq!(redis.mget_i64(&[]).await.unwrap(), []);

    // A refusal is an answer: the breaker stays closed.
    for _ in 0..10 {
        let refused = redis.incr_by_with_expiry("rubbish", 1, 10).await;
        assert!(matches!(refused, Err(RedisUnavailable::Failed(_))), "{refused:?}");
    }
    // Calls can be spawned, and borrow what they use.
    let spawned = redis.clone();
    let key = "n".to_owned();
    let task = tokio::spawn(async move {
        spawned.call(async |connection| cmd("GET").arg(&key).query_async::<i64>(connection).await).await
    });
    assert_eq!(task.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn live_policies() {
    let server = FakeRedis::start().unwrap();
    let redis = client(&server);
    redis.write_limit(1, Some(5000)).await.unwrap();
    redis.write_raffle_limit(1, Some(0)).await.unwrap();
    redis.write_high_traffic(1, Some(true)).await.unwrap();
    redis.write_high_traffic(2, Some(false)).await.unwrap();
    redis.set("event:limit:3", "many").await.unwrap();
    redis.set("event:limit:raffle:3", "-1").await.unwrap();
    redis.command::<i64>(cmd("ZADD").arg("event:policy:high-traffic:3").arg(1).arg("x")).await.unwrap();
    let wanted = HashMap::from([
        (1, LivePolicy { limit: Some(5000), raffle_limit: Some(0), high_traffic: Some(true) }),
        (2, LivePolicy { high_traffic: Some(false), ..LivePolicy::default() }),
        (3, LivePolicy::default()),
    ]);
    assert_eq!(redis.read_live_policies(&[1, 2, 3]).await.unwrap(), wanted);
    assert_eq!(redis.read_live_policies(&[]).await.unwrap(), HashMap::new());
    redis.write_limit(1, None).await.unwrap();
    assert_eq!(redis.read_live_policies(&[1]).await.unwrap()[&1].limit, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_admits_more_than_its_limit_over_all_gateways() {
    let server = FakeRedis::start().unwrap();
    let gateways: Vec<_> = (0..4).map(|_| limiter(&server)).collect();
    for (event, limit) in [(1, 1), (2, 19), (3, 100), (4, 777), (5, 6001)] {
        for second in 0..2_i64 {
            let tasks: Vec<_> = gateways
                .iter()
                .map(|gateway| {
                    let gateway = gateway.clone();
                    let tries = limit as usize + 50;
                    tokio::spawn(
                        async move { stampede(&gateway, event, limit, second * 1000 + 500, tries).await },
                    )
                })
                .collect();
            let mut allowed = 0;
            for task in tasks {
                allowed += task.await.unwrap();
            }
            assert_eq!(allowed, limit, "event {event}, second {second}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_few() {
    let server = FakeRedis::start().unwrap();
    let (redis, limit) = (client(&server), limiter(&server));
    assert_eq!(stampede(&limit, 1, 0, 5_000, 10).await, 0);
    assert_eq!(stampede(&limit, 1, -3, 5_000, 10).await, 0);
    assert_eq!(redis.command::<i64>(&cmd("DBSIZE")).await.unwrap(), 0, "a limit of 0 never asks Redis");

    // Blocks of 50: 120 requests at once make three leases, not 120.
    assert_eq!(stampede(&limit, 1, 1000, 5_000, 120).await, 120);
    assert_eq!(redis.get("event:rate:1:5").await.unwrap().as_deref(), Some("150"));
    assert_eq!(redis.command::<i64>(cmd("TTL").arg("event:rate:1:5")).await.unwrap(), 10);
    // A request that is a little late takes from the newest window; a new second starts from nothing.
    assert_eq!(limit.acquire(1, 1000, 4_999).await, Decision::Allowed);
    assert_eq!(redis.get("event:rate:1:4").await.unwrap(), None);
    assert_eq!(stampede(&limit, 1, 1000, 6_000, 1100).await, 1000);
    let total = redis.get("event:rate:1:6").await.unwrap();
    assert_eq!(stampede(&limit, 1, 1000, 6_999, 100).await, 0);
    assert_eq!(
        redis.get("event:rate:1:6").await.unwrap(),
        total,
        "an exhausted second never asks Redis again"
    );
    // A clock that was set back far counts in its own windows, still exactly.
    assert_eq!(stampede(&limit, 1, 1000, 1_000, 1100).await, 1000);
    limit.sweep(100_000);
    assert_eq!(stampede(&limit, 1, 1000, 1_000, 10).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_gateway_admits_its_share() {
    let server = FakeRedis::start().unwrap();
    let redis = client(&server);
    let now = SystemClock.now_ms();
    for gateway in ["a", "b", "c"] {
        redis.gateway_beat(gateway, now).await.unwrap();
    }
    let presence = Presence::default();
    assert_eq!(presence.live(), 1);
    let stop = CancellationToken::new();
    let beating =
        presence.clone().run(redis.clone(), Arc::new(ManualClock::new(now)), "d".to_owned(), stop.clone());
    let beating = tokio::spawn(beating);
    while presence.live() != 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let limit = LeasedRateLimit::new(redis.clone(), presence.clone(), random());
    assert_eq!(stampede(&limit, 1, 100, 1_000, 10).await, 10);
    server.shutdown().await;

    // What this window has admitted before counts against the share.
    let start = Instant::now();
    assert_eq!(stampede(&limit, 1, 100, 1_500, 200).await, 25 - 10);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert_eq!(stampede(&limit, 1, 100, 2_000, 200).await, 25);
    assert_eq!(stampede(&limit, 2, 1, 2_000, 200).await, 1);
    // By now the breaker is open: not a moment is lost.
    assert_eq!(stampede(&limit, 3, 100, 2_000, 10).await, 10);
    assert!(matches!(redis.get("k").await, Err(RedisUnavailable::BreakerOpen)));
    let start = Instant::now();
    assert_eq!(stampede(&limit, 1, 100, 3_000, 200).await, 25);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    stop.cancel();
    beating.await.unwrap();
}

#[tokio::test]
async fn silent_gateways_are_forgotten() {
    let server = FakeRedis::start().unwrap();
    let redis = client(&server);
    assert_eq!(redis.gateway_beat("a", 10_000).await.unwrap(), 1);
    assert_eq!(redis.gateway_beat("b", 12_000).await.unwrap(), 2);
    assert_eq!(redis.gateway_beat("b", 14_999).await.unwrap(), 2);
    assert_eq!(redis.gateway_beat("b", 15_000).await.unwrap(), 1, "5 s of silence");
    redis.gateway_leave("b").await.unwrap();
    assert_eq!(redis.command::<i64>(cmd("ZCARD").arg("event:gateways")).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_three_timeouts_and_heals() {
    let server = FakeRedis::start().unwrap();
    let redis = client(&server);
    redis.set("k", "v").await.unwrap();
    server.delay_answers(Duration::from_secs(3600));
    for _ in 0..3 {
        let start = Instant::now();
        assert!(matches!(redis.get("k").await, Err(RedisUnavailable::Timeout)));
        assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    }
    let start = Instant::now();
    assert!(matches!(redis.get("k").await, Err(RedisUnavailable::BreakerOpen)));
    assert!(start.elapsed() < Duration::from_millis(50));

    server.delay_answers(Duration::ZERO);
    let start = Instant::now();
    while redis.get("k").await.ok().flatten().as_deref() != Some("v") {
        assert!(start.elapsed() < Duration::from_secs(2), "the first cool-down is at most a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_redis_holds_no_stampede_up() {
    let server = FakeRedis::start().unwrap();
    let limit = limiter(&server);
    server.delay_answers(Duration::from_secs(3600));
    let start = Instant::now();
    assert_eq!(stampede(&limit, 1, 100, 1_000, 1000).await, 100);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_is_still_exact() {
    let server = FakeRedis::start().unwrap();
    server.delay_answers(Duration::from_millis(10));
    let limit = limiter(&server);
    assert_eq!(stampede(&limit, 1, 100, 1_000, 500).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_only_starts_the_window_again() {
    let server = FakeRedis::start().unwrap();
    let (redis, limit) = (client(&server), limiter(&server));
    assert_eq!(stampede(&limit, 1, 100, 1_000, 50).await, 50);
    redis.command::<()>(&cmd("FLUSHALL")).await.unwrap();
    let more = stampede(&limit, 1, 100, 1_000, 500).await;
    assert!((50..=100).contains(&more), "{more}");
    assert_eq!(stampede(&limit, 1, 100, 2_000, 500).await, 100);
}
