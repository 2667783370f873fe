//! Missions that add chances in a raffle.

use std::collections::BTreeMap;

use serde_json::json;

use crate::raffles::Raffle;
use crate::system::System;

/// A mission with a weight makes the entry where there is none, adds its chances once, and the list, its digest and the draw
/// know them.
pub async fn add_to_a_raffles_draw(system: &System) {
    let missions = json!([
        {"title": "Come", "mission_type": "ATTENDANCE", "goal_value": 1, "weight": 4},
        {"title": "Walk", "mission_type": "STEP_COUNT", "goal_value": 10, "weight": 95},
        {"title": "Invite", "mission_type": "FRIEND_INVITE", "goal_value": 1},
    ]);
    let raffle = Raffle::open(system, 1, json!({"missions": missions})).await;
    let event = raffle.event;
    // 1 presses; 2 presses and comes; 3 only comes, and walks, twice; 4 invites a friend.
    let pressed = raffle.enter([1, 2]).await;
    let came = |member: i64| json!({"member_id": member, "mission_type": "ATTENDANCE"});
    let walked = |value: i64| json!({"member_id": 3, "mission_type": "STEP_COUNT", "value": value});
    let invited = json!({"member_id": 4, "mission_type": "FRIEND_INVITE", "friend_id": 9});
    for body in [came(2), came(3), came(3), walked(10), walked(20), invited] {
        assert_eq!(system.report(body).await, [event]);
    }
    let mut entries = BTreeMap::new();
    for member in [1, 2, 3, 4] {
        let entry = system.until_entered(event, member).await;
        assert_eq!(entry["status"], "PENDING", "{entry}");
        entries.insert(member, entry["entry_id"].as_str().expect("an id").to_owned());
    }
    for member in [1, 2] {
        assert_eq!(pressed[&member].text("entry_id"), entries[&member]);
    }
    raffle.close_and_draw().await;
    let record = raffle.verifies().await;
    assert_eq!(record.entrants, Some(4));
    let list = raffle.list().await;
    let weights: BTreeMap<&str, &str> =
        list.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    for (member, weight) in [(1, "1"), (2, "5"), (3, "100"), (4, "1")] {
        assert_eq!(weights[entries[&member].as_str()], weight, "member {member}: {list}");
    }
}
