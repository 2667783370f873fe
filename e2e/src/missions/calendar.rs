//! What counts when: days in the event's own time zone, and its period.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::system::System;

/// A moment of a day some days ago, in UTC.
fn days_ago(days: u64, hour: u32, minute: u32, second: u32) -> DateTime<Utc> {
    let day = Utc::now().date_naive() - Days::new(days);
    day.and_time(NaiveTime::from_hms_opt(hour, minute, second).expect("a time")).and_utc()
}

fn came(member: i64, at: DateTime<Utc>) -> Value {
    json!({"member_id": member, "mission_type": "ATTENDANCE", "occurred_at": at.to_rfc3339()})
}

/// One second apart, across midnight in Seoul (15:00 UTC), are two days; a day apart in UTC may be one. Late reports, in
/// any order, twice, are harmless.
pub async fn attendance_across_midnight(system: &System) {
    let event = system
        .open(json!({
            "type": "FIRST_COME", "stock": [{"count": 10}], "time_zone": "Asia/Seoul",
            "missions": [{"title": "Come twice", "mission_type": "ATTENDANCE", "goal_value": 2}],
        }))
        .await;
    let (before, behind) = (days_ago(3, 14, 59, 59), days_ago(3, 15, 0, 0));
    // Member 1: the same evening and the next morning in Seoul are one day there, although two in UTC.
    for at in [behind, days_ago(2, 14, 59, 59), behind] {
        assert_eq!(system.report(came(1, at)).await, [event]);
    }
    // Member 2: one second, two days; the later one is reported first.
    for at in [behind, before] {
        assert_eq!(system.report(came(2, at)).await, [event]);
    }
    assert_eq!(system.until_entered(event, 2).await["status"], "WIN");
    assert_eq!(system.until_value(event, 2, 0, 2).await["is_completed"], true);
    assert_eq!(system.until_value(event, 1, 0, 1).await["is_completed"], false);
    assert_eq!(system.entries_of(event, 1).await, Vec::<Value>::new());
    assert_eq!(system.report(came(1, before)).await, [event]);
    assert_eq!(system.until_entered(event, 1).await["status"], "WIN");
}

/// Before it opens, while it is paused, when it happened outside the period, and behind the close nothing counts, and the
/// answer says so.
pub async fn outside_the_period(system: &System) {
    let mission = json!([{"title": "Come", "mission_type": "ATTENDANCE", "goal_value": 1}]);
    let started = Utc::now() - TimeDelta::hours(2);
    let event = system
        .open(json!({
            "type": "GENERAL", "missions": mission, "starts_at": started.to_rfc3339(),
        }))
        .await;
    let ahead = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
    let draft = json!({
        "title": "Later", "type": "GENERAL", "internal_test": true, "missions": mission, "starts_at": ahead,
        "ends_at": (Utc::now() + TimeDelta::hours(2)).to_rfc3339(),
    });
    let made = system.ask_admin("POST", "/events", draft).await;
    assert_eq!(made.status, 201, "{made:?}");
    // As staff see the draft again.
    assert_eq!(made.json()["missions"][0]["goal_value"], 1, "{made:?}");
    let later = made.json()["event_id"].as_i64().expect("an id");
    let scheduled = system.command(&format!("/events/{later}/schedule"), Value::Null).await;
    system.applied(&scheduled).await;
    system.until_status(later, "SCHEDULED").await;

    assert_eq!(system.report(came(1, started - TimeDelta::seconds(1))).await, Vec::<i64>::new());
    assert_eq!(system.report(came(2, started)).await, [event], "the other has not begun");
    let pause = system.command(&format!("/events/{event}/pause"), Value::Null).await;
    system.applied(&pause).await;
    system.until_status(event, "PAUSED").await;
    assert_eq!(system.report(came(3, Utc::now())).await, Vec::<i64>::new());
    let resume = system.command(&format!("/events/{event}/resume"), Value::Null).await;
    system.applied(&resume).await;
    system.until_status(event, "OPEN").await;
    assert_eq!(system.until_entered(event, 2).await["status"], "WIN");
    system.close(event).await;
    system.until_status(event, "CLOSED").await;
    assert_eq!(system.report(came(4, Utc::now())).await, Vec::<i64>::new());
    for member in [1, 3, 4] {
        assert_eq!(system.missions(event, member).await[0]["current_value"], 0, "member {member}");
        assert_eq!(system.entries_of(event, member).await, Vec::<Value>::new());
    }
}
