//! Edits, approvals, lists and keys over real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{NOW, World, draft, open_to_all, world};

fn etag(head: &str) -> String {
    let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with("etag:")).expect("an ETag");
    line.split_once(':').unwrap().1.trim().to_owned()
}

async fn patch(w: &World, id: i64, headers: &[(&str, &str)], body: &Value) -> (u16, String, Value) {
    let token = w.staff("events:write");
    let (status, head, text) =
        w.ask("PATCH", &format!("/admin/v1/events/{id}"), Some(&token), headers, body).await;
    (status, head, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_draft_changes_wholly_and_a_scheduled_event_its_text() {
    let w = world(None).await;
    let id = w.created(&draft()).await;
    let change = json!({
        "type": "GENERAL", "stock": [], "ends_at": "2026-01-03T00:00:00Z",
        "reward": {"reward_type": "FIXED", "fixed_amount": 7}, "limits": {"per_second": 9},
    });
    let (status, _, event) = patch(&w, id, &[], &change).await;
    assert_eq!(status, 200, "{event}");
    assert_eq!((&event["type"], &event["title"]), (&json!("GENERAL"), &json!("t")));
    let seen = w.get(&format!("/admin/v1/events/{id}")).await;
    assert_eq!(
        (&seen["ends_at"], &seen["limits"]["per_second"]),
        (&json!("2026-01-03T00:00:00Z"), &json!(9))
    );
    // What was edited is what is scheduled.
    assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/schedule"), &Value::Null).await.0, 202);
    w.decide().await;
    w.log.enter(id, 0, 1, NOW, &[]);
    w.decide().await;
    let won = w.get(&format!("/admin/v1/events/{id}/winners")).await;
    assert_eq!(won["winners"][0]["reward_amount"], 7);

    let (status, _, event) = patch(&w, id, &[], &json!({"title": " New ", "content": "c"})).await;
    assert_eq!((status, &event["title"], &event["content"]), (200, &json!("New"), &json!("c")));
    for body in [json!({"ends_at": "2026-01-04T00:00:00Z"}), json!({"title": "x", "stock": []})] {
        let (status, _, problem) = patch(&w, id, &[], &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("NOT_EDITABLE")), "{body}");
    }
    assert_eq!(w.get(&format!("/admin/v1/events/{id}")).await["title"], "New");
    let (status, _, problem) = patch(&w, id, &[], &json!({"title": ""})).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/title")));
    assert_eq!(patch(&w, 99, &[], &json!({})).await.0, 404);
}

#[tokio::test]
async fn an_edit_of_what_has_changed_is_412() {
    let w = world(None).await;
    let token = w.staff("events:read events:write");
    let (status, head, body) = w.ask("POST", "/admin/v1/events", Some(&token), &[], &draft()).await;
    assert_eq!(status, 201);
    let id = serde_json::from_str::<Value>(&body).unwrap()["event_id"].as_i64().unwrap();
    let first = etag(&head);
    let path = format!("/admin/v1/events/{id}");
    assert_eq!(etag(&w.ask("GET", &path, Some(&token), &[], &Value::Null).await.1), first);

    let (status, head, _) = patch(&w, id, &[("if-match", &first)], &json!({"title": "one"})).await;
    let second = etag(&head);
    assert_eq!(status, 200);
    assert_ne!(first, second);
    let weak = format!("W/{second}");
    for stale in [&*first, "\"x\"", "x", &weak, ""] {
        let (status, _, problem) = patch(&w, id, &[("if-match", stale)], &json!({"title": "two"})).await;
        assert_eq!((status, &problem["code"]), (412, &json!("PRECONDITION_FAILED")), "{stale}");
    }
    assert_eq!(w.get(&path).await["title"], "one");
    let either = format!("{first}, {second}");
    assert_eq!(patch(&w, id, &[("if-match", &either)], &json!({"title": "two"})).await.0, 200);
    assert_eq!(patch(&w, id, &[("if-match", "*")], &json!({"title": "three"})).await.0, 200);
    assert_eq!(w.get(&path).await["title"], "three");
}

#[tokio::test]
async fn a_lapsed_approval_judges_by_position_and_moment_and_every_decision_names_its_review() {
    let w = world(None).await;
    let mut event = draft();
    event["internal_test"] = json!(false);
    event["stock"][0]["count"] = json!(100);
    event["compliance"] = json!({"review_number": "R-1", "approved_from": "2026-01-01T00:00:00Z",
                                 "approved_until": "2026-01-02T00:00:00Z"});
    let id = w.created(&event).await;
    let path = format!("/admin/v1/events/{id}/approval");
    let cut = json!({"review_number": "R-2", "approved_from": "2026-01-01T00:00:00Z",
                     "approved_until": "2026-01-01T01:00:00Z"});
    let (status, problem) = w.call("PUT", &path, &cut).await;
    assert_eq!((status, &problem["code"]), (409, &json!("NOT_SCHEDULED")));
    assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/schedule"), &Value::Null).await.0, 202);
    w.decide().await;
    let hour = 3_600_000;
    let lane = w.log.kinds()[0].1;
    // Before the change the first approval holds; behind it the second, whatever the wall clock says.
    w.log.enter(id, lane, 1, NOW + 2 * hour, &[]);
    w.decide().await;
    let (status, command) = w.call("PUT", &path, &cut).await;
    assert_eq!(
        (status, &command["status"], &command["kind"]),
        (202, &json!("PENDING"), &json!("APPROVAL_CHANGED"))
    );
    w.log.enter(id, lane, 2, NOW + 2 * hour, &[]);
    w.decide().await;
    let command_path = format!("/admin/v1/commands/{}", command["command_id"].as_str().unwrap());
    assert_eq!(w.get(&command_path).await["status"], "APPLIED");
    w.log.enter(id, lane, 3, NOW + hour - 1, &[]);
    w.log.enter(id, lane, 4, NOW + hour, &[]);
    w.decide().await;
    let again = json!({"review_number": "R-3", "approved_from": "2026-01-01T00:00:00Z",
                       "approved_until": "2026-01-02T00:00:00Z"});
    assert_eq!(w.call("PUT", &path, &again).await.0, 202);
    w.decide().await;
    w.log.enter(id, lane, 5, NOW + 2 * hour, &[]);
    w.decide().await;
    let mut seen = Vec::new();
    for member in 1..=5 {
        let found = w.get(&format!("/admin/v1/members/{member}/entries")).await;
        let e = &found["entries"][0];
        seen.push((e["status"].clone(), e["reason"].clone(), e["review_number"].clone()));
    }
    let expect =
        |status: &str, reason: Option<&str>, review: &str| (json!(status), json!(reason), json!(review));
    assert_eq!(
        seen,
        [
            expect("WIN", None, "R-1"),
            // In the log before the change.
            expect("WIN", None, "R-1"),
            expect("WIN", None, "R-2"),
            expect("REJECTED", Some("APPROVAL_EXPIRED"), "R-2"),
            expect("WIN", None, "R-3"),
        ]
    );
    let shown = w.get(&format!("/admin/v1/events/{id}")).await;
    assert_eq!(shown["compliance"]["review_number"], "R-3");
    assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/close"), &Value::Null).await.0, 202);
    let (status, problem) = w.call("PUT", &path, &again).await;
    assert_eq!((status, &problem["code"]), (409, &json!("EVENT_CLOSED")));
}

#[tokio::test]
async fn lists_go_on_by_cursor_and_keep_their_filters() {
    let w = world(None).await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(if i % 2 == 0 { w.created(&draft()).await } else { w.scheduled(&open_to_all()).await });
    }
    w.decide().await;
    let walk = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = w.get(&format!("/admin/v1/events?{query}&limit=1{cursor}")).await;
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= 1);
            found.extend(events.iter().map(|e| e["event_id"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    let newest_first: Vec<i64> = ids.iter().rev().copied().collect();
    assert_eq!(walk("").await, newest_first);
    assert_eq!(walk("status=DRAFT").await, [ids[4], ids[2], ids[0]]);
    assert_eq!(walk("status=OPEN").await, [ids[3], ids[1]]);
    assert_eq!(walk("type=GENERAL&deleted=false").await, [ids[3], ids[1]]);
    assert_eq!(walk("deleted=true").await, [0; 0]);
    for bad in ["status=open", "type=x", "deleted=1", "cursor=x", "cursor=1.2", "limit=0", "state=OPEN"] {
        let (status, problem) = w.call("GET", &format!("/admin/v1/events?{bad}"), &Value::Null).await;
        let name = bad.split('=').next().unwrap();
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(format!("query:{name}"))),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn every_change_answers_the_same_to_the_same_key() {
    let w = world(None).await;
    let token = w.staff("events:write ops:write events:read");
    let id = w.scheduled(&draft()).await;
    w.decide().await;
    let approval = |number: &str| json!({"review_number": number, "approved_from": "2026-01-01T00:00:00Z", "approved_until": "2026-01-02T00:00:00Z"});
    let event = format!("/admin/v1/events/{id}");
    let draft_id = w.created(&draft()).await;
    for (method, path, body, other) in [
        ("POST", "/admin/v1/events".to_owned(), draft(), open_to_all()),
        ("PATCH", event.clone(), json!({"title": "a"}), json!({"title": "b"})),
        ("PUT", format!("{event}/limits"), json!({"per_second": 1}), json!({"per_second": 2})),
        ("PUT", format!("{event}/high-traffic"), json!({"enabled": true}), json!({"enabled": false})),
        ("PUT", format!("{event}/approval"), approval("A"), approval("B")),
        (
            "POST",
            format!("{event}/stock"),
            json!({"option": "A", "add": 1}),
            json!({"option": "A", "add": 2}),
        ),
        ("POST", format!("{event}/pause"), json!({}), json!({})),
        ("POST", format!("{event}/resume"), json!({}), json!({})),
        ("POST", format!("/admin/v1/events/{draft_id}/schedule"), json!({}), json!({})),
        ("POST", format!("{event}/close"), json!({}), json!({})),
    ] {
        let count = async || w.get("/admin/v1/audit?limit=200").await["audit"].as_array().unwrap().len();
        let send = async |body: &Value| w.send(method, &path, Some(&token), Some("key"), body).await;
        let first = send(&body).await;
        assert!((200..300).contains(&first.0), "{method} {path}: {}", first.1);
        let lines = count().await;
        w.clock.advance(1_000);
        assert_eq!(send(&body).await, first, "{method} {path}");
        if body != other {
            let (status, problem) = send(&other).await;
            assert_eq!(
                (status, &problem["code"]),
                (422, &json!("IDEMPOTENCY_KEY_REUSED")),
                "{method} {path}"
            );
        }
        assert_eq!(count().await, lines, "nothing was done again: {method} {path}");
        let long = "k".repeat(65);
        let (status, problem) = w.send(method, &path, Some(&token), Some(&long), &body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("header:Idempotency-Key")));
    }
}
