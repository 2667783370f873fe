//! Raffles over HTTP, through every service, on both columns: entries, close, draw, and what anyone can recompute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use shared_domain::EntryId;
use shared_domain::draw::{Chains, DrawRecord, ENTRANTS_HEADER, Entrant, Report, Verifier};
use tokio::task::JoinSet;

use crate::http::{Answer, call, request, send};
use crate::process::{binary, run};
use crate::system::System;

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

fn ids(heard: &BTreeMap<i64, Answer>) -> BTreeSet<String> {
    heard.values().map(|answer| answer.text("entry_id")).collect()
}

/// 30 winners of many, with the flag off, on, and off again; hidden until shown; verified; disqualified; drawn once.
pub async fn thirty_of_many(system: &System) {
    let reward =
        json!({"reward_type": "AVERAGE_RANDOM", "min_amount": 10, "max_amount": 90, "target_average": 40});
    let parts = json!({"reward": reward, "draw": {"alternates": 5}});
    let raffle = Raffle::open(system, 30, parts).await;
    let event = system.event(raffle.event).await;
    let before = raffle.record().await;
    assert_eq!(event.text("draw_commitment"), before.commitment.to_string(), "{event:?}");
    assert_eq!((before.seed, before.entrants, before.winners.len()), (None, None, 0));

    let heard = flag_flips(&raffle).await;
    let pending = raffle.seen(1, &heard[&1]).await;
    assert_eq!(pending["status"], "PENDING", "{pending}");
    raffle.draw(true).await.is(409, "EVENT_NOT_CLOSED");
    let path = format!("/v1/events/{}/draw/entrants", raffle.event);
    call(system.public, "GET", &path, "", &Value::Null).await.is(404, "DRAW_NOT_FROZEN");
    system.close(raffle.event).await;
    system.enter(raffle.event, 5_000).await.is(409, "EVENT_CLOSED");

    decided_and_hidden(&raffle, &heard).await;
    shown(&raffle, &heard).await;
    moved_up(&raffle, &heard).await;
    drawn_once(&raffle).await;
    system.is_sound().await;
}

/// 201 with a row, 202 with the flag, and no entry is lost or doubled, whatever the flag does meanwhile.
async fn flag_flips(raffle: &Raffle<'_>) -> BTreeMap<i64, Answer> {
    let system = raffle.system;
    let mut heard = raffle.enter(1..=30).await;
    for (member, answer) in &heard {
        answer.is(201, "APPLIED_RAFFLE");
        assert_eq!(answer.text("status"), "PENDING", "member {member}: {answer:?}");
    }
    let again = system.enter(raffle.event, 1).await;
    again.is(200, "ALREADY_APPLIED");
    assert_eq!(
        (again.text("entry_id"), again.text("status")),
        (heard[&1].text("entry_id"), "PENDING".into())
    );
    let flips = async {
        for enabled in [true, false, true] {
            raffle.high_traffic(enabled).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let presses = async {
        let mut heard = BTreeMap::new();
        for first in [31, 61, 91] {
            // Each of them twice: a double click is one entry.
            let twice = (first..first + 30).flat_map(|member| [member, member]);
            heard.extend(raffle.enter(twice).await);
        }
        heard
    };
    let ((), more) = tokio::join!(flips, presses);
    for (member, answer) in &more {
        let codes = [(201, "APPLIED_RAFFLE"), (202, "APPLIED_RAFFLE"), (200, "ALREADY_APPLIED")];
        assert!(codes.contains(&(answer.status, &*answer.text("code"))), "member {member}: {answer:?}");
    }
    heard.extend(more);
    let mut member = 1_000;
    system
        .until("202 with the flag", async || {
            member += 1;
            let answer = system.enter(raffle.event, member).await;
            let status = answer.status;
            heard.insert(member, answer);
            status == 202
        })
        .await;
    for (member, answer) in &heard {
        assert_eq!(raffle.seen(*member, answer).await["status"], "PENDING", "member {member}");
    }
    heard
}

/// DECIDED without being shown: the list is public, the outcome is nobody's.
async fn decided_and_hidden(raffle: &Raffle<'_>, heard: &BTreeMap<i64, Answer>) {
    let system = raffle.system;
    let publish = raffle.path("/draw/publish");
    system.ask_admin("POST", &publish, Value::Null).await.is(409, "DRAW_NOT_DECIDED");
    let asked = raffle.draw(false).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let record = raffle.until_phase("DECIDED").await;
    assert_eq!(record.draw_id.to_string(), asked.text("draw_id"));
    assert_eq!((record.entrants, record.seed), (Some(heard.len() as u64), None));
    assert!(record.winners.is_empty() && record.alternates.is_empty() && record.list_digest.is_some());
    let list = raffle.list().await;
    let listed: BTreeSet<String> =
        list.lines().skip(1).map(|line| line.split(',').next().expect("an id").to_owned()).collect();
    assert_eq!(listed, ids(heard), "everybody who was told so is in the list, and nobody else");
    assert_eq!(list.lines().count(), heard.len() + 1, "once each");
    for (member, answer) in heard.iter().take(40) {
        let seen = raffle.seen(*member, answer).await;
        assert_eq!((&seen["status"], seen.get("rank")), (&json!("PENDING"), None), "{seen}");
    }
    let winners = system.ask_admin("GET", &raffle.path("/winners"), Value::Null).await;
    assert_eq!(winners.json()["winners"], json!([]));
    let entry = record_entry(heard);
    raffle.disqualify(&entry).await.is(409, "DRAW_NOT_PUBLISHED");
}

fn record_entry(heard: &BTreeMap<i64, Answer>) -> EntryId {
    EntryId::parse(&heard.values().next().expect("one").text("entry_id")).expect("an id")
}

/// PUBLISHED: everybody at once sees what the record says.
async fn shown(raffle: &Raffle<'_>, heard: &BTreeMap<i64, Answer>) {
    let system = raffle.system;
    let published = system.ask_admin("POST", &raffle.path("/draw/publish"), Value::Null).await;
    assert_eq!(published.status, 202, "{published:?}");
    raffle.until_phase("PUBLISHED").await;
    let record = raffle.verifies().await;
    assert_eq!((record.winners.len(), record.alternates.len()), (30, 5));
    system.until_status(raffle.event, "DRAWN").await;
    let ranks: BTreeMap<String, usize> =
        record.winners.iter().flatten().zip(1..).map(|(id, rank)| (id.to_string(), rank)).collect();
    let waiting: BTreeMap<String, usize> =
        record.alternates.iter().zip(1..).map(|(id, place)| (id.to_string(), place)).collect();
    let mut paid = 0;
    for (member, answer) in heard {
        let id = answer.text("entry_id");
        let seen = raffle.seen(*member, answer).await;
        let expected = if ranks.contains_key(&id) { "WIN" } else { "LOSE" };
        assert_eq!(seen["status"], expected, "{seen}");
        assert_eq!(seen.get("rank"), ranks.get(&id).map(|rank| json!(rank)).as_ref(), "{seen}");
        assert_eq!(seen.get("alternate"), waiting.get(&id).map(|place| json!(place)).as_ref(), "{seen}");
        assert_eq!(system.entry(answer).await.json()["status"], expected);
        paid += seen["reward_amount"].as_i64().unwrap_or(0);
    }
    assert_eq!(paid, 30 * 40, "the average over all winners is the target");
    let stats = system.ask_admin("GET", &raffle.path("/stats"), Value::Null).await.json();
    let losers = heard.len() as i64 - 30;
    assert_eq!(
        [&stats["won"], &stats["lost"], &stats["pending"], &stats["paid"]],
        [30, losers, 0, 1_200].map(|n| json!(n)).each_ref(),
        "{stats}"
    );
    let winners = system.ask_admin("GET", &raffle.path("/winners?limit=200"), Value::Null).await.json();
    assert_eq!(winners["winners"].as_array().map(Vec::len), Some(30), "{winners}");
    forgeries_are_named(&record, &raffle.list().await).await;
}

/// A tampered list, winner, seed or order of alternates is named.
async fn forgeries_are_named(record: &DrawRecord, list: &str) {
    type Forge = fn(&mut DrawRecord);
    let forgeries: [(&str, Forge); 4] = [
        ("winners", |record| record.winners.swap(0, 1)),
        ("alternates", |record| record.alternates.swap(0, 1)),
        ("commitment", |record| record.seed.as_mut().expect("a seed").0[0] ^= 1),
        ("list", |record| record.entrants = record.entrants.map(|n| n + 1)),
    ];
    for (name, forge) in forgeries {
        let mut forged = record.clone();
        forge(&mut forged);
        let (code, text) = verify_files(&forged, list).await;
        assert!(code == Some(1) && text.contains(&format!("FAILED       {name}")), "{name}: {text}");
    }
    let mut lines: Vec<&str> = list.lines().collect();
    lines.swap(1, 2);
    let (code, text) = verify_files(record, &(lines.join("\n") + "\n")).await;
    assert!(code == Some(1) && text.contains("FAILED       list"), "{text}");
}

/// The next alternate takes rank and amount; at the end of the line the place stays empty.
async fn moved_up(raffle: &Raffle<'_>, heard: &BTreeMap<i64, Answer>) {
    let before = raffle.record().await;
    let by_id: BTreeMap<String, (i64, &Answer)> =
        heard.iter().map(|(member, answer)| (answer.text("entry_id"), (*member, answer))).collect();
    let third = before.winners[2].expect("a winner");
    let (member, accepted) = by_id[&third.to_string()];
    let amount = raffle.seen(member, accepted).await["reward_amount"].clone();
    let done = raffle.disqualify(&third).await;
    assert_eq!((done.status, done.text("status")), (202, "APPLIED".to_owned()), "{done:?}");
    raffle.disqualify(&third).await.is(409, "ALREADY_DISQUALIFIED");
    let out = raffle.seen(member, accepted).await;
    assert_eq!((&out["status"], &out["reason"]), (&json!("REJECTED"), &json!("DISQUALIFIED")), "{out}");
    let next = before.alternates[0];
    let (heir, heirs) = by_id[&next.to_string()];
    let seen = raffle.seen(heir, heirs).await;
    assert_eq!((&seen["status"], &seen["rank"], &seen["reward_amount"]), (&json!("WIN"), &json!(3), &amount));
    let (behind, behinds) = by_id[&before.alternates[1].to_string()];
    let system = raffle.system;
    system
        .until("the next in line", async || raffle.seen(behind, behinds).await["alternate"] == json!(1))
        .await;

    // The rest of the line goes, and one more: nobody is left for it.
    for alternate in &before.alternates[1..] {
        assert_eq!(raffle.disqualify(alternate).await.status, 202);
    }
    let first = before.winners[0].expect("a winner");
    assert_eq!(raffle.disqualify(&first).await.status, 202);
    raffle.disqualify(&EntryId::from_bytes([7; 16])).await.is(404, "ENTRY_NOT_FOUND");
    system.until("the record", async || raffle.record().await.disqualified.len() == 6).await;
    let record = raffle.verifies().await;
    assert_eq!((record.winners[0], record.winners[2]), (None, Some(next)));
    assert_eq!(record.disqualified[0].replaced_by, Some(next));
    assert!(record.alternates.is_empty() && record.disqualified[5].replaced_by.is_none());
    let mut forged = record.clone();
    forged.disqualified.remove(0);
    let report = verify(&forged, &raffle.list().await);
    assert!(report.failed().count() > 0, "a history that leaves one out is named");
}

/// A draw asked for again, or twice at once, adds nobody.
async fn drawn_once(raffle: &Raffle<'_>) {
    let before = raffle.record().await;
    let (one, other) = tokio::join!(raffle.draw(true), raffle.draw(false));
    assert_eq!((one.status, other.status), (202, 202));
    assert_eq!(one.text("draw_id"), other.text("draw_id"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(raffle.record().await, before);
    let winners =
        raffle.system.ask_admin("GET", &raffle.path("/winners?limit=200"), Value::Null).await.json();
    assert_eq!(winners["winners"].as_array().map(Vec::len), Some(29), "{winners}");
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

/// A chain whose round 123, of which the signature is known, is made when the test wants it: a drand signature depends on
/// the round's number, not on its time.
pub struct TestChain {
    /// For `DRAND_CHAINS_FILE`.
    pub json: String,
    /// Its hash.
    pub hash: String,
    /// Of round 123.
    pub signature: &'static str,
}

impl TestChain {
    /// Round 123 is made in `seconds` from now.
    pub fn with_round_in(seconds: u64) -> Self {
        use sha2::{Digest, Sha256};
        let key = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let genesis = i64::try_from(now + seconds).expect("fits") - 122 * 3;
        let bytes: Vec<u8> = (0..key.len() / 2)
            .map(|i| u8::from_str_radix(&key[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let hash = Sha256::new()
            .chain_update(3_u32.to_be_bytes())
            .chain_update(genesis.to_be_bytes())
            .chain_update(&bytes)
            .chain_update([7; 32])
            .chain_update("test")
            .finalize();
        let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        let group: String = "07".repeat(32);
        let json = json!([{"public_key": key, "period": 3, "genesis_time": genesis, "hash": hash,
            "groupHash": group, "schemeID": "bls-unchained-g1-rfc9380", "metadata": {"beaconID": "test"}}]);
        Self {
            json: json.to_string(),
            hash,
            signature: "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92",
        }
    }
}

/// The list is frozen for the named round by itself; the draw waits for the round, and takes no other.
pub async fn waits_for_its_beacon(system: &System, chain: &TestChain) {
    let ends_at = SystemTime::now() + Duration::from_secs(25);
    let beacon = json!({"chain_hash": chain.hash, "round": 123});
    let parts = json!({
        "ends_at": humantime::format_rfc3339_seconds(ends_at).to_string(), "draw": {"beacon": beacon, "alternates": 1},
    });
    let raffle = Raffle::open(system, 2, parts).await;
    raffle.enter(1..=9).await;
    system.close(raffle.event).await;
    let record = raffle.until_phase("FROZEN").await;
    assert_eq!(record.entrants, Some(9));
    raffle.draw(true).await.is(409, "BEACON_PENDING");
    let path = raffle.path("/draw/beacon");
    let shown = system.ask_admin("GET", &raffle.path("/draw"), Value::Null).await.json();
    assert_eq!(shown["progress"]["waiting_for"], json!(["beacon round 123"]), "{shown}");
    let put = async |round: u64, signature: &str| {
        system.ask_admin("PUT", &path, json!({"round": round, "signature": signature})).await
    };
    put(124, chain.signature).await.is(422, "INVALID_REQUEST");
    put(123, &chain.signature.replace("b7", "b6")).await.is(422, "INVALID_REQUEST");
    raffle.draw(true).await.is(409, "BEACON_PENDING");
    for _ in 0..2 {
        assert_eq!(put(123, chain.signature).await.status, 200);
    }
    assert_eq!(raffle.draw(true).await.status, 202);
    let record = raffle.until_phase("PUBLISHED").await;
    let list = raffle.list().await;
    let chains = Chains::with(&chain.json).expect("chains");
    let mut verifier = Verifier::new(&record, &chains);
    list.lines().skip(1).for_each(|line| verifier.push(&Entrant::parse(line).expect(line)));
    let report = verifier.finish();
    assert_eq!((report.failed().count(), report.not_checked().count()), (0, 0), "{report:?}");
    assert_eq!(record.trust, shared_domain::draw::Trust::Beacon);
    assert!(record.beacon.is_some_and(|beacon| beacon.randomness.is_some()));
    system.is_sound().await;
}
