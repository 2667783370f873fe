//! The test vectors in DRAW.md are what this code gives. `DRAW_VECTORS=write` writes them anew.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use shared_domain::draw::{DrawMethod, NO_BEACON, Seed};
use shared_domain::{AmountRange, Budget, Reward, RewardKey, RewardPlace, TargetRange};
use support::{Draw, bytes, entrants, entry, verify};

const FENCE: &str = "```json\n";

fn draws() -> Vec<(&'static str, Draw)> {
    let plain = || Draw::new(2, 1, entrants([1; 5]));
    let weights = || Draw::new(2, 2, entrants([1, 3, 1, 1000, 2, 1]));
    let beacon = Draw { beacon: true, ..weights() };
    let late = Draw { frozen_at: "2023-08-23T15:15:10Z", ..beacon.clone() };
    let record = plain().record();
    let moved_up = record.alternates[0];
    let disqualified = Draw {
        // Rank 2, then who moved up to it: nobody is left for the place.
        disqualify: vec![record.winners[1].expect("a winner"), moved_up],
        ..plain()
    };
    vec![
        ("plain", plain()),
        ("weights", weights()),
        ("beacon", beacon),
        ("beacon, list frozen too late for it", late),
        ("arrival", Draw { method: DrawMethod::Arrival, ..plain() }),
        ("fewer entrants than winners", Draw::new(9, 3, entrants([1; 3]))),
        ("nobody took part", Draw { event: i64::MAX, ..Draw::new(2, 1, vec![]) }),
        ("disqualified until nobody is left", disqualified),
    ]
}

fn draw_vector(name: &str, draw: &Draw) -> Value {
    let record = draw.record();
    assert_eq!(verify(&record, &draw.list).failed().count(), 0, "{name}");
    let beacon = record.beacon_value().unwrap_or(NO_BEACON);
    let key = Seed::new(draw.seed).draw_key(draw.event, &draw.digest(), &beacon);
    json!({
        "name": name,
        "record": record,
        "entrants": draw.list.iter().map(|e| json!([e.entry_id(), e.weight()])).collect::<Vec<_>>(),
        "draw_key": hex::encode(key.as_bytes()),
        "tickets": draw.list.iter().map(|e| hex::encode(key.ticket(e))).collect::<Vec<_>>(),
    })
}

fn reward_vectors() -> Vec<Value> {
    let (event, secret) = (42, bytes("reward key"));
    let key = RewardKey::new(&secret);
    let range = AmountRange::new(10, 1_000).expect("range");
    let average = Reward::AverageRandom(TargetRange::new(range, 100).expect("target"));
    let place = |k| RewardPlace::Index(k, Budget { prizes: 12, given: k, paid: 0 });
    let random = |k| Reward::Random(range).amount(event, place(k), Some(&key)).expect("amount");
    let general =
        |n| Reward::Random(range).amount(event, RewardPlace::Entry(&entry(n)), Some(&key)).expect("amount");
    let base = |name: &str, kind: &str| json!({"name": name, "event_id": event, "reward_key": hex::encode(secret), "type": kind, "min": 10, "max": 1000});
    let mut by_average = base("average of 100 over 12 prizes", "AVERAGE_RANDOM");
    by_average["target"] = json!(100);
    by_average["prizes"] = json!(12);
    let amounts: Vec<i64> = average.by_rank(event, 12, Some(&key)).map(|a| a.expect("amount")).collect();
    assert_eq!(amounts.iter().sum::<i64>(), 1_200);
    by_average["amounts"] = json!(amounts);
    let mut by_index = base("random in one lane", "RANDOM");
    by_index["amounts"] = json!((0..6).map(random).collect::<Vec<_>>());
    let mut by_entry = base("random over many lanes", "GENERAL");
    by_entry["entries"] = json!((1..5).map(entry).collect::<Vec<_>>());
    by_entry["amounts"] = json!((1..5).map(general).collect::<Vec<_>>());
    vec![by_average, by_index, by_entry]
}

/// One line a field, so that people can read it and diffs stay small.
fn lines(vectors: &[Value]) -> String {
    let one = |v: &Value| {
        let fields =
            v.as_object().expect("object").iter().map(|(name, value)| format!("   \"{name}\": {value}"));
        format!("  {{\n{}\n  }}", fields.collect::<Vec<_>>().join(",\n"))
    };
    vectors.iter().map(one).collect::<Vec<_>>().join(",\n")
}

#[test]
fn the_page_shows_what_the_code_gives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("DRAW.md");
    let page = std::fs::read_to_string(&path).expect("DRAW.md");
    let (head, rest) = page.split_once(FENCE).expect("a json block");
    let (shown, tail) = rest.split_once("```").expect("its end");
    let draws: Vec<Value> = draws().iter().map(|(name, draw)| draw_vector(name, draw)).collect();
    let text = format!(
        "{{\n \"draws\": [\n{}\n ],\n \"rewards\": [\n{}\n ]\n}}\n",
        lines(&draws),
        lines(&reward_vectors())
    );
    if std::env::var("DRAW_VECTORS").is_ok_and(|v| v == "write") {
        std::fs::write(&path, format!("{head}{FENCE}{text}```{tail}")).expect("written");
        return;
    }
    let shown: Value = serde_json::from_str(shown).expect("JSON");
    let ours: Value = serde_json::from_str(&text).expect("JSON");
    for part in ["draws", "rewards"] {
        let vectors = |v: &Value| v[part].as_array().cloned().unwrap_or_default();
        let (shown, ours) = (vectors(&shown), vectors(&ours));
        assert_eq!(shown.len(), ours.len(), "number of {part}");
        shown.iter().zip(&ours).for_each(|(a, b)| assert_eq!(a, b, "{}", b["name"]));
    }
}
