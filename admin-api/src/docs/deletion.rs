//! Deletion of events, erasure of a member's contacts.

use serde_json::{Value, json};
use shared_runtime::http::Operation;
use shared_runtime::http::openapi::integer;

use super::{COMMAND, Common};
use crate::commands::Nothing;
use crate::routes::{CONTACTS, READ, WRITE};
use crate::view::CommandJson;

const TAG: &str = "Personal data";

fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

pub(crate) fn delete_event(body_limit: usize) -> Operation {
    Operation::new("deleteEvent", "Delete an event and destroy its contacts; again: the same command")
        .about("PENDING until contact key, contacts and salt are gone and every lane knows. Entries stay.")
        .tag(TAG)
        .staff(&[WRITE])
        .of_event()
        .change()
        .body::<Nothing>(false, body_limit, json!({}))
        .problem(409, "DRAW_RUNNING", "its draw has begun and is not published yet")
        .answer::<CommandJson>(
            202,
            "The command",
            json!({
                "command_id": COMMAND, "event_id": 42, "kind": "DELETED", "status": "PENDING", "actor": "ann",
                "created_at": "2026-03-01T08:00:00.000Z",
            }),
        )
}

pub(crate) fn get_deletion() -> Operation {
    let range = json!({
        "type": "object", "required": ["topic", "partition", "from", "to"],
        "properties": {
            "topic": text_or_null(), "partition": {"type": "integer"}, "from": {"type": "integer"},
            "to": {"type": "integer"},
        },
    });
    let schema = json!({
        "type": "object",
        "required": [
            "event_id", "state", "key_ids", "contacts_destroyed", "entries_kept", "log_ranges", "backups_expire_at",
            "signature",
        ],
        "properties": {
            "event_id": {"type": "integer"},
            "state": {"type": "string", "enum": ["IN_PROGRESS", "COMPLETE"]},
            "key_ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
            "contacts_destroyed": {"type": "integer"},
            "entries_kept": {"type": "integer"},
            "log_ranges": {"type": "array", "items": range},
            "backups_expire_at": text_or_null(),
            "completed_at": text_or_null(),
            "signature": text_or_null(),
            "signed_by": {"type": "string"},
        },
    });
    let example = json!({
        "event_id": 42, "state": "IN_PROGRESS", "key_ids": [COMMAND], "contacts_destroyed": 100, "entries_kept": 1480,
        "log_ranges": [{"topic": "event-apply-topic", "partition": 3, "from": 17, "to": 1520}],
        "backups_expire_at": null, "completed_at": null, "signature": null,
    });
    Operation::new("getDeletion", "The certificate of a deletion, or how far it has come")
        .about(
            "COMPLETE ones are signed (Ed25519 by `signed_by`) over the JSON array \
             `[\"deletion-certificate/v1\", event_id, key_ids, contacts_destroyed, entries_kept, \
             [[topic, partition, from, to]], backups_expire_at]` without spaces.",
        )
        .tag(TAG)
        .staff(&[READ])
        .of_event()
        .content(200, "application/json", "The certificate", schema, example)
        .problem(404, "DELETION_NOT_FOUND", "nobody deleted the event")
}

pub(crate) fn erase_member(body_limit: usize) -> Operation {
    let schema = json!({
        "type": "object",
        "required": [
            "erasure_id", "member_id", "erased_at", "contacts_destroyed", "events", "sealed_copies_until",
            "backups_expire_at",
        ],
        "properties": {
            "erasure_id": {"type": "string", "format": "uuid"},
            "member_id": {"type": "integer"},
            "erased_at": {"type": "string", "format": "date-time"},
            "contacts_destroyed": {"type": "integer"},
            "events": {"type": "array", "items": {"type": "integer"}},
            "sealed_copies_until": text_or_null(),
            "backups_expire_at": {"type": "string", "format": "date-time"},
        },
    });
    let example = json!({
        "erasure_id": COMMAND, "member_id": 1001, "erased_at": "2026-03-01T08:00:00.000Z", "contacts_destroyed": 2,
        "events": [42, 43], "sealed_copies_until": "2026-03-22T08:00:00.000Z",
        "backups_expire_at": "2026-04-05T08:00:00.000Z",
    });
    Operation::new("eraseMemberContacts", "Destroy one member's contacts in all events; entries stay")
        .about(
            "Sealed copies that came with an entry lie in the log until `sealed_copies_until` at the latest.",
        )
        .tag(TAG)
        .staff(&[WRITE, CONTACTS])
        .path("member_id", "Member", integer(i64::MIN, i64::MAX), 1001)
        .change()
        .body::<Nothing>(false, body_limit, json!({}))
        .content(200, "application/json", "What was done", schema, example)
        .problem(404, "MEMBER_NOT_FOUND", "this is no member id")
}
