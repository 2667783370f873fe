//! Rows as staff see them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use shared_domain::{EventDefinition, EventPeriod, EventStatus, EventType, Lifecycle, public_status};
use shared_proto::v1::log_record::Kind;
use shared_runtime::store::commands::{CommandView, EventFacts};
use shared_runtime::store::rows::{CommandStatus, EventRow, ParkedEvent};
use uuid::Uuid;

/// A moment as RFC 3339.
pub(crate) fn time(ms: i64) -> Value {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or(Value::Null, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true).into())
}

/// An event: its draft with what was added since.
pub(crate) fn event(row: &EventRow, facts: &EventFacts, now: i64) -> Value {
    let draft = row.draft.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut view: Map<String, Value> = draft.unwrap_or_else(|| recreated(row));
    let options: Vec<Value> = facts
        .options
        .iter()
        .map(|(name, granted, left)| json!({"name": name, "granted": granted, "remaining": left}))
        .collect();
    let later = json!({
        "event_id": row.event_id,
        "status": status(row, facts, now),
        "title": row.title,
        "content": row.content,
        "starts_at": time(row.starts_at),
        "ends_at": time(row.ends_at),
        "paused": row.paused,
        "options": options,
        "limits": {
            "per_second": row.limit_per_second,
            "raffle_per_second": row.raffle_limit_per_second,
            "per_member_per_second": row.member_limit_per_second,
        },
        "high_traffic": row.high_traffic,
        "topic": row.topic,
        "lanes": definition(row).map(|d| d.lanes),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "deleted_at": row.deleted_at.map(time),
    });
    if let Value::Object(later) = later {
        view.extend(later);
    }
    view.into()
}

fn status(row: &EventRow, facts: &EventFacts, now: i64) -> EventStatus {
    let lifecycle = Lifecycle::from_code(row.lifecycle).unwrap_or(Lifecycle::Closed);
    let (Ok(period), true) = (EventPeriod::new(row.starts_at, row.ends_at), lifecycle != Lifecycle::Draft)
    else {
        return EventStatus::Draft;
    };
    let admitting = i64::try_from(facts.scheduled_lanes).is_ok_and(|n| n >= i64::from(row.lane_count));
    public_status(lifecycle, &period, now, admitting, row.paused, facts.exhausted)
}

/// An event that the log recreated has no draft: its definition says the same.
fn recreated(row: &EventRow) -> Map<String, Value> {
    let Some(definition) = definition(row) else { return Map::new() };
    let stock: Vec<Value> = definition
        .options
        .iter()
        .map(|(name, granted)| json!({"option": name.as_str(), "count": granted}))
        .collect();
    let compliance = definition.approval.as_ref().map(|approval| {
        json!({
            "review_number": approval.review_number(),
            "approved_from": time(approval.period().starts_at()),
            "approved_until": time(approval.period().ends_at()),
        })
    });
    let view = json!({
        "type": definition.event_type,
        "time_zone": definition.time_zone,
        "compliance": compliance,
        "max_winners": definition.max_winners.filter(|_| definition.event_type != EventType::General),
        "target_condition": definition.target_condition,
        "duplicate_participation_allowed": definition.duplicates_allowed,
        "max_entries_per_member": definition.max_entries_per_member,
        "stock": stock,
        "contact_collection": definition.contact_collection,
        "claim_until": time(definition.claim_until),
        "internal_test": definition.internal_test,
    });
    match view {
        Value::Object(view) => view,
        _ => Map::new(),
    }
}

fn definition(row: &EventRow) -> Option<EventDefinition> {
    match shared_proto::decode(row.scheduled.as_deref()?).ok()? {
        (_, Kind::Scheduled(record)) => EventDefinition::from_record(&record).ok(),
        _ => None,
    }
}

/// A command.
pub(crate) fn command(command: &CommandView) -> Value {
    let status = match command.status {
        CommandStatus::Pending => "PENDING",
        CommandStatus::Applied => "APPLIED",
        CommandStatus::Rejected => "REJECTED",
    };
    let mut view = json!({
        "command_id": Uuid::from_bytes(command.command_id),
        "event_id": command.event_id,
        "kind": command.kind,
        "status": status,
        "actor": command.actor,
        "created_at": time(command.created_at),
    });
    if let Some(reason) = &command.reason {
        view["reason"] = reason.as_str().into();
    }
    if let Some(at) = command.applied_at {
        view["applied_at"] = time(at);
    }
    view
}

/// A parked event.
pub(crate) fn parked(parked: &ParkedEvent) -> Value {
    json!({
        "event_id": parked.event_id,
        "lane": parked.lane,
        "first_offset": parked.first_offset,
        "records": parked.records,
        "reason": parked.reason,
        "since": time(parked.since),
    })
}
