//! The relay over a real store and a log in memory.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use support::{GRACE_MS, LANES, draft, open_to_all, world, world_with};

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
    assert!(relay.pass().await.is_err());
    w.log.broken.store(false, Ordering::SeqCst);
    assert!(relay.pass().await.unwrap());
    assert_eq!(kinds(&w.log.kinds()), ["Scheduled"]);
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
    for _ in 0..EVENTS {
        let id = w.scheduled(&draft()).await;
        for add in 1..=3 {
            let body = json!({"option": "A", "add": add});
            assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/stock"), &body).await.0, 202);
        }
        assert_eq!(w.call("POST", &format!("/admin/v1/events/{id}/close"), &Value::Null).await.0, 202);
    }
    for step in 0.. {
        assert!(step < 200, "{:?}", w.log.kinds());
        if w.store.unpublished().await.unwrap().is_empty() {
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
