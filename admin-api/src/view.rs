//! Rows as staff see them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use shared_domain::{
    EntryStatus, EventDefinition, EventPeriod, EventStatus, EventType, Lifecycle, Reason, public_status,
};
use shared_proto::v1::log_record::Kind;
use shared_runtime::store::commands::{CommandView, EventFacts};
use shared_runtime::store::desk::MemberEntry;
use shared_runtime::store::rows::{AuditLine, CommandStatus, EventRow, ParkedEvent};
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
        "version": row.version,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "deleted_at": row.deleted_at.map(time),
    });
    if let Value::Object(later) = later {
        view.extend(later);
    }
    if let Some((number, from, until)) = &facts.approval {
        view.insert("compliance".to_owned(), approval(number, *from, *until));
    }
    view.into()
}

/// Its status at `now`.
pub(crate) fn status(row: &EventRow, facts: &EventFacts, now: i64) -> EventStatus {
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
        self::approval(approval.review_number(), approval.period().starts_at(), approval.period().ends_at())
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

/// The event as it was scheduled.
pub(crate) fn definition(row: &EventRow) -> Option<EventDefinition> {
    definition_in(row.scheduled.as_deref()?)
}

fn definition_in(scheduled: &[u8]) -> Option<EventDefinition> {
    match shared_proto::decode(scheduled).ok()? {
        (_, Kind::Scheduled(record)) => EventDefinition::from_record(&record).ok(),
        _ => None,
    }
}

fn approval(number: &str, from: i64, until: i64) -> Value {
    json!({"review_number": number, "approved_from": time(from), "approved_until": time(until)})
}

/// An entry for the support desk.
pub(crate) fn member_entry(found: &MemberEntry) -> Value {
    let row = &found.entry;
    let scheduled = found.scheduled.as_deref().and_then(definition_in);
    let option = row.option_index.and_then(|i| usize::try_from(i).ok());
    let name = option.and_then(|i| Some(scheduled.as_ref()?.options.get(i)?.0.as_str()));
    let status = EntryStatus::from_code(row.status);
    let mut view = json!({
        "entry_id": Uuid::from_slice(&row.entry_id).ok(),
        "event_id": row.event_id,
        "event_title": found.title,
        "status": status,
        "lane": row.lane,
        "seq": row.seq,
        "offset": row.log_offset,
        "accepted_at": time(row.accepted_at),
        "decided_at": time(row.decided_at),
        "approval": match &found.approval {
            Some(changed) => approval(&changed.review_number, changed.approved_from, changed.approved_until),
            None => scheduled.as_ref().and_then(|d| d.approval.as_ref()).map_or(Value::Null, |first| {
                approval(first.review_number(), first.period().starts_at(), first.period().ends_at())
            }),
        },
    });
    view["review_number"] = view["approval"]["review_number"].clone();
    if let Some(reason) = row.reason.and_then(Reason::from_code) {
        view["reason"] = json!(reason);
    }
    if let Some(name) = name {
        view["option"] = name.into();
    }
    if let Some(rank) = row.entry_rank {
        // Of who lost, it is the number among the alternates as drawn.
        view[if status == Some(EntryStatus::Lose) { "alternate" } else { "rank" }] = rank.into();
    }
    if status == Some(EntryStatus::Win) {
        view["reward_amount"] = row.reward_amount.into();
    }
    view
}

/// A line of the audit log.
pub(crate) fn audit(line: &AuditLine) -> Value {
    let detail: Value = serde_json::from_str(&line.detail).unwrap_or_else(|_| line.detail.as_str().into());
    let mut view = json!({
        "at": time(line.at),
        "actor": line.actor,
        "action": line.action,
        "request_id": line.request_id,
        "outcome": line.outcome,
        "detail": detail,
    });
    if let Some(event) = line.event_id {
        view["event_id"] = event.into();
    }
    view
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
