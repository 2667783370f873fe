//! `POST /v1/events/{event_id}/entries`: state, token, body, exhausted, limits, publish (DESIGN section 6).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared_domain::{Contact, EntryId, EventId, EventType, MemberId, Millis, Receipt, Violation};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{EVENT_ID, REQUEST_ID, SCHEMA_VERSION, SUPPORTED_SCHEMA_VERSION, lane_of_member};
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::redis::Decision;
use shared_runtime::store::rows::EntryRow;
use shared_runtime::traces::RequestTrace;
use utoipa::ToSchema;

use crate::Edge;
use crate::contact;
use crate::entry_view::{self, EntryState, state_of};
use crate::finished::Finished;
use crate::options;
use crate::raffle;
use crate::recent::{Recent, RequestHash};
use crate::snapshot::{EventFacts, EventView, Snapshot};

/// What a member asks for; an empty body asks for the only option.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryBody {
    /// Names in order of preference, none twice.
    #[serde(default)]
    #[schema(required = false)]
    options: Vec<String>,
    /// Only for events that collect it with the entry.
    #[serde(default)]
    #[schema(value_type = Option<Contact>)]
    contact: Option<Value>,
}

/// What became of the request to enter.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted<'a> {
    entry_id: EntryId,
    #[schema(value_type = i64)]
    event_id: EventId,
    /// `APPLIED`, `APPLIED_RAFFLE` or `ALREADY_APPLIED`.
    code: &'a str,
    status: EntryState,
    /// Shows the entry at once, to whoever holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    receipt: Option<String>,
    /// Records before it that are not decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ahead: Option<i64>,
}

/// The handler.
pub(crate) async fn post<P: Producer>(
    edge: Arc<Edge<P>>,
    mut request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let event_id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    edge.snapshots
        .get()?
        .event(event_id)
        .ok_or_else(Problem::event_not_found)?
        .admits(edge.clock.now_ms())?;
    let member = edge.verifier.verify_member(request.bearer()).await?.member_id;
    request.only_query(&[])?;
    let limit = request.body_limit();
    let body: EntryBody = request.json_or_default(limit).await?;

    // The body may have taken its time: from here on everything is as it is now.
    let now = edge.clock.now_ms();
    let snapshot = edge.snapshots.get()?;
    let event = snapshot.event(event_id).ok_or_else(Problem::event_not_found)?;
    event.admits(now)?;
    let definition = &event.facts.definition;
    let chosen = options::choose(&body.options, definition)?;
    let contact = contact::with_entry(body.contact, definition)?;
    let key = options::key(&request.headers, definition.duplicates_allowed)?;
    let asked = RequestHash::new(key, &chosen, contact.as_ref());
    let entry_id = event.facts.keys.entry_id(member, key.filter(|_| definition.duplicates_allowed));

    if let Some(known) = already(&edge, &snapshot, event, entry_id, &asked).await? {
        return Ok(known);
    }
    exhausted(&edge, &snapshot, event)?;

    let lane = lane_of_member(member, &definition.lanes)
        .and_then(|partition| event.lane_index(partition))
        .ok_or_else(Problem::internal)?;
    limits(&edge, event, lane, member, now).await?;
    let sealed_contact = match &contact {
        Some(contact) => contact::sealed(event_id, definition, entry_id, contact)?,
        None => Vec::new(),
    };

    let publish = Publish {
        edge: Arc::clone(&edge),
        facts: Arc::clone(&event.facts),
        lane,
        entry_id,
        member,
        accepted_at: now,
        asked,
        sealed_contact,
        request_id: request.request_id().to_owned(),
        trace: request.trace(),
    };
    // A client that hangs up drops this handler; what is on its way to the log is finished all the same.
    let published = AssertUnwindSafe(Finished::new(publish.run(chosen))).catch_unwind().await;
    let receipt = match published {
        Ok(Ok(receipt)) => receipt,
        Ok(Err(error)) => return Err(refused(&error, entry_id)),
        // It may have reached the log before.
        Err(_) => return Err(unknown(entry_id)),
    };
    if definition.event_type == EventType::Raffle
        && !event.high_traffic
        && let Some(row) = raffle::row_in_time(&edge, &receipt).await
    {
        return Ok(in_the_database(event, &receipt, &row));
    }
    let ahead = edge
        .snapshots
        .get()?
        .event(event_id)
        .map_or(0, |event| entry_view::ahead(event, receipt.lane, receipt.offset));
    let code = match definition.event_type {
        EventType::Raffle => "APPLIED_RAFFLE",
        EventType::General | EventType::FirstCome => "APPLIED",
    };
    let body = Accepted {
        entry_id,
        event_id,
        code,
        status: EntryState::Queued,
        receipt: Some(receipt.seal(&event.facts.keys)),
        ahead: Some(ahead),
    };
    let response = Response::json(StatusCode::ACCEPTED, &body).with_code(code);
    Ok(response.with_location(&format!("/v1/entries/{entry_id}")))
}

/// 201: a raffle's entry whose row is there.
fn in_the_database(event: &EventView, receipt: &Receipt, row: &EntryRow) -> Response {
    let body = Accepted {
        entry_id: receipt.entry_id,
        event_id: receipt.event_id,
        code: "APPLIED_RAFFLE",
        status: state_of(row.status),
        receipt: Some(receipt.seal(&event.facts.keys)),
        ahead: None,
    };
    let response = Response::json(StatusCode::CREATED, &body).with_code("APPLIED_RAFFLE");
    response.with_location(&format!("/v1/entries/{}", receipt.entry_id))
}

/// 200 when this entry is known here. Errors: 422 when its key was used for another body.
async fn already<P: Producer>(
    edge: &Edge<P>,
    snapshot: &Snapshot,
    event: &EventView,
    entry_id: EntryId,
    asked: &RequestHash,
) -> Result<Option<Response>, Problem> {
    let recent = edge.recent.get(entry_id);
    if recent.is_some_and(|recent| recent.request.is_reused_by(asked)) {
        return Err(Problem::unprocessable("IDEMPOTENCY_KEY_REUSED", "the key was used with another body")
            .with_errors(vec![Violation::new("header:Idempotency-Key", "was used with another body")]));
    }
    let receipt = recent.map(|recent| recent.receipt(edge.producer.log_id(), event.facts.event_id, entry_id));
    let row = match (entry_view::known_row(edge, event, entry_id), &receipt) {
        (None, Some(receipt)) if event.facts.definition.event_type == EventType::Raffle => {
            raffle::row_now(edge, receipt).await
        }
        (known, _) => known,
    };
    let (status, ahead) = match (&row, &receipt) {
        (Some(row), _) => (state_of(row.status), None),
        (None, Some(receipt)) if entry_view::lost_for_sure(edge, snapshot, event, receipt) => {
            (EntryState::Lose, None)
        }
        (None, Some(receipt)) => {
            (EntryState::Queued, Some(entry_view::ahead(event, receipt.lane, receipt.offset)))
        }
        (None, None) => return Ok(None),
    };
    let body = Accepted {
        entry_id,
        event_id: event.facts.event_id,
        code: "ALREADY_APPLIED",
        status,
        receipt: receipt.map(|receipt| receipt.seal(&event.facts.keys)),
        ahead,
    };
    let location = format!("/v1/entries/{entry_id}");
    Ok(Some(Response::ok(&body).with_code("ALREADY_APPLIED").with_location(&location)))
}

/// Errors: 409 when nothing is left for certain, 429 when that is not certain. The entry is no winner's: those have
/// been answered.
fn exhausted<P: Producer>(edge: &Edge<P>, snapshot: &Snapshot, event: &EventView) -> Result<(), Problem> {
    let Some(at) = &event.exhausted else { return Ok(()) };
    if !snapshot.is_fresh() {
        return Err(edge.try_again());
    }
    if event.stock_pending {
        return Ok(());
    }
    if edge.winners.of(event.facts.event_id, at).is_none() {
        return Err(edge.try_again());
    }
    Err(Problem::conflict("LOSE", "everything is gone"))
}

/// Errors: 429 over the member's limit, the embedded log's, or the event's.
async fn limits<P: Producer>(
    edge: &Edge<P>,
    event: &EventView,
    lane: usize,
    member: MemberId,
    now: Millis,
) -> Result<(), Problem> {
    let allow = |decision| match decision {
        Decision::Allowed => Ok(()),
        Decision::Limited { retry_after_s } => Err(Problem::try_again(retry_after_s)),
    };
    let event_id = event.facts.event_id;
    allow(edge.member_limit.check(event_id, member, event.member_limit))?;
    if edge.backlog.as_ref().is_some_and(|backlog| !backlog.admit(&event.facts.lanes[lane])) {
        return Err(edge.try_again());
    }
    allow(edge.event_limit.acquire(event_id, event.limit, now).await)
}

impl<P: Producer> Edge<P> {
    /// 429, spread over 1 to 3 seconds so that the refused do not return in step.
    fn try_again(&self) -> Problem {
        Problem::try_again(1 + u32::try_from(self.random.below(3)).unwrap_or(0))
    }
}

impl Recent {
    fn receipt(&self, log_id: &str, event_id: EventId, entry_id: EntryId) -> Receipt {
        Receipt {
            log_id: log_id.to_owned(),
            event_id,
            lane: self.lane,
            offset: self.offset,
            entry_id,
            accepted_at: self.accepted_at,
        }
    }
}

struct Publish<P> {
    edge: Arc<Edge<P>>,
    facts: Arc<EventFacts>,
    /// Index among the event's lanes.
    lane: usize,
    entry_id: EntryId,
    member: MemberId,
    accepted_at: Millis,
    asked: RequestHash,
    sealed_contact: Vec<u8>,
    request_id: String,
    trace: RequestTrace,
}

impl<P: Producer> Publish<P> {
    /// Hands the entry to the log and awaits its acknowledgement.
    async fn run(mut self, options: Vec<u32>) -> Result<Receipt, ProduceError> {
        let sealed_contact = std::mem::take(&mut self.sealed_contact);
        let (edge, facts) = (&self.edge, &self.facts);
        let value = shared_proto::encode(
            facts.event_id,
            Kind::Entry(v1::Entry {
                entry_id: self.entry_id.as_bytes().to_vec(),
                member_id: self.member,
                accepted_at_ms: self.accepted_at,
                options,
                sealed_contact,
            }),
        );
        let lane = &facts.lanes[self.lane];
        let headers = [
            (SCHEMA_VERSION, SCHEMA_VERSION_TEXT),
            (EVENT_ID, &*facts.event_id_text),
            (REQUEST_ID, &*self.request_id),
        ];
        let publishing = self.trace.publish(lane);
        let headers = publishing.headers(&headers);
        let record = ToProduce { lane, key: self.entry_id.as_bytes(), value: &value, headers: &headers };
        let offset = publishing.ended(edge.producer.produce(record).await)?;
        edge.accepted.increment(1);
        if let Some(backlog) = &edge.backlog {
            backlog.acked(lane, offset, record.size());
        }
        let recent =
            Recent { lane: lane.partition, offset, accepted_at: self.accepted_at, request: self.asked };
        edge.recent.remember(self.entry_id, recent);
        Ok(recent.receipt(edge.producer.log_id(), facts.event_id, self.entry_id))
    }
}

pub(crate) const SCHEMA_VERSION_TEXT: &str = "1";
// The header is a literal so that no request formats it.
const _: () = assert!(SUPPORTED_SCHEMA_VERSION == 1);

fn refused(error: &ProduceError, entry_id: EntryId) -> Problem {
    match error {
        // Nothing was written, and nothing is lost: the member may simply press again.
        ProduceError::QueueFull => Problem::try_again(1),
        ProduceError::Refused(why) => {
            tracing::error!(why, "the log refused an entry");
            Problem::unavailable("the log does not take entries now; nothing was written")
        }
        ProduceError::Unknown(why) => {
            tracing::warn!(why, %entry_id, "no acknowledgement");
            unknown(entry_id)
        }
    }
}

fn unknown(entry_id: EntryId) -> Problem {
    Problem::outcome_unknown().with("entry_id", entry_id.to_string())
}
