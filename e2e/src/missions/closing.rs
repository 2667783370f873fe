//! Completions while the event closes: what was reported in time is in, what was not counts nowhere.

use serde_json::{Value, json};
use shared_domain::Lifecycle;
use tokio::task::JoinSet;

use super::{steps, walked};
use crate::http::{request, send};
use crate::system::System;

/// Members complete a mission while staff close the event: whoever was told that it counts has an entry that is not
/// rejected, and nobody else has one.
pub async fn in_time_or_not_at_all(system: &System) {
    let event = system.open(json!({"type": "RAFFLE", "max_winners": 1, "missions": [steps(10)]})).await;
    let mut reports = JoinSet::new();
    let mut counted = Vec::new();
    let mut closing = None;
    for member in 0..300 {
        let headers = system.reporter() + "content-type: application/json\r\n";
        let bytes = request("POST", "/v1/activities", &headers, walked(member, 10).to_string().as_bytes());
        let addr = system.public;
        reports.spawn(async move { (member, send(addr, &bytes).await) });
        if member == 100 {
            closing = Some(system.command(&format!("/events/{event}/close"), Value::Null).await);
        }
        // Some hear of the close, some do not.
        if member % 20 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    while let Some(answer) = reports.join_next().await {
        let (member, answer) = answer.expect("no panic");
        assert_eq!(answer.status, 202, "{answer:?}");
        counted.push((member, answer.json()["events"] == json!([event])));
    }
    system.applied(&closing.expect("a command")).await;
    system.until("closed in every lane", async || lifecycle(system, event).await == Lifecycle::Closed).await;
    let told = counted.iter().filter(|(_, counts)| *counts).count();
    assert!(told > 100, "{told} counted");
    for (member, counts) in counted {
        let entries = system.entries_of(event, member).await;
        let status: Vec<&Value> = entries.iter().map(|entry| &entry["status"]).collect();
        let expected = json!("PENDING");
        assert_eq!(status, if counts { vec![&expected] } else { vec![] }, "member {member}: {entries:?}");
    }
}

/// A worker that stands still with a report in its lane holds the close up, under a named alarm; then the entry is in.
pub async fn waits_for_what_was_reported(system: &System) {
    let event = system.open(json!({"type": "RAFFLE", "max_winners": 1, "missions": [steps(10)]})).await;
    let [worker, _, admin, ..] = &system.processes[..] else { panic!("a process for each service") };
    worker.signal("STOP");
    assert_eq!(system.report(walked(1, 10)).await, [event]);
    let close = system.command(&format!("/events/{event}/close"), Value::Null).await;
    system
        .until("the alarm names the event", async || {
            let ready = admin.readiness().await.expect("an answer");
            ready.contains(&format!("close {event}")) && ready.contains("activity lane")
        })
        .await;
    assert_eq!(lifecycle(system, event).await, Lifecycle::Closing);
    assert_eq!(system.entries_of(event, 1).await, Vec::<Value>::new());
    worker.signal("CONT");
    system.applied(&close).await;
    assert_eq!(system.until_entered(event, 1).await["status"], "PENDING");
    system.until("closed in every lane", async || lifecycle(system, event).await == Lifecycle::Closed).await;
    system
        .until("the alarm is gone", async || !admin.readiness().await.expect("an answer").contains("close "))
        .await;
}

async fn lifecycle(system: &System, event: i64) -> Lifecycle {
    let row = system.store.event(event).await.expect("the database").expect("the event");
    Lifecycle::from_code(row.lifecycle).expect("a lifecycle")
}
