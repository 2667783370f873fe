//! Whoever reports, however many at once and however often: each completion earns once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{steps, walked};
use crate::http::{request, send};
use crate::system::System;

/// Friends count once each, oneself never; two missions completed at the same time are one entry where a member has one,
/// and one each where there may be several; twenty reports at once complete once.
pub async fn one_entry_whoever_races(system: &System) {
    let friends = json!({"title": "Bring three", "mission_type": "FRIEND_INVITE", "goal_value": 3});
    let single = system
        .open(json!({"type": "FIRST_COME", "stock": [{"count": 50}], "missions": [friends, steps(100)]}))
        .await;
    let several = system
        .open(json!({
            "type": "GENERAL", "duplicate_participation_allowed": true, "missions": [friends, steps(100)],
        }))
        .await;
    let invited = |friend: i64| json!({"member_id": 1, "mission_type": "FRIEND_INVITE", "friend_id": friend});
    for friend in [2, 3, 2, 2] {
        assert_eq!(system.report(invited(friend)).await, [single, several]);
    }
    system.report_as(&system.reporter(), invited(1)).await.is(422, "INVALID_REQUEST");
    assert_eq!(system.until_value(single, 1, 0, 2).await["is_completed"], false);

    // The third friend and the last step, ten times each, all at once.
    let mut reports = JoinSet::new();
    for n in 0..20 {
        let body = if n % 2 == 0 { invited(4) } else { walked(1, 100 + n) };
        let bytes = request(
            "POST",
            "/v1/activities",
            &(system.reporter() + "content-type: application/json\r\n"),
            body.to_string().as_bytes(),
        );
        let addr = system.public;
        reports.spawn(async move { send(addr, &bytes).await });
    }
    while let Some(answer) = reports.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    for event in [single, several] {
        system.until_value(event, 1, 0, 3).await;
        system
            .until("both are completed", async || {
                system.missions(event, 1).await.iter().all(|mission| mission["is_completed"] == true)
            })
            .await;
    }
    system.until("each mission has its entry", async || system.entries_of(several, 1).await.len() == 2).await;
    assert_eq!(system.entries_of(single, 1).await.len(), 1);
    // One's own press is the entry that is there.
    let pressed = system.enter(single, 1).await;
    let entry = &system.entries_of(single, 1).await[0];
    assert_eq!(pressed.text("entry_id"), entry["entry_id"].as_str().expect("an id"), "{pressed:?}");
    let ids: BTreeSet<String> =
        system.entries_of(several, 1).await.iter().map(|entry| entry["entry_id"].to_string()).collect();
    assert_eq!(ids.len(), 2);
}

/// A member's own word counts where the mission takes it, for that member alone.
pub async fn own_word(system: &System) {
    let mut own = steps(100);
    own["self_reported"] = json!(true);
    let trusting = system.open(json!({"type": "GENERAL", "missions": [own]})).await;
    let strict = system.open(json!({"type": "GENERAL", "missions": [steps(100)]})).await;
    let mine = json!({"mission_type": "STEP_COUNT", "value": 150});
    let answer = system.report_as(&system.member(5), mine.clone()).await;
    assert_eq!((answer.status, answer.json()["events"].clone()), (202, json!([trusting])), "{answer:?}");
    assert_eq!(system.until_entered(trusting, 5).await["status"], "WIN");
    assert_eq!(system.missions(strict, 5).await[0]["current_value"], 0);
    system.report_as(&system.member(5), walked(6, 150)).await.is(403, "FORBIDDEN");
    let came = json!({"mission_type": "ATTENDANCE"});
    let nowhere = system.report_as(&system.member(5), came).await;
    assert_eq!((nowhere.status, nowhere.json()["events"].clone()), (202, json!([])), "{nowhere:?}");
    system.close(trusting).await;
    system.until_status(trusting, "CLOSED").await;
    system.report_as(&system.member(5), mine).await.is(403, "FORBIDDEN");
    assert_eq!(system.report(walked(6, 150)).await, [strict]);
    assert_eq!(system.until_entered(strict, 6).await["status"], "WIN");
}

/// Many at once: each is judged by itself, in order; the limit of a member is each member's own.
pub async fn several_at_once(system: &System) {
    let event =
        system.open(json!({"type": "FIRST_COME", "stock": [{"count": 3}], "missions": [steps(10)]})).await;
    let id = "5f0c8a64-7d1e-4b0a-9c3b-6a1f2e4d5c7b";
    let mut items: Vec<Value> = (100..597).map(|member| walked(member, 5)).collect();
    items.insert(0, json!({"activity_id": id, "member_id": 7, "mission_type": "STEP_COUNT", "value": 10}));
    items.push(json!({"activity_id": id, "member_id": 8, "mission_type": "STEP_COUNT", "value": -1}));
    items.push(json!({"member_id": 9, "mission_type": "SWIM", "value": 1}));
    assert_eq!(items.len(), 500);
    let answer = system.report_as(&system.reporter(), json!({"activities": items})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let results = answer.json()["results"].as_array().cloned().expect("results");
    assert_eq!(results.len(), 500);
    assert_eq!(results[0], json!({"activity_id": id, "events": [event]}));
    assert!(results[1..498].iter().all(|r| r["events"] == json!([event]) && r.get("code").is_none()));
    assert_eq!(
        (&results[498]["activity_id"], &results[498]["code"], &results[498]["errors"][0]["pointer"]),
        (&json!(id), &json!("INVALID_REQUEST"), &json!("/value"))
    );
    assert_eq!(
        (&results[499]["code"], &results[499]["errors"][0]["pointer"]),
        (&json!("INVALID_REQUEST"), &json!("/mission_type"))
    );
    assert_eq!(system.until_entered(event, 7).await["status"], "WIN");
    assert_eq!(system.until_value(event, 596, 0, 5).await["is_completed"], false);
    assert_eq!(system.missions(event, 8).await[0]["current_value"], 0);

    // A hundred reports of one member are more than its limit takes at once; another member's are not touched by it.
    let mut flood: Vec<Value> = (0..100).map(|n| walked(20, n)).collect();
    flood.push(walked(21, 1));
    let answer = system.report_as(&system.reporter(), json!({"activities": flood})).await;
    let results = answer.json()["results"].as_array().cloned().expect("results");
    let refused =
        results[..100].iter().filter(|r| r["code"] == "TRY_AGAIN" && r["events"] == json!([])).count();
    assert!((1..100).contains(&refused), "{refused} of 100: {answer:?}");
    assert_eq!(results[100]["events"], json!([event]));

    for (count, status) in [(0, 422), (501, 422)] {
        let items = vec![walked(1, 1); count];
        let answer = system.report_as(&system.reporter(), json!({"activities": items})).await;
        answer.is(status, "INVALID_REQUEST");
    }
    system.report_as(&system.member(5), json!({"activities": [walked(5, 1)]})).await.is(403, "FORBIDDEN");
}
