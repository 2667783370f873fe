//! Commands: what staff ask of the log, and of admission.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_domain::{ComplianceDraft, ContactCollection, EventDraft, EventId, Lifecycle, LimitsDraft};
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::keys::EventSecrets;
use shared_runtime::store::commands::Change;
use utoipa::ToSchema;

use crate::change::answer;
use crate::routes::{Answer, OPS, READ, WRITE};
use crate::{Admin, problem, view};

/// A body without members.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// More stock of an option.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StockAdded)]
pub(crate) struct StockBody {
    /// Name of an option of the event.
    option: String,
    /// How many more; the reward's bounds hold for the sum.
    #[schema(minimum = 1)]
    add: i64,
}

/// The high-traffic flag.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HighTraffic)]
pub(crate) struct HighTrafficBody {
    enabled: bool,
}

/// Without members: every parked record of the event is decided again.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Unpark)]
pub(crate) struct UnparkBody {
    /// Offset of the one record to give up, as `REJECTED(UNDECIDABLE)`.
    reject: Option<i64>,
    /// Its lane, where several have parked that offset.
    lane: Option<i32>,
}

/// Every event that is parked somewhere.
#[derive(Serialize, ToSchema)]
#[schema(as = Parked)]
pub(crate) struct ParkedListJson {
    parked: Vec<view::ParkedJson>,
}

pub(crate) async fn schedule(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let contact_key = contact_key(&admin, event).await?;
    let secrets = EventSecrets::new(&admin.parts.decision_key, event).map_err(|error| {
        tracing::error!(%error, "no secrets for an event");
        Problem::internal()
    })?;
    let change = Change::Schedule {
        event,
        contact_key,
        topics: admin.parts.event_topics.clone(),
        retention: admin.parts.log_retention.map(millis),
        secrets,
        chains: Arc::clone(&admin.parts.chains),
    };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

/// The event's contact key, where its draft asks for contacts: it lies in the key store before anybody can seal to it.
async fn contact_key(admin: &Admin, event: EventId) -> Result<Option<[u8; 32]>, Problem> {
    let row = admin.ask(move |store| async move { store.event(event).await }).await?;
    // Only a draft can be scheduled; anything else is refused further on.
    let draft = row.filter(|row| row.lifecycle == Lifecycle::Draft.code()).and_then(|row| row.draft);
    let draft: Option<EventDraft> = draft.and_then(|text| serde_json::from_str(&text).ok());
    if draft.is_none_or(|draft| draft.contact_collection == ContactCollection::None) {
        return Ok(None);
    }
    let parts = Arc::clone(&admin.parts);
    let made = tokio::spawn(async move {
        parts.keys.public_key(event, &parts.wrapping, &*parts.random, parts.clock.now_ms()).await
    });
    match made.await {
        Ok(Ok(key)) => Ok(Some(key)),
        Ok(Err(error)) => Err(problem::of_key_store(&error)),
        Err(died) => {
            tracing::error!(%died, "a query died");
            Err(Problem::internal())
        }
    }
}

pub(crate) async fn pause(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    set_paused(admin, request, params, true).await
}

pub(crate) async fn resume(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    set_paused(admin, request, params, false).await
}

async fn set_paused(admin: Arc<Admin>, mut request: Request, params: Params, paused: bool) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let change = Change::Pause(event, paused);
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

pub(crate) async fn close(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let not_before = admin.parts.clock.now_ms().saturating_add(millis(admin.parts.close_grace));
    let change = Change::Close { event, not_before };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

pub(crate) async fn add_stock(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: StockBody = request.json(request.body_limit()).await?;
    if body.add <= 0 {
        return Err(Problem::invalid("/add", "must be greater than 0"));
    }
    let change = Change::AddStock { event, option: body.option.clone(), add: body.add };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

pub(crate) async fn limits(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, OPS).await?;
    let event = admin.event_of(&params).await?;
    let body: LimitsDraft = request.json(request.body_limit()).await?;
    let violations = body.violations("");
    if !violations.is_empty() {
        return Err(Problem::invalid_request(violations));
    }
    admin.make(&request, &staff, &body, 200, Change::Limits(event, body)).await?;
    Ok(Response::ok(&body))
}

pub(crate) async fn approval(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: ComplianceDraft = request.json(request.body_limit()).await?;
    let approval = body.check("").map_err(Problem::invalid_request)?;
    Ok(answer(admin.make(&request, &staff, &body, 202, Change::Approval(event, approval)).await?))
}

pub(crate) async fn high_traffic(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, OPS).await?;
    let event = admin.event_of(&params).await?;
    let body: HighTrafficBody = request.json(request.body_limit()).await?;
    admin.make(&request, &staff, &body, 200, Change::HighTraffic(event, body.enabled)).await?;
    Ok(Response::ok(&body))
}

pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&[])?;
    let missing = || Problem::missing("COMMAND_NOT_FOUND", "there is no such command");
    let id = params.uuid("command_id").ok_or_else(missing)?.into_bytes();
    let found = admin.ask(move |store| async move { store.command(&id).await }).await?;
    Ok(Response::ok(&view::command(&found.ok_or_else(missing)?)))
}

pub(crate) async fn parked(admin: Arc<Admin>, request: Request, _: Params) -> Answer {
    admin.staff(&request, OPS).await?;
    request.only_query(&[])?;
    let rows = admin.ask(|store| async move { store.parked_events().await }).await?;
    Ok(Response::ok(&ParkedListJson { parked: rows.iter().map(view::parked).collect() }))
}

pub(crate) async fn unpark(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, OPS).await?;
    let event = admin.event_of(&params).await?;
    let body: UnparkBody = request.json_or_default(request.body_limit()).await?;
    let change = Change::Unpark { event, reject: body.reject, lane: body.lane };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
