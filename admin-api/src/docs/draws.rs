//! Draws and disqualifications.

use serde_json::{Value, json};
use shared_runtime::http::Operation;
use shared_runtime::http::openapi::uuid;

use super::{COMMAND, Common, ENTRY};
use crate::commands::Nothing;
use crate::draws::{BeaconBody, DisqualifyBody, DrawBody, DrawJson};
use crate::routes::{DRAWS, READ};
use crate::view::{CommandJson, DrawRequested};

const TAG: &str = "Draws";
const DRAW: &str = "5f0c8a64-7d1e-8b0a-9c3b-6a1f2e4d5c7b";

fn change(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .tag(TAG)
        .staff(&[DRAWS])
        .of_event()
        .change()
        .problem(409, "NOT_A_RAFFLE", "the event is no raffle")
        .problem(409, "NOT_SCHEDULED", "the event is a draft")
        .problem(409, "EVENT_DELETED", "the event is deleted")
}

pub(crate) fn run_draw(body_limit: usize) -> Operation {
    change("runDraw", "Draw the winners; again: the same draw")
        .about("Goes on by itself, whatever is restarted, through to PUBLISHED, or stops before it with `publish` false.")
        .body::<DrawBody>(false, body_limit, json!({"publish": true}))
        .answer::<DrawRequested>(202, "The draw", json!({"draw_id": DRAW}))
        .problem(409, "EVENT_NOT_CLOSED", "not every lane has closed; the detail names those that wait")
        .problem(409, "EVENT_PARKED", "records of the event wait for an operator")
        .problem(409, "BEACON_PENDING", "the round named in the definition was not posted yet")
}

pub(crate) fn publish_draw(body_limit: usize) -> Operation {
    change("publishDraw", "Show a draw that was decided")
        .body::<Nothing>(false, body_limit, json!({}))
        .answer::<DrawRequested>(202, "The draw", json!({"draw_id": DRAW}))
        .problem(409, "DRAW_NOT_DECIDED", "its winners are not found yet")
}

pub(crate) fn put_beacon(body_limit: usize) -> Operation {
    let example = json!({"round": 1000, "signature": "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125"});
    change("putBeacon", "Post the drand round that the draw waits for")
        .about("Verified offline against the chain that the definition names.")
        .body::<BeaconBody>(true, body_limit, example.clone())
        .answer::<BeaconBody>(200, "Kept", example)
        .violation("INVALID_REQUEST", "/signature", "is not the chain's signature of this round")
}

pub(crate) fn get_draw() -> Operation {
    let example = json!({
        "phase": "SCHEDULED",
        "progress": {
            "requested": false, "publish": false, "entrants": null, "places_stored": 0, "places_applied": 0,
            "waiting_for": ["lane event-raffle-topic/3 has not applied Closed"],
        },
        "record": record(),
    });
    Operation::new("getDrawProgress", "How far a draw has come, and its record")
        .tag(TAG)
        .staff(&[READ])
        .of_event()
        .answer::<DrawJson>(200, "The draw", example)
        .problem(404, "DRAW_NOT_FOUND", "the event is no raffle that is scheduled")
}

pub(crate) fn disqualify(body_limit: usize) -> Operation {
    change("disqualify", "Take an entry out of a draw; the next alternate moves up")
        .path("entry_id", "Entry", uuid(), ENTRY)
        .body::<DisqualifyBody>(true, body_limit, json!({"reason": "took part twice"}))
        .answer::<CommandJson>(
            202,
            "The command",
            json!({
                "command_id": COMMAND, "event_id": 42, "kind": "DISQUALIFIED", "status": "APPLIED", "actor": "ann",
                "created_at": "2026-03-03T10:00:00.000Z", "applied_at": "2026-03-03T10:00:00.000Z",
            }),
        )
        .problem(404, "ENTRY_NOT_FOUND", "the raffle has no such entry")
        .violation("INVALID_REQUEST", "/reason", "must not be blank: it stands in the public record")
        .problem(409, "DRAW_NOT_PUBLISHED", "nobody has won yet")
        .problem(409, "CLAIM_CLOSED", "the time for claims is over")
        .problem(409, "ALREADY_DISQUALIFIED", "it was taken out before")
        .problem(409, "ENTRY_REJECTED", "it never took part")
}

fn record() -> Value {
    json!({
        "event_id": 42, "draw_id": DRAW, "phase": "SCHEDULED", "rules_version": 1, "method": "RANDOM",
        "commitment": "6c1d5c1f0e6b8a7d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f", "seed": null, "beacon": null,
        "trust": "operator", "entrants": null, "list_digest": null, "max_winners": 30, "max_alternates": 5,
        "winners": [], "alternates": [], "disqualified": [], "frozen_at": null, "published_at": null,
    })
}
