//! What staff can show: the certificate of a deletion, signed, and the record of a member's erasure.
//!
//! The signature is Ed25519 (RFC 8032) over the UTF-8 bytes of a JSON array without spaces,
//! `["deletion-certificate/v1",event_id,[key_ids],contacts_destroyed,entries_kept,[[topic,partition,from,to]],backups_expire_at]`,
//! with ids and times as the certificate writes them. `signed_by` is the public key; its seed is derived from the
//! key-encryption key, so `event-system keys show` names the same one.

use std::time::Duration;

use serde_json::{Value, json};
use shared_domain::{Hex32, HexBytes, Millis};
use shared_runtime::keys::KeyEncryptionKey;
use shared_runtime::store::DeletionState;
use shared_runtime::store::commands::MemberErasure;
use shared_runtime::store::rows::EventKeyRow;
use uuid::Uuid;

use crate::view;

/// A moment after another; years of more than four digits are for ever.
fn later(at: Millis, by: Duration) -> String {
    view::time(at.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

/// What was done so far, or (`completed_at`) in the end. Not signed yet.
pub(crate) fn of_event(
    event: i64,
    key: Option<&EventKeyRow>,
    state: Option<&DeletionState>,
    completed_at: Option<Millis>,
    backup_life: Duration,
) -> Value {
    let destroyed = key.filter(|key| key.wrapped_key.is_none());
    let key_ids: Vec<Uuid> =
        destroyed.and_then(|key| Uuid::from_slice(&key.key_id).ok()).into_iter().collect();
    let topic = state.and_then(|state| state.topic.as_deref());
    let ranges = state.map(|state| state.ranges.as_slice()).unwrap_or_default();
    let ranges: Vec<Value> = ranges
        .iter()
        .map(|(lane, from, to)| json!({"topic": topic, "partition": lane, "from": from, "to": to}))
        .collect();
    json!({
        "event_id": event,
        "state": if completed_at.is_some() { "COMPLETE" } else { "IN_PROGRESS" },
        "key_ids": key_ids,
        "contacts_destroyed": state.map_or(0, |state| state.contacts_destroyed),
        "entries_kept": state.map_or(0, |state| state.entries_kept),
        "log_ranges": ranges,
        "backups_expire_at": completed_at.map(|at| later(at, backup_life)),
        "completed_at": completed_at.map(view::time),
        "signature": null,
    })
}

/// Signs a complete certificate.
pub(crate) fn signed(mut certificate: Value, key: &KeyEncryptionKey) -> Value {
    certificate["signature"] = json!(HexBytes(key.sign(signed_text(&certificate).as_bytes()).to_vec()));
    certificate["signed_by"] = json!(Hex32(key.verifying_key()));
    certificate
}

/// What the signature is over.
fn signed_text(certificate: &Value) -> String {
    let ranges = certificate["log_ranges"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ranges: Vec<Value> =
        ranges.iter().map(|r| json!([r["topic"], r["partition"], r["from"], r["to"]])).collect();
    json!([
        "deletion-certificate/v1",
        certificate["event_id"],
        certificate["key_ids"],
        certificate["contacts_destroyed"],
        certificate["entries_kept"],
        ranges,
        certificate["backups_expire_at"],
    ])
    .to_string()
}

/// What became of one member's contacts. Sealed copies that came with an entry (AT_APPLY) lie in the log until
/// `sealed_copies_until` at the latest; null: until the event is deleted, for the log keeps its records for ever.
pub(crate) fn of_member(erasure: &MemberErasure, backup_life: Duration, log_life: Option<Duration>) -> Value {
    json!({
        "erasure_id": Uuid::from_bytes(erasure.erasure_id),
        "member_id": erasure.member_id,
        "erased_at": view::time(erasure.erased_at),
        "contacts_destroyed": erasure.contacts_destroyed,
        "events": erasure.events,
        "sealed_copies_until": log_life.map(|life| later(erasure.erased_at, life)),
        "backups_expire_at": later(erasure.erased_at, backup_life),
    })
}
