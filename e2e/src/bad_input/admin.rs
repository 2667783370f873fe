//! The admin listener's table.

use serde_json::{Value, json};

use super::{Case, JSON, bodies, case};
use crate::http::bearer;
use crate::system::System;

fn draft() -> Value {
    json!({
        "title": "t", "type": "FIRST_COME", "internal_test": true,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z",
        "stock": [{"option": "A", "count": 3}],
    })
}

pub(super) fn drafts(staff: &str) -> Vec<Case> {
    let headers = format!("{staff}{JSON}");
    let refused = |name: String, body: String| {
        case(name, "POST", "/admin/v1/events", &headers, body.as_bytes(), (422, "INVALID_REQUEST"))
    };
    let with = |pointer: &str, value: Value| {
        let mut draft = draft();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        draft
            .pointer_mut(parent)
            .expect("a parent")
            .as_object_mut()
            .expect("an object")
            .insert(name.into(), value);
        draft.to_string()
    };
    let period = json!({"review_number": "R", "approved_from": "2027-01-01T00:00:00Z", "approved_until": "2028-01-01T00:00:00Z"});
    let mut cases: Vec<Case> = [
        ("/title", json!("")),
        ("/title", json!("x".repeat(201))),
        ("/title", json!(null)),
        ("/title", json!(7)),
        ("/content", json!("x".repeat(20_001))),
        ("/type", json!("FIRST")),
        ("/type", json!("first_come")),
        ("/type", json!("RAFFLE")),
        ("/starts_at", json!("yesterday")),
        ("/starts_at", json!(0)),
        ("/starts_at", json!("2026-02-30T00:00:00Z")),
        ("/ends_at", json!("2026-01-01T00:00:00Z")),
        ("/ends_at", json!("2025-01-01T00:00:00Z")),
        ("/ends_at", json!("+262142-12-31T23:59:59Z")),
        ("/ends_at", json!("+10000-01-01T00:00:00Z")),
        ("/starts_at", json!("-0001-01-01T00:00:00Z")),
        ("/claim_until", json!("+262142-12-31T23:59:59Z")),
        ("/time_zone", json!("Mars/Olympus")),
        ("/internal_test", json!(false)),
        ("/internal_test", json!("true")),
        ("/compliance", period),
        ("/stock", json!([])),
        ("/stock", json!({"A": 3})),
        ("/stock", json!([{"option": "A", "count": -1}])),
        ("/stock", json!([{"option": "A", "count": 1.5}])),
        ("/stock", json!([{"option": "A", "count": i64::MAX}, {"option": "B", "count": i64::MAX}])),
        ("/stock", json!([{"option": "A", "count": 1}, {"option": "A", "count": 1}])),
        ("/stock", json!([{"option": "", "count": 1}])),
        ("/stock", json!([{"option": "x".repeat(5_000), "count": 1}])),
        ("/stock", json!([{"option": "A", "count": 1, "x": 1}])),
        ("/max_winners", json!(-1)),
        ("/max_winners", json!(4)),
        ("/max_entries_per_member", json!(0)),
        ("/max_entries_per_member", json!(u64::MAX)),
        ("/reward", json!({"reward_type": "FIXED", "fixed_amount": -1})),
        ("/reward", json!({"reward_type": "FIXED", "fixed_amount": i64::MAX})),
        ("/reward", json!({"reward_type": "MONEY"})),
        ("/reward", json!({"reward_type": "RANDOM", "min_amount": 3, "max_amount": 2})),
        ("/reward", json!({"reward_type": "AVERAGE_RANDOM", "min_amount": 1, "max_amount": 2})),
        ("/missions", json!([{"title": "m"}])),
        ("/missions", json!([{"title": "m", "mission_type": "SWIM", "goal_value": 1}])),
        ("/missions", json!([{"title": "", "mission_type": "ATTENDANCE", "goal_value": 1}])),
        ("/missions", json!([{"title": "m", "mission_type": "ATTENDANCE", "goal_value": 0}])),
        ("/missions", json!([{"title": "m", "mission_type": "ATTENDANCE", "goal_value": "1"}])),
        ("/missions", json!([{"title": "m", "mission_type": "ATTENDANCE", "goal_value": 1, "weight": 5}])),
        ("/missions", json!([{"title": "m", "mission_type": "ATTENDANCE", "goal_value": 1, "option": "no"}])),
        ("/missions", json!([{"title": "m", "mission_type": "ATTENDANCE", "goal_value": 1, "x": 1}])),
        ("/contact_collection", json!("SOMETIMES")),
        ("/claim_until", json!("2020-01-01T00:00:00Z")),
        ("/draw", json!({"method": "RANDOM"})),
        ("/lane", json!(-1)),
        ("/lane", json!("0")),
        ("/limits", json!({"per_second": -1})),
        ("/limits", json!({"per_second": "5"})),
        ("/limits", json!({"per_minute": 5})),
        ("/stok", json!([])),
    ]
    .into_iter()
    .map(|(pointer, value)| {
        refused(format!("draft {pointer} {:.40}", value.to_string()), with(pointer, value))
    })
    .collect();
    for missing in ["title", "type", "starts_at", "ends_at", "stock"] {
        let mut draft = draft();
        draft.as_object_mut().expect("an object").remove(missing);
        cases.push(refused(format!("draft without {missing}"), draft.to_string()));
    }
    for (name, body, status, code) in bodies(512 * 1024) {
        cases.push(case(name, "POST", "/admin/v1/events", &headers, &body, (status, code)));
    }
    cases.push(case("empty", "POST", "/admin/v1/events", &headers, b"", (400, "INVALID_JSON")));
    cases
}

/// Route, and a body that it would take if the event's state did.
const CHANGES: [(&str, &str, &str); 15] = [
    ("POST", "/admin/v1/events", ""),
    ("POST", "/admin/v1/events/{}/schedule", "{}"),
    ("POST", "/admin/v1/events/{}/pause", "{}"),
    ("POST", "/admin/v1/events/{}/resume", "{}"),
    ("POST", "/admin/v1/events/{}/close", "{}"),
    ("POST", "/admin/v1/events/{}/stock", r#"{"option":"DEFAULT","add":1}"#),
    ("PUT", "/admin/v1/events/{}/limits", "{}"),
    ("PUT", "/admin/v1/events/{}/high-traffic", r#"{"enabled":true}"#),
    (
        "PUT",
        "/admin/v1/events/{}/approval",
        r#"{"review_number":"R","approved_from":"2026-01-01T00:00:00Z","approved_until":"2099-01-01T00:00:00Z"}"#,
    ),
    ("DELETE", "/admin/v1/events/{}", "{}"),
    ("POST", "/admin/v1/parked/{}/unpark", "{}"),
    ("POST", "/admin/v1/events/{}/draw", "{}"),
    ("POST", "/admin/v1/events/{}/draw/publish", "{}"),
    ("PUT", "/admin/v1/events/{}/draw/beacon", r#"{"round":1,"signature":"00"}"#),
    (
        "POST",
        "/admin/v1/events/{}/entries/01010101-0101-8101-8101-010101010101/disqualify",
        r#"{"reason":"x"}"#,
    ),
];

pub(super) fn admin_bodies(staff: &str, event: i64) -> Vec<Case> {
    let headers = format!("{staff}{JSON}");
    let mut cases = Vec::new();
    for (method, route, good) in CHANGES {
        let path = route.replace("{}", &event.to_string());
        let good = if good.is_empty() { draft().to_string() } else { good.to_owned() };
        if path != "/admin/v1/events" {
            for (name, body, status, code) in bodies(16 * 1024) {
                cases.push(case(name, method, &path, &headers, &body, (status, code)));
            }
        }
        for key in ["", &"k".repeat(65), "é", "a\tb"] {
            let headers = format!("{headers}idempotency-key: {key}\r\n");
            let name = format!("key {key:?}");
            cases.push(case(name, method, &path, &headers, good.as_bytes(), (422, "INVALID_REQUEST")));
        }
        let text = format!("{staff}content-type: text/plain\r\n");
        cases.push(case("text", method, &path, &text, good.as_bytes(), (415, "UNSUPPORTED_MEDIA_TYPE")));
        let query = format!("{path}?dry_run=true");
        cases.push(case(
            "unknown query",
            method,
            &query,
            &headers,
            good.as_bytes(),
            (422, "INVALID_REQUEST"),
        ));
    }
    let path = |end: &str| format!("/admin/v1/events/{event}/{end}");
    for (method, path, body, status, code) in [
        ("POST", path("schedule"), "{}", 409, "NOT_EDITABLE"),
        ("POST", path("stock"), "", 400, "INVALID_JSON"),
        ("POST", path("stock"), "{}", 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT"}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":0}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":-1}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":"1"}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":1e3}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":9223372036854775807}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"DEFAULT","add":9223372036854775808}"#, 422, "INVALID_REQUEST"),
        ("POST", path("stock"), r#"{"option":"NONE","add":1}"#, 422, "UNKNOWN_OPTION"),
        ("PUT", path("limits"), "", 400, "INVALID_JSON"),
        ("PUT", path("limits"), r#"{"per_second":-1}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("limits"), r#"{"per_second":1.5}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("limits"), r#"{"per_member_per_second":-1}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("limits"), r#"{"per_second":99999999999999999999}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("high-traffic"), "{}", 422, "INVALID_REQUEST"),
        ("PUT", path("high-traffic"), r#"{"enabled":"yes"}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("high-traffic"), r#"{"enabled":null}"#, 422, "INVALID_REQUEST"),
        ("POST", path("draw"), "", 409, "NOT_A_RAFFLE"),
        ("POST", path("draw"), r#"{"publish":"no"}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("draw/beacon"), r#"{"round":-1,"signature":"00"}"#, 422, "INVALID_REQUEST"),
        ("PUT", path("draw/beacon"), r#"{"round":1,"signature":"xyz"}"#, 422, "INVALID_REQUEST"),
        ("POST", path("entries/x/disqualify"), r#"{"reason":"x"}"#, 404, "ENTRY_NOT_FOUND"),
        ("POST", format!("/admin/v1/parked/{event}/unpark"), "", 409, "NOT_PARKED"),
        ("POST", format!("/admin/v1/parked/{event}/unpark"), r#"{"reject":1}"#, 422, "INVALID_REQUEST"),
        ("POST", format!("/admin/v1/parked/{event}/unpark"), r#"{"reject":"1"}"#, 422, "INVALID_REQUEST"),
        (
            "POST",
            format!("/admin/v1/parked/{event}/unpark"),
            r#"{"reject":1,"lane":5000000000}"#,
            422,
            "INVALID_REQUEST",
        ),
    ] {
        cases.push(case(body, method, &path, &headers, body.as_bytes(), (status, code)));
    }
    cases
}

pub(super) fn admin_routes(staff: &str, event: i64) -> Vec<Case> {
    let headers = format!("{staff}{JSON}");
    let mut cases = Vec::new();
    for id in ["0", "-1", "01", "x", "%31", "777", "9223372036854775808", "1%00", "..%2f.."] {
        for (method, route, _) in &CHANGES[1..] {
            // The event comes before the body.
            let path = route.replace("{}", id);
            cases.push(case("event id", method, &path, &headers, b"{", (404, "EVENT_NOT_FOUND")));
        }
        cases.push(case(
            "event id",
            "GET",
            &format!("/admin/v1/events/{id}"),
            staff,
            b"",
            (404, "EVENT_NOT_FOUND"),
        ));
    }
    for id in ["x", "0", "00000000-0000-8000-8000-000000000000", "%00", "00000000000080008000000000000000"] {
        cases.push(case(
            "command",
            "GET",
            &format!("/admin/v1/commands/{id}"),
            staff,
            b"",
            (404, "COMMAND_NOT_FOUND"),
        ));
    }
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "limt=1"] {
        cases.push(case(
            "list",
            "GET",
            &format!("/admin/v1/events?{query}"),
            staff,
            b"",
            (422, "INVALID_REQUEST"),
        ));
    }
    for path in [
        format!("/admin/v1/events/{event}?x=1"),
        "/admin/v1/commands/00000000-0000-8000-8000-000000000000?x=1".to_owned(),
        "/admin/v1/parked?x=1".to_owned(),
    ] {
        cases.push(case("unknown query", "GET", &path, staff, b"", (422, "INVALID_REQUEST")));
    }
    for path in ["/v1/events", "/v1/events/1/entries", "/metrics", "/livez"] {
        cases.push(case("not here", "GET", path, staff, b"", (404, "NOT_FOUND")));
    }
    cases
}

/// Who asks comes before everything else: event, body, key.
pub(super) fn scopes(system: &System, event: i64) -> Vec<Case> {
    let all: Vec<(&str, String, &str)> = CHANGES
        .iter()
        .map(|(method, route, _)| {
            let ops = ["limits", "high-traffic", "unpark"].iter().any(|end| route.ends_with(end));
            let draws = route.contains("/draw") || route.ends_with("disqualify");
            let scope = match (ops, draws) {
                (true, _) => "ops:write",
                (_, true) => "draws:run",
                _ => "events:write",
            };
            (*method, route.replace("{}", "777"), scope)
        })
        .chain([
            ("GET", "/admin/v1/events".to_owned(), "events:read"),
            ("GET", format!("/admin/v1/events/{event}"), "events:read"),
            ("GET", format!("/admin/v1/events/{event}/deletion"), "events:read"),
            ("GET", format!("/admin/v1/events/{event}/winners"), "events:read"),
            ("GET", format!("/admin/v1/events/{event}/stats"), "events:read"),
            ("GET", format!("/admin/v1/events/{event}/stats/stream"), "events:read"),
            ("GET", format!("/admin/v1/events/{event}/draw"), "events:read"),
            ("GET", "/admin/v1/members/1/entries".to_owned(), "events:read"),
            ("GET", "/admin/v1/audit".to_owned(), "events:read"),
            ("DELETE", "/admin/v1/members/1/contacts".to_owned(), "events:write contacts:read"),
            ("GET", "/admin/v1/commands/x".to_owned(), "events:read"),
            ("GET", "/admin/v1/parked".to_owned(), "ops:write"),
        ])
        .collect();
    let mut cases = Vec::new();
    let known = ["events:read", "events:write", "draws:run", "contacts:read", "ops:write"];
    let unknown = ["Events:Write", "events", "*"];
    for (method, path, needed) in all {
        let mut askers = vec![
            ("no token".to_owned(), String::new(), (401, "UNAUTHENTICATED")),
            ("no token at all".to_owned(), bearer("x"), (401, "UNAUTHENTICATED")),
            ("a member".to_owned(), system.member(1), (403, "FORBIDDEN")),
            ("no scope".to_owned(), system.staff(""), (403, "FORBIDDEN")),
        ];
        for missing in needed.split(' ') {
            let others = known.into_iter().filter(|scope| *scope != missing).chain(unknown);
            let token = system.staff(&others.collect::<Vec<_>>().join(" "));
            askers.push((format!("without {missing}"), token, (403, "FORBIDDEN")));
        }
        for (name, token, expected) in askers {
            let headers = format!("{token}idempotency-key: {}\r\n", "k".repeat(65));
            cases.push(case(name, method, &path, &headers, b"{", expected));
        }
    }
    cases
}
