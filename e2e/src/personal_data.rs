//! Contacts over HTTP, through every service, on both columns: sealed wherever they lie, shown to those who may see them,
//! gone with their event or at a member's word.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use shared_proto::dead_letter_name;

use crate::column::LANES;
use crate::http::{Answer, call};
use crate::log::read;
use crate::scenarios::refusal;
use crate::sql::{execute, number};
use crate::stack::backup;
use crate::system::System;

const WINNERS: i64 = 12;
/// What staff need for all of it.
pub const EVERYTHING: &str = "events:read events:write contacts:read ops:write";
/// Their names begin so, and nothing else's does.
const MARKS: [&str; 3] = ["8299731", "canary-", "Canary Road"];

/// A contact that is easy to find.
pub fn canary(event: &str, member: i64) -> Value {
    json!({
        "phone_number": format!("+8299731{}{member:03}", if event == "claim" { 1 } else { 2 }),
        "email": format!("canary-{event}-{member}@mail.example"),
        "address": format!("=Canary Road {event} {member}\nSeoul"),
    })
}

/// Each member's entry id, by member.
pub type Entries = BTreeMap<i64, String>;

/// The whole way of contacts, in an event that asks winners and in one that asks everybody.
pub async fn lives_and_dies(system: &System) {
    let (claims, claimed) = claimed(system).await;
    let (entries, given) = given_with_entries(system).await;

    for (event, name, owners) in [(claims, "claim", &claimed), (entries, "entry", &given)] {
        assert_eq!(shown(system, event, name, owners).await, owners.len(), "each to who may see it");
        let narrow = export(system, event, "events:read events:write ops:write", "text/csv").await;
        assert!(!MARKS.iter().any(|mark| narrow.body.contains(mark)), "none to others");
    }
    nowhere_else(system).await;
    swapped(system, claims, &claimed).await;

    // One member's word: gone in both events, and nobody else's.
    let path = "/admin/v1/members/3/contacts";
    let one_scope = system.staff("events:write");
    call(system.admin, "DELETE", path, &one_scope, &Value::Null).await.is(403, "FORBIDDEN");
    let erased = call(system.admin, "DELETE", path, &system.staff(EVERYTHING), &Value::Null).await;
    assert_eq!(erased.status, 200, "{erased:?}");
    let record = erased.json();
    assert_eq!((&record["member_id"], &record["contacts_destroyed"]), (&json!(3), &json!(2)), "{record}");
    assert_eq!(record["events"], json!([claims.min(entries), claims.max(entries)]), "{record}");
    assert!(record["sealed_copies_until"].is_string(), "{record}");
    for (event, name, owners) in [(claims, "claim", &claimed), (entries, "entry", &given)] {
        let mut left = owners.clone();
        left.remove(&3).expect("member 3");
        assert_eq!(shown(system, event, name, &left).await, left.len());
        let listed = export(system, event, EVERYTHING, "application/json").await;
        assert!(!listed.body.contains(&format!("canary-{name}-3@")), "{listed:?}");
        assert_eq!(listed.json()["winners"].as_array().map(Vec::len), Some(owners.len()), "entries stay");
    }

    for (event, owners) in [(claims, &claimed), (entries, &given)] {
        deleted(system, event, owners).await;
    }
    nowhere_else(system).await;
    system.is_sound().await;
}

fn draft(collection: &str, more: Value) -> Value {
    let ends_at = SystemTime::now() + Duration::from_secs(2 * 24 * 3_600);
    let mut draft = json!({
        "title": "Mugs", "type": "FIRST_COME", "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": humantime::format_rfc3339_seconds(ends_at).to_string(),
        "stock": [{"count": WINNERS}], "internal_test": true, "contact_collection": collection,
        "limits": {"per_member_per_second": 1000},
    });
    for (name, value) in more.as_object().expect("an object") {
        draft[name] = value.clone();
    }
    draft
}

/// A member sends a body.
pub async fn post(system: &System, path: &str, member: i64, body: &Value) -> Answer {
    call(system.public, "POST", path, &system.member(member), body).await
}

/// Winners claim; others may not, and nobody with what is no contact. The event and its winners.
pub async fn claimed(system: &System) -> (i64, Entries) {
    let event = system.open(draft("AFTER_WIN", json!({}))).await;
    let entries = format!("/v1/events/{event}/entries");
    let early = post(system, &entries, 1, &json!({"contact": canary("claim", 1)})).await;
    early.is(422, "CONTACT_NOT_ALLOWED");
    let mut winners = Entries::new();
    let mut loser = String::new();
    for member in 1..=WINNERS + 1 {
        let accepted = system.enter(event, member).await;
        // Sold out for one of them, perhaps before the entry.
        if accepted.status == 202 {
            let outcome = system.row(member, &accepted).await;
            let id = accepted.text("entry_id");
            match outcome["status"].as_str() {
                Some("WIN") => drop(winners.insert(member, id)),
                _ => loser = id,
            }
        }
    }
    assert_eq!(winners.len() as i64, WINNERS);
    if !loser.is_empty() {
        let path = format!("/v1/entries/{loser}/claim");
        post(system, &path, WINNERS + 1, &canary("claim", 0)).await.is(409, "NOT_A_WINNER");
    }
    let path = |id: &str| format!("/v1/entries/{id}/claim");
    let first = path(&winners[&1]);
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"phone_number": "010-1234"}), "/phone_number"),
        (json!({"phone_number": 5}), "/phone_number"),
        (json!({"email": "nobody"}), "/email"),
        (json!({"address": " "}), "/address"),
        (json!({"fax": "1"}), "/fax"),
    ] {
        let refused = post(system, &first, 1, &body).await;
        refused.is(422, "INVALID_REQUEST");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{refused:?}");
    }
    post(system, &first, 2, &canary("claim", 2)).await.is(404, "ENTRY_NOT_FOUND");
    call(system.public, "POST", &first, "", &canary("claim", 1)).await.is(401, "UNAUTHENTICATED");
    for (member, id) in &winners {
        // Again: the second replaces the first.
        for body in
            [json!({"email": format!("canary-first-{member}@mail.example")}), canary("claim", *member)]
        {
            let kept = post(system, &path(id), *member, &body).await;
            assert_eq!((kept.status, &*kept.body), (204, ""), "{kept:?}");
        }
    }
    (event, winners)
}

/// Everybody hands a contact in; the winners' are kept, one of them through a park and the dead letters.
pub async fn given_with_entries(system: &System) -> (i64, Entries) {
    const PARKS: i64 = 5;
    let event = system.open(draft("AT_APPLY", json!({}))).await;
    let path = format!("/v1/events/{event}/entries");
    post(system, &path, 1, &Value::Null).await.is(422, "CONTACT_REQUIRED");
    for (contact, pointer) in [
        (json!({}), "/contact"),
        (json!("x"), "/contact"),
        (json!({"phone_number": "12"}), "/contact/phone_number"),
        (json!({"email": 7}), "/contact/email"),
        (json!({"fax": "1"}), "/contact/fax"),
    ] {
        let refused = post(system, &path, 1, &json!({"contact": contact})).await;
        refused.is(422, "INVALID_REQUEST");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{refused:?}");
    }
    execute(&system.database_url, &refusal(&system.database_url, PARKS)).await;
    let mut accepted = BTreeMap::new();
    for member in 1..=WINNERS + 1 {
        let answer = post(system, &path, member, &json!({"contact": canary("entry", member)})).await;
        answer.is(202, "APPLIED");
        accepted.insert(member, answer);
    }
    let parked = async || system.ask_admin("GET", "/parked", Value::Null).await.json()["parked"].clone();
    system.until("the event is parked", async || parked().await[0]["records"].as_i64() >= Some(9)).await;
    execute(&system.database_url, "DROP TRIGGER refuse_one").await;
    system.command(&format!("/parked/{event}/unpark"), Value::Null).await;
    let mut winners = Entries::new();
    for (member, answer) in &accepted {
        let row = system.row(*member, answer).await;
        let won = row["status"] == "WIN";
        assert_eq!(won, *member <= WINNERS, "{row}");
        if won {
            winners.insert(*member, answer.text("entry_id"));
        }
    }
    // Nobody needs to reach who has lost.
    let kept = format!("SELECT COUNT(*) AS n FROM contact WHERE event_id = {event}");
    assert_eq!(number(&system.database_url, &kept).await, WINNERS);
    let claim = format!("/v1/entries/{}/claim", winners[&1]);
    post(system, &claim, 1, &canary("entry", 1)).await.is(409, "CONTACT_NOT_ALLOWED");
    (event, winners)
}

/// The winners as staff with these scopes see them.
pub async fn export(system: &System, event: i64, scopes: &str, accept: &str) -> Answer {
    let path =
        format!("/admin/v1/events/{event}/winners{}", if accept == "text/csv" { "" } else { "?limit=200" });
    let headers = format!("{}accept: {accept}\r\n", system.staff(scopes));
    let answer = call(system.admin, "GET", &path, &headers, &Value::Null).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// How many of these contacts an authorised export shows, whole and beside the right entry; the same as JSON and as CSV.
pub async fn shown(system: &System, event: i64, name: &str, owners: &Entries) -> usize {
    let csv = export(system, event, EVERYTHING, "text/csv").await;
    let json = export(system, event, EVERYTHING, "application/json").await.json();
    let winners = json["winners"].as_array().expect("winners");
    owners
        .iter()
        .filter(|(member, id)| {
            let expected = canary(name, **member);
            let winner = winners.iter().find(|w| w["entry_id"] == ***id);
            let text = |part: &str| expected[part].as_str().expect("text").to_owned();
            // A formula in a cell is text.
            let row = format!(",'{},{},\"'{}\"", text("phone_number"), text("email"), text("address"));
            winner.is_some_and(|w| w["contact"] == expected) && csv.body.contains(&row)
        })
        .count()
}

/// No topic, dead letter, table, log line or metric holds a contact that can be read.
pub async fn nowhere_else(system: &System) {
    let mut dumps: Vec<(String, Vec<u8>)> = Vec::new();
    match system.column() {
        Some(column) => {
            dumps.push(("tables".to_owned(), backup(&system.database_url).await));
            for topic in [column.topic(), dead_letter_name(&column.topic())] {
                let mut records = 0;
                for lane in 0..LANES {
                    for message in read(column, topic.clone(), lane).await {
                        records += 1;
                        dumps.push((topic.clone(), format!("{message:?}").into_bytes()));
                        let payload = rdkafka::Message::payload(&message).unwrap_or_default();
                        dumps.push((topic.clone(), payload.to_vec()));
                    }
                }
                assert!(records > 0, "{topic} holds records");
            }
        }
        None => {
            for file in std::fs::read_dir(system.data_dir()).expect("folder") {
                let path = file.expect("file").path();
                dumps.push((path.display().to_string(), std::fs::read(&path).expect("file")));
            }
        }
    }
    for process in &system.processes {
        dumps.push(("log".to_owned(), process.log().into_bytes()));
        dumps.push(("metrics".to_owned(), process.metrics().await.expect("metrics").into_bytes()));
    }
    for (place, bytes) in dumps {
        for mark in MARKS {
            let found = bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
            assert!(!found, "{mark} stands in {place}");
        }
    }
}

/// Sealed contacts of two entries that change places open for neither, and the export says for which.
async fn swapped(system: &System, event: i64, owners: &Entries) {
    let hex = |member: i64| owners[&member].replace('-', "");
    let (a, b, aside) = (hex(1), hex(2), "0".repeat(32));
    let swap = async || {
        for (from, to) in [(&a, &aside), (&b, &a), (&aside, &b)] {
            let sql = format!(
                "UPDATE contact SET entry_id = X'{to}' WHERE event_id = {event} AND entry_id = X'{from}'"
            );
            execute(&system.database_url, &sql).await;
        }
    };
    swap().await;
    let json = export(system, event, EVERYTHING, "application/json").await.json();
    for winner in json["winners"].as_array().expect("winners") {
        let changed = [&owners[&1], &owners[&2]].iter().any(|id| winner["entry_id"] == ***id);
        assert_eq!(winner["contact_error"] == "UNREADABLE", changed, "{winner}");
        assert_eq!(winner.get("contact").is_some(), !changed, "{winner}");
    }
    let csv = export(system, event, EVERYTHING, "text/csv").await.body;
    let unreadable: Vec<&str> =
        csv.lines().filter(|line| line.ends_with("UNREADABLE,UNREADABLE,UNREADABLE")).collect();
    assert_eq!(unreadable.len(), 2, "{csv}");
    assert!(unreadable.iter().all(|line| line.contains(&owners[&1]) || line.contains(&owners[&2])), "{csv}");
    swap().await;
    assert_eq!(shown(system, event, "claim", owners).await, owners.len());
}

/// The event goes: its contacts everywhere, its place at the gateway; entries stay.
async fn deleted(system: &System, event: i64, owners: &Entries) {
    let path = format!("/admin/v1/events/{event}");
    let ask = async |method: &str, path: &str| {
        call(system.admin, method, path, &system.staff(EVERYTHING), &Value::Null).await
    };
    let certificate = format!("{path}/deletion");
    ask("GET", &certificate).await.is(404, "DELETION_NOT_FOUND");
    let entries = format!("SELECT COUNT(*) AS n FROM event_entry WHERE event_id = {event}");
    let kept = number(&system.database_url, &entries).await;
    let command = ask("DELETE", &path).await;
    assert_eq!(command.status, 202, "{command:?}");
    assert_eq!(command.text("kind"), "DELETED");
    let again = ask("DELETE", &path).await;
    assert_eq!((again.status, again.text("command_id")), (202, command.text("command_id")), "one deletion");
    system.until("the event is gone", async || system.event(event).await.status == 404).await;
    system.applied(&format!("/commands/{}", command.text("command_id"))).await;
    let shown = ask("GET", &certificate).await.json();
    assert_eq!(shown["state"], "COMPLETE", "{shown}");
    // Member 3's were gone before.
    assert_eq!(shown["contacts_destroyed"], owners.len() - 1, "{shown}");
    assert_eq!(shown["entries_kept"], kept, "{shown}");
    assert_eq!(shown["key_ids"].as_array().map(Vec::len), Some(1), "{shown}");
    assert!(shown["log_ranges"][0]["to"].as_i64() > shown["log_ranges"][0]["from"].as_i64(), "{shown}");
    assert_eq!(shown["signature"].as_str().map(str::len), Some(128), "{shown}");
    assert!(shown["backups_expire_at"].is_string(), "{shown}");

    assert_eq!(number(&system.database_url, &entries).await, kept, "entries stay");
    for table in ["contact WHERE", "events WHERE salt IS NOT NULL AND"] {
        let left = format!("SELECT COUNT(*) AS n FROM {table} event_id = {event}");
        assert_eq!(number(&system.database_url, &left).await, 0, "{table}");
    }
    let keys = format!(
        "SELECT COUNT(*) AS n FROM event_key WHERE event_id = {event} AND wrapped_key IS NULL AND destroyed_at > 0"
    );
    assert_eq!(number(&system.database_url, &keys).await, 1, "the key is destroyed");
    for accept in ["text/csv", "application/json"] {
        let nothing = export(system, event, EVERYTHING, accept).await;
        assert!(!MARKS.iter().any(|mark| nothing.body.contains(mark)), "{nothing:?}");
    }
    let (member, id) = owners.iter().next().expect("one");
    system.enter(event, 99).await.is(404, "EVENT_NOT_FOUND");
    let claim = format!("/v1/entries/{id}/claim");
    post(system, &claim, *member, &canary("late", 1)).await.is(404, "ENTRY_NOT_FOUND");
    let own = format!("/v1/entries/{id}");
    let entry = call(system.public, "GET", &own, &system.member(*member), &Value::Null).await;
    entry.is(404, "ENTRY_NOT_FOUND");
    let pause = system.ask_admin("POST", &format!("/events/{event}/pause"), Value::Null).await;
    pause.is(409, "EVENT_DELETED");
}
