//! Draws: run, shown, given their beacon, watched; and entries taken out of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared_domain::draw::{DrawPhase, DrawRecord, Trust};
use shared_domain::{EntryId, EventId, HexBytes, Lifecycle};
use shared_runtime::draw::public_record;
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::store::Store;
use shared_runtime::store::commands::Change;
use shared_runtime::store::draw::{DrawLane, DrawParts};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EventRow;
use utoipa::ToSchema;

use crate::change::answer;
use crate::commands::Nothing;
use crate::routes::{Answer, DRAWS, READ};
use crate::{Admin, problem};

const REASON_MAX: usize = 1_000;

/// What staff want of a draw.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DrawBody {
    /// Run through to PUBLISHED; otherwise stop before it.
    publish: bool,
}

impl Default for DrawBody {
    fn default() -> Self {
        Self { publish: true }
    }
}

/// A drand round, as its chain signed it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeaconBody {
    round: u64,
    #[schema(value_type = String)]
    signature: HexBytes,
}

/// Why an entry is taken out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisqualifyBody {
    /// Stands in the public record.
    reason: String,
}

/// A draw as staff see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrawJson {
    phase: DrawPhase,
    progress: DrawProgress,
    record: DrawRecord,
}

/// How far a draw has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrawProgress {
    requested: bool,
    publish: bool,
    #[schema(required)]
    entrants: Option<i64>,
    places_stored: i64,
    places_applied: i64,
    /// What it cannot go on without.
    waiting_for: Vec<String>,
}

pub(crate) async fn run(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, DRAWS).await?;
    let event = admin.event_of(&params).await?;
    let body: DrawBody = request.json_or_default(request.body_limit()).await?;
    let chains = Arc::clone(&admin.parts.chains);
    let change = Change::Draw { event, publish: body.publish, chains };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

pub(crate) async fn publish(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, DRAWS).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    Ok(answer(admin.make(&request, &staff, &body, 202, Change::PublishDraw(event)).await?))
}

pub(crate) async fn beacon(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, DRAWS).await?;
    let event = admin.event_of(&params).await?;
    let body: BeaconBody = request.json(request.body_limit()).await?;
    let chains = Arc::clone(&admin.parts.chains);
    let (round, signature) = (body.round, body.signature.clone());
    let change = Change::Beacon { event, round, signature, chains };
    admin.make(&request, &staff, &body, 200, change).await?;
    Ok(Response::ok(&body))
}

pub(crate) async fn disqualify(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, DRAWS).await?;
    let event = admin.event_of(&params).await?;
    let entry = EntryId::parse(params.get("entry_id")).ok_or_else(Problem::entry_not_found)?;
    let mut body: DisqualifyBody = request.json(request.body_limit()).await?;
    body.reason = body.reason.trim().to_owned();
    if body.reason.is_empty() {
        return Err(Problem::invalid("/reason", "must not be blank: it stands in the public record"));
    }
    if body.reason.chars().count() > REASON_MAX {
        return Err(Problem::invalid("/reason", format_args!("must have at most {REASON_MAX} characters")));
    }
    let change = Change::Disqualify { event, entry, reason: body.reason.clone() };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    let event = admin.event_of(&params).await?;
    request.only_query(&[])?;
    let seen = admin.ask(move |store| async move { look(&store, event).await }).await?;
    let missing = || Problem::missing("DRAW_NOT_FOUND", "the event is no raffle that is scheduled");
    let (row, parts, lanes) = seen.ok_or_else(missing)?;
    let record = public_record(&parts).map_err(|error| problem::of_store(&error))?;
    let draw = &parts.row;
    let progress = DrawProgress {
        requested: draw.requested,
        publish: draw.publish,
        entrants: draw.entrants,
        places_stored: draw.stored_places,
        places_applied: draw.applied_places,
        waiting_for: waiting_for(&row, &parts, &lanes),
    };
    Ok(Response::ok(&DrawJson { phase: record.phase, progress, record }))
}

type Seen = Option<(EventRow, DrawParts, Vec<DrawLane>)>;

async fn look(store: &Store, event: EventId) -> Result<Seen, StoreError> {
    let (Some(row), Some(parts)) = (store.event(event).await?, store.draw_parts(event).await?) else {
        return Ok(None);
    };
    Ok(Some((row, parts, store.draw_lanes(event).await?)))
}

fn waiting_for(row: &EventRow, parts: &DrawParts, lanes: &[DrawLane]) -> Vec<String> {
    let topic = row.topic.as_deref().unwrap_or_default();
    let mut awaited = Vec::new();
    if row.lifecycle == Lifecycle::Closing.code() {
        let open = lanes.iter().filter(|lane| !lane.closed);
        awaited.extend(open.map(|lane| format!("lane {topic}/{} has not applied Closed", lane.lane)));
    }
    let parked = lanes.iter().filter(|lane| lane.parked);
    awaited.extend(parked.map(|lane| format!("lane {topic}/{}: the event is parked", lane.lane)));
    let draw = &parts.row;
    let frozen = draw.phase == shared_runtime::store::rows::DrawRow::phase_code(DrawPhase::Frozen);
    if frozen && draw.trust() == Trust::Beacon && draw.beacon_randomness.is_none() {
        awaited.push(format!("beacon round {}", draw.beacon_round.unwrap_or_default()));
    }
    awaited
}
