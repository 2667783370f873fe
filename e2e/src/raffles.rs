//! Raffles over HTTP, through every service, on both columns: entries, close, draw, and what anyone can recompute.

mod beacon;
mod replayed;
mod thirty;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use shared_domain::EntryId;
use shared_domain::draw::{Chains, DrawRecord, ENTRANTS_HEADER, Entrant, Report, Verifier};
use tokio::task::JoinSet;

use crate::http::{Answer, call, request, send};
use crate::process::{binary, run};
use crate::system::System;

pub use beacon::{TestChain, waits_for_its_beacon};
pub use replayed::replayed;
pub use thirty::thirty_of_many;

/// One raffle of a running system.
#[derive(Clone, Copy)]
pub struct Raffle<'s> {
    /// Where.
    pub system: &'s System,
    /// Its id.
    pub event: i64,
}

impl<'s> Raffle<'s> {
    /// Opens one, with more parts of its draft.
    pub async fn open(system: &'s System, max_winners: i64, parts: Value) -> Self {
        let mut draft = json!({"type": "RAFFLE", "max_winners": max_winners});
        if let (Some(draft), Value::Object(parts)) = (draft.as_object_mut(), parts) {
            draft.extend(parts);
        }
        Self { system, event: system.open(draft).await }
    }

    fn path(&self, rest: &str) -> String {
        format!("/events/{}{rest}", self.event)
    }

    /// Every member presses once, all at about the same time; what each of them heard.
    pub async fn enter(&self, members: impl IntoIterator<Item = i64>) -> BTreeMap<i64, Answer> {
        let path = format!("/v1{}", self.path("/entries"));
        let (mut presses, mut heard) = (JoinSet::new(), BTreeMap::new());
        let mut members = members.into_iter();
        loop {
            while presses.len() < 64
                && let Some(member) = members.next()
            {
                let bytes = request("POST", &path, &self.system.member(member), b"");
                let addr = self.system.public;
                presses.spawn(async move { (member, send(addr, &bytes).await) });
            }
            let Some(pressed) = presses.join_next().await else { return heard };
            let (member, answer) = pressed.expect("no panic");
            heard.insert(member, answer);
        }
    }

    /// 202 as soon as the log has it, or 201 with the row.
    pub async fn high_traffic(&self, enabled: bool) {
        let put =
            self.system.ask_admin("PUT", &self.path("/high-traffic"), json!({"enabled": enabled})).await;
        assert_eq!(put.status, 200, "{put:?}");
    }

    /// Staff ask for the draw.
    pub async fn draw(&self, publish: bool) -> Answer {
        self.system.ask_admin("POST", &self.path("/draw"), json!({"publish": publish})).await
    }

    /// Closes, draws, and waits until everybody sees the result.
    pub async fn close_and_draw(&self) -> DrawRecord {
        self.system.close(self.event).await;
        let asked = self.draw(true).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        self.until_phase("PUBLISHED").await
    }

    /// The public record.
    pub async fn record(&self) -> DrawRecord {
        let path = format!("/v1{}", self.path("/draw"));
        let answer = call(self.system.public, "GET", &path, "", &Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_value(answer.json()).expect("a draw record")
    }

    /// Waits for a phase of the public record.
    pub async fn until_phase(&self, phase: &str) -> DrawRecord {
        let path = format!("/v1{}", self.path("/draw"));
        self.system
            .until(phase, async || {
                call(self.system.public, "GET", &path, "", &Value::Null).await.text("phase") == phase
            })
            .await;
        self.record().await
    }

    /// The public list, as it is sent.
    pub async fn list(&self) -> String {
        let url = format!("http://{}/v1{}", self.system.public, self.path("/draw/entrants"));
        let answer = reqwest::get(url).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        answer.text().await.expect("text")
    }

    /// The entry as its member sees it.
    pub async fn seen(&self, member: i64, accepted: &Answer) -> Value {
        self.system.row(member, accepted).await
    }

    /// Record and list recompute, here and by `event-system verify`.
    pub async fn verifies(&self) -> DrawRecord {
        let (record, list) = (self.record().await, self.list().await);
        let report = verify(&record, &list);
        let (failed, open) = (report.failed().count(), report.not_checked().count());
        assert_eq!((failed, open), (0, 0), "{report:?}");
        let (code, text) = verify_files(&record, &list).await;
        assert!(code == Some(0) && text.contains("the draw verifies"), "{text}");
        record
    }

    async fn disqualify(&self, entry: &EntryId) -> Answer {
        let path = self.path(&format!("/entries/{entry}/disqualify"));
        self.system.ask_admin("POST", &path, json!({"reason": "two accounts"})).await
    }
}

/// Checks a record against a list as text.
pub fn verify(record: &DrawRecord, list: &str) -> Report {
    let chains = Chains::default();
    let mut verifier = Verifier::new(record, &chains);
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some(ENTRANTS_HEADER));
    lines.for_each(|line| verifier.push(&Entrant::parse(line).expect(line)));
    verifier.finish()
}

/// `event-system verify` over files: exit code, and what it printed.
pub async fn verify_files(record: &DrawRecord, list: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("folder");
    let (at, entrants) = (folder.path().join("record.json"), folder.path().join("entrants.csv"));
    std::fs::write(&at, serde_json::to_vec(record).expect("JSON")).expect("file");
    std::fs::write(&entrants, list).expect("file");
    let mut command = std::process::Command::new(binary("event-system"));
    command.arg("verify").arg(&at).arg("--entrants").arg(&entrants);
    run(command).await
}

/// Fewer entrants than winners, none at all, no prizes, arrival order, and more winners than a block; two of them drawn
/// side by side, each asked for twice at once.
pub async fn small_and_large(system: &System) {
    let few = Raffle::open(system, 10, json!({"draw": {"alternates": 3}})).await;
    let none = Raffle::open(system, 10, json!({})).await;
    let no_prizes = Raffle::open(system, 0, json!({"draw": {"alternates": 2}})).await;
    let arrival = Raffle::open(system, 4, json!({"draw": {"method": "ARRIVAL", "alternates": 2}})).await;
    let large = Raffle::open(system, 1_100, json!({"draw": {"alternates": 1_050}})).await;
    for raffle in [few, no_prizes, arrival, large] {
        raffle.high_traffic(true).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    few.enter(1..=7).await;
    no_prizes.enter(1..=3).await;
    let mut arrived = Vec::new();
    for member in [9, 3, 7, 1, 8, 2, 6, 4] {
        arrived.push(system.enter(arrival.event, member).await.text("entry_id"));
    }
    let heard = large.enter(1..=2_300).await;
    for answer in heard.values() {
        assert!([201, 202].contains(&answer.status), "{answer:?}");
    }

    let record = few.close_and_draw().await;
    assert_eq!((record.winners.len(), record.alternates.len(), record.entrants), (7, 0, Some(7)));
    few.verifies().await;
    let record = none.close_and_draw().await;
    assert_eq!((record.winners.len(), record.entrants), (0, Some(0)));
    none.verifies().await;
    tokio::join!(system.close(no_prizes.event), system.close(arrival.event), system.close(large.event));
    let answers = tokio::join!(large.draw(true), arrival.draw(true), large.draw(true), no_prizes.draw(true));
    assert_eq!([answers.0.status, answers.1.status, answers.2.status, answers.3.status], [202; 4]);
    let record = arrival.until_phase("PUBLISHED").await;
    let order: Vec<String> =
        record.winners.iter().flatten().chain(&record.alternates).map(ToString::to_string).collect();
    assert_eq!(order, arrived[..6], "the first in the log");
    arrival.verifies().await;
    no_prizes.until_phase("PUBLISHED").await;
    let record = no_prizes.verifies().await;
    assert_eq!((record.winners.len(), record.alternates.len()), (0, 2));
    large.until_phase("PUBLISHED").await;
    let record = large.verifies().await;
    assert_eq!((record.winners.len(), record.alternates.len()), (1_100, 1_050));
    let count = async |status: i16| {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM event_entry WHERE event_id = {} AND status = {status}",
            large.event
        );
        crate::sql::number(&system.database_url, &sql).await
    };
    assert_eq!((count(0).await, count(1).await, count(2).await), (0, 1_100, 1_200));
    system.is_sound().await;
}

/// A raffle has a limit of its own, which staff change while it runs; that of other events is nothing to it.
pub async fn has_its_own_limit(system: &System) {
    let raffle = Raffle::open(system, 1, json!({})).await;
    let limits = async |body: Value| {
        let put = system.ask_admin("PUT", &raffle.path("/limits"), body).await;
        assert_eq!(put.status, 200, "{put:?}");
    };
    let mut member = 0;
    limits(json!({"raffle_per_second": 0})).await;
    system
        .until("the limit holds", async || {
            member += 1;
            system.enter(raffle.event, member).await.status == 429
        })
        .await;
    system.enter(raffle.event, member).await.is(429, "TRY_AGAIN");
    limits(json!({"per_second": 0})).await;
    // The same member: refused is not lost.
    system.until("the default holds", async || system.enter(raffle.event, member).await.status == 201).await;
    system.is_sound().await;
}

/// What no draw is made of.
pub async fn refused(system: &System) {
    let mugs = system.open(json!({"type": "FIRST_COME", "stock": [{"count": 1}]})).await;
    let public = async |path: String| call(system.public, "GET", &path, "", &Value::Null).await;
    for path in ["/draw", "/draw/publish"] {
        system.ask_admin("POST", &format!("/events/{mugs}{path}"), Value::Null).await.is(409, "NOT_A_RAFFLE");
        system.ask_admin("POST", &format!("/events/999{path}"), Value::Null).await.is(404, "EVENT_NOT_FOUND");
    }
    let entry = EntryId::from_bytes([1; 16]);
    let path = format!("/events/{mugs}/entries/{entry}/disqualify");
    system.ask_admin("POST", &path, json!({"reason": "x"})).await.is(409, "NOT_A_RAFFLE");
    system.ask_admin("POST", &path, json!({"reason": " "})).await.is(422, "INVALID_REQUEST");
    let beacon = json!({"round": 1, "signature": "00"});
    let path = format!("/events/{mugs}/draw/beacon");
    system.ask_admin("PUT", &path, beacon.clone()).await.is(409, "NOT_A_RAFFLE");
    system.ask_admin("GET", &format!("/events/{mugs}/draw"), Value::Null).await.is(404, "DRAW_NOT_FOUND");
    public(format!("/v1/events/{mugs}/draw")).await.is(404, "DRAW_NOT_FOUND");
    public(format!("/v1/events/{mugs}/draw/entrants")).await.is(404, "DRAW_NOT_FOUND");
    public("/v1/events/999/draw".to_owned()).await.is(404, "EVENT_NOT_FOUND");
    let raffle = Raffle::open(system, 1, json!({})).await;
    let path = format!("/events/{}/draw/beacon", raffle.event);
    system.ask_admin("PUT", &path, beacon).await.is(422, "INVALID_REQUEST");
    let token = system.staff("events:read events:write ops:write");
    let path = format!("/admin/v1/events/{}/draw", raffle.event);
    call(system.admin, "POST", &path, &token, &Value::Null).await.is(403, "FORBIDDEN");
    let far = json!({"type": "RAFFLE", "max_winners": 1, "title": "t", "internal_test": true,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z",
        "draw": {"beacon": {"chain_hash": "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971", "round": 123}}});
    let early = system.ask_admin("POST", "/events", far).await;
    early.is(422, "INVALID_REQUEST");
    assert_eq!(early.json()["errors"][0]["pointer"], "/draw/beacon/round", "{early:?}");
    system.is_sound().await;
}

/// Everybody valid wins, over many lanes, each with an amount of a range.
pub async fn everybody_wins(system: &System) {
    let reward = json!({"reward_type": "RANDOM", "min_amount": 5, "max_amount": 500});
    let event = system.open(json!({"type": "GENERAL", "reward": reward})).await;
    let mut amounts = BTreeSet::new();
    for member in 1..=40 {
        let answer = system.enter(event, member).await;
        answer.is(202, "APPLIED");
        let seen = system.row(member, &answer).await;
        assert_eq!(seen["status"], "WIN", "{seen}");
        amounts.insert(seen["reward_amount"].as_i64().expect("an amount"));
    }
    assert!(amounts.iter().all(|amount| (5..=500).contains(amount)) && amounts.len() > 10, "{amounts:?}");
    let lanes = format!("SELECT COUNT(*) AS n FROM event_lane WHERE event_id = {event} AND wins > 0");
    assert!(crate::sql::number(&system.database_url, &lanes).await > 1, "spread over lanes");
    system.is_sound().await;
}
