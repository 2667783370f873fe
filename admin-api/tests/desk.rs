//! Winners, figures, the support desk and the audit log over real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use support::{NOW, World, draft, open_to_all, world};
use tokio::io::AsyncReadExt;

/// A sold-out event: `stock` members won, `more` lost.
async fn sold_out(w: &World, stock: i64, more: i64) -> i64 {
    let mut event = draft();
    event["stock"] = json!([{"option": "=cmd()", "count": stock}]);
    let id = w.scheduled(&event).await;
    w.decide().await;
    let lane = w.log.kinds().iter().find(|(event, ..)| *event == id).unwrap().1;
    for member in 1..=stock + more {
        w.log.enter(id, lane, member, NOW, &[]);
    }
    w.decide().await;
    id
}

#[tokio::test]
async fn winners_as_json_go_on_by_cursor() {
    let w = world(None).await;
    let id = sold_out(&w, 5, 3).await;
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = w.get(&format!("/admin/v1/events/{id}/winners?limit=2{cursor}")).await;
        let winners = page["winners"].as_array().unwrap();
        seen.extend(winners.iter().map(|v| (v["rank"].as_i64().unwrap(), v["member_id"].as_i64().unwrap())));
        assert!(winners.iter().all(|v| v["option"] == "=cmd()" && v["reward_amount"] == 1));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (1..=5).map(|n| (n, n)).collect::<Vec<_>>());

    // Over several lanes nobody is left out or comes twice, and the pages fill.
    let many = w.scheduled(&open_to_all()).await;
    w.decide().await;
    for member in 0..20 {
        w.log.enter(many, (member % 4) as i32, member, NOW, &[]);
    }
    w.decide().await;
    let (mut cursor, mut members) = (String::new(), Vec::new());
    loop {
        let page = w.get(&format!("/admin/v1/events/{many}/winners?limit=7{cursor}")).await;
        members.extend(page["winners"].as_array().unwrap().iter().map(|v| v["member_id"].as_i64().unwrap()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    members.sort_unstable();
    assert_eq!(members, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn winners_as_csv_are_whole_and_harmless() {
    let w = world(None).await;
    // More than two blocks.
    let id = sold_out(&w, 4_500, 10).await;
    let token = w.staff("events:read");
    let path = format!("/admin/v1/events/{id}/winners");
    let (status, head, text) =
        w.ask("GET", &path, Some(&token), &[("accept", "text/csv")], &Value::Null).await;
    assert_eq!(status, 200);
    assert!(head.to_ascii_lowercase().contains("content-type: text/csv"), "{head}");
    let mut lines = text.split("\r\n");
    assert_eq!(
        lines.next().unwrap(),
        "entry_id,member_id,rank,option,reward_amount,decided_at,phone_number,email,address"
    );
    for rank in 1..=4_500 {
        let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(
            cells[1..],
            [&*rank.to_string(), &rank.to_string(), "'=cmd()", "1", "2026-01-01T00:00:00.000Z", "", "", ""]
        );
    }
    assert_eq!(lines.collect::<Vec<_>>(), [""]);
    let audit = w.get(&format!("/admin/v1/audit?event_id={id}&action=WINNERS_EXPORTED")).await;
    assert_eq!(audit["audit"][0]["detail"], json!({"format": "csv", "contacts": false}));
}

#[tokio::test]
async fn figures_add_up_and_the_stream_tells_them_each_second() {
    let w = world(None).await;
    let id = sold_out(&w, 3, 2).await;
    let lane = w.log.kinds().iter().find(|(event, ..)| *event == id).unwrap().1;
    w.log.enter(id, lane, 77, NOW, &[]);
    let path = format!("/admin/v1/events/{id}/stats");
    let stats = w.get(&path).await;
    assert_eq!(
        stats,
        json!({
            "accepted": 6, "decided": 5, "won": 3, "lost": 2, "rejected": 0, "pending": 0,
            "remaining": {"=cmd()": 0}, "paid": 3, "backlog": 1, "entries_per_second": 0,
            "sold_out_at": "2026-01-01T00:00:00.000Z",
        })
    );
    let token = w.staff("events:read");
    let mut stream = w.open("GET", &format!("{path}/stream"), Some(&token), &[], &Value::Null).await;
    let mut text = String::new();
    let mut decided = false;
    while text.matches("event: stats\n").count() < 3 {
        let mut bytes = [0; 4096];
        let n =
            tokio::time::timeout(Duration::from_secs(30), stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(n > 0, "the stream ended: {text}");
        text += std::str::from_utf8(&bytes[..n]).unwrap();
        if !decided && text.contains("event: stats") {
            decided = true;
            w.decide().await;
        }
    }
    assert!(text.contains("\"decided\":6"), "{text}");
    let (status, problem) = w.call("GET", "/admin/v1/events/99/stats", &Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &json!("EVENT_NOT_FOUND")));
}

#[tokio::test]
async fn many_watchers_cost_what_one_does() {
    const WATCHERS: usize = 50;
    let w = world(None).await;
    let id = sold_out(&w, 1, 0).await;
    let token = w.staff("events:read");
    let path = format!("/admin/v1/events/{id}/stats/stream");
    let mut streams = Vec::new();
    for _ in 0..WATCHERS {
        streams.push(w.open("GET", &path, Some(&token), &[], &Value::Null).await);
    }
    for stream in &mut streams {
        let mut text = String::new();
        while text.matches("event: stats\n").count() < 2 {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "the stream ended: {text}");
            text += std::str::from_utf8(&bytes[..n]).unwrap();
        }
    }
    // One sample for each of them would be a hundred.
    let samples = w.log.asked.load(Ordering::SeqCst);
    assert!(samples < WATCHERS, "{samples} samples");
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let w = world(None).await;
    let id = w.created(&draft()).await;
    // The clock of this test stands in the past: the token outlives it, so it is advanced to the token's end.
    let token = w.key.issue_staff("ann", "events:read", Duration::from_secs(60)).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    w.clock.advance(i64::try_from(now.as_millis()).unwrap() + 61_000 - NOW);
    let path = format!("/admin/v1/events/{id}/stats/stream");
    let (status, head, _) = w.ask("GET", &path, Some(&token), &[], &Value::Null).await;
    assert_eq!(status, 200, "{head}");
}

#[tokio::test]
async fn the_support_desk_sees_why() {
    let w = world(None).await;
    let first = sold_out(&w, 1, 1).await;
    let second = sold_out(&w, 1, 1).await;
    let page = w.get("/admin/v1/members/2/entries?limit=1").await;
    let entry = &page["entries"][0];
    assert_eq!(
        (&entry["event_id"], &entry["status"], &entry["seq"]),
        (&json!(second), &json!("LOSE"), &json!(2))
    );
    assert!(entry["offset"].is_i64() && entry["lane"].is_i64() && entry["review_number"].is_null());
    let next = page["next_cursor"].as_str().unwrap();
    let page = w.get(&format!("/admin/v1/members/2/entries?limit=1&cursor={next}")).await;
    assert_eq!(page["entries"][0]["event_id"], first);
    let next = page["next_cursor"].as_str().unwrap();
    let page = w.get(&format!("/admin/v1/members/2/entries?limit=1&cursor={next}")).await;
    assert_eq!(page, json!({"entries": [], "next_cursor": null}));
    let won = w.get("/admin/v1/members/1/entries").await;
    assert_eq!((&won["entries"][0]["option"], &won["entries"][0]["rank"]), (&json!("=cmd()"), &json!(1)));
    assert_eq!(w.get("/admin/v1/members/-5/entries").await["entries"], json!([]));
    for bad in ["x", "07", "9223372036854775808"] {
        let (status, problem) =
            w.call("GET", &format!("/admin/v1/members/{bad}/entries"), &Value::Null).await;
        assert_eq!((status, &problem["code"]), (404, &json!("MEMBER_NOT_FOUND")), "{bad}");
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what_and_how_it_ended() {
    let w = world(None).await;
    let id = w.scheduled(&draft()).await;
    w.decide().await;
    let stock = format!("/admin/v1/events/{id}/stock");
    let (_, added) = w.call("POST", &stock, &json!({"option": "A", "add": 2})).await;
    let bob = w.key.issue_staff("bob", "events:write", Duration::from_secs(60)).unwrap();
    assert_eq!(
        w.send("POST", &format!("/admin/v1/events/{id}/pause"), Some(&bob), None, &json!({})).await.0,
        202
    );
    w.decide().await;
    w.clock.advance(2_000);
    w.decide().await;
    // Refused in the log: it stands behind the close.
    assert_eq!(w.call("POST", &stock, &json!({"option": "A", "add": 1})).await.0, 202);
    w.decide().await;
    let closed = shared_proto::encode(
        id,
        shared_proto::v1::log_record::Kind::Closed(shared_proto::v1::Closed { command_id: vec![5; 16] }),
    );
    let lane = w.log.kinds()[0].1;
    w.log.records.lock().unwrap().push((lane, closed));
    w.clock.advance(2_000);
    w.decide().await;
    let line = |l: &Value| {
        let text = |name: &str| l[name].as_str().unwrap().to_owned();
        (text("actor"), text("action"), text("outcome"))
    };
    let all = w.get(&format!("/admin/v1/audit?event_id={id}")).await;
    let mut seen: Vec<_> = all["audit"].as_array().unwrap().iter().map(line).collect();
    seen.reverse();
    let say =
        |actor: &str, action: &str, outcome: &str| (actor.to_owned(), action.to_owned(), outcome.to_owned());
    assert_eq!(
        seen,
        [
            say("ann", "CREATED", "ACCEPTED"),
            say("ann", "SCHEDULED", "ACCEPTED"),
            say("ann", "SCHEDULED", "APPLIED"),
            say("ann", "STOCK_ADDED", "ACCEPTED"),
            say("bob", "PAUSED", "ACCEPTED"),
            say("ann", "STOCK_ADDED", "APPLIED"),
            say("ann", "STOCK_ADDED", "ACCEPTED"),
            say("ann", "STOCK_ADDED", "REJECTED"),
        ]
    );
    let newest = &all["audit"][0];
    assert_eq!(newest["detail"]["reason"], "CLOSED");
    assert!(newest["request_id"].is_string() && newest["at"].is_string());
    let command = newest["detail"]["command_id"].as_str().unwrap();
    let refused = w.get(&format!("/admin/v1/commands/{command}")).await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("REJECTED"), &json!("CLOSED")));
    let applied = w.get(&format!("/admin/v1/commands/{}", added["command_id"].as_str().unwrap())).await;
    assert_eq!(applied["status"], "APPLIED");

    let count = async |query: &str| {
        w.get(&format!("/admin/v1/audit?{query}")).await["audit"].as_array().unwrap().len()
    };
    assert_eq!(count("actor=bob").await, 1);
    assert_eq!(count("action=STOCK_ADDED").await, 4);
    assert_eq!(count("from=2026-01-01T00:00:00Z&until=2026-01-01T00:00:01Z").await, 5);
    assert_eq!(count("event_id=99").await, 0);
    let page = w.get("/admin/v1/audit?limit=3").await;
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        w.get(&format!("/admin/v1/audit?limit=200&cursor={next}")).await["audit"].as_array().unwrap().len(),
        5
    );
    for bad in ["from=yesterday", "until=1", "event_id=x", "cursor=x", "who=me"] {
        assert_eq!(w.call("GET", &format!("/admin/v1/audit?{bad}"), &Value::Null).await.0, 422, "{bad}");
    }
}
