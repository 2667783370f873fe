//! Commands, limits and what is parked.

use serde_json::{Value, json};
use shared_domain::{ComplianceDraft, LimitsDraft};
use shared_runtime::http::Operation;
use shared_runtime::http::openapi::uuid;

use super::{COMMAND, Common, approval_example};
use crate::commands::{HighTrafficBody, Nothing, ParkedListJson, StockBody, UnparkBody};
use crate::routes::{OPS, READ, WRITE};
use crate::view::CommandJson;

const TAG: &str = "Commands";
const ADMISSION: &str = "Admission";
const PARKED: &str = "Parked events";

/// A command about an event, with its body's limit.
fn command(id: &'static str, summary: &'static str, scope: &str, kind: &str) -> Operation {
    Operation::new(id, summary).tag(TAG).staff(&[scope]).of_event().change().answer::<CommandJson>(
        202,
        "The command; it acts once the log's lanes have applied it",
        example(kind),
    )
}

fn without_body(operation: Operation, body_limit: usize) -> Operation {
    operation.body::<Nothing>(false, body_limit, json!({}))
}

pub(crate) fn schedule(body_limit: usize) -> Operation {
    without_body(
        command("schedule", "Put a draft into the log; fixes its lanes", WRITE, "SCHEDULED"),
        body_limit,
    )
    .problem(409, "NOT_EDITABLE", "the event is not a draft any more")
    .problem(409, "EVENT_DELETED", "the event is deleted")
    .violation("OUTLIVES_LOG", "", "the log would not keep the event's records until a day after its end")
    .violation("INVALID_REQUEST", "/lane", "must be below the number of lanes")
}

pub(crate) fn pause(body_limit: usize) -> Operation {
    without_body(command("pause", "Stop admission", WRITE, "PAUSED"), body_limit).running_only()
}

pub(crate) fn resume(body_limit: usize) -> Operation {
    without_body(command("resume", "Admit again", WRITE, "RESUMED"), body_limit).running_only()
}

pub(crate) fn close(body_limit: usize) -> Operation {
    without_body(command("close", "End an event; again: the same command", WRITE, "CLOSED"), body_limit)
        .running_only()
}

pub(crate) fn add_stock(body_limit: usize) -> Operation {
    command("addStock", "Grant more stock", WRITE, "STOCK_ADDED")
        .body::<StockBody>(true, body_limit, json!({"option": "DEFAULT", "add": 100}))
        .violation("INVALID_REQUEST", "/add", "must be above 0 and within the reward's bounds")
        .violation("UNKNOWN_OPTION", "/option", "the event has no such option")
        .running_only()
}

pub(crate) fn approval(body_limit: usize) -> Operation {
    command("putApproval", "Change the approval, for every decision behind it", WRITE, "APPROVAL_CHANGED")
        .body::<ComplianceDraft>(true, body_limit, approval_example())
        .violation("INVALID_REQUEST", "/approved_until", "must be later than approved_from")
        .running_only()
}

pub(crate) fn limits(body_limit: usize) -> Operation {
    let example = json!({"per_second": 5000, "raffle_per_second": 1000, "per_member_per_second": 2});
    Operation::new("putLimits", "Rate limits of an event")
        .about("null or missing: the default of the settings. 0 admits nobody.")
        .tag(ADMISSION)
        .staff(&[OPS])
        .of_event()
        .change()
        .body::<LimitsDraft>(true, body_limit, example.clone())
        .violation("INVALID_REQUEST", "/per_second", "must not be negative")
        .answer::<LimitsDraft>(200, "The limits as they are now", example)
        .problem(409, "EVENT_DELETED", "the event is deleted")
}

pub(crate) fn high_traffic(body_limit: usize) -> Operation {
    Operation::new("putHighTraffic", "The high-traffic flag of a raffle")
        .about("Set: 202 as soon as the log has an entry. Not set: the gateway waits for its row.")
        .tag(ADMISSION)
        .staff(&[OPS])
        .of_event()
        .change()
        .body::<HighTrafficBody>(true, body_limit, json!({"enabled": true}))
        .answer::<HighTrafficBody>(200, "The flag as it is now", json!({"enabled": true}))
        .problem(409, "EVENT_DELETED", "the event is deleted")
}

pub(crate) fn get_command() -> Operation {
    let mut applied = example("SCHEDULED");
    applied["status"] = json!("APPLIED");
    applied["applied_at"] = json!("2026-02-21T10:00:00.420Z");
    Operation::new("getCommand", "Where a command stands")
        .tag(TAG)
        .staff(&[READ])
        .path("command_id", "Command", uuid(), COMMAND)
        .answer::<CommandJson>(200, "The command", applied)
        .problem(404, "COMMAND_NOT_FOUND", "there is no such command")
}

pub(crate) fn parked() -> Operation {
    let example = json!({"parked": [{
        "event_id": 42, "lane": 3, "first_offset": 1207, "records": 18, "reason": "a rule failed",
        "since": "2026-03-01T09:12:00.000Z",
    }]});
    Operation::new("listParked", "Events that a record parked, and what waits")
        .tag(PARKED)
        .staff(&[OPS])
        .answer::<ParkedListJson>(200, "All of them", example)
}

pub(crate) fn unpark(body_limit: usize) -> Operation {
    command("unpark", "Decide parked records again, or give one up", OPS, "UNPARKED")
        .tag(PARKED)
        .body::<UnparkBody>(false, body_limit, json!({"reject": 1207}))
        .violation("INVALID_REQUEST", "/reject", "is not the offset of a parked record of this event")
        .problem(409, "NOT_PARKED", "the event is parked nowhere")
        .problem(409, "EVENT_DELETED", "the event is deleted")
}

fn example(kind: &str) -> Value {
    json!({
        "command_id": COMMAND, "event_id": 42, "kind": kind, "status": "PENDING", "actor": "ann",
        "created_at": "2026-02-21T10:00:00.000Z",
    })
}
