//! Staff's routes over real sockets.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{draft, world};

#[tokio::test]
async fn violations_name_their_places_and_states_their_codes() {
    let w = world(Some(Duration::from_secs(24 * 3600))).await;
    let mut bad = draft();
    bad["title"] = json!(" ");
    bad["stock"][0]["count"] = json!(-1);
    let (status, problem) = w.call("POST", "/admin/v1/events", &bad).await;
    let pointers: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!((status, pointers), (422, vec![&json!("/title"), &json!("/stock/0/count")]));
    let id = w.created(&draft()).await;
    let path = |what: &str| format!("/admin/v1/events/{id}/{what}");
    for (what, body, expected) in [
        ("schedule", Value::Null, (422, "OUTLIVES_LOG")),
        ("pause", Value::Null, (409, "NOT_SCHEDULED")),
        ("close", Value::Null, (409, "NOT_SCHEDULED")),
        ("stock", json!({"option": "A", "add": 0}), (422, "INVALID_REQUEST")),
        ("stock", json!({"option": "A", "add": 1}), (409, "NOT_SCHEDULED")),
    ] {
        let (status, problem) = w.call("POST", &path(what), &body).await;
        assert_eq!((status, problem["code"].as_str().unwrap()), expected, "{what}");
    }
    let (status, problem) = w.call("POST", "/admin/v1/events/999/pause", &json!([])).await;
    assert_eq!((status, &problem["code"]), (404, &json!("EVENT_NOT_FOUND")));
}

#[tokio::test]
async fn a_key_repeats_the_answer_and_takes_no_other_body() {
    let w = world(None).await;
    let token = w.staff("events:write events:read");
    let post = async |draft: &Value| w.send("POST", "/admin/v1/events", Some(&token), Some("k"), draft).await;
    let first = post(&draft()).await;
    assert_eq!(first.0, 201);
    assert_eq!(post(&draft()).await, first);
    let mut other = draft();
    other["title"] = json!("u");
    let (status, problem) = post(&other).await;
    assert_eq!((status, &problem["code"]), (422, &json!("IDEMPOTENCY_KEY_REUSED")));
    let (_, list) = w.call("GET", "/admin/v1/events", &Value::Null).await;
    assert_eq!(list["events"].as_array().unwrap().len(), 1);
}
