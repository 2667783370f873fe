//! The ranking over HTTP, through every service, on both columns.

use serde_json::{Value, json};
use shared_runtime::redis::RedisClient;

use crate::http::call;
use crate::system::System;

/// The ranking follows what is committed, forgets what is deleted, and comes back when Redis (where the test reaches it) was
/// emptied.
pub async fn follows_what_is_committed(system: &System, redis: Option<&RedisClient>) {
    let (few, many, none) = (
        system.open_event(2).await,
        system.open(json!({"type": "GENERAL"})).await,
        system.open_event(5).await,
    );
    for (event, members) in [(few, 3), (many, 7)] {
        for member in 1..=members {
            let answer = system.enter(event, member).await;
            assert!([202, 409].contains(&answer.status), "{answer:?}");
        }
    }
    // The third press may have been told LOSE from memory: that is no entry.
    let accepted = async |event: i64| {
        system.ask_admin("GET", &format!("/events/{event}/stats"), Value::Null).await.json()["decided"]
            .as_i64()
            .expect("a number")
    };
    system.until("all are decided", async || accepted(many).await == 7 && accepted(few).await >= 2).await;
    let fewer = accepted(few).await;
    let whole = json!([
        {"event_id": many, "title": "Mugs", "score": 7}, {"event_id": few, "title": "Mugs", "score": fewer},
    ]);
    until(system, "the ranking is as committed", &whole).await;
    assert_eq!(ranking(system, "?limit=1").await, json!([whole[0]]));

    if let Some(redis) = redis {
        let stands = async || redis.ranking(10).await.expect("Redis");
        assert_eq!(stands().await, [(many, 7), (few, fewer)], "the sorted set itself");
        assert!(redis.del("event:ranking").await.expect("Redis"));
        system.until("it is rebuilt", async || stands().await == [(many, 7), (few, fewer)]).await;
        assert_eq!(ranking(system, "").await, whole);
    }
    system.enter(none, 1).await.is(202, "APPLIED");
    let three = json!([whole[0], whole[1], {"event_id": none, "title": "Mugs", "score": 1}]);
    until(system, "a first entry is ranked", &three).await;

    let gone = system.command_by("DELETE", &format!("/events/{many}")).await;
    system.applied(&gone).await;
    until(system, "a deleted event is not ranked", &json!([three[1], three[2]])).await;
    if let Some(redis) = redis {
        let without = async || redis.ranking(10).await.expect("Redis") == [(few, fewer), (none, 1)];
        system.until("nor in Redis", without).await;
    }
    system.is_sound().await;
}

async fn ranking(system: &System, query: &str) -> Value {
    let path = format!("/v1/ranking{query}");
    let answer = call(system.public, "GET", &path, "", &Value::Null).await;
    let faults = system.public_contract.faults("GET", &path, &answer);
    assert!(answer.status == 200 && faults.is_empty(), "{faults:?}: {answer:?}");
    answer.json()["events"].clone()
}

async fn until(system: &System, what: &str, wanted: &Value) {
    system.until(what, async || ranking(system, "").await == *wanted).await;
}
