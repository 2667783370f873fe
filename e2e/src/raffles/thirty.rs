//! One raffle from its first entry to its last disqualification.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use shared_domain::EntryId;
use shared_domain::draw::DrawRecord;

use super::{Raffle, verify, verify_files};
use crate::http::{Answer, call};
use crate::system::System;

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
