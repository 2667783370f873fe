//! The relay over a real store and a log in memory.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use admin_api::Mirror;
use serde_json::{Value, json};
use shared_runtime::clock::SeededRandom;
use shared_runtime::embedded::FakeRedis;
use shared_runtime::redis::{LivePolicy, RedisArgs, RedisClient};
use support::{GRACE_MS, LANES, World, draft, open_to_all, world, world_with};
use tokio_util::sync::CancellationToken;

fn kinds(list: &[(i64, i32, String)]) -> Vec<&str> {
    list.iter().map(|(_, _, kind)| kind.as_str()).collect()
}

#[tokio::test]
async fn commands_of_an_event_keep_their_order_and_stock_waits_two_seconds() {
    let w = world(None).await;
    let id = w.scheduled(&draft()).await;
    let (status, _) =
        w.call("POST", &format!("/admin/v1/events/{id}/stock"), &json!({"option": "A", "add": 2})).await;
    assert_eq!(status, 202);
    let (status, closing) = w.call("POST", &format!("/admin/v1/events/{id}/close"), &Value::Null).await;
    assert_eq!(status, 202);
    let relay = w.admin.relay(w.log.clone());
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled"]);
    // The close's own moment has come, the stock's too: in order, both.
    w.clock.advance(1_999);
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled"]);
    w.clock.advance(1);
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled", "StockAdded"]);
    w.clock.advance(GRACE_MS);
    assert!(relay.pass().await.unwrap());
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled", "StockAdded", "Closed"]);
    // Published, and nobody has applied it: pending. A repeated close is the same command.
    let (_, again) = w.call("POST", &format!("/admin/v1/events/{id}/close"), &Value::Null).await;
    assert_eq!((&again["command_id"], &again["status"]), (&closing["command_id"], &json!("PENDING")));
}

#[tokio::test]
async fn a_held_back_row_holds_later_commands_and_no_other_event() {
    let w = world(None).await;
    let first = w.scheduled(&draft()).await;
    let relay = w.admin.relay(w.log.clone());
    assert!(relay.pass().await.unwrap());
    for _ in 0..2 {
        let path = format!("/admin/v1/events/{first}/stock");
        assert_eq!(w.call("POST", &path, &json!({"option": "A", "add": 1})).await.0, 202);
    }
    let other = w.scheduled(&open_to_all()).await;
    assert!(relay.pass().await.unwrap());
    let seen = w.log.kinds();
    assert_eq!(seen.len(), 1 + LANES as usize);
    assert!(seen[1..].iter().all(|(event, _, kind)| *event == other && kind == "Scheduled"));
    let mut lanes: Vec<i32> = seen[1..].iter().map(|(_, lane, _)| *lane).collect();
    lanes.sort_unstable();
    assert_eq!(lanes, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_log_that_fails_gets_the_record_later() {
    let w = world(None).await;
    w.scheduled(&draft()).await;
    let relay = w.admin.relay(w.log.clone());
    w.log.broken.store(true, Ordering::SeqCst);
    assert!(relay.pass().await.unwrap());
    w.log.broken.store(false, Ordering::SeqCst);
    assert!(relay.pass().await.unwrap());
    assert!(w.log.kinds().is_empty(), "the event waits after a failure");
    w.clock.advance(200);
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled"]);
}

/// A one-lane event whose lane is named.
async fn scheduled_in(w: &World, lane: i32) -> i64 {
    let mut draft = draft();
    draft["lane"] = lane.into();
    w.scheduled(&draft).await
}

#[tokio::test]
async fn events_that_fail_keep_no_other_from_its_turn_however_many_they_are() {
    let w = world(None).await;
    *w.log.broken_lane.lock().unwrap() = Some(0);
    // More than a pass looks at, and all before the one that could go.
    for _ in 0..510 {
        scheduled_in(&w, 0).await;
    }
    let good = scheduled_in(&w, 1).await;
    let relay = w.admin.relay(w.log.clone());
    for _ in 0..9 {
        assert!(relay.pass().await.unwrap());
    }
    assert_eq!(w.log.kinds(), [(good, 1, "Scheduled".to_owned())]);
}

#[tokio::test]
async fn a_lane_that_does_not_answer_holds_up_its_own_events_only() {
    let w = world(None).await;
    *w.log.silent_lane.lock().unwrap() = Some(0);
    let silent = scheduled_in(&w, 0).await;
    let stop = CancellationToken::new();
    let relay = tokio::spawn(w.admin.relay(w.log.clone()).run(stop.clone()));
    // Each is published although the first one's record is still on its way.
    for _ in 0..3 {
        let id = scheduled_in(&w, 1).await;
        while !w.log.kinds().iter().any(|(event, ..)| *event == id) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    assert!(w.log.kinds().iter().all(|(event, ..)| *event != silent));
    stop.cancel();
    w.log.release.cancel();
    relay.await.unwrap();
    assert_eq!(w.log.kinds().last().map(|(event, ..)| *event), Some(silent), "what has begun is finished");
}

#[tokio::test]
async fn live_limits_in_redis_become_what_the_database_says() {
    let w = world(None).await;
    let (one, two) = (w.scheduled(&draft()).await, w.scheduled(&open_to_all()).await);
    let limits = json!({"per_second": 7, "raffle_per_second": 8, "per_member_per_second": null});
    let (status, _) = w.call("PUT", &format!("/admin/v1/events/{one}/limits"), &limits).await;
    assert_eq!(status, 200);
    let server = FakeRedis::start().unwrap();
    let redis = RedisClient::new(&RedisArgs::for_url(server.url()), Arc::new(SeededRandom::new(2))).unwrap();
    // Redis was away when staff changed the first, and somebody wrote the second by hand.
    redis.write_limit(one, Some(1_000)).await.unwrap();
    redis.write_limit(two, Some(0)).await.unwrap();
    redis.write_high_traffic(two, Some(true)).await.unwrap();
    let mirror = Mirror::new(w.store.clone(), redis.clone());
    assert_eq!(mirror.put_right().await.unwrap(), 2, "events");
    let there = redis.read_live_policies(&[one, two]).await.unwrap();
    assert_eq!(there[&one], LivePolicy { limit: Some(7), raffle_limit: Some(8), high_traffic: None });
    assert_eq!(there[&two], LivePolicy::default());
    assert_eq!(mirror.put_right().await.unwrap(), 0);
}

#[tokio::test]
async fn of_two_relays_one_works_until_its_lease_ends() {
    let w = world(None).await;
    let (one, two) = (w.admin.relay(w.log.clone()), w.admin.relay(w.log.clone()));
    assert!(one.pass().await.unwrap());
    assert!(!two.pass().await.unwrap());
    w.scheduled(&draft()).await;
    assert!(!two.pass().await.unwrap());
    assert!(w.log.kinds().is_empty());
    w.clock.advance(5_001);
    assert!(two.pass().await.unwrap());
    assert!(!one.pass().await.unwrap());
    assert_eq!(w.log.kinds().len(), 1);
}

#[tokio::test]
async fn an_ended_event_is_closed_after_the_grace_and_only_once() {
    let w = world(None).await;
    let id = w.scheduled(&draft()).await;
    let relay = w.admin.relay(w.log.clone());
    w.clock.advance(24 * 3600 * 1000);
    for _ in 0..3 {
        assert!(relay.pass().await.unwrap());
    }
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled"]);
    let (_, event) = w.call("GET", &format!("/admin/v1/events/{id}"), &Value::Null).await;
    assert_eq!(event["status"], "CLOSED");
    w.clock.advance(GRACE_MS);
    for _ in 0..3 {
        assert!(relay.pass().await.unwrap());
    }
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled", "Closed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_at_once_keep_the_order_of_each_event() {
    const EVENTS: usize = 12;
    // The close could go out before the stock that was added first, were it not for the order.
    let w = world_with(None, None, 1_000).await;
    let (one, two) = (w.admin.relay(w.log.clone()), w.admin.relay(w.log.clone()));
    let mut ids = Vec::new();
    for _ in 0..EVENTS {
        let id = w.scheduled(&draft()).await;
        ids.push(id);
        for add in 1..=3 {
            let body = json!({"option": "A", "add": add});
            assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/stock"), &body).await.0, 202);
        }
        assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/close"), &Value::Null).await.0, 202);
    }
    for step in 0.. {
        assert!(step < 200, "{:?}", w.log.kinds());
        let mut left = 0;
        for id in &ids {
            left += w.store.unpublished(*id).await.unwrap().len();
        }
        if left == 0 {
            break;
        }
        // Every fourth step the lease has run out, and both are after it.
        w.clock.advance(if step % 4 == 3 { 5_300 } else { 700 });
        let (first, second) = tokio::join!(one.pass(), two.pass());
        assert!(first.unwrap() || second.unwrap(), "one of them works");
    }
    let mut orders: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for bytes in w.log.records.lock().unwrap().iter().map(|(_, bytes)| bytes) {
        let (event, kind) = shared_proto::decode(bytes).unwrap();
        // At least once: a repeat is the same command, which workers apply once.
        let text = format!("{kind:?}");
        let order = orders.entry(event).or_default();
        if !order.contains(&text) {
            order.push(text);
        }
    }
    assert_eq!(orders.len(), EVENTS);
    for (event, order) in orders {
        let kinds: Vec<&str> = order.iter().map(|text| text.split('(').next().unwrap_or_default()).collect();
        assert_eq!(kinds, ["Scheduled", "StockAdded", "StockAdded", "StockAdded", "Closed"], "event {event}");
        let added: Vec<bool> = (1..=3).map(|n| order[n].contains(&format!("add: {n}"))).collect();
        assert_eq!(added, [true; 3], "event {event}: {order:?}");
    }
}
