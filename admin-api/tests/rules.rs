//! Each rule of an event, over HTTP: 422, the code and the place.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{World, world};

fn good() -> Value {
    json!({
        "title": "t", "type": "FIRST_COME",
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
        "compliance": {"review_number": "R-1", "approved_from": "2026-01-01T00:00:00Z",
                       "approved_until": "2026-01-03T00:00:00Z"},
        "stock": [{"option": "A", "count": 2}, {"option": "B", "count": 3}],
    })
}

async fn broken(w: &World, method: &str, path: &str, body: &Value) -> Vec<String> {
    let (status, problem) = w.call(method, path, body).await;
    assert_eq!((status, &problem["code"]), (422, &json!("INVALID_REQUEST")), "{body}: {problem}");
    let errors = problem["errors"].as_array().unwrap();
    assert!(errors.iter().all(|e| !e["detail"].as_str().unwrap().is_empty()));
    errors.iter().map(|e| e["pointer"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn each_rule_of_a_draft_is_422_at_its_place() {
    let w = world(None).await;
    let id = w.created(&good()).await;
    let compliance = |number: &str, from: &str, until: &str| json!({"compliance": {"review_number": number, "approved_from": from, "approved_until": until}});
    let (from, until) = ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    for (rule, patch, place) in [
        ("title required", json!({"title": " "}), "/title"),
        ("title required", json!({"title": null}), "/title"),
        ("title not too long", json!({"title": "x".repeat(201)}), "/title"),
        ("end after start", json!({"ends_at": "2026-01-01T00:00:00Z"}), "/ends_at"),
        ("start within the approval", compliance("R", "2026-01-01T00:00:01Z", until), "/starts_at"),
        ("end within the approval", compliance("R", from, "2026-01-01T23:59:59Z"), "/ends_at"),
        ("approval's end after its start", compliance("R", from, from), "/compliance/approved_until"),
        ("review number not blank", compliance(" ", from, until), "/compliance/review_number"),
        ("compliance, unless for a test", json!({"compliance": null}), "/compliance"),
        ("max_winners not negative", json!({"max_winners": -1}), "/max_winners"),
        ("max_winners is the stock", json!({"max_winners": 4}), "/max_winners"),
        ("stock required", json!({"stock": []}), "/stock"),
        ("stock not negative", json!({"stock": [{"count": -1}]}), "/stock/0/count"),
        ("option not blank", json!({"stock": [{"option": " ", "count": 1}]}), "/stock/0/option"),
        ("option unique", json!({"stock": [{"count": 1}, {"count": 1}]}), "/stock/1/option"),
        (
            "reward bounds",
            json!({"reward": {"reward_type": "FIXED", "fixed_amount": -1}}),
            "/reward/fixed_amount",
        ),
        ("time zone known", json!({"time_zone": "Mars/Olympus"}), "/time_zone"),
        (
            "contact collection fits",
            json!({"contact_collection": "NONE", "claim_until": "2026-02-01T00:00:00Z"}),
            "/claim_until",
        ),
        ("claim after the start", json!({"claim_until": "2025-01-01T00:00:00Z"}), "/claim_until"),
        ("limits not negative", json!({"limits": {"per_second": -1}}), "/limits/per_second"),
        ("nothing unknown", json!({"titel": "t"}), "/titel"),
    ] {
        let mut draft = good();
        for (name, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(draft.as_object_mut().unwrap().remove(name)),
                value => draft[name] = value.clone(),
            }
        }
        assert_eq!(broken(&w, "POST", "/admin/v1/events", &draft).await, [place], "{rule}");
        // An edit keeps the same rules.
        assert_eq!(broken(&w, "PATCH", &format!("/admin/v1/events/{id}"), &patch).await, [place], "{rule}");
    }
    let mut test_event = good();
    test_event["internal_test"] = json!(true);
    test_event.as_object_mut().unwrap().remove("compliance");
    assert_eq!(w.call("POST", "/admin/v1/events", &test_event).await.0, 201);
}

#[tokio::test]
async fn what_does_not_fit_the_type_is_422_at_its_place() {
    let w = world(None).await;
    let mission = json!([{"title": "m", "mission_type": "STEP_COUNT", "goal_value": 1, "option": "A"}]);
    for (rule, patch, places) in [
        (
            "contacts come with entries",
            json!({"contact_collection": "AT_APPLY", "missions": mission}),
            vec!["/contact_collection"],
        ),
        ("a raffle has no stock", json!({"type": "RAFFLE", "max_winners": 5}), vec!["/stock"]),
        ("a raffle has winners", json!({"type": "RAFFLE", "stock": []}), vec!["/max_winners"]),
        ("winners are a raffle's", json!({"type": "GENERAL", "max_winners": 5}), vec!["/max_winners"]),
        ("a draw is a raffle's", json!({"draw": {"method": "RANDOM"}}), vec!["/draw"]),
        ("entries of one member", json!({"max_entries_per_member": 2}), vec!["/max_entries_per_member"]),
    ] {
        let mut draft = good();
        for (name, value) in patch.as_object().unwrap() {
            draft[name] = value.clone();
        }
        assert_eq!(broken(&w, "POST", "/admin/v1/events", &draft).await, places, "{rule}");
    }
}

#[tokio::test]
async fn reward_bounds_are_in_order() {
    let w = world(None).await;
    for (kind, min, target, max, place) in [
        ("RANDOM", 5, None, 4, "max_amount"),
        ("RANDOM", -1, None, 4, "min_amount"),
        ("AVERAGE_RANDOM", 5, Some(5), 4, "max_amount"),
        ("AVERAGE_RANDOM", 2, Some(1), 4, "target_average"),
        ("AVERAGE_RANDOM", 2, Some(5), 4, "target_average"),
    ] {
        let mut draft = good();
        draft["reward"] = json!({"reward_type": kind, "min_amount": min, "max_amount": max});
        if let Some(target) = target {
            draft["reward"]["target_average"] = json!(target);
        }
        let places = broken(&w, "POST", "/admin/v1/events", &draft).await;
        assert!(places.contains(&format!("/reward/{place}")), "{draft}: {places:?}");
    }
}

#[tokio::test]
async fn all_violations_come_at_once() {
    let w = world(None).await;
    let mut draft = good();
    draft["title"] = json!("");
    draft["time_zone"] = json!("x");
    draft["ends_at"] = json!("2025-01-01T00:00:00Z");
    draft["compliance"]["review_number"] = json!("");
    draft["compliance"]["approved_until"] = json!("2025-01-01T00:00:00Z");
    draft["stock"] = json!([{"option": "", "count": -1}]);
    draft["max_winners"] = json!(-1);
    let places = broken(&w, "POST", "/admin/v1/events", &draft).await;
    let expected = [
        "/title",
        "/time_zone",
        "/ends_at",
        "/compliance/approved_until",
        "/compliance/review_number",
        "/stock/0/count",
        "/stock/0/option",
        "/max_winners",
    ];
    assert_eq!(places, expected);
}

#[tokio::test]
async fn each_rule_of_a_command_is_422_at_its_place() {
    let w = world(None).await;
    let id = w.scheduled(&good()).await;
    for (method, what, body, places) in [
        ("POST", "stock", json!({"option": "A", "add": 0}), vec!["/add"]),
        ("POST", "stock", json!({"option": "A", "add": -1}), vec!["/add"]),
        ("POST", "stock", json!({"option": "A", "add": i64::MAX}), vec!["/add"]),
        (
            "PUT",
            "limits",
            json!({"per_second": -1, "raffle_per_second": -1}),
            vec!["/per_second", "/raffle_per_second"],
        ),
        ("PUT", "limits", json!({"per_member_per_second": -1}), vec!["/per_member_per_second"]),
        ("PUT", "high-traffic", json!({"enabled": "yes"}), vec!["/enabled"]),
        (
            "PUT",
            "approval",
            json!({"review_number": "", "approved_from": "2026-01-02T00:00:00Z", "approved_until": "2026-01-01T00:00:00Z"}),
            vec!["/approved_until", "/review_number"],
        ),
        ("PUT", "approval", json!({"review_number": "R"}), vec!["/approved_from"]),
    ] {
        let path = format!("/admin/v1/events/{id}/{what}");
        assert_eq!(broken(&w, method, &path, &body).await, places, "{what} {body}");
    }
    let path = format!("/admin/v1/events/{id}/stock");
    let (status, problem) = w.call("POST", &path, &json!({"option": "C", "add": 1})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("UNKNOWN_OPTION")));
    assert_eq!(problem["errors"][0]["pointer"], "/option");
}
