//! Both listeners, asked by schemathesis for whatever their documents promise (`make test-api`).
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::system::System;
use serde_json::{Value, json};

const SCOPES: &str = "events:read events:write ops:write draws:run contacts:read";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_documented() {
    let system = System::embedded().await;
    let folder = tempfile::tempdir().expect("folder");
    let seeded = seed(&system).await;
    let hours = Duration::from_secs(3 * 3_600);
    let member = system.key.issue_member(1, hours).expect("token");
    let staff = system.key.issue_staff("ann", SCOPES, hours).expect("token");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/schemathesis.toml");
    let config = std::fs::read_to_string(config).expect("the configuration") + &seeded;
    std::fs::write(folder.path().join("schemathesis.toml"), config).expect("a file");
    let program = std::env::var("SCHEMATHESIS").expect("SCHEMATHESIS is not set; run `make test-api`");
    let seconds = std::env::var("MAX_SECONDS").unwrap_or_else(|_| "90".to_owned());

    let mut wrong = Vec::new();
    // Members first: staff pause and close what they enter.
    for (listener, addr) in [("public", system.public), ("admin", system.admin)] {
        println!("{listener} listener");
        let mut command = Command::new(&program);
        command
            .args(["run", "--no-color"])
            .args(["--max-time", &seconds])
            .arg(format!("http://{addr}/openapi.json"))
            .current_dir(folder.path())
            .env("MEMBER_TOKEN", &member)
            .env("STAFF_TOKEN", &staff);
        let ended = tokio::task::spawn_blocking(move || command.status()).await.expect("no panic");
        if !ended.expect("schemathesis starts").success() {
            wrong.push(listener);
        }
    }
    assert!(wrong.is_empty(), "not as documented: {wrong:?}");
    system.is_sound().await;
}

/// Events in every state, with entries and commands; their ids as lists for the configuration.
async fn seed(system: &System) -> String {
    let open = system.open_event(1_000_000).await;
    let sold_out = system.open_event(1).await;
    let winner = system.enter(sold_out, 1).await;
    system.outcome(&winner).await;
    system.until_status(sold_out, "SOLD_OUT").await;
    let mut entries = vec![winner.text("entry_id")];
    for member in 1..=3 {
        let entry = system.enter(open, member).await;
        system.outcome(&entry).await;
        entries.push(entry.text("entry_id"));
    }
    let draft = |starts_at: &str, more: Value| {
        let mut draft = json!({
            "title": "t", "type": "FIRST_COME", "internal_test": true,
            "starts_at": starts_at, "ends_at": "2099-01-01T00:00:00Z", "stock": [{"option": "A", "count": 3}],
        });
        draft.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        draft
    };
    let several = json!({
        "stock": [{"option": "A", "count": 1_000}, {"option": "B", "count": 1_000}],
        "duplicate_participation_allowed": true, "limits": {"per_member_per_second": 1000},
    });
    let (mut events, mut commands) = (vec![open, sold_out], Vec::new());
    // A draft, one that has not begun, one with options, one paused, one closed.
    for (starts_at, more, then) in [
        ("2026-01-01T00:00:00Z", json!({}), &[][..]),
        ("2098-01-01T00:00:00Z", json!({}), &["schedule"]),
        ("2026-01-01T00:00:00Z", several, &["schedule"]),
        ("2026-01-01T00:00:00Z", json!({}), &["schedule", "pause"]),
        ("2026-01-01T00:00:00Z", json!({}), &["schedule", "close"]),
    ] {
        let made = system.ask_admin("POST", "/events", draft(starts_at, more)).await;
        let event = made.json()["event_id"].as_i64().expect("event_id");
        events.push(event);
        for step in then {
            let command = system.command(&format!("/events/{event}/{step}"), Value::Null).await;
            system.applied(&command).await;
            commands.push(command.replace("/commands/", ""));
        }
    }
    // Debug writes lists and texts as TOML does.
    let lists =
        [format!("{events:?}"), format!("{entries:?}"), format!("{commands:?}"), "[1, 2, 3]".to_owned()];
    let lists: String = ["events", "entries", "commands", "members"]
        .iter()
        .zip(lists)
        .map(|(name, values)| format!("{name} = {{ values = {values} }}\n"))
        .collect();
    format!("\n[dictionaries]\n{lists}")
}
