//! Staff's requests, inside their transaction.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use shared_domain::draw::DrawPhase;
use shared_domain::{
    ContactCollection, EventDefinition, EventDraft, EventId, EventType, Lifecycle, check_draft,
};
use shared_proto::v1;
use shared_proto::v1::log_record::Kind;

use super::command::{Command, Outcome};
use super::{Conn, audit, draw, draw_request, edit, erasure, events as e, outbox, parked, scheduling};
use crate::store::commands::{
    Answered, Change, Changed, CommandError, CommandView, ERASURE_SKEW_MS, EventTopic, Fresh, MemberErasure,
    Render, StaffRequest, close_command_id, delete_command_id,
};
use crate::store::error_class::{ErrorClass, StoreError};
use crate::store::rows::{AuditLine, EventRow, KeptAnswer, NewEvent};
use crate::store::schema::parked_record;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The whole transaction of one request.
pub async fn run(
    conn: &mut Conn,
    request: &StaffRequest,
    change: &Change,
    fresh: &Fresh,
    render: &Render,
) -> Result<Answered, CommandError> {
    if let Some(answered) = kept(conn, request).await? {
        return Ok(answered);
    }
    // An unknown COMMIT of the first run may have been one.
    let before = if fresh.retried { outbox::command(conn, &fresh.command_id).await? } else { Vec::new() };
    let changed = match CommandView::of(&before) {
        Some(command) => Changed::Command(command),
        None => {
            let changed = make(conn, request, change, fresh).await?;
            audit::append(conn, &audit_line(request, change, &changed)).await?;
            changed
        }
    };
    let (status, body) = render(&changed);
    if let Some(key) = &request.key {
        let answer = KeptAnswer {
            actor: request.actor.clone(),
            route: request.route.clone(),
            request_key: key.key.clone(),
            body_hash: key.body_hash.clone(),
            answer_status: i16::try_from(status).unwrap_or_default(),
            answer: body.clone(),
            created_at: request.now,
        };
        audit::keep_answer(conn, &answer).await.map_err(|mut error| {
            // The same request at the same time was faster: the next run finds its answer.
            if error.class == ErrorClass::Data {
                error.class = ErrorClass::Transient;
            }
            error
        })?;
    }
    Ok(Answered { status, body, changed: Some(changed) })
}

async fn kept(conn: &mut Conn, request: &StaffRequest) -> Result<Option<Answered>, CommandError> {
    let Some(key) = &request.key else { return Ok(None) };
    match audit::kept_answer(conn, &request.actor, &request.route, &key.key).await? {
        None => Ok(None),
        Some(kept) if kept.body_hash != key.body_hash => Err(CommandError::KeyReused),
        Some(kept) => Ok(Some(Answered {
            status: u16::try_from(kept.answer_status).unwrap_or_default(),
            body: kept.answer,
            changed: None,
        })),
    }
}

fn audit_line(request: &StaffRequest, change: &Change, changed: &Changed) -> AuditLine {
    let mut detail = change.detail();
    let event = match changed {
        Changed::Event(row) => Some(row.event_id),
        Changed::Command(command) => {
            detail["command_id"] = uuid::Uuid::from_bytes(command.command_id).to_string().into();
            Some(command.event_id)
        }
        Changed::Erasure(erasure) => {
            detail["contacts_destroyed"] = erasure.contacts_destroyed.into();
            None
        }
        Changed::Draw(event, draw_id) => {
            detail["draw_id"] = draw_id.to_string().into();
            Some(*event)
        }
    };
    AuditLine {
        at: request.now,
        actor: request.actor.clone(),
        action: change.action().to_owned(),
        event_id: event,
        request_id: request.request_id.clone(),
        outcome: "ACCEPTED".to_owned(),
        detail: detail.to_string(),
    }
}

async fn make(conn: &mut Conn, request: &StaffRequest, change: &Change, fresh: &Fresh) -> Outcome {
    let now = request.now;
    let command = Command { request, kind: change.action(), id: fresh.command_id };
    match change {
        Change::Create(draft, definition, limits) => {
            let event = NewEvent {
                lifecycle: Lifecycle::Draft.code(),
                paused: false,
                title: definition.title.clone(),
                content: definition.content.clone(),
                event_type: definition.event_type as i16,
                starts_at: definition.period.starts_at(),
                ends_at: definition.period.ends_at(),
                draft: Some(draft.clone()),
                lane_count: 0,
                limit_per_second: limits.per_second,
                raffle_limit_per_second: limits.raffle_per_second,
                member_limit_per_second: limits.per_member_per_second,
                version: 1,
                created_at: now,
                updated_at: now,
            };
            let id = e::create(conn, &event).await?;
            scheduling::insert_lock_and_reward(conn, id, definition.reward).await?;
            row_now(conn, id).await
        }
        Change::Edit { event, patch, if_match } => {
            let (_, row) = locked(conn, *event).await?;
            edit::run(conn, &row, patch, if_match.as_deref(), now).await?;
            row_now(conn, *event).await
        }
        Change::Approval(event, approval) => {
            let (ordinal, row) = scheduled(conn, *event).await?;
            let definition = definition_of_record(&row)?;
            let record = Kind::ApprovalChanged(v1::ApprovalChanged {
                command_id: command.id.to_vec(),
                approval: Some(approval.to_record()),
            });
            command.publish(conn, ordinal, *event, &definition, record, None).await
        }
        Change::Schedule { event, topics, retention, secrets, chains, contact_key } => {
            let (ordinal, row) = locked(conn, *event).await?;
            if !e::take_draft(conn, *event, now).await? {
                return Err(CommandError::Conflict("NOT_EDITABLE", "the event is not a draft any more"));
            }
            if retention.is_some_and(|kept| row.ends_at.saturating_add(DAY_MS) > now.saturating_add(kept)) {
                let detail = "the log would not keep the event's records until a day after its end";
                return Err(CommandError::Unprocessable("OUTLIVES_LOG", detail));
            }
            let (draft, mut definition) = definition_of_draft(&row)?;
            let topic = topics.of(definition.event_type);
            definition.lanes = choose_lanes(conn, &draft, &definition, topic).await?;
            definition.topic.clone_from(&topic.name);
            definition.salt = fresh.salt.to_vec();
            if definition.reward.needs_key() {
                definition.wrapped_keys.reward_key.clone_from(&secrets.reward_key);
            }
            if let Some(rules) = definition.draw {
                if let Some(beacon) = &rules.beacon {
                    let known = chains.check_round(beacon, row.ends_at);
                    known.map_err(|violation| CommandError::Invalid(vec![violation]))?;
                }
                definition.wrapped_keys.seed.clone_from(&secrets.seed);
                definition.draw_commitment = Some(secrets.commitment);
            }
            if definition.contact_collection != ContactCollection::None {
                // The draft did not ask for contacts yet when its key would have been made.
                definition.contact_key = Some(contact_key.ok_or(CommandError::Changed)?);
            }
            let record = Kind::Scheduled(definition.to_record(command.id));
            let bytes = shared_proto::encode(*event, record.clone());
            let lanes = i32::try_from(definition.lanes.len()).unwrap_or(i32::MAX);
            let claim_until = definition.claim_until;
            e::set_scheduled(conn, *event, &bytes, &topic.name, lanes, &fresh.salt, claim_until).await?;
            scheduling::insert_at_scheduling(conn, *event, &definition).await?;
            command.publish(conn, ordinal, *event, &definition, record, None).await
        }
        Change::AddStock { event, option, add } => {
            let (ordinal, row) = scheduled(conn, *event).await?;
            let definition = definition_of_record(&row)?;
            let Some(index) = definition.option_index(option) else {
                return Err(CommandError::Unprocessable("UNKNOWN_OPTION", "the event has no such option"));
            };
            let granted: i64 = definition.options.iter().map(|(_, n)| *n).fold(0, i64::saturating_add);
            let total = granted.checked_add(*add).filter(|_| *add > 0);
            if total.and_then(|n| definition.reward.budget(n)).is_none() {
                return Err(CommandError::invalid("/add", "must be above 0 and within the reward's bounds"));
            }
            let record = Kind::StockAdded(v1::StockAdded {
                command_id: command.id.to_vec(),
                option: u32::from(index),
                add: *add,
            });
            command.publish(conn, ordinal, *event, &definition, record, None).await
        }
        Change::Close { event, not_before } => close(conn, command, *event, *not_before).await,
        Change::Pause(event, paused) => {
            let (ordinal, _) = scheduled(conn, *event).await?;
            e::set_paused(conn, *event, *paused, now).await?;
            command.note(conn, *event, ordinal).await
        }
        Change::Limits(event, limits) => {
            locked(conn, *event).await?;
            let (raffle, member) = (limits.raffle_per_second, limits.per_member_per_second);
            e::set_limits(conn, *event, limits.per_second, raffle, member, now).await?;
            row_now(conn, *event).await
        }
        Change::HighTraffic(event, enabled) => {
            locked(conn, *event).await?;
            e::set_high_traffic(conn, *event, *enabled, now).await?;
            row_now(conn, *event).await
        }
        Change::Delete(event) => delete(conn, command, *event, false).await,
        Change::DeleteAgain(event) => delete(conn, command, *event, true).await,
        Change::EraseMember { member, erasure_id, erased_at } => {
            let until = erased_at.saturating_add(ERASURE_SKEW_MS);
            let (events, destroyed) = erasure::erase_member(conn, *member, until).await?;
            Ok(Changed::Erasure(MemberErasure {
                erasure_id: *erasure_id,
                member_id: *member,
                erased_at: *erased_at,
                contacts_destroyed: i64::try_from(destroyed).unwrap_or(i64::MAX),
                events,
            }))
        }
        Change::Unpark { event, reject, lane } => unpark(conn, command, *event, *reject, *lane).await,
        Change::Draw { event, publish, chains } => {
            let (_, row) = raffle(conn, *event).await?;
            draw_request::run(conn, &row, *publish, chains, now).await
        }
        Change::PublishDraw(event) => {
            let (_, row) = raffle(conn, *event).await?;
            draw_request::publish(conn, &row).await
        }
        Change::Beacon { event, round, signature, chains } => {
            let (_, row) = raffle(conn, *event).await?;
            draw_request::beacon(conn, &row, *round, signature, chains, now).await
        }
        Change::Disqualify { event, entry, reason } => {
            let (ordinal, row) = raffle(conn, *event).await?;
            let claim_until = definition_of_record(&row).map_or(i64::MAX, |d| d.claim_until);
            draw_request::disqualify(conn, &row, claim_until, ordinal, entry, reason, now).await?;
            command.note(conn, *event, ordinal).await
        }
    }
}

async fn close(conn: &mut Conn, command: Command<'_>, event: EventId, not_before: i64) -> Outcome {
    let (ordinal, row) = locked(conn, event).await?;
    let command = Command { id: close_command_id(event), ..command };
    match Lifecycle::from_code(row.lifecycle) {
        Some(Lifecycle::Scheduled) => {}
        Some(Lifecycle::Closing | Lifecycle::Closed | Lifecycle::Drawn) => {
            let rows = outbox::command(conn, &command.id).await?;
            let gone = CommandError::Conflict("EVENT_CLOSED", "the event is closed");
            return CommandView::of(&rows).map(Changed::Command).ok_or(gone);
        }
        _ => return Err(CommandError::Conflict("NOT_SCHEDULED", "the event is a draft")),
    }
    let definition = definition_of_record(&row)?;
    e::set_lifecycle(conn, event, Lifecycle::Scheduled, Lifecycle::Closing, command.request.now).await?;
    let record = Kind::Closed(v1::Closed { command_id: command.id.to_vec() });
    command.publish(conn, ordinal, event, &definition, record, Some(not_before)).await
}

/// Of a draft only the row; of what the log knows the first step, the command. The others follow from it.
async fn delete(conn: &mut Conn, command: Command<'_>, event: EventId, again: bool) -> Outcome {
    let ordinal = e::lock(conn, event).await?.ok_or(CommandError::EventNotFound)?;
    let row = e::get(conn, event).await?.ok_or(CommandError::EventNotFound)?;
    let command = Command { id: delete_command_id(event), ..command };
    if let Some(first) = CommandView::of(&outbox::command(conn, &command.id).await?) {
        return Ok(Changed::Command(first));
    }
    if row.lifecycle == Lifecycle::Draft.code() {
        e::set_deleted(conn, event, command.request.now).await?;
        return command.note(conn, event, ordinal).await;
    }
    // The event's lock row is held, which each step of a draw takes too. A backup may be of before the publication; that
    // must not keep contacts alive, and the draw of a deleted event rests.
    if !again
        && let Some(draw) = draw::get(conn, event).await?
        && matches!(draw.phase()?, DrawPhase::Frozen | DrawPhase::Decided)
    {
        return Err(CommandError::Conflict("DRAW_RUNNING", "its draw has begun and is not published yet"));
    }
    let definition = definition_of_record(&row)?;
    command.publish_deletion(conn, ordinal, event, &definition).await
}

async fn unpark(
    conn: &mut Conn,
    command: Command<'_>,
    event: EventId,
    reject: Option<i64>,
    lane: Option<i32>,
) -> Outcome {
    let (ordinal, row) = locked(conn, event).await?;
    let Some(offset) = reject else {
        if parked::request_unpark(conn, event).await? == 0 {
            return Err(CommandError::Conflict("NOT_PARKED", "the event is parked nowhere"));
        }
        return command.note(conn, event, ordinal).await;
    };
    let mut lanes: Vec<i32> = parked_record::table
        .filter(parked_record::event_id.eq(event))
        .filter(parked_record::log_offset.eq(offset))
        .select(parked_record::lane)
        .load(conn)
        .await?;
    lanes.retain(|l| lane.is_none_or(|wanted| wanted == *l));
    let [lane] = lanes[..] else {
        return Err(match lanes.len() {
            0 => CommandError::invalid("/reject", "is not the offset of a parked record of this event"),
            _ => CommandError::invalid("/lane", "is needed: several lanes have parked that offset"),
        });
    };
    let mut definition = definition_of_record(&row)?;
    definition.lanes = vec![lane];
    let record = Kind::Rejected(v1::Rejected { command_id: command.id.to_vec(), offset });
    command.publish(conn, ordinal, event, &definition, record, None).await
}

async fn row_now(conn: &mut Conn, event: EventId) -> Outcome {
    let row = e::get(conn, event).await?.ok_or(CommandError::EventNotFound)?;
    Ok(Changed::Event(Box::new(row)))
}

/// The event under its lock row, and the place of the command among its commands.
async fn locked(conn: &mut Conn, event: EventId) -> Result<(i64, EventRow), CommandError> {
    let ordinal = e::lock(conn, event).await?.ok_or(CommandError::EventNotFound)?;
    let row = e::get(conn, event).await?.ok_or(CommandError::EventNotFound)?;
    match row.deleted_at {
        None => Ok((ordinal, row)),
        Some(_) => Err(CommandError::Conflict("EVENT_DELETED", "the event is deleted")),
    }
}

async fn scheduled(conn: &mut Conn, event: EventId) -> Result<(i64, EventRow), CommandError> {
    let (ordinal, row) = locked(conn, event).await?;
    match Lifecycle::from_code(row.lifecycle) {
        Some(Lifecycle::Scheduled) => Ok((ordinal, row)),
        Some(Lifecycle::Draft) => Err(CommandError::Conflict("NOT_SCHEDULED", "the event is a draft")),
        _ => Err(CommandError::Conflict("EVENT_CLOSED", "the event is closing or closed")),
    }
}

/// A scheduled raffle under its lock row.
async fn raffle(conn: &mut Conn, event: EventId) -> Result<(i64, EventRow), CommandError> {
    let (ordinal, row) = locked(conn, event).await?;
    if row.event_type != EventType::Raffle as i16 {
        return Err(CommandError::Conflict("NOT_A_RAFFLE", "only raffles are drawn"));
    }
    Ok((ordinal, row))
}

fn definition_of_draft(row: &EventRow) -> Result<(EventDraft, EventDefinition), CommandError> {
    let text = row.draft.as_deref().unwrap_or_default();
    let draft: EventDraft = serde_json::from_str(text)
        .map_err(|error| StoreError::fatal(format!("event {}: bad draft: {error}", row.event_id)))?;
    let definition = check_draft(&draft).map_err(CommandError::Invalid)?;
    Ok((draft, definition))
}

fn definition_of_record(row: &EventRow) -> Result<EventDefinition, CommandError> {
    let bad = |why: String| StoreError::fatal(format!("event {}: bad Scheduled record: {why}", row.event_id));
    let bytes = row.scheduled.as_deref().unwrap_or_default();
    match shared_proto::decode(bytes).map_err(|error| bad(error.to_string()))? {
        (_, Kind::Scheduled(record)) => {
            Ok(EventDefinition::from_record(&record).map_err(|error| bad(error.to_string()))?)
        }
        _ => Err(bad("another kind".to_owned()).into()),
    }
}

/// One lane where order matters, all of them elsewhere (DESIGN section 4).
async fn choose_lanes(
    conn: &mut Conn,
    draft: &EventDraft,
    definition: &EventDefinition,
    topic: &EventTopic,
) -> Result<Vec<i32>, CommandError> {
    let count = topic.lanes;
    let one_lane = definition.needs_one_lane();
    match draft.lane {
        Some(lane) if !(0..count).contains(&lane) => {
            return Err(CommandError::invalid("/lane", format_args!("must be below {count}")));
        }
        Some(lane) if one_lane => return Ok(vec![lane]),
        None if one_lane => {}
        _ => return Ok((0..count).collect()),
    }
    let used = e::lanes_in_use(conn, &topic.name).await?;
    let load = |lane: i32| used.iter().find(|(l, _)| *l == lane).map_or(0, |(_, n)| *n);
    Ok((0..count).min_by_key(|lane| load(*lane)).into_iter().collect())
}
