//! Figures over all events, as dashboards and alerts read them.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use e2e::sql::execute;
use serde_json::{Value, json};
use shared_runtime::telemetry::metrics_handle;
use support::{GRACE_MS, NOW, World, draft, world};

const SCOPES: &str = "events:read events:write draws:run";

/// A gauge as `/metrics` shows it.
fn gauge(name: &str) -> f64 {
    let text = metrics_handle().render();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
}

async fn look(w: &World) {
    w.admin.oversight().look().await.unwrap();
}

// One test: a process has one set of figures.
#[tokio::test]
async fn what_is_given_parked_drawn_and_deleted_is_told() {
    metrics_handle();
    let w = world(None).await;
    let mut paying = draft();
    paying["reward"] = json!({"reward_type": "FIXED", "fixed_amount": 5});
    let event = w.scheduled(&paying).await;
    let lane = w.store.lane_rows().await.unwrap();
    assert!(lane.is_empty());
    w.decide().await;
    let lane = w.store.lane_rows().await.unwrap()[0].lane;
    for member in 0..4 {
        w.log.enter(event, lane, member, NOW + 1, &[0]);
    }
    w.decide().await;
    look(&w).await;
    assert_eq!(
        (gauge("event_winners"), gauge("event_paid_points")),
        (3.0, 15.0),
        "three prizes, four members"
    );
    assert_eq!((gauge("event_budget_points"), gauge("event_budgets_exceeded")), (15.0, 0.0));
    assert_eq!((gauge("event_parked_events"), gauge("event_parked_records")), (0.0, 0.0));
    let draws = |phase: &str| gauge(&format!("event_draws{{phase=\"{phase}\"}}"));
    assert_eq!(draws("SCHEDULED"), 0.0);
    assert!(!metrics_handle().render().contains("event_last_deletion"), "nothing was deleted");

    // Granted later: the budget grows with it.
    let grant = json!({"option": "A", "add": 2});
    let path = format!("/admin/v1/events/{event}");
    let asked = w.send("POST", &format!("{path}/stock"), Some(&w.staff(SCOPES)), None, &grant).await;
    assert_eq!(asked.0, 202, "{}", asked.1);
    // The relay lets new stock wait from the moment at which it saw it first.
    w.decide().await;
    w.clock.advance(2_000);
    w.decide().await;
    look(&w).await;
    assert_eq!((gauge("event_budget_points"), gauge("event_budgets_exceeded")), (25.0, 0.0));

    // What no rule lets happen: a point and a winner too many.
    let changed = |set: &str| format!("UPDATE event_lane SET {set} WHERE event_id = {event}");
    for (set, exceeded) in [("paid = 26", 1.0), ("paid = 15, wins = 6", 1.0), ("wins = 3", 0.0)] {
        execute(&w.database_url(), &changed(set)).await;
        look(&w).await;
        assert_eq!(gauge("event_budgets_exceeded"), exceeded, "{set}");
    }

    let raffle = json!({
        "title": "r", "type": "RAFFLE", "internal_test": true, "max_winners": 2,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
        "claim_until": "2026-01-03T00:00:00Z", "reward": {"reward_type": "FIXED", "fixed_amount": 100},
    });
    let raffle = w.scheduled(&raffle).await;
    w.decide().await;
    for member in 0..4 {
        w.log.enter(raffle, member as i32, member, NOW + 1, &[]);
    }
    w.decide().await;
    look(&w).await;
    assert_eq!(
        (gauge("event_winners"), gauge("event_budget_points")),
        (3.0, 225.0),
        "a budget before the draw"
    );
    assert_eq!((draws("SCHEDULED"), draws("PUBLISHED")), (1.0, 0.0));
    let path = format!("/admin/v1/events/{raffle}");
    let token = w.staff(SCOPES);
    assert_eq!(w.send("POST", &format!("{path}/close"), Some(&token), None, &Value::Null).await.0, 202);
    w.clock.advance(GRACE_MS);
    w.decide().await;
    assert_eq!(w.send("POST", &format!("{path}/draw"), Some(&token), None, &Value::Null).await.0, 202);
    w.admin.draw_runs().pass().await.unwrap();
    look(&w).await;
    assert_eq!((draws("SCHEDULED"), draws("PUBLISHED")), (0.0, 1.0));
    assert_eq!((gauge("event_winners"), gauge("event_paid_points")), (5.0, 215.0));

    let other = w.scheduled(&draft()).await;
    w.decide().await;
    let lane = w.store.lane_rows().await.unwrap().iter().find(|row| row.event_id == other).unwrap().lane;
    w.log.enter(other, lane, 1, NOW + 1, &[0]);
    w.park_next(other, lane).await;
    look(&w).await;
    assert_eq!((gauge("event_parked_events"), gauge("event_parked_records")), (1.0, 1.0));

    assert_eq!(w.send("DELETE", &path, Some(&token), None, &Value::Null).await.0, 202);
    w.decide().await;
    w.admin.eraser().pass().await.unwrap();
    look(&w).await;
    let at = gauge("event_last_deletion_certificate_timestamp_seconds");
    assert_eq!(at, (NOW + GRACE_MS + 2_000) as f64 / 1_000.0);
    assert_eq!(gauge("event_winners"), 3.0, "what is deleted is no longer counted");
}
