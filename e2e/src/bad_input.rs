//! What must not be sent, to every route of both listeners: its status and code, and that nothing came of it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::contract::Contract;
use crate::http::{bearer, request, send};
use crate::promises::entries;
use crate::sql::number;
use crate::system::System;

/// A request and its refusal. No code: hyper refuses what is no HTTP, without a body.
type Case = (String, Vec<u8>, u16, &'static str);

/// A listener and its document.
type Listener<'s> = (SocketAddr, &'s Contract);

const JSON: &str = "content-type: application/json\r\n";
const NO_ENTRY: &str = "/v1/entries/0191d0e6-8f6a-8abc-8def-0123456789ab";

/// Sends every bad request to both listeners of a system with one open event.
pub async fn is_refused(system: &System) {
    let event = system.open_event(5).await;
    let before = traces(system).await;
    let public = [
        entry_bodies(system, event),
        entry_heads(system, event),
        public_routes(system, event),
        tokens(system, event),
        paths_and_methods(&format!("/v1/events/{event}"), "GET, HEAD"),
        no_http(&format!("/v1/events/{event}/entries"), &system.member(1)),
    ];
    let staff = system.staff("events:read events:write ops:write");
    let admin = [
        drafts(&staff),
        admin_bodies(&staff, event),
        admin_routes(&staff, event),
        scopes(system, event),
        paths_and_methods("/admin/v1/events", "POST, GET, HEAD"),
        no_http(&format!("/admin/v1/events/{event}/stock"), &staff),
    ];
    let (mut wrong, mut sent) = (Vec::new(), 0);
    let listeners =
        [((system.public, &system.public_contract), public), ((system.admin, &system.admin_contract), admin)];
    for (listener, tables) in listeners {
        for case in tables.into_iter().flatten() {
            wrong.extend(check(listener, case).await);
            sent += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{sent} bad requests");

    // Nothing came of all that: the next good entry is the first behind `Scheduled`.
    let good = system.enter(event, 1).await;
    good.is(202, "APPLIED");
    assert_eq!(system.outcome(&good).await["status"], "WIN");
    assert_eq!(traces(system).await, (before.0 + 1, before.1, before.2));
    let lane = system.store.lane_rows().await.expect("lanes")[0].lane;
    let rows = entries(&system.store, event, lane).await;
    assert_eq!((rows.len(), rows[0].member_id, rows[0].log_offset), (1, 1, 1));
    system.is_sound().await;
}

/// Records of the log that were applied, audit lines, commands.
async fn traces(system: &System) -> (i64, i64, i64) {
    let count = async |sql: &str| number(&system.database_url, sql).await;
    let progress = system.store.progress_rows().await.expect("progress");
    (
        progress.iter().map(|row| row.next_offset).sum(),
        count("SELECT COUNT(*) AS n FROM audit_log").await,
        count("SELECT COUNT(*) AS n FROM outbox").await,
    )
}

async fn check((addr, contract): Listener<'_>, (name, bytes, status, code): Case) -> Option<String> {
    let answer = send(addr, &bytes).await;
    let mut faults = Vec::new();
    if (answer.status, &*answer.text("code")) != (status, code) {
        faults.push(format!("wanted {status} {code}"));
    }
    if !code.is_empty() {
        let head = String::from_utf8_lossy(&bytes);
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        faults.extend(contract.faults(method, path, &answer));
        let problem = answer.json();
        if !answer.head.contains("content-type: application/problem+json") || problem["status"] != status {
            faults.push("is no problem+json".to_owned());
        }
        if !answer.head.contains("\r\nx-request-id: ") {
            faults.push("has no X-Request-Id".to_owned());
        }
        if status == 422 && problem["errors"][0]["pointer"].as_str().is_none() {
            faults.push("names no place".to_owned());
        }
        if (status == 401) != answer.head.contains("\r\nwww-authenticate: bearer") {
            faults.push("401 and WWW-Authenticate go together".to_owned());
        }
        if (status == 405) != answer.head.contains("\r\nallow: ") {
            faults.push("405 and Allow go together".to_owned());
        }
    }
    (!faults.is_empty()).then(|| format!("{name}: {}: {answer:?}", faults.join(", ")))
}

fn case(
    name: impl Into<String>,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
    expected: (u16, &'static str),
) -> Case {
    let name = format!("{method} {path} ({})", name.into());
    (name, request(method, path, headers, body), expected.0, expected.1)
}

fn deep() -> Vec<u8> {
    [br#"{"options":"#.as_slice(), &b"[".repeat(7_000), &b"]".repeat(7_000), b"}"].concat()
}

fn chunked(head: &str, chunks: &[&[u8]], end: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in chunks {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(end);
    bytes
}

/// Bodies that no route with a JSON body takes.
fn bodies(max: usize) -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    vec![
        ("cut off", b"{".to_vec(), 400, "INVALID_JSON"),
        ("no JSON", b"options=A".to_vec(), 400, "INVALID_JSON"),
        ("a NUL", b"\0".to_vec(), 400, "INVALID_JSON"),
        ("invalid UTF-8", b"{\"\xff\xfe\":1}".to_vec(), 400, "INVALID_JSON"),
        ("a lone surrogate", br#"{"\ud800":1}"#.to_vec(), 400, "INVALID_JSON"),
        ("a byte order mark", "\u{feff}{}".into(), 400, "INVALID_JSON"),
        ("something behind", b"{} {}".to_vec(), 400, "INVALID_JSON"),
        ("too deep", deep(), 422, "INVALID_REQUEST"),
        ("an array", b"[]".to_vec(), 422, "INVALID_REQUEST"),
        ("null", b"null".to_vec(), 422, "INVALID_REQUEST"),
        ("a text", b"\"x\"".to_vec(), 422, "INVALID_REQUEST"),
        ("unknown field", br#"{"nmae":1}"#.to_vec(), 422, "INVALID_REQUEST"),
        ("too large", vec![b' '; max + 1], 413, "BODY_TOO_LARGE"),
    ]
}

fn entry_bodies(system: &System, event: i64) -> Vec<Case> {
    let path = format!("/v1/events/{event}/entries");
    let token = system.member(1);
    let headers = format!("{token}{JSON}");
    let mut cases: Vec<Case> = bodies(16 * 1024)
        .into_iter()
        .map(|(name, body, status, code)| case(name, "POST", &path, &headers, &body, (status, code)))
        .collect();
    let huge = format!(r#"{{"options":["{}"]}}"#, "A".repeat(10_000));
    for (body, status, code) in [
        (r#"{"options":"DEFAULT"}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":[1]}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":{"0":"DEFAULT"}}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":null}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":["DEFAULT"],"options":["DEFAULT"]}"#, 400, "INVALID_JSON"),
        (r#"{"options":["DEFAULT","DEFAULT"]}"#, 422, "INVALID_REQUEST"),
        (r#"{"options":["default"]}"#, 422, "UNKNOWN_OPTION"),
        (r#"{"options":["'; DROP TABLE events; --"]}"#, 422, "UNKNOWN_OPTION"),
        (r#"{"options":["\u0000"]}"#, 422, "UNKNOWN_OPTION"),
        (&huge, 422, "UNKNOWN_OPTION"),
        (r#"{"contact":{}}"#, 422, "CONTACT_NOT_ALLOWED"),
        (r#"{"contact":{"email":"a@b.example"}}"#, 422, "CONTACT_NOT_ALLOWED"),
        (r#"{"member_id":2}"#, 422, "INVALID_REQUEST"),
    ] {
        cases.push(case("body", "POST", &path, &headers, body.as_bytes(), (status, code)));
    }
    for content_type in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: application/json; charset=latin1\r\n",
        "content-type: application/jsonx\r\n",
    ] {
        let headers = format!("{token}{content_type}");
        cases.push(case(content_type, "POST", &path, &headers, b"{}", (415, "UNSUPPORTED_MEDIA_TYPE")));
    }
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}");
    let half = vec![b' '; 9_000];
    cases.push((
        "chunked too large".into(),
        chunked(&head, &[&half, &half], b"0\r\n\r\n"),
        413,
        "BODY_TOO_LARGE",
    ));
    cases.push(("chunked, cut JSON".into(), chunked(&head, &[b"{\"opt"], b"0\r\n\r\n"), 400, "INVALID_JSON"));
    cases.push(("bad chunk size".into(), chunked(&head, &[b"{}"], b"zz\r\n"), 400, "INCOMPLETE_BODY"));
    cases
}

fn entry_heads(system: &System, event: i64) -> Vec<Case> {
    let path = format!("/v1/events/{event}/entries");
    let token = system.member(1);
    let mut cases = Vec::new();
    for key in ["", " ", "\t", &"k".repeat(65), "é", "a\tb"] {
        let headers = format!("{token}idempotency-key: {key}\r\n");
        cases.push(case(format!("key {key:?}"), "POST", &path, &headers, b"", (422, "INVALID_REQUEST")));
    }
    for query in ["x=1", "event_id=1", "%00", "x", "options=DEFAULT", "%ff=%ff"] {
        let path = format!("{path}?{query}");
        cases.push(case("query", "POST", &path, &token, b"", (422, "INVALID_REQUEST")));
    }
    cases
}

fn public_routes(system: &System, event: i64) -> Vec<Case> {
    let token = system.member(1);
    let mut cases = Vec::new();
    for id in [
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e0",
        "x",
        "%31",
        "1%00",
        "9223372036854775808",
        "99999999999999999999",
        "1;drop",
        "%2e%2e",
    ] {
        for (method, path) in
            [("GET", format!("/v1/events/{id}")), ("POST", format!("/v1/events/{id}/entries"))]
        {
            cases.push(case("event id", method, &path, &token, b"", (404, "EVENT_NOT_FOUND")));
        }
    }
    cases.push(case("unknown", "GET", "/v1/events/777", "", b"", (404, "EVENT_NOT_FOUND")));
    cases.push(case("unknown", "POST", "/v1/events/777/entries", &token, b"{", (404, "EVENT_NOT_FOUND")));
    for id in [
        "x",
        "0191d0e68f6a8abc8def0123456789ab",
        "0191d0e6-8f6a-8abc-8def-0123456789ag",
        "%00",
        "-",
        "..%2f..%2fetc",
    ] {
        for end in ["", "/stream"] {
            let path = format!("/v1/entries/{id}{end}");
            cases.push(case("entry id", "GET", &path, &token, b"", (404, "ENTRY_NOT_FOUND")));
        }
    }
    for end in ["", "/stream"] {
        let path = format!("{NO_ENTRY}{end}");
        cases.push(case("of nobody", "GET", &path, &token, b"", (404, "ENTRY_NOT_FOUND")));
        cases.push(case("no token", "GET", &path, "", b"", (401, "UNAUTHENTICATED")));
        cases.push(case(
            "unknown query",
            "GET",
            &format!("{path}?recipt=x"),
            &token,
            b"",
            (422, "INVALID_REQUEST"),
        ));
        for receipt in ["", "A", "AAAA", "é", "=", &"A".repeat(4_000), "../../x"] {
            let headers = format!("{token}x-entry-receipt: {receipt}\r\n");
            cases.push(case(
                format!("receipt {receipt:.9}"),
                "GET",
                &path,
                &headers,
                b"",
                (401, "INVALID_RECEIPT"),
            ));
        }
    }
    for receipt in ["", "%00", "AAAA", "%ff%fe"] {
        let path = format!("{NO_ENTRY}/stream?receipt={receipt}");
        cases.push(case("receipt in the query", "GET", &path, "", b"", (401, "INVALID_RECEIPT")));
    }
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=",
        "limit=1.5",
        "cursor=x",
        "cursor=",
        "limt=1",
        "status=OPEN",
    ] {
        let path = format!("/v1/events?{query}");
        cases.push(case("list", "GET", &path, "", b"", (422, "INVALID_REQUEST")));
    }
    let one = format!("/v1/events/{event}?verbose=1");
    cases.push(case("unknown query", "GET", &one, "", b"", (422, "INVALID_REQUEST")));
    // Built one day; until then a path like any other.
    for path in
        ["/v1/members/me/entries", "/v1/ranking", "/v1/activities", "/metrics", "/livez", "/admin/v1/events"]
    {
        cases.push(case("not here", "GET", path, &token, b"", (404, "NOT_FOUND")));
    }
    cases
}

fn tokens(system: &System, event: i64) -> Vec<Case> {
    let foreign = shared_runtime::auth::DevKey::new([1; 32]);
    let hour = std::time::Duration::from_secs(3_600);
    // {"alg":"none","typ":"JWT"} over {"sub":"1"}, with and without a dot at the end.
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIn0";
    let good = system.member(1);
    let cut = format!("{}\r\n", &good[..good.len() - 6]);
    let basic = good.replace("Bearer", "Basic");
    let twice = format!("authorization: Bearer x\r\n{good}");
    let path = format!("/v1/events/{event}/entries");
    [
        String::new(),
        "authorization: Bearer\r\n".to_owned(),
        bearer("x"),
        bearer("a.b.c"),
        bearer("é"),
        bearer(none),
        bearer(&format!("{none}.")),
        bearer(&"a".repeat(7_000)),
        bearer(&foreign.issue_member(1, hour).expect("token")),
        system.staff("events:write ops:write"),
        cut,
        basic,
        twice,
    ]
    .into_iter()
    // The token comes before the body.
    .map(|headers| {
        case(format!("token {headers:.40}"), "POST", &path, &headers, b"{", (401, "UNAUTHENTICATED"))
    })
    .collect()
}

/// `known` is a path, `allow` what it takes; one that does not end in an id has the same rules.
fn paths_and_methods(known: &str, allow: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/",
        "//",
        "/v1",
        "/v1/",
        "/V1/EVENTS",
        "/v1/events/",
        "/v1//events",
        "/admin",
        "/admin/v1/",
        "/..",
        "/v1/../v1/events",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/events/1/entries/",
        "/v1/events/..%2f..",
        "/favicon.ico",
        "/.git/config",
        "/%00",
        "/%ff",
        "*",
    ] {
        if path == "/v1/events/..%2f.." {
            continue;
        }
        cases.push(case("path", "GET", path, "", b"", (404, "NOT_FOUND")));
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"] {
        if !allow.contains(method) {
            cases.push(case("method", method, known, "", b"", (405, "METHOD_NOT_ALLOWED")));
        }
    }
    cases
}

/// What is not the HTTP of RFC 9112, or too much of it.
fn no_http(path: &str, token: &str) -> Vec<Case> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token}{JSON}");
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no HTTP", b"GARBAGE\r\n\r\n".to_vec(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        ("HTTP/9.9", format!("POST {path} HTTP/9.9\r\nhost: x\r\n\r\n").into(), 400),
        ("a space in the path", b"GET /v1/ events HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), 400),
        (
            "raw bytes in the path",
            b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
            400,
        ),
        ("a control character in a header", format!("{head}x-a: b\x01\r\n\r\n").into(), 400),
        ("a header without a name", format!("{head}: x\r\n\r\n").into(), 400),
        ("a folded header", format!("{head}x-a: b\r\n c\r\n\r\n").into(), 400),
        ("two lengths", format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into(), 400),
        ("a length below zero", format!("{head}content-length: -1\r\n\r\n").into(), 400),
        ("a length that is none", format!("{head}content-length: 2,2x\r\n\r\n{{}}").into(), 400),
        ("an unknown coding", format!("{head}transfer-encoding: gzip\r\n\r\n{{}}").into(), 400),
        ("many headers", format!("{head}{many}content-length: 2\r\n\r\n{{}}").into(), 431),
        ("a huge header", format!("{head}x-a: {}\r\n\r\n", "y".repeat(40_000)).into(), 431),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(40_000)).into(), 431),
    ];
    cases.into_iter().map(|(name, bytes, status)| (format!("{name} ({path})"), bytes, status, "")).collect()
}

fn draft() -> Value {
    json!({
        "title": "t", "type": "FIRST_COME", "internal_test": true,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z",
        "stock": [{"option": "A", "count": 3}],
    })
}

fn drafts(staff: &str) -> Vec<Case> {
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
        ("/reward", json!({"reward_type": "RANDOM", "min_amount": 1, "max_amount": 2})),
        ("/missions", json!([{"title": "m"}])),
        ("/contact_collection", json!("AT_APPLY")),
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
const CHANGES: [(&str, &str, &str); 9] = [
    ("POST", "/admin/v1/events", ""),
    ("POST", "/admin/v1/events/{}/schedule", "{}"),
    ("POST", "/admin/v1/events/{}/pause", "{}"),
    ("POST", "/admin/v1/events/{}/resume", "{}"),
    ("POST", "/admin/v1/events/{}/close", "{}"),
    ("POST", "/admin/v1/events/{}/stock", r#"{"option":"DEFAULT","add":1}"#),
    ("PUT", "/admin/v1/events/{}/limits", "{}"),
    ("PUT", "/admin/v1/events/{}/high-traffic", r#"{"enabled":true}"#),
    ("POST", "/admin/v1/parked/{}/unpark", "{}"),
];

fn admin_bodies(staff: &str, event: i64) -> Vec<Case> {
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

fn admin_routes(staff: &str, event: i64) -> Vec<Case> {
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
fn scopes(system: &System, event: i64) -> Vec<Case> {
    let all: Vec<(&str, String, &str)> = CHANGES
        .iter()
        .map(|(method, route, _)| {
            let ops = ["limits", "high-traffic", "unpark"].iter().any(|end| route.ends_with(end));
            (*method, route.replace("{}", "777"), if ops { "ops:write" } else { "events:write" })
        })
        .chain([
            ("GET", "/admin/v1/events".to_owned(), "events:read"),
            ("GET", format!("/admin/v1/events/{event}"), "events:read"),
            ("GET", "/admin/v1/commands/x".to_owned(), "events:read"),
            ("GET", "/admin/v1/parked".to_owned(), "ops:write"),
        ])
        .collect();
    let mut cases = Vec::new();
    for (method, path, scope) in all {
        let others = ["events:read", "events:write", "ops:write", "Events:Write", "events", "*"];
        let others: Vec<&str> = others.into_iter().filter(|other| *other != scope).collect();
        for (name, token, expected) in [
            ("no token", String::new(), (401, "UNAUTHENTICATED")),
            ("no token at all", bearer("x"), (401, "UNAUTHENTICATED")),
            ("a member", system.member(1), (403, "FORBIDDEN")),
            ("no scope", system.staff(""), (403, "FORBIDDEN")),
            ("other scopes", system.staff(&others.join(" ")), (403, "FORBIDDEN")),
        ] {
            let headers = format!("{token}idempotency-key: {}\r\n", "k".repeat(65));
            cases.push(case(name, method, &path, &headers, b"{", expected));
        }
    }
    cases
}
