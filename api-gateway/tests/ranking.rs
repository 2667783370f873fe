//! The ranking as members see it, with Redis and without.
// Only what is itself a test is exempt by clippy.toml.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use api_gateway::GatewayArgs;
use serde_json::{Value, json};
use support::{Edge, definition};

const PATH: &str = "/v1/ranking";

async fn edge() -> Edge {
    let events = (1..=4).map(|id| (id, definition(id, &[]))).collect();
    Edge::start(events, GatewayArgs { member_rate_limit_per_second: 1_000, ..GatewayArgs::default() }).await
}

async fn shown(edge: &Edge, query: &str) -> Value {
    let answer = edge.ask("GET", &format!("{PATH}{query}"), "", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

async fn until(edge: &Edge, wanted: &Value) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let ranking = shown(edge, "").await;
        if ranking == *wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "wanted {wanted}: {ranking}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ranking(scores: &[(i64, i64)]) -> Value {
    let event =
        |(id, score): &(i64, i64)| json!({"event_id": id, "title": format!("Event {id}"), "score": score});
    json!({"events": scores.iter().map(event).collect::<Vec<_>>()})
}

#[tokio::test]
async fn events_stand_in_the_order_of_redis() {
    let edge = edge().await;
    assert_eq!(shown(&edge, "").await, ranking(&[]), "nobody has entered anything");
    // 99 is none that members may see.
    let totals = BTreeMap::from([(1, 5), (2, 9_007_199_254_740_991), (3, 5), (99, 70)]);
    edge.redis.mirror_ranking(&totals).await.unwrap();
    let whole = [(2, 9_007_199_254_740_991), (3, 5), (1, 5)];
    until(&edge, &ranking(&whole)).await;
    assert_eq!(shown(&edge, "?limit=2").await, ranking(&whole[..2]));
    assert_eq!(shown(&edge, "?limit=200").await, ranking(&whole));
    for query in ["?limit=0", "?limit=201", "?limit=x", "?limit=", "?cursor=1", "?lim=1"] {
        edge.ask("GET", &format!("{PATH}{query}"), "", "").await.is(422, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn without_redis_or_before_it_is_rebuilt_the_gateway_counts_itself() {
    let mut edge = edge().await;
    for (event, members) in [(1, 1..4), (4, 1..6)] {
        for member in members {
            edge.enter(event, &edge.token(member), "").await.is(202, "APPLIED");
        }
        edge.decide(event, 1).await;
    }
    until(&edge, &ranking(&[(4, 5), (1, 3)])).await;
    edge.redis.mirror_ranking(&BTreeMap::from([(1, 30)])).await.unwrap();
    until(&edge, &ranking(&[(1, 30)])).await;
    edge.stop_redis().await;
    until(&edge, &ranking(&[(4, 5), (1, 3)])).await;
}
