//! What the OpenAPI document says of each route.

mod commands;
mod deletion;
mod desk;
mod draws;
mod events;

use serde_json::{Value, json};
use shared_runtime::http::openapi::id;
use shared_runtime::http::{About, Operation};

pub(crate) use commands::{
    add_stock, approval, close, get_command, high_traffic, limits, parked, pause, resume, schedule, unpark,
};
pub(crate) use deletion::{delete_event, erase_member, get_deletion};
pub(crate) use desk::{audit, member_entries, stats, stats_stream, winners};
pub(crate) use draws::{disqualify, get_draw, publish_draw, put_beacon, run_draw};
pub(crate) use events::{create_event, get_event, list_events, patch_event};

pub(crate) const ABOUT: About = About {
    title: "Events: admin listener",
    version: env!("CARGO_PKG_VERSION"),
    description: "Staff create and run events. What decides outcomes goes through the log as a command: PENDING until every \
                  lane has settled it. Who asks is checked before anything else. The same `Idempotency-Key` of the same \
                  actor on the same route is answered the same, and acts once.",
};

const COMMAND: &str = "9f1c2f0e-6f0a-8d3c-9a51-2f6d0a4b7c11";
const ENTRY: &str = "0191d0e6-8f6a-8abc-8def-0123456789ab";

/// What routes of this listener have in common.
trait Common {
    /// The event in the path.
    fn of_event(self) -> Self;
    /// A change: it may be sent again under its key.
    fn change(self) -> Self;
    /// The event has to run.
    fn running_only(self) -> Self;
}

impl Common for Operation {
    fn of_event(self) -> Self {
        self.path("event_id", "Event", id(), 42).problem(404, "EVENT_NOT_FOUND", "no such event")
    }

    fn change(self) -> Self {
        self.idempotency_key("The same key is answered the same, and acts once")
    }

    fn running_only(self) -> Self {
        self.problem(409, "NOT_SCHEDULED", "the event is a draft")
            .problem(409, "EVENT_CLOSED", "the event is closing or closed")
            .problem(409, "EVENT_DELETED", "the event is deleted")
    }
}

fn approval_example() -> Value {
    json!({
        "review_number": "R-2026-7",
        "approved_from": "2026-01-01T00:00:00Z",
        "approved_until": "2026-12-31T00:00:00Z",
    })
}
