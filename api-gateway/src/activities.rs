//! `POST /v1/activities`: what members did, stamped with the missions that are open now, into the members' lanes (DESIGN
//! section 9).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared_domain::{
    ActivityReport, EventId, MAX_AGE_MS, MemberId, Millis, MissionType, SELF_REPORTED_MAX_AGE_MS, Violation,
};
use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, REQUEST_ID, SCHEMA_VERSION, lane_of_member};
use shared_runtime::http::{Params, Problem, Request, Response, part_of_body};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::redis::Decision;
use shared_runtime::traces::RequestTrace;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Edge;
use crate::entries::SCHEMA_VERSION_TEXT;
use crate::finished::Finished;
use crate::snapshot::Snapshot;

/// Who may report for any member, and many at once.
pub(crate) const SCOPE: &str = "activities:write";
/// Bytes of a batch.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;
/// Reports in a batch.
const BATCH: usize = 500;
/// What the member's limit counts activities under: no event has this id.
const NO_EVENT: EventId = 0;

/// What a member did.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Activity)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivityBody {
    /// Echoed; made where there is none.
    #[serde(default)]
    activity_id: Option<Uuid>,
    /// Whose it is; with a member's own token only that member's.
    #[serde(default)]
    member_id: Option<MemberId>,
    mission_type: MissionType,
    /// STEP_COUNT: steps so far, 0 to 200,000.
    #[serde(default)]
    value: Option<i64>,
    /// FRIEND_INVITE: who was invited, not the member itself.
    #[serde(default)]
    friend_id: Option<MemberId>,
    /// Device time; without it now.
    #[serde(default)]
    occurred_at: Option<DateTime<Utc>>,
}

/// Many at once, for trusted systems.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Activities)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    /// Each is judged by itself.
    #[schema(value_type = Vec<ActivityBody>, min_items = 1, max_items = 500)]
    activities: Vec<Value>,
}

/// One activity or many; read as what it is.
#[derive(ToSchema)]
#[schema(as = ActivityOrBatch)]
#[serde(untagged)]
#[allow(dead_code)] // the document's view: requests are read by hand, for errors with a place
pub(crate) enum Body {
    One(ActivityBody),
    Many(BatchBody),
}

/// What an activity counts for.
#[derive(Serialize, ToSchema)]
#[schema(as = Reported)]
pub(crate) struct ReportedJson {
    activity_id: Uuid,
    /// Events with an open mission of that type; none: it counts nowhere.
    events: Vec<i64>,
}

/// What became of one of many.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub(crate) struct ResultJson {
    /// Null where the item names none that can be read.
    #[schema(required)]
    activity_id: Option<Uuid>,
    /// Events with an open mission of that type.
    events: Vec<i64>,
    /// Only where it was not taken: `INVALID_REQUEST`, `TRY_AGAIN`, `UNAVAILABLE` or `OUTCOME_UNKNOWN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<&'static str>,
    /// With INVALID_REQUEST: pointers into the item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Violation>,
}

/// What became of each, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResults)]
pub(crate) struct ResultsJson {
    results: Vec<ResultJson>,
}

/// The answer to one activity, or to many.
#[derive(ToSchema)]
#[schema(as = ReportedOrBatch)]
#[serde(untagged)]
#[allow(dead_code)] // the document's view
pub(crate) enum Answer {
    One(ReportedJson),
    Many(ResultsJson),
}

/// The handler.
pub(crate) async fn post<P: Producer>(
    edge: Arc<Edge<P>>,
    mut request: Request,
    _: Params,
) -> Result<Response, Problem> {
    let caller = edge.verifier.verify_caller(request.bearer(), SCOPE).await?;
    request.only_query(&[])?;
    let trusted = caller.has_scope(SCOPE);
    let limit = request.body_limit();
    let body: Value = request.json(if trusted { limit.max(BATCH_BYTES) } else { limit }).await?;
    let own = caller.member.map(|member| member.member_id);
    // The body may have taken its time: what is stamped is what is open now.
    let intake = Intake { snapshot: edge.snapshots.get()?, now: edge.clock.now_ms(), trusted, own };
    let trace = Trace { request_id: request.request_id().to_owned(), part_of: request.trace() };
    if body.get("activities").is_none() {
        return one(edge, intake, body, trace).await;
    }
    if !trusted {
        return Err(Problem::forbidden("several activities at once are for the scope activities:write"));
    }
    let body: BatchBody = part_of_body(body, "")?;
    if body.activities.is_empty() || body.activities.len() > BATCH {
        return Err(Problem::invalid("/activities", format!("must be between 1 and {BATCH}")));
    }
    Ok(many(edge, intake, body.activities, trace).await)
}

async fn one<P: Producer>(
    edge: Arc<Edge<P>>,
    intake: Intake,
    body: Value,
    trace: Trace,
) -> Result<Response, Problem> {
    let taken = intake.take(&edge, part_of_body(body, "")?)?;
    let answer = ReportedJson { activity_id: taken.activity_id, events: taken.events() };
    let (id, published) = (taken.activity_id, publish(edge, vec![taken], trace).await);
    match published.into_iter().next() {
        Some(Err(error)) => Err(refused(&error).with("activity_id", id.to_string())),
        _ => Ok(Response::json(StatusCode::ACCEPTED, &answer)),
    }
}

async fn many<P: Producer>(edge: Arc<Edge<P>>, intake: Intake, items: Vec<Value>, trace: Trace) -> Response {
    let mut results = Vec::with_capacity(items.len());
    let (mut taken, mut places) = (Vec::new(), Vec::new());
    for item in items {
        let named = item.get("activity_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        match part_of_body(item, "").and_then(|body| intake.take(&edge, body)) {
            Ok(activity) => {
                results.push(ResultJson {
                    activity_id: Some(activity.activity_id),
                    events: activity.events(),
                    code: None,
                    errors: Vec::new(),
                });
                places.push(results.len() - 1);
                taken.push(activity);
            }
            Err(problem) => results.push(ResultJson {
                activity_id: named,
                events: Vec::new(),
                code: Some(problem.code()),
                errors: problem.errors().to_vec(),
            }),
        }
    }
    for (place, published) in places.into_iter().zip(publish(edge, taken, trace).await) {
        if let Err(error) = published {
            (results[place].events, results[place].code) = (Vec::new(), Some(refused(&error).code()));
        }
    }
    Response::json(StatusCode::ACCEPTED, &ResultsJson { results })
}

/// What all activities of a request are judged by.
struct Intake {
    snapshot: Arc<Snapshot>,
    now: Millis,
    trusted: bool,
    /// The member that the token speaks for.
    own: Option<MemberId>,
}

/// An activity on its way.
struct Taken {
    activity_id: Uuid,
    report: ActivityReport,
    accepted_at: Millis,
    counts_for: Vec<(EventId, u16)>,
}

impl Taken {
    fn events(&self) -> Vec<EventId> {
        let mut events: Vec<EventId> = self.counts_for.iter().map(|(event, _)| *event).collect();
        events.dedup();
        events
    }
}

impl Intake {
    /// Errors: 422 for what cannot be, 403 for what the token may not say, 429 over the member's limit.
    fn take<P>(&self, edge: &Edge<P>, body: ActivityBody) -> Result<Taken, Problem> {
        let member = match (body.member_id, self.own) {
            (Some(named), Some(own)) if named != own && !self.trusted => {
                return Err(Problem::forbidden("a member's token speaks for that member only"));
            }
            (Some(named), _) => named,
            (None, Some(own)) => own,
            (None, None) => return Err(Problem::invalid("/member_id", "is required with this token")),
        };
        let report = ActivityReport {
            member,
            mission_type: body.mission_type,
            value: body.value,
            friend: body.friend_id,
            occurred_at: body.occurred_at.map_or(self.now, |at| at.timestamp_millis()),
        };
        let max_age = if self.trusted { MAX_AGE_MS } else { SELF_REPORTED_MAX_AGE_MS };
        let wrong = report.check(self.now, max_age);
        if !wrong.is_empty() {
            return Err(Problem::invalid_request(wrong));
        }
        let (mut counts_for, mut open) = (Vec::new(), 0);
        for (event, index) in self.snapshot.missions(body.mission_type) {
            let definition = &event.facts.definition;
            if event.admits(self.now).is_err() || !definition.period.contains(report.occurred_at) {
                continue;
            }
            open += 1;
            if self.trusted || definition.missions[usize::from(*index)].self_reported {
                counts_for.push((event.facts.event_id, *index));
            }
        }
        if open > 0 && counts_for.is_empty() {
            return Err(Problem::forbidden("no open mission of this type takes a member's own word"));
        }
        match edge.member_limit.check(NO_EVENT, member, edge.args.activity_rate_limit_per_second) {
            Decision::Allowed => {}
            Decision::Limited { retry_after_s } => return Err(Problem::try_again(retry_after_s)),
        }
        let activity_id = body.activity_id.unwrap_or_else(|| Uuid::from_bytes(edge.random.id()));
        Ok(Taken { activity_id, report, accepted_at: self.now, counts_for })
    }
}

/// What tools find a record by.
#[derive(Clone)]
struct Trace {
    request_id: String,
    part_of: RequestTrace,
}

/// Hands activities to the log and awaits its acknowledgements, in their order, whoever hangs up meanwhile. What counts
/// nowhere needs no record.
async fn publish<P: Producer>(
    edge: Arc<Edge<P>>,
    taken: Vec<Taken>,
    trace: Trace,
) -> Vec<Result<(), ProduceError>> {
    let count = taken.len();
    let work = async move {
        let acks = taken.iter().map(|activity| produce(&edge, activity, &trace));
        futures::future::join_all(acks).await
    };
    match AssertUnwindSafe(Finished::new(work)).catch_unwind().await {
        Ok(acks) => acks,
        // They may have reached the log before.
        Err(_) => (0..count).map(|_| Err(ProduceError::Unknown("a panic".to_owned()))).collect(),
    }
}

async fn produce<P: Producer>(edge: &Edge<P>, activity: &Taken, trace: &Trace) -> Result<(), ProduceError> {
    if activity.counts_for.is_empty() {
        return Ok(());
    }
    let refused = || ProduceError::Refused("there are no activity lanes".to_owned());
    let member = activity.report.member;
    let partition = lane_of_member(member, &edge.activity_partitions).ok_or_else(refused)?;
    let lane = Lane::new(edge.activity_topic.clone(), partition);
    if edge.backlog.as_ref().is_some_and(|backlog| !backlog.admit(&lane)) {
        return Err(ProduceError::QueueFull);
    }
    let (id, accepted_at) = (activity.activity_id.into_bytes(), activity.accepted_at);
    let record = activity.report.to_record(id, accepted_at, &activity.counts_for);
    let value = shared_proto::encode(NO_EVENT, Kind::Activity(record));
    let headers = [(SCHEMA_VERSION, SCHEMA_VERSION_TEXT), (REQUEST_ID, &*trace.request_id)];
    let publishing = trace.part_of.publish(&lane);
    let headers = publishing.headers(&headers);
    let record = ToProduce { lane: &lane, key: &member.to_be_bytes(), value: &value, headers: &headers };
    let offset = publishing.ended(edge.producer.produce(record).await)?;
    edge.activities_accepted.increment(1);
    if let Some(backlog) = &edge.backlog {
        backlog.acked(&lane, offset, record.size());
    }
    Ok(())
}

fn refused(error: &ProduceError) -> Problem {
    match error {
        // Nothing was written, and nothing is lost: it may simply be reported again.
        ProduceError::QueueFull => Problem::try_again(1),
        ProduceError::Refused(why) => {
            tracing::error!(why, "the log refused an activity");
            Problem::unavailable("the log does not take activities now; nothing was written")
        }
        ProduceError::Unknown(why) => {
            tracing::warn!(why, "no acknowledgement of an activity");
            Problem::outcome_unknown()
        }
    }
}
