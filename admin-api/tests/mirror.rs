//! Limits and the flag in Redis follow the database.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared_runtime::clock::SystemRandom;
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{LivePolicy, RedisArgs, RedisClient};
use support::{GRACE_MS, draft, world_with};

async fn told(redis: &RedisClient, id: i64) -> LivePolicy {
    redis.read_live_policies(&[id]).await.unwrap()[&id]
}

#[tokio::test]
async fn limits_stand_in_redis_and_null_takes_them_out() {
    let server = FakeRedis::start().unwrap();
    let redis = RedisClient::new(&RedisArgs::for_url(server.url()), Arc::new(SystemRandom)).unwrap();
    let w = world_with(None, Some(redis.clone()), GRACE_MS).await;
    let id = w.scheduled(&draft()).await;
    assert_eq!(told(&redis, id).await, LivePolicy::default());
    let put = async |what: &str, body: Value| {
        let (status, answer) = w.call("PUT", &format!("/admin/v1/events/{id}/{what}"), &body).await;
        assert_eq!(status, 200, "{answer}");
    };
    put("limits", json!({"per_second": 50, "raffle_per_second": 7})).await;
    let limits = LivePolicy { limit: Some(50), raffle_limit: Some(7), high_traffic: None };
    assert_eq!(told(&redis, id).await, limits);
    put("high-traffic", json!({"enabled": true})).await;
    assert_eq!(told(&redis, id).await, LivePolicy { high_traffic: Some(true), ..limits });
    put("high-traffic", json!({"enabled": false})).await;
    put("limits", json!({"per_second": null})).await;
    assert_eq!(told(&redis, id).await, LivePolicy { high_traffic: Some(false), ..LivePolicy::default() });
}

#[tokio::test]
async fn what_redis_missed_it_is_told_when_it_answers_again() {
    let server = FakeRedis::start().unwrap();
    let client = || RedisClient::new(&RedisArgs::for_url(server.url()), Arc::new(SystemRandom)).unwrap();
    let (redis, witness) = (client(), client());
    let w = world_with(None, Some(redis), GRACE_MS).await;
    let id = w.scheduled(&draft()).await;
    let path = format!("/admin/v1/events/{id}/limits");
    assert_eq!(w.call("PUT", &path, &json!({"per_second": 5})).await.0, 200);
    assert_eq!(told(&witness, id).await.limit, Some(5));

    server.delay_answers(Duration::from_secs(2));
    // Redis is a hint: the change is made without it.
    assert_eq!(w.call("PUT", &path, &json!({"per_second": 900})).await.0, 200);
    assert_eq!(w.call("PUT", &path, &json!({"per_second": 1_000})).await.0, 200);
    server.delay_answers(Duration::ZERO);
    let until = Instant::now() + Duration::from_secs(20);
    while witness.read_live_policies(&[id]).await.ok().and_then(|all| all[&id].limit) != Some(1_000) {
        assert!(Instant::now() < until, "Redis was never told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
