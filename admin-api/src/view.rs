//! Rows as staff see them.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use shared_domain::{
    Approval, ComplianceDraft, DrawDraft, EntryStatus, EventDefinition, EventDraft, EventId, EventPeriod,
    EventStatus, EventType, Lifecycle, LimitsDraft, Millis, MissionDraft, Reason, RewardDraft, StockDraft,
    public_status,
};
use shared_proto::v1::log_record::Kind;
use shared_runtime::store::commands::{CommandView, EventFacts};
use shared_runtime::store::desk::MemberEntry;
use shared_runtime::store::rows::{AuditLine, CommandStatus, EventRow, ParkedEvent};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// A moment as RFC 3339.
pub(crate) fn time(ms: Millis) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn moment(ms: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// An event: its draft as it is now, with what was added since.
#[derive(Debug, Serialize)]
pub(crate) struct EventJson {
    #[serde(flatten)]
    draft: EventDraft,
    #[serde(flatten)]
    added: Added,
}

/// What an event has beyond its draft.
#[derive(Debug, Serialize, ToSchema)]
struct Added {
    #[schema(value_type = i64)]
    event_id: EventId,
    status: EventStatus,
    /// Admission is paused.
    paused: bool,
    /// Empty until the event is scheduled.
    options: Vec<OptionJson>,
    /// The high-traffic flag; null: never set.
    #[schema(required)]
    high_traffic: Option<bool>,
    /// Full name of the topic that carries it; null for a draft.
    #[schema(required)]
    topic: Option<String>,
    /// Its partitions, fixed when it is scheduled; null for a draft.
    #[schema(required)]
    lanes: Option<Vec<i32>>,
    /// What the `ETag` says.
    version: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(required, format = DateTime)]
    deleted_at: Option<String>,
}

/// Stock of an option.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StaffOption)]
struct OptionJson {
    name: String,
    /// All that was ever granted.
    granted: i64,
    remaining: i64,
}

// `flatten` would demand that the whole answer is a draft, which knows no other fields.
impl PartialSchema for EventJson {
    fn schema() -> RefOr<Schema> {
        match (EventDraft::schema(), Added::schema()) {
            (RefOr::T(Schema::Object(mut draft)), RefOr::T(Schema::Object(added))) => {
                draft.properties.extend(added.properties);
                draft.required.extend(added.required);
                draft.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                draft.description =
                    Some("An event as staff see it: its draft, and what was added since.".to_owned());
                RefOr::T(Schema::Object(draft))
            }
            // Both are structs.
            (draft, _) => draft,
        }
    }
}

impl ToSchema for EventJson {
    fn name() -> Cow<'static, str> {
        "StaffEvent".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        EventDraft::schemas(schemas);
        Added::schemas(schemas);
    }
}

/// An event.
pub(crate) fn event(row: &EventRow, facts: &EventFacts, now: Millis) -> EventJson {
    let draft = row.draft.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut draft: EventDraft = draft.unwrap_or_else(|| recreated(row));
    draft.title.clone_from(&row.title);
    draft.content.clone_from(&row.content);
    (draft.starts_at, draft.ends_at) = (moment(row.starts_at), moment(row.ends_at));
    draft.limits = Some(LimitsDraft {
        per_second: row.limit_per_second,
        raffle_per_second: row.raffle_limit_per_second,
        per_member_per_second: row.member_limit_per_second,
    });
    if let Some((number, from, until)) = &facts.approval {
        draft.compliance = Some(approval(number, *from, *until));
    }
    let option = |(name, granted, remaining): &(String, i64, i64)| OptionJson {
        name: name.clone(),
        granted: *granted,
        remaining: *remaining,
    };
    let added = Added {
        event_id: row.event_id,
        status: status(row, facts, now),
        paused: row.paused,
        options: facts.options.iter().map(option).collect(),
        high_traffic: row.high_traffic,
        topic: row.topic.clone(),
        lanes: definition(row).map(|d| d.lanes),
        version: row.version,
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
        deleted_at: row.deleted_at.map(time),
    };
    EventJson { draft, added }
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
fn recreated(row: &EventRow) -> EventDraft {
    let definition = definition(row);
    let of = definition.as_ref();
    let event_type = of.map_or(EventType::General, |d| d.event_type);
    let stock = of.map(|d| &d.options[..]).unwrap_or_default().iter();
    EventDraft {
        title: row.title.clone(),
        content: row.content.clone(),
        event_type,
        starts_at: moment(row.starts_at),
        ends_at: moment(row.ends_at),
        time_zone: of.map_or_else(|| "UTC".to_owned(), |d| d.time_zone.clone()),
        compliance: of.and_then(|d| d.approval.as_ref()).map(first_approval),
        max_winners: of.and_then(|d| d.max_winners).filter(|_| event_type != EventType::General),
        target_condition: of.map(|d| d.target_condition.clone()),
        duplicate_participation_allowed: of.is_some_and(|d| d.duplicates_allowed),
        max_entries_per_member: of.and_then(|d| d.max_entries_per_member),
        stock: stock.map(|(name, n)| StockDraft { option: name.as_str().to_owned(), count: *n }).collect(),
        reward: of.map(|d| RewardDraft::from(&d.reward)),
        missions: of
            .map(|d| d.missions.iter().map(|mission| MissionDraft::of(mission, &d.options)).collect())
            .unwrap_or_default(),
        contact_collection: of.map(|d| d.contact_collection).unwrap_or_default(),
        claim_until: of.map(|d| moment(d.claim_until)),
        draw: of.and_then(|d| d.draw.as_ref()).map(DrawDraft::from),
        lane: None,
        limits: None,
        internal_test: of.is_some_and(|d| d.internal_test),
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

fn approval(number: &str, from: Millis, until: Millis) -> ComplianceDraft {
    ComplianceDraft {
        review_number: number.to_owned(),
        approved_from: moment(from),
        approved_until: moment(until),
    }
}

fn first_approval(first: &Approval) -> ComplianceDraft {
    approval(first.review_number(), first.period().starts_at(), first.period().ends_at())
}

/// An entry for the support desk.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MemberEntry)]
pub(crate) struct MemberEntryJson {
    #[schema(required)]
    entry_id: Option<Uuid>,
    #[schema(value_type = i64)]
    event_id: EventId,
    event_title: String,
    #[schema(required)]
    status: Option<EntryStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    option: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reward_amount: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rank: Option<i64>,
    /// Of a raffle's entry that lost: its number among the alternates as drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    alternate: Option<i64>,
    lane: i32,
    /// Place in the lane, from 1.
    seq: i64,
    /// Offset in the log.
    offset: i64,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    decided_at: String,
    /// Of the approval in force at its place; null for an internal test event.
    #[schema(required)]
    review_number: Option<String>,
    #[schema(required)]
    approval: Option<ComplianceDraft>,
}

/// A draw that was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrawRequested {
    pub draw_id: Uuid,
}

/// An entry for the support desk.
pub(crate) fn member_entry(found: &MemberEntry) -> MemberEntryJson {
    let row = &found.entry;
    let scheduled = found.scheduled.as_deref().and_then(definition_in);
    let option = row.option_index.and_then(|i| usize::try_from(i).ok());
    let status = EntryStatus::from_code(row.status);
    let approval = match &found.approval {
        Some(changed) => {
            Some(approval(&changed.review_number, changed.approved_from, changed.approved_until))
        }
        None => scheduled.as_ref().and_then(|d| d.approval.as_ref()).map(first_approval),
    };
    MemberEntryJson {
        entry_id: Uuid::from_slice(&row.entry_id).ok(),
        event_id: row.event_id,
        event_title: found.title.clone(),
        status,
        reason: row.reason.and_then(Reason::from_code),
        option: option.and_then(|i| Some(scheduled.as_ref()?.options.get(i)?.0.as_str().to_owned())),
        reward_amount: (status == Some(EntryStatus::Win)).then_some(row.reward_amount),
        rank: row.entry_rank.filter(|_| status != Some(EntryStatus::Lose)),
        alternate: row.entry_rank.filter(|_| status == Some(EntryStatus::Lose)),
        lane: row.lane,
        seq: row.seq,
        offset: row.log_offset,
        accepted_at: time(row.accepted_at),
        decided_at: time(row.decided_at),
        review_number: approval.as_ref().map(|a| a.review_number.clone()),
        approval,
    }
}

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLine)]
pub(crate) struct AuditJson {
    #[schema(format = DateTime)]
    at: String,
    /// Name of the staff member.
    actor: String,
    /// What was done, e.g. `CREATED`.
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<i64>)]
    event_id: Option<EventId>,
    request_id: String,
    /// `ACCEPTED`; a second line with `APPLIED` or `REJECTED` once every lane has settled a command.
    outcome: String,
    /// Depends on the action; a command's `command_id` is always in it.
    detail: Value,
}

/// A line of the audit log.
pub(crate) fn audit(line: &AuditLine) -> AuditJson {
    AuditJson {
        at: time(line.at),
        actor: line.actor.clone(),
        action: line.action.clone(),
        event_id: line.event_id,
        request_id: line.request_id.clone(),
        outcome: line.outcome.clone(),
        detail: serde_json::from_str(&line.detail).unwrap_or_else(|_| line.detail.as_str().into()),
    }
}

/// A command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub(crate) struct CommandJson {
    command_id: Uuid,
    #[schema(value_type = i64)]
    event_id: EventId,
    /// What it does, e.g. `SCHEDULED`.
    kind: String,
    status: CommandState,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Name of the staff member.
    actor: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// When the last lane applied it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    applied_at: Option<String>,
}

/// Where a command stands: PENDING until every lane has settled it, REJECTED if one refused it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum CommandState {
    Pending,
    Applied,
    Rejected,
}

/// A command.
pub(crate) fn command(command: &CommandView) -> CommandJson {
    CommandJson {
        command_id: Uuid::from_bytes(command.command_id),
        event_id: command.event_id,
        kind: command.kind.clone(),
        status: match command.status {
            CommandStatus::Pending => CommandState::Pending,
            CommandStatus::Applied => CommandState::Applied,
            CommandStatus::Rejected => CommandState::Rejected,
        },
        reason: command.reason.clone(),
        actor: command.actor.clone(),
        created_at: time(command.created_at),
        applied_at: command.applied_at.map(time),
    }
}

/// A parked event in one of its lanes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ParkedEvent)]
pub(crate) struct ParkedJson {
    #[schema(value_type = i64)]
    event_id: EventId,
    lane: i32,
    /// Offset of the first record that waits.
    first_offset: i64,
    /// How many wait.
    records: i64,
    /// Why the first could not be decided.
    reason: String,
    #[schema(format = DateTime)]
    since: String,
}

/// A parked event.
pub(crate) fn parked(parked: &ParkedEvent) -> ParkedJson {
    ParkedJson {
        event_id: parked.event_id,
        lane: parked.lane,
        first_offset: parked.first_offset,
        records: parked.records,
        reason: parked.reason.clone(),
        since: time(parked.since),
    }
}
