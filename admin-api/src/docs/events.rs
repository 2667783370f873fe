//! Events as staff write and read them.

use serde_json::{Value, json};
use shared_domain::{EventDraft, EventStatus, EventType};
use shared_runtime::http::Operation;
use shared_runtime::http::openapi::text;
use utoipa::PartialSchema;

use super::{Common, approval_example};
use crate::events::{DRAFT_BYTES, EventsJson};
use crate::routes::{READ, WRITE};
use crate::view::EventJson;

const TAG: &str = "Events";

pub(crate) fn create_event() -> Operation {
    Operation::new("createEvent", "Write a draft")
        .about(
            "FIRST_COME needs stock (`max_winners` is its sum), RAFFLE `max_winners` and no stock, GENERAL may have none. \
             Without `reward`: 1 point. All violations come at once, each with its pointer.",
        )
        .tag(TAG)
        .staff(&[WRITE])
        .change()
        .body::<EventDraft>(true, DRAFT_BYTES, draft())
        .violation("INVALID_REQUEST", "/ends_at", "must be later than starts_at")
        .answer::<EventJson>(201, "The draft", event())
        .location(201)
        .tagged(201)
}

pub(crate) fn list_events() -> Operation {
    Operation::new("listStaffEvents", "All events, drafts, closed and deleted ones too")
        .about(
            "The newest first. A page may hold fewer than `limit` while `next_cursor` says that more follow.",
        )
        .tag(TAG)
        .staff(&[READ])
        .page()
        .query_of::<EventStatus>("status", "Only these")
        .query_of::<EventType>("type", "Only these")
        .query(
            "deleted",
            "Only deleted ones, or only others",
            json!({"type": "string", "enum": ["true", "false"]}),
        )
        .answer::<EventsJson>(200, "A page", json!({"events": [event()], "next_cursor": "42"}))
}

pub(crate) fn get_event() -> Operation {
    Operation::new("getStaffEvent", "One event, deleted ones too")
        .tag(TAG)
        .staff(&[READ])
        .of_event()
        .answer::<EventJson>(200, "The event", event())
        .tagged(200)
}

pub(crate) fn patch_event() -> Operation {
    // A merge patch: any part of a draft, and null removes one.
    let mut patch = serde_json::to_value(EventDraft::schema()).unwrap_or_default();
    if let Some(properties) = patch["properties"].as_object_mut() {
        for property in properties.values_mut() {
            *property = json!({"anyOf": [property.take(), {"type": "null"}]});
        }
    }
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("required");
        patch.insert(
            "description".to_owned(),
            "A merge patch (RFC 7396) of the draft: null removes a field.".into(),
        );
    }
    Operation::new("patchEvent", "Edit an event")
        .about("Drafts: anything, by the rules of a new draft. Once scheduled: `title` and `content` alone.")
        .tag(TAG)
        .staff(&[WRITE])
        .of_event()
        .change()
        .header("If-Match", "The `ETag` that the edit is meant for; without it the last edit wins", text())
        .body_as("application/json", patch, true, DRAFT_BYTES, json!({"title": "Twelve mugs"}))
        .answer::<EventJson>(200, "The event as it is now", event())
        .tagged(200)
        .problem(409, "NOT_EDITABLE", "once scheduled only title and content may change")
        .problem(409, "EVENT_DELETED", "the event is deleted")
        .problem(412, "PRECONDITION_FAILED", "the event has changed since; read it again")
}

trait Tagged {
    /// The answers with a status carry an ETag.
    fn tagged(self, status: u16) -> Self;
}

impl Tagged for Operation {
    fn tagged(self, status: u16) -> Self {
        let about = "The version, for `If-Match`: of what staff can change, not of stock and status";
        self.answer_header(status, "ETag", about, json!({"type": "string", "pattern": "^\"[0-9]+\"$"}), true)
    }
}

fn draft() -> Value {
    json!({
        "title": "Ten mugs", "content": "One each.", "type": "FIRST_COME",
        "starts_at": "2026-03-01T09:00:00Z", "ends_at": "2026-03-02T09:00:00Z", "time_zone": "Asia/Seoul",
        "compliance": approval_example(),
        "stock": [{"option": "DEFAULT", "count": 10}],
        "reward": {"reward_type": "FIXED", "fixed_amount": 7},
    })
}

fn event() -> Value {
    let mut event = draft();
    let added = json!({
        "event_id": 42, "status": "OPEN", "duplicate_participation_allowed": false, "contact_collection": "AFTER_WIN",
        "internal_test": false, "paused": false,
        "options": [{"name": "DEFAULT", "granted": 10, "remaining": 7}],
        "limits": {"per_second": null, "raffle_per_second": null, "per_member_per_second": 2},
        "high_traffic": null, "topic": "event-apply-topic", "lanes": [3], "version": 2,
        "created_at": "2026-02-20T10:00:00.000Z", "updated_at": "2026-02-21T10:00:00.000Z", "deleted_at": null,
    });
    if let (Some(event), Value::Object(added)) = (event.as_object_mut(), added) {
        event.extend(added);
    }
    event
}
