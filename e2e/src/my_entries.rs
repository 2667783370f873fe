//! A member's own list of entries over HTTP, through every service, on both columns.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::http::{Answer, request, send};
use crate::raffles::Raffle;
use crate::system::System;

/// Who lists.
const ME: i64 = 5;

/// However often a member's page is asked for, it is read once a second: twice, where somebody asks while it is being read.
/// `of`: what the metric calls it.
pub(crate) async fn read_once(system: &System, path: &str, of: &str) {
    const ASKED: usize = 300;
    const ONE_BY_ONE: usize = 30;
    // Has never asked: what somebody saw a moment ago is shown without a read.
    const STRANGER: i64 = 900_001;
    let gateway = system.processes.last().expect("a gateway");
    let reads = async || {
        let reads = gateway.metric("event_batched_reads_total", &[&format!("of=\"{of}\"")]).await;
        reads.unwrap_or_default() as u64
    };
    let (before, since) = (reads().await, Instant::now());
    let mut asked = JoinSet::new();
    let bytes = request("GET", path, &system.member(STRANGER), b"");
    for _ in 0..ASKED {
        let (addr, bytes) = (system.public, bytes.clone());
        asked.spawn(async move { send(addr, &bytes).await.status });
    }
    assert_eq!(asked.join_all().await, [200; ASKED]);
    // One after the other nothing is gathered: it is the cache that answers.
    for _ in 0..ONE_BY_ONE {
        assert_eq!(send(system.public, &bytes).await.status, 200);
    }
    let (reads, most) = (reads().await - before, 2 * (since.elapsed().as_secs() + 1));
    assert!((1..=most).contains(&reads), "{reads} reads of {of}, wanted {most} at most");
}

/// What a member's list holds, in what order, page by page; what it never holds; and that it shows what was decided.
pub async fn listed(system: &System) {
    assert_eq!(page(system, ME, "").await.json(), json!({"entries": [], "next_cursor": null}));
    let early = system.open_event(20).await;
    let late = system.open(json!({"type": "GENERAL"})).await;
    let deleted = system.open_event(20).await;
    let raffle = Raffle::open(system, 1, json!({"draw": {"method": "RANDOM", "alternates": 1}})).await;
    let many = system
        .open(json!({
            "type": "FIRST_COME", "stock": [{"count": 3}], "duplicate_participation_allowed": true,
            "max_entries_per_member": 5,
        }))
        .await;

    // The newer event first: the order is that of the entries, not of their events.
    let mut made = Vec::new();
    for event in [late, early, deleted] {
        made.push(accepted(&system.enter(event, ME).await));
    }
    let drawn: Vec<String> = raffle.enter([ME, 6, 7]).await.values().map(accepted).collect();
    made.push(drawn[0].clone());
    for key in 0..6 {
        made.push(accepted(&with_key(system, many, key).await));
    }
    accepted(&system.enter(early, 6).await);
    made.reverse();

    // Decided ones show up by themselves, and each as its own page tells of it.
    let whole = until_listed(system, &made).await;
    let status = |list: &[Value]| list.iter().map(|e| e["status"].clone()).collect::<Vec<_>>();
    let reasons: Vec<&Value> = whole.iter().filter_map(|entry| entry.get("reason")).collect();
    assert_eq!(reasons, [&json!("ENTRY_LIMIT_REACHED")]);
    assert_eq!(status(&whole[6..]), ["PENDING", "WIN", "WIN", "WIN"]);
    let won = whole[..6].iter().filter(|entry| entry["status"] == "WIN");
    assert_eq!(won.map(|entry| entry["rank"].as_i64()).collect::<BTreeSet<_>>().len(), 3, "{whole:?}");
    same_as_alone(system, &whole).await;

    // Page by page it is the same list, whatever the page's size.
    for limit in [1, 3, 10, 200] {
        assert_eq!(paged(system, limit).await, whole, "limit {limit}");
    }
    // A cursor is a place, and tells nothing of whose list it came from.
    let cursor = page(system, ME, "?limit=1").await.text("next_cursor");
    let others = page(system, 7, &format!("?cursor={cursor}")).await.json();
    let others: Vec<Value> = others["entries"].as_array().expect("entries").clone();
    assert!(others.iter().all(|entry| entry["entry_id"] == drawn[2]), "{others:?}");

    // Nothing of a deleted event.
    let gone = system.command_by("DELETE", &format!("/events/{deleted}")).await;
    system.applied(&gone).await;
    let kept: Vec<String> = made
        .into_iter()
        .filter(|id| whole.iter().any(|e| e["entry_id"] == **id && e["event_id"] != deleted))
        .collect();
    assert_eq!(kept.len(), whole.len() - 1);
    until_listed(system, &kept).await;
    assert_eq!(paged(system, 2).await.len(), kept.len());

    // The raffle is drawn: the list says so, the alternate's number too.
    raffle.close_and_draw().await;
    let mut results = BTreeSet::new();
    for (member, id) in [ME, 6, 7].into_iter().zip(&drawn) {
        let mut entry = Value::Null;
        system
            .until("the draw's result is listed", async || {
                let listed = page(system, member, "").await.json();
                let listed = listed["entries"].as_array().expect("entries").clone();
                entry = listed.into_iter().find(|entry| entry["entry_id"] == **id).expect("the entry");
                entry["status"] != "PENDING"
            })
            .await;
        same_as_alone_of(system, member, std::slice::from_ref(&entry)).await;
        results.insert((entry["status"].to_string(), entry["rank"].as_i64(), entry["alternate"].as_i64()));
    }
    let lost = |alternate| ("\"LOSE\"".to_owned(), None, alternate);
    assert_eq!(results, BTreeSet::from([lost(None), lost(Some(1)), ("\"WIN\"".to_owned(), Some(1), None)]));
    read_once(system, "/v1/members/me/entries", "entries").await;
    system.is_sound().await;
}

async fn page(system: &System, member: i64, query: &str) -> Answer {
    let answer = system.as_member(member, &format!("/v1/members/me/entries{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// All pages of this size.
async fn paged(system: &System, limit: i64) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = page(system, ME, &format!("?limit={limit}{cursor}")).await.json();
        let entries = answer["entries"].as_array().expect("entries");
        assert!(entries.len() <= limit as usize && (!entries.is_empty() || all.is_empty()), "{answer}");
        all.extend(entries.iter().cloned());
        assert!(all.len() <= 10, "no entry twice: {all:?}");
        match answer["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The list once it holds exactly these, in this order.
async fn until_listed(system: &System, ids: &[String]) -> Vec<Value> {
    let mut list = Vec::new();
    system
        .until("the list is as wanted", async || {
            list = page(system, ME, "").await.json()["entries"].as_array().expect("entries").clone();
            list.iter().map(|entry| entry["entry_id"].as_str()).eq(ids.iter().map(|id| Some(&**id)))
        })
        .await;
    list
}

async fn same_as_alone(system: &System, list: &[Value]) {
    same_as_alone_of(system, ME, list).await;
}

async fn same_as_alone_of(system: &System, member: i64, list: &[Value]) {
    for entry in list {
        let path = format!("/v1/entries/{}", entry["entry_id"].as_str().expect("an id"));
        assert_eq!(system.as_member(member, &path).await.json(), *entry);
    }
}

async fn with_key(system: &System, event: i64, key: i64) -> Answer {
    let headers = format!("{}idempotency-key: {key}\r\n", system.member(ME));
    system.press(event, &headers).await
}

fn accepted(answer: &Answer) -> String {
    assert!([201, 202].contains(&answer.status), "{answer:?}");
    answer.text("entry_id")
}
