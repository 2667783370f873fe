//! Missions over HTTP, through every service, on both columns: what members did becomes entries.

mod calendar;
mod chances;
mod closing;
mod together;

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Answer, bearer, call};
use crate::my_entries::read_once;
use crate::system::System;

pub use calendar::{attendance_across_midnight, outside_the_period};
pub use chances::add_to_a_raffles_draw;
pub use closing::{in_time_or_not_at_all, waits_for_what_was_reported};
pub use together::{one_entry_whoever_races, own_word, several_at_once};

/// Room for a member who reports a lot at once, and still a limit.
pub const SETTINGS: [(&str, &str); 1] = [("ACTIVITY_RATE_LIMIT_PER_SECOND", "40")];

impl System {
    /// A trusted system's header line.
    pub fn reporter(&self) -> String {
        bearer(
            &self
                .key
                .issue_staff("steps-service", "activities:write", Duration::from_secs(600))
                .expect("token"),
        )
    }

    /// Somebody with these header lines reports.
    pub async fn report_as(&self, headers: &str, body: Value) -> Answer {
        let answer = call(self.public, "POST", "/v1/activities", headers, &body).await;
        let faults = self.public_contract.faults("POST", "/v1/activities", &answer);
        assert!(faults.is_empty(), "{}: {answer:?}", faults.join(", "));
        answer
    }

    /// A trusted system reports; it counts for these events.
    pub async fn report(&self, body: Value) -> Vec<i64> {
        let answer = self.report_as(&self.reporter(), body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let events = answer.json()["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|id| id.as_i64().expect("an id")).collect()
    }

    /// A member's missions of an event.
    pub async fn missions(&self, event: i64, member: i64) -> Vec<Value> {
        let answer = self.as_member(member, &format!("/v1/events/{event}/missions")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["missions"].as_array().cloned().expect("missions")
    }

    /// Waits until a member's value in a mission is this.
    pub async fn until_value(&self, event: i64, member: i64, mission: usize, value: i64) -> Value {
        let mut last = Value::Null;
        self.until("the value is counted", async || {
            last = self.missions(event, member).await[mission].clone();
            last["current_value"] == value
        })
        .await;
        last
    }

    /// A member's entries of an event, as its own list shows them.
    pub async fn entries_of(&self, event: i64, member: i64) -> Vec<Value> {
        let answer = self.as_member(member, "/v1/members/me/entries?limit=200").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let all = answer.json()["entries"].as_array().cloned().expect("entries");
        all.into_iter().filter(|entry| entry["event_id"] == event).collect()
    }

    /// Waits until a member has an entry in an event; the only one.
    pub async fn until_entered(&self, event: i64, member: i64) -> Value {
        let mut found = Vec::new();
        self.until("an entry is there", async || {
            found = self.entries_of(event, member).await;
            !found.is_empty()
        })
        .await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

/// A step mission.
fn steps(goal: i64) -> Value {
    json!({"title": "Walk", "mission_type": "STEP_COUNT", "goal_value": goal})
}

/// Steps so far.
fn walked(member: i64, value: i64) -> Value {
    json!({"member_id": member, "mission_type": "STEP_COUNT", "value": value})
}

/// A step mission is completed, the entry appears by itself and wins while there is stock; progress goes on behind the
/// goal, and nothing is earned twice.
pub async fn steps_become_an_entry(system: &System) {
    let event = system
        .open(json!({
            "type": "FIRST_COME", "stock": [{"option": "S", "count": 2}, {"option": "L", "count": 1}],
            "missions": [{"title": "Walk", "mission_type": "STEP_COUNT", "goal_value": 10_000, "option": "S"}],
            "reward": {"reward_type": "FIXED", "fixed_amount": 7},
        }))
        .await;
    let shown = system.missions(event, 1).await;
    assert_eq!(
        shown,
        [json!({
            "mission_id": 0, "title": "Walk", "mission_type": "STEP_COUNT", "goal_value": 10_000,
            "current_value": 0, "is_completed": false, "completed_at": null,
        })]
    );
    assert_eq!(system.report(walked(1, 9_999)).await, [event]);
    let short = system.until_value(event, 1, 0, 9_999).await;
    assert_eq!((short["is_completed"].clone(), short["completed_at"].clone()), (json!(false), Value::Null));
    assert_eq!(system.entries_of(event, 1).await, Vec::<Value>::new());

    assert_eq!(system.report(walked(1, 10_000)).await, [event]);
    let won = system.until_entered(event, 1).await;
    assert_eq!(
        (&won["status"], &won["option"], &won["rank"], &won["reward_amount"]),
        (&json!("WIN"), &json!("S"), &json!(1), &json!(7)),
        "{won}"
    );
    let done = system.until_value(event, 1, 0, 10_000).await;
    assert!(done["is_completed"] == true && done["completed_at"].is_string(), "{done}");
    // Behind the goal it goes on, and earns nothing more.
    system.report(walked(1, 15_000)).await;
    let beyond = system.until_value(event, 1, 0, 15_000).await;
    assert_eq!(
        (&beyond["is_completed"], &beyond["completed_at"]),
        (&done["is_completed"], &done["completed_at"])
    );

    // The second takes the last of its option; the third comes too late for it, although the other is left.
    for (member, status) in [(2, "WIN"), (3, "LOSE")] {
        system.report(walked(member, 12_000)).await;
        assert_eq!(system.until_entered(event, member).await["status"], status);
    }
    assert_eq!(system.entries_of(event, 1).await, [won]);
    read_once(system, &format!("/v1/events/{event}/missions"), "missions").await;
    // Somebody else's progress is nobody's business: each sees its own.
    assert_eq!(system.missions(event, 4).await[0]["current_value"], 0);
}
