//! Scenarios over HTTP, through every service, on both columns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use shared_domain::Lifecycle;
use shared_runtime::store::rows::EntryRow;
use tokio::task::JoinSet;

use crate::http::{Answer, call, request, send};
use crate::promises::entries;
use crate::scenarios::refusal;
use crate::sql::{execute, number};
use crate::system::System;

const STOCK: i64 = 20;

/// An event's whole life: a stampede with double clicks, sell-out, results by GET and by stream, ALREADY_APPLIED, LOSE,
/// stock added, pause and resume, close, and the outcome afterwards.
pub async fn whole_path(system: &System) {
    let event = system.open_event(STOCK).await;
    let accepted = stampede(system, event).await;
    results_agree(system, event, &accepted).await;

    // Sold out: who is in hears so, everybody else LOSE, and nothing more reaches the log.
    let late = 1_000_000;
    system.until("LOSE", async || system.enter(event, late).await.status == 409).await;
    let decided = rows(system, event).await.len();
    let again = system.enter(event, late).await;
    again.is(409, "LOSE");
    let (winner, won) = accepted.iter().find(|(_, a)| a.won).map(|(m, a)| (*m, a)).expect("a winner");
    let again = system.enter(event, winner).await;
    again.is(200, "ALREADY_APPLIED");
    assert_eq!((again.text("entry_id"), again.text("status")), (won.entry_id.clone(), "WIN".to_owned()));
    let (loser, _) = accepted.iter().find(|(_, a)| !a.won).expect("a loser");
    let again = system.enter(event, *loser).await;
    again.is(200, "ALREADY_APPLIED");
    assert_eq!(again.text("status"), "LOSE", "a decided LOSE is final");

    stock_added(system, event, late, decided).await;
    paused_and_resumed(system, event).await;
    closed(system, event, winner, &won.answer).await;
    audited(system, event).await;
    system.is_sound().await;
}

struct Accepted {
    entry_id: String,
    answer: Answer,
    won: bool,
}

/// Sixty members at once, every third twice; each of them ends with one entry or with LOSE.
async fn stampede(system: &System, event: i64) -> BTreeMap<i64, Accepted> {
    let mut presses = JoinSet::new();
    let path = format!("/v1/events/{event}/entries");
    for member in 1..=60_i64 {
        for _ in 0..if member % 3 == 0 { 2 } else { 1 } {
            let bytes = request("POST", &path, &system.member(member), b"");
            let addr = system.public;
            presses.spawn(async move { (member, send(addr, &bytes).await) });
        }
    }
    let mut accepted = BTreeMap::new();
    let mut told_lose = BTreeSet::new();
    while let Some(pressed) = presses.join_next().await {
        let (member, answer) = pressed.expect("no panic");
        match (answer.status, &*answer.text("code")) {
            (202, "APPLIED") | (200, "ALREADY_APPLIED") => {
                let entry_id = answer.text("entry_id");
                assert!(answer.head.contains(&format!("location: /v1/entries/{entry_id}")), "{answer:?}");
                let known = accepted.insert(member, Accepted { entry_id, answer, won: false });
                if let Some(known) = known {
                    assert_eq!(known.entry_id, accepted[&member].entry_id, "two clicks are one entry");
                }
            }
            (409, "LOSE") => drop(told_lose.insert(member)),
            _ => panic!("member {member}: {answer:?}"),
        }
    }
    assert!(accepted.len() >= STOCK as usize);
    for (member, entry) in &mut accepted {
        let outcome = system.outcome(&entry.answer).await;
        entry.won = outcome["status"] == "WIN";
        assert!(!(entry.won && told_lose.contains(member)), "a winner was told LOSE");
    }
    accepted
}

/// One row for each accepted member, the first of the log win, and GET, stream and token tell what the rows say.
async fn results_agree(system: &System, event: i64, accepted: &BTreeMap<i64, Accepted>) {
    let rows = rows(system, event).await;
    let members: BTreeSet<i64> = rows.iter().map(|row| row.member_id).collect();
    assert_eq!((members.len(), &members), (rows.len(), &accepted.keys().copied().collect()));
    assert!(rows.is_sorted_by_key(|row| row.log_offset), "outcomes stand in the order of the log");
    for (place, row) in (1_i64..).zip(&rows) {
        let accepted = &accepted[&row.member_id];
        let won = place <= STOCK;
        assert_eq!((row.seq, accepted.won), (place, won), "member {}", row.member_id);
        let path = format!("/v1/entries/{}", accepted.entry_id);
        let full = system.row(row.member_id, &accepted.answer).await;
        let expected = if won {
            json!({"status": "WIN", "seq": place, "rank": place, "reward_amount": 7, "option": "DEFAULT"})
        } else {
            json!({"status": "LOSE", "seq": place})
        };
        assert!(says_no_more(&expected, &full), "{full}");
        assert_eq!((full.get("rank").is_some(), full.get("reward_amount").is_some()), (won, won), "{full}");
        let by_receipt = system.outcome(&accepted.answer).await;
        assert!(says_no_more(&by_receipt, &full), "{by_receipt} is not {full}");
        let stream = format!("{path}/stream?receipt={}", accepted.answer.text("receipt"));
        let streamed = call(system.public, "GET", &stream, "", &Value::Null).await;
        assert!(streamed.head.contains("content-type: text/event-stream"), "{streamed:?}");
        let mut data =
            streamed.body.lines().filter_map(|line| line.split_once("data:").map(|(_, data)| data));
        let told: Value =
            data.next_back().map(|data| serde_json::from_str(data).expect("JSON")).unwrap_or_default();
        assert!(told["status"] == full["status"] && says_no_more(&told, &full), "{streamed:?} is not {full}");
    }
    let path = format!("/v1/entries/{}", accepted.values().next().expect("one").entry_id);
    let nobody = call(system.public, "GET", &path, &system.member(999), &Value::Null).await;
    nobody.is(404, "ENTRY_NOT_FOUND");
}

/// Whether all that `part` says stands in `full`: a LOSE from memory knows neither its place nor its moment.
fn says_no_more(part: &Value, full: &Value) -> bool {
    part.as_object().is_some_and(|part| part.iter().all(|(name, value)| full.get(name) == Some(value)))
}

/// New stock: who was refused with LOSE may enter, and as many as there are new prizes win.
async fn stock_added(system: &System, event: i64, late: i64, decided: usize) {
    assert_eq!(rows(system, event).await.len(), decided, "a LOSE from memory is no entry");
    let body = json!({"option": "DEFAULT", "add": 3});
    let added = system.command(&format!("/events/{event}/stock"), body).await;
    system.applied(&added).await;
    system.until_status(event, "OPEN").await;
    let mut won = 0;
    for member in late..late + 5 {
        let answer = system.enter(event, member).await;
        match answer.status {
            202 => won += i64::from(system.outcome(&answer).await["status"] == "WIN"),
            _ => drop(answer.is(409, "LOSE")),
        }
    }
    assert_eq!(won, 3);
    system.until_status(event, "SOLD_OUT").await;
    let unknown = json!({"option": "NONE", "add": 3});
    let unknown = system.ask_admin("POST", &format!("/events/{event}/stock"), unknown).await;
    unknown.is(422, "UNKNOWN_OPTION");
}

/// A pause stops admission and nothing else.
async fn paused_and_resumed(system: &System, event: i64) {
    let before = rows(system, event).await.len();
    let paused = system.command(&format!("/events/{event}/pause"), Value::Null).await;
    system.applied(&paused).await;
    system.until_status(event, "PAUSED").await;
    system.enter(event, 2_000_000).await.is(409, "EVENT_PAUSED");
    system.command(&format!("/events/{event}/resume"), Value::Null).await;
    system.until_status(event, "SOLD_OUT").await;
    let resumed = system.enter(event, 2_000_000).await;
    resumed.is(409, "LOSE");
    assert_eq!(rows(system, event).await.len(), before);
}

/// CLOSING at once, CLOSED when the lane has applied it; outcomes stay.
async fn closed(system: &System, event: i64, winner: i64, won: &Answer) {
    let path = format!("/events/{event}/close");
    let close = system.command(&path, Value::Null).await;
    assert_eq!(system.command(&path, Value::Null).await, close, "a second close is the first one");
    let lifecycle = async || {
        let row = system.store.event(event).await.expect("the database").expect("the event");
        Lifecycle::from_code(row.lifecycle)
    };
    assert_eq!(lifecycle().await, Some(Lifecycle::Closing));
    system.until_status(event, "CLOSED").await;
    system.enter(event, 3_000_000).await.is(409, "EVENT_CLOSED");
    system.applied(&close).await;
    system.until("closed in every lane", async || lifecycle().await == Some(Lifecycle::Closed)).await;
    for path in ["pause", "stock"] {
        let body = if path == "stock" { json!({"option": "DEFAULT", "add": 1}) } else { Value::Null };
        let answer = system.ask_admin("POST", &format!("/events/{event}/{path}"), body).await;
        answer.is(409, "EVENT_CLOSED");
    }
    system.enter(event, winner).await.is(409, "EVENT_CLOSED");
    assert_eq!(system.entry(won).await.text("status"), "WIN");
}

/// Every change left its line, and no refused one did.
async fn audited(system: &System, event: i64) {
    for (action, lines) in
        [("CREATED", 1), ("SCHEDULED", 1), ("STOCK_ADDED", 1), ("PAUSED", 1), ("RESUMED", 1), ("CLOSED", 2)]
    {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM audit_log WHERE event_id = {event} AND action = '{action}' \
             AND actor = 'ann' AND outcome = 'ACCEPTED' AND request_id <> ''"
        );
        assert_eq!(number(&system.database_url, &sql).await, lines, "{action}");
    }
}

/// Limits and the high-traffic flag, changed while the event runs; null goes back to the default.
pub async fn live_limits(system: &System) {
    let event = system.open_event(1_000).await;
    let limits = format!("/events/{event}/limits");
    let mut member = 0;
    for body in [json!({"per_second": 0}), json!({"per_member_per_second": 0})] {
        let put = system.ask_admin("PUT", &limits, body.clone()).await;
        assert_eq!(put.status, 200, "{put:?}");
        for (key, value) in body.as_object().expect("an object") {
            assert_eq!(put.json()[key], *value);
        }
        system
            .until("the limit holds", async || {
                member += 1;
                system.enter(event, member).await.status == 429
            })
            .await;
        let refused = system.enter(event, member).await;
        refused.is(429, "TRY_AGAIN");
        let put = system.ask_admin("PUT", &limits, json!({"per_second": null})).await;
        assert_eq!(put.status, 200, "{put:?}");
        // The same member: refused is not lost.
        system.until("the default holds", async || system.enter(event, member).await.status == 202).await;
    }
    for enabled in [true, false] {
        let put = system
            .ask_admin("PUT", &format!("/events/{event}/high-traffic"), json!({"enabled": enabled}))
            .await;
        assert_eq!((put.status, put.json()), (200, json!({"enabled": enabled})));
        let shown = system.ask_admin("GET", &format!("/events/{event}"), Value::Null).await;
        assert_eq!(shown.json()["high_traffic"], json!(enabled), "{shown:?}");
    }
    system.is_sound().await;
}

/// A record that cannot be written parks its event; staff see it, and end it by unpark or by giving the record up.
pub async fn parked(system: &System, give_up: bool) {
    const BAD: i64 = 13;
    let event = system.open_event(2).await;
    execute(&system.database_url, &refusal(&system.database_url, BAD)).await;
    let mut accepted = Vec::new();
    for member in [1, BAD, 2, 3] {
        let answer = system.enter(event, member).await;
        answer.is(202, "APPLIED");
        accepted.push((member, answer));
    }
    let mut parked = Value::Null;
    system
        .until("the event is parked", async || {
            parked = system.ask_admin("GET", "/parked", Value::Null).await.json()["parked"][0].clone();
            parked["records"] == 3
        })
        .await;
    assert_eq!(parked["event_id"], event, "{parked}");
    // The cursor has passed them, and yet nobody is told anything but the truth.
    for (member, answer) in &accepted[1..] {
        let entry = system.entry(answer).await;
        assert_eq!(entry.text("status"), "QUEUED", "member {member}: {entry:?}");
    }
    assert_eq!(system.outcome(&accepted[0].1).await["status"], "WIN");

    let path = format!("/parked/{event}/unpark");
    let wrong = system.ask_admin("POST", &path, json!({"reject": 1})).await;
    wrong.is(422, "INVALID_REQUEST");
    // The cause is mended. Giving the record up unparks the event by itself.
    execute(&system.database_url, "DROP TRIGGER refuse_one").await;
    let body = if give_up { json!({"reject": parked["first_offset"]}) } else { Value::Null };
    // Sent twice under one key, as by a client that heard nothing the first time.
    let key = "idempotency-key: unpark-1\r\n";
    let first = system.ask_admin_with(key, "POST", &path, body.clone()).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = system.ask_admin_with(key, "POST", &path, body.clone()).await;
    assert_eq!((again.status, again.json()), (202, first.json()));
    let command = format!("/commands/{}", first.text("command_id"));
    let expected = if give_up { ["WIN", "REJECTED", "WIN", "LOSE"] } else { ["WIN", "WIN", "LOSE", "LOSE"] };
    for (place, ((member, answer), status)) in (1_i64..).zip(accepted.iter().zip(expected)) {
        let outcome = system.row(*member, answer).await;
        assert_eq!((outcome["seq"].as_i64(), &outcome["status"]), (Some(place), &json!(status)), "{member}");
        let undecidable = outcome["reason"] == "UNDECIDABLE";
        assert_eq!(undecidable, status == "REJECTED", "{outcome}");
    }
    system.applied(&command).await;
    system
        .until("nothing is parked", async || {
            system.ask_admin("GET", "/parked", Value::Null).await.json()["parked"] == json!([])
        })
        .await;
    system.ask_admin("POST", &path, Value::Null).await.is(409, "NOT_PARKED");
    // Once all is done, the key still stands for the first answer, and for nothing else.
    let late = system.ask_admin_with(key, "POST", &path, body).await;
    assert_eq!((late.status, late.json()), (202, first.json()));
    let other = system.ask_admin_with(key, "POST", &path, json!({"reject": 1})).await;
    other.is(422, "IDEMPOTENCY_KEY_REUSED");
    let action = if give_up { "REJECTED" } else { "UNPARKED" };
    let made =
        format!("SELECT COUNT(*) AS n FROM audit_log WHERE action = '{action}' AND outcome = 'ACCEPTED'");
    assert_eq!(number(&system.database_url, &made).await, 1, "acted once");
    system.is_sound().await;
}

/// SIGTERM while members press: every process ends well, and every 202 has its outcome. On real stores the next worker
/// may have to decide the last of them; the embedded log ends with its process.
pub async fn drained(mut system: System) {
    let event = system.open_event(10).await;
    let path = format!("/v1/events/{event}/entries");
    let mut presses = JoinSet::new();
    for member in 1..=350_i64 {
        let bytes = request("POST", &path, &system.member(member), b"");
        let addr = system.public;
        presses.spawn(async move { (member, send(addr, &bytes).await) });
    }
    let mut accepted = BTreeSet::new();
    let mut told = false;
    while let Some(pressed) = presses.join_next().await {
        let (member, answer) = pressed.expect("no panic");
        match answer.status {
            202 => drop(accepted.insert(member)),
            // No connection any more, everything is gone, or come back later.
            0 | 409 | 429 | 503 => {}
            _ => panic!("member {member}: {answer:?}"),
        }
        if !told && !accepted.is_empty() {
            system.processes.iter().for_each(|process| process.signal("TERM"));
            told = true;
        }
    }
    for process in &mut system.processes {
        let code = process.ended(Duration::from_secs(60)).await;
        assert_eq!(code, Some(0), "{}", process.log());
        assert!(!process.log().contains("panicked"), "{}", process.log());
    }
    system.start_worker_again();
    let mut decided = BTreeSet::new();
    system
        .until("every 202 has its outcome", async || {
            decided = rows(&system, event).await.iter().map(|row| row.member_id).collect();
            decided.is_superset(&accepted)
        })
        .await;
    println!("{} were accepted before the end, {} stood in the log", accepted.len(), decided.len());
}

/// Staff's changes are whole or not at all, and a key stands for one of them, however often and at once it is sent.
pub async fn changes_are_whole_and_made_once(system: &System) {
    let sqlite = system.database_url.starts_with("sqlite");
    let refuse = "BEFORE INSERT ON event_lock";
    let refuse = if sqlite {
        format!("CREATE TRIGGER refuse_lock {refuse} BEGIN SELECT RAISE(ABORT, 'refused'); END")
    } else {
        format!(
            "CREATE TRIGGER refuse_lock {refuse} FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'"
        )
    };
    let count =
        async |table: &str| number(&system.database_url, &format!("SELECT COUNT(*) AS n FROM {table}")).await;
    let draft = json!({
        "title": "t", "type": "FIRST_COME", "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2099-01-01T00:00:00Z", "stock": [{"count": 1}], "internal_test": true,
    });
    execute(&system.database_url, &refuse).await;
    at_once(system, "/events", "create", &draft, 1).await[0].is(503, "UNAVAILABLE");
    for table in ["events", "event_lock", "event_reward", "audit_log", "idempotency_key"] {
        assert_eq!(count(table).await, 0, "{table}");
    }
    execute(&system.database_url, "DROP TRIGGER refuse_lock").await;
    let made = at_once(system, "/events", "create", &draft, 20).await;
    assert!(made.iter().all(|answer| answer.status == 201 && answer.body == made[0].body), "{made:?}");
    for table in ["events", "event_lock", "event_reward", "audit_log", "idempotency_key"] {
        assert_eq!(count(table).await, 1, "{table}");
    }

    let event = system.open_event(5).await;
    let (path, body) = (format!("/events/{event}/stock"), json!({"option": "DEFAULT", "add": 2}));
    let added = at_once(system, &path, "one", &body, 20).await;
    assert!(added.iter().all(|answer| answer.status == 202 && answer.body == added[0].body), "{added:?}");
    let other = at_once(system, &path, "other", &body, 1).await;
    assert_ne!(other[0].text("command_id"), added[0].text("command_id"));
    for answer in [&added[0], &other[0]] {
        system.applied(&format!("/commands/{}", answer.text("command_id"))).await;
    }
    assert_eq!(count("outbox WHERE kind = 'STOCK_ADDED'").await, 2);
    for outcome in ["ACCEPTED", "APPLIED"] {
        let lines = format!("audit_log WHERE action = 'STOCK_ADDED' AND outcome = '{outcome}'");
        assert_eq!(count(&lines).await, 2, "{outcome}");
    }
    let shown = system.ask_admin("GET", &format!("/events/{event}"), Value::Null).await.json();
    assert_eq!(shown["options"], json!([{"name": "DEFAULT", "granted": 9, "remaining": 9}]));
}

/// The same POST under one key, so many times at once.
async fn at_once(system: &System, path: &str, key: &str, body: &Value, times: usize) -> Vec<Answer> {
    let mut posts = JoinSet::new();
    for _ in 0..times {
        let headers = format!("{}idempotency-key: {key}\r\n", system.staff("events:write"));
        let (addr, path, body) = (system.admin, format!("/admin/v1{path}"), body.clone());
        posts.spawn(async move { call(addr, "POST", &path, &headers, &body).await });
    }
    posts.join_all().await
}

/// Rows of the event's only lane, by place.
async fn rows(system: &System, event: i64) -> Vec<EntryRow> {
    let lanes = system.store.lane_rows().await.expect("lanes");
    let lane = lanes.iter().find(|row| row.event_id == event).expect("the event's lane").lane;
    entries(&system.store, event, lane).await
}
