//! What must not be sent, to every route of both listeners: its status and code, and that nothing came of it.

mod admin;
mod any;
mod personal_data;
mod public;

use std::net::SocketAddr;

use serde_json::json;

use self::admin::{admin_bodies, admin_routes, drafts, scopes};
use self::any::{no_http, paths_and_methods};
use self::personal_data::{claims, contacts};
use self::public::{activities, entry_bodies, entry_heads, public_routes, tokens};
use crate::contract::Contract;
use crate::http::{request, send};
use crate::promises::entries;
use crate::sql::number;
use crate::system::System;

/// A request and its refusal. No code: hyper refuses what is no HTTP, without a body.
type Case = (String, Vec<u8>, u16, &'static str);

/// A listener and its document.
type Listener<'s> = (SocketAddr, &'s Contract);

const JSON: &str = "content-type: application/json\r\n";

/// Sends every bad request to both listeners of a system with one open event, and one in which somebody has won.
pub async fn is_refused(system: &System) {
    // A report that is taken by mistake would count, and leave a trace.
    let mission =
        |kind: &str| json!({"title": kind, "mission_type": kind, "goal_value": 1, "self_reported": true});
    let missions = ["STEP_COUNT", "ATTENDANCE", "FRIEND_INVITE"].map(mission);
    let event =
        system.open(json!({"type": "FIRST_COME", "stock": [{"count": 5}], "missions": missions})).await;
    let won = system.open_event(1).await;
    let winner = system.enter(won, 1).await;
    assert_eq!(system.outcome(&winner).await["status"], "WIN");
    let lanes = system.store.lane_rows().await.expect("lanes");
    let lane = lanes.iter().find(|row| row.event_id == event).expect("its lane").lane;
    let next = next_offset(system, event, lane).await;
    let before = traces(system).await;
    let public = vec![
        entry_bodies(system, event),
        entry_heads(system, event),
        public_routes(system, event),
        activities(system),
        tokens(system, &format!("/v1/events/{event}/entries")),
        claims(system, &winner.text("entry_id")),
        paths_and_methods(&format!("/v1/events/{event}"), "GET, HEAD"),
        no_http(&format!("/v1/events/{event}/entries"), &system.member(1)),
    ];
    let staff = system.staff("events:read events:write draws:run ops:write");
    let admin = vec![
        drafts(&staff),
        admin_bodies(&staff, event),
        admin_routes(&staff, event),
        scopes(system, event),
        contacts(system, event),
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

    // Nothing came of all that: the next good entry is the next record of its lane.
    let good = system.enter(event, 1).await;
    good.is(202, "APPLIED");
    assert_eq!(system.outcome(&good).await["status"], "WIN");
    assert_eq!(traces(system).await, Traces { applied: before.applied + 1, ..before });
    let rows = entries(&system.store, event, lane).await;
    assert_eq!((rows.len(), rows[0].member_id, rows[0].log_offset), (1, 1, next));
    system.is_sound().await;
}

async fn next_offset(system: &System, event: i64, lane: i32) -> i64 {
    let topic = system.store.event(event).await.expect("the database").expect("the event").topic;
    let progress = system.store.progress_rows().await.expect("progress");
    let row = progress.iter().find(|row| topic == Some(row.topic.clone()) && row.partition_id == lane);
    row.expect("a cursor").next_offset
}

/// What a request may leave behind.
#[derive(Debug, PartialEq)]
struct Traces {
    /// Records of the log that were applied.
    applied: i64,
    audit: i64,
    commands: i64,
    contacts: i64,
    /// What is listed as deleted or erased, for ever.
    erasures: i64,
}

async fn traces(system: &System) -> Traces {
    let count =
        async |table: &str| number(&system.database_url, &format!("SELECT COUNT(*) AS n FROM {table}")).await;
    let progress = system.store.progress_rows().await.expect("progress");
    Traces {
        applied: progress.iter().map(|row| row.next_offset).sum(),
        audit: count("audit_log").await,
        commands: count("outbox").await,
        contacts: count("contact").await,
        erasures: count("erasure").await,
    }
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
