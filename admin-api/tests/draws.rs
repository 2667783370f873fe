//! Draws by staff's requests: who may be drawn when, once, and what the totals say afterwards.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use admin_api::RewardTotals;
use serde_json::{Value, json};
use shared_domain::draw::DrawRecord;
use shared_runtime::clock::SystemRandom;
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{RedisArgs, RedisClient};
use support::{GRACE_MS, NOW, World, draft, world};

const SCOPES: &str = "events:read events:write draws:run ops:write";

fn raffle() -> Value {
    json!({
        "title": "r", "type": "RAFFLE", "internal_test": true, "max_winners": 3,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
        "claim_until": "2026-01-03T00:00:00Z", "draw": {"alternates": 2},
        "reward": {"reward_type": "FIXED", "fixed_amount": 5},
    })
}

async fn ask(w: &World, method: &str, path: &str, body: Value) -> (u16, Value) {
    w.send(method, path, Some(&w.staff(SCOPES)), None, &body).await
}

/// A raffle with twelve entrants in four lanes, closed; its path.
async fn closed(w: &World) -> (i64, String) {
    let id = w.scheduled(&raffle()).await;
    w.decide().await;
    for member in 0..12 {
        w.log.enter(id, (member % 4) as i32, member, NOW + 1, &[]);
    }
    let path = format!("/admin/v1/events/{id}");
    let (status, refused) = ask(w, "POST", &format!("{path}/draw"), Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("EVENT_NOT_CLOSED")), "{refused}");
    assert_eq!(ask(w, "POST", &format!("{path}/close"), Value::Null).await.0, 202);
    let (_, refused) = ask(w, "POST", &format!("{path}/draw"), Value::Null).await;
    assert!(refused["detail"].as_str().unwrap().ends_with("0, 1, 2, 3"), "{refused}");
    w.clock.advance(GRACE_MS);
    w.decide().await;
    (id, path)
}

async fn record(w: &World, path: &str) -> DrawRecord {
    let shown = w.get(&format!("{path}/draw")).await;
    assert_eq!(shown["phase"], shown["record"]["phase"]);
    serde_json::from_value(shown["record"].clone()).unwrap()
}

#[tokio::test]
async fn a_draw_is_run_once_and_shown_when_asked() {
    let w = world(None).await;
    let (id, path) = closed(&w).await;
    let draw = format!("{path}/draw");
    let hidden = json!({"publish": false});
    let token = w.staff(SCOPES);
    let first = w.send("POST", &draw, Some(&token), Some("k"), &hidden).await;
    assert_eq!(first.0, 202, "{}", first.1);
    assert_eq!(w.send("POST", &draw, Some(&token), Some("k"), &hidden).await, first, "the kept answer");
    let (one, other) = (w.admin.draw_runs(), w.admin.draw_runs());
    // Two processes at once.
    let (a, b) = tokio::join!(one.pass(), other.pass());
    a.and(b).unwrap();
    let decided = record(&w, &path).await;
    assert_eq!((decided.entrants, decided.winners.len(), decided.seed), (Some(12), 0, None));
    let stats = w.get(&format!("{path}/stats")).await;
    assert_eq!((&stats["won"], &stats["pending"]), (&json!(0), &json!(12)), "{stats}");
    let (status, again) = ask(&w, "POST", &format!("{path}/draw/publish"), Value::Null).await;
    assert_eq!((status, &again["draw_id"]), (202, &first.1["draw_id"]));
    w.admin.draw_runs().pass().await.unwrap();
    let published = record(&w, &path).await;
    assert_eq!((published.winners.len(), published.alternates.len()), (3, 2));
    assert_eq!(published.list_digest, decided.list_digest);
    assert_eq!(w.get(&path).await["status"], "DRAWN");
    let winners = w.get(&format!("{path}/winners")).await["winners"].clone();
    assert_eq!(winners.as_array().unwrap().len(), 3, "{winners}");
    assert_eq!(ask(&w, "POST", &draw, Value::Null).await, (202, json!({"draw_id": first.1["draw_id"]})));
    w.admin.draw_runs().pass().await.unwrap();
    assert_eq!(record(&w, &path).await, published, "a repeated draw adds nobody");
    let audit = w.get(&format!("/admin/v1/audit?event_id={id}&action=DRAW_REQUESTED")).await;
    assert_eq!(audit["audit"].as_array().unwrap().len(), 2, "{audit}");
    let steps = w.get(&format!("/admin/v1/audit?event_id={id}&actor=draw")).await;
    let steps: Vec<&str> =
        steps["audit"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(steps, ["DRAW_PUBLISHED", "DRAW_DECIDED", "DRAW_FROZEN"], "each once");
}

#[tokio::test]
async fn a_parked_event_is_not_drawn() {
    let w = world(None).await;
    let (id, path) = closed(&w).await;
    // A click behind the close that nobody can decide.
    w.log.enter(id, 1, 99, NOW + 2, &[]);
    w.park_next(id, 1).await;
    let (status, refused) = ask(&w, "POST", &format!("{path}/draw"), Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("EVENT_PARKED")), "{refused}");
    let waiting = w.get(&format!("{path}/draw")).await["progress"]["waiting_for"].clone();
    assert_eq!(waiting, json!(["lane event-raffle-topic/1: the event is parked"]));
}

#[tokio::test]
async fn nobody_moves_up_behind_claim_until() {
    let w = world(None).await;
    let (_, path) = closed(&w).await;
    assert_eq!(ask(&w, "POST", &format!("{path}/draw"), Value::Null).await.0, 202);
    w.admin.draw_runs().pass().await.unwrap();
    let drawn = record(&w, &path).await;
    let out = async |entry: String| {
        let path = format!("{path}/entries/{entry}/disqualify");
        ask(&w, "POST", &path, json!({"reason": "two accounts"})).await
    };
    let (status, command) = out(drawn.winners[1].unwrap().to_string()).await;
    assert_eq!(
        (status, &command["status"], &command["kind"]),
        (202, &json!("APPLIED"), &json!("DISQUALIFIED"))
    );
    let now = record(&w, &path).await;
    assert_eq!((now.winners[1], now.alternates.len()), (Some(drawn.alternates[0]), 1));
    let stats = w.get(&format!("{path}/stats")).await;
    let figures = [&stats["won"], &stats["lost"], &stats["rejected"], &stats["pending"], &stats["paid"]];
    assert_eq!(figures, [3, 8, 1, 0, 15].map(|n| json!(n)).each_ref(), "{stats}");
    w.clock.advance(2 * 24 * 3_600_000);
    let (status, refused) = out(drawn.winners[0].unwrap().to_string()).await;
    assert_eq!((status, &refused["code"]), (409, &json!("CLAIM_CLOSED")), "{refused}");
}

#[tokio::test]
async fn reward_totals_stand_in_redis_and_come_back_when_it_was_emptied() {
    let server = FakeRedis::start().unwrap();
    let redis = RedisClient::new(&RedisArgs::for_url(server.url()), Arc::new(SystemRandom)).unwrap();
    let w = world(None).await;
    let mut mugs = draft();
    mugs["reward"] = json!({"reward_type": "RANDOM", "min_amount": 4, "max_amount": 4});
    let event = w.scheduled(&mugs).await;
    let (raffle, path) = closed(&w).await;
    let lane = w.get(&format!("/admin/v1/events/{event}")).await["lanes"][0].as_i64().unwrap();
    for member in 0..5 {
        w.log.enter(event, lane as i32, member, NOW + 1, &[0]);
    }
    w.decide().await;
    let totals = RewardTotals::new(w.store.clone(), redis.clone(), w.clock.clone());
    totals.put_right().await.unwrap();
    let told = async |event: i64| {
        let keys = [format!("event:reward:count:{event}"), format!("event:reward:sum:{event}")];
        redis.mget_i64(&keys).await.unwrap()
    };
    assert_eq!((told(event).await, told(raffle).await), (vec![Some(3), Some(12)], vec![Some(0), Some(0)]));
    assert_eq!(totals.put_right().await.unwrap(), 0, "nothing has changed");
    assert_eq!(ask(&w, "POST", &format!("{path}/draw"), Value::Null).await.0, 202);
    w.admin.draw_runs().pass().await.unwrap();
    redis.del(&format!("event:reward:sum:{event}")).await.unwrap();
    assert_eq!(totals.put_right().await.unwrap(), 3, "two that changed, and one that was gone");
    assert_eq!((told(event).await, told(raffle).await), (vec![Some(3), Some(12)], vec![Some(3), Some(15)]));
}
