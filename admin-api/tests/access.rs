//! Every route with every scope: 401, 403 or let in.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use shared_runtime::auth::DevKey;
use support::{draft, world};

const SCOPES: [&str; 6] =
    ["events:read", "events:write", "draws:run", "contacts:read", "ops:write", "activities:write"];

#[tokio::test]
async fn each_route_takes_its_own_scope_and_no_other() {
    let w = world(None).await;
    let id = w.scheduled(&draft()).await;
    let missing = "00000000-0000-8000-8000-000000000000";
    let (read, write, ops, draws) = ("events:read", "events:write", "ops:write", "draws:run");
    // What ends an event comes last.
    let table = [
        ("POST", "/admin/v1/events".to_owned(), write, 422),
        ("GET", "/admin/v1/events".to_owned(), read, 200),
        ("GET", format!("/admin/v1/events/{id}"), read, 200),
        ("PATCH", format!("/admin/v1/events/{id}"), write, 200),
        ("POST", format!("/admin/v1/events/{id}/schedule"), write, 409),
        ("POST", format!("/admin/v1/events/{id}/pause"), write, 202),
        ("POST", format!("/admin/v1/events/{id}/resume"), write, 202),
        ("POST", format!("/admin/v1/events/{id}/stock"), write, 422),
        ("PUT", format!("/admin/v1/events/{id}/limits"), ops, 200),
        ("PUT", format!("/admin/v1/events/{id}/high-traffic"), ops, 422),
        ("PUT", format!("/admin/v1/events/{id}/approval"), write, 422),
        ("GET", format!("/admin/v1/events/{id}/winners"), read, 200),
        ("GET", format!("/admin/v1/events/{id}/stats"), read, 200),
        ("POST", format!("/admin/v1/events/{id}/draw"), draws, 409),
        ("GET", format!("/admin/v1/events/{id}/draw"), read, 404),
        ("POST", format!("/admin/v1/events/{id}/draw/publish"), draws, 409),
        ("PUT", format!("/admin/v1/events/{id}/draw/beacon"), draws, 422),
        ("POST", format!("/admin/v1/events/{id}/entries/{missing}/disqualify"), draws, 422),
        ("GET", "/admin/v1/members/7/entries".to_owned(), read, 200),
        ("GET", format!("/admin/v1/commands/{missing}"), read, 404),
        ("GET", "/admin/v1/parked".to_owned(), ops, 200),
        ("POST", format!("/admin/v1/parked/{id}/unpark"), ops, 409),
        ("GET", "/admin/v1/audit".to_owned(), read, 200),
        ("POST", format!("/admin/v1/events/{id}/close"), write, 202),
        ("GET", format!("/admin/v1/events/{id}/deletion"), read, 404),
        ("DELETE", format!("/admin/v1/events/{id}"), write, 202),
    ];
    let minute = Duration::from_secs(60);
    let member = w.key.issue_member(1, minute).unwrap();
    let stranger = DevKey::new([8; 32]).issue_staff("eve", &SCOPES.join(" "), minute).unwrap();
    for (method, path, needed, let_in) in &table {
        let ask = async |token: Option<&str>| w.send(method, path, token, None, &json!({})).await;
        for token in [None, Some("x"), Some(&*stranger)] {
            let (status, body) = ask(token).await;
            assert_eq!((status, &body["code"]), (401, &json!("UNAUTHENTICATED")), "{method} {path}");
        }
        let (status, body) = ask(Some(&member)).await;
        assert_eq!((status, &body["code"]), (403, &json!("FORBIDDEN")), "{method} {path}");
        let others: Vec<&str> = SCOPES.into_iter().filter(|s| s != needed).collect();
        assert_eq!(ask(Some(&w.staff(&others.join(" ")))).await.0, 403, "{method} {path}");
        for scope in SCOPES {
            let (status, body) = ask(Some(&w.staff(scope))).await;
            assert_eq!(
                status,
                if scope == *needed { *let_in } else { 403 },
                "{method} {path} {scope}: {body}"
            );
        }
    }
    // Whoever erases must be allowed to change and to read contacts.
    let path = "/admin/v1/members/7/contacts";
    let erase = async |token: Option<&str>| w.send("DELETE", path, token, None, &Value::Null).await.0;
    assert_eq!((erase(None).await, erase(Some(&member)).await), (401, 403));
    for missing in ["events:write", "contacts:read"] {
        let others: Vec<&str> = SCOPES.into_iter().filter(|s| *s != missing).collect();
        assert_eq!(erase(Some(&w.staff(&others.join(" ")))).await, 403, "without {missing}");
    }
    assert_eq!(erase(Some(&w.staff("events:write contacts:read"))).await, 200);
    // The stream never ends by itself.
    let path = format!("/admin/v1/events/{id}/stats/stream");
    assert_eq!(w.send("GET", &path, None, None, &Value::Null).await.0, 401);
    assert_eq!(w.send("GET", &path, Some(&w.staff("events:write")), None, &Value::Null).await.0, 403);
    // These two and the table are all that there is.
    assert_eq!(w.routes(), table.len() + 2);
}
