//! The routes of the admin listener (API "Admin listener").

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared_domain::{EventDraft, LimitsDraft, check_draft};
use shared_proto::Topic;
use shared_runtime::config::ConfigError;
use shared_runtime::http::{HttpLimits, Page, Params, Problem, Request, Response, Router};
use shared_runtime::store::commands::{Change, EventFacts};
use shared_runtime::store::rows::EventRow;
use warp::http::Method;

use crate::change::answer;
use crate::{Admin, view};

const READ: &str = "events:read";
const WRITE: &str = "events:write";
const OPS: &str = "ops:write";

/// A draft may hold 1,000 options and 20,000 characters.
const DRAFT_BYTES: usize = 512 * 1024;

type Answer = Result<Response, Problem>;

/// All routes.
pub(crate) fn router(admin: Arc<Admin>, limits: HttpLimits) -> Result<Router<Admin>, ConfigError> {
    Ok(Router::new(admin, limits)?
        .route(Method::POST, "/admin/v1/events", create)
        .route(Method::GET, "/admin/v1/events", list)
        .route(Method::GET, "/admin/v1/events/{event_id}", get)
        .route(Method::POST, "/admin/v1/events/{event_id}/schedule", schedule)
        .route(Method::POST, "/admin/v1/events/{event_id}/pause", pause)
        .route(Method::POST, "/admin/v1/events/{event_id}/resume", resume)
        .route(Method::POST, "/admin/v1/events/{event_id}/close", close)
        .route(Method::POST, "/admin/v1/events/{event_id}/stock", add_stock)
        .route(Method::PUT, "/admin/v1/events/{event_id}/limits", limits_of)
        .route(Method::PUT, "/admin/v1/events/{event_id}/high-traffic", high_traffic)
        .route(Method::GET, "/admin/v1/commands/{command_id}", command)
        .route(Method::GET, "/admin/v1/parked", parked)
        .route(Method::POST, "/admin/v1/parked/{event_id}/unpark", unpark))
}

/// A body without members.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StockBody {
    option: String,
    add: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HighTrafficBody {
    enabled: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnparkBody {
    reject: Option<i64>,
    lane: Option<i32>,
}

async fn create(admin: Arc<Admin>, mut request: Request, _: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let draft: EventDraft = request.json(DRAFT_BYTES).await?;
    let definition = check_draft(&draft).map_err(Problem::invalid_request)?;
    let text = serde_json::to_string(&draft).map_err(|_| Problem::internal())?;
    let change = Change::Create(text, Box::new(definition), draft.limits.unwrap_or_default());
    let answered = admin.make(&request, &staff, &draft, 201, change).await?;
    let made: Value = serde_json::from_str(&answered.body).map_err(|_| Problem::internal())?;
    let location = format!("/admin/v1/events/{}", made["event_id"]);
    Ok(answer(answered).with_location(&location))
}

async fn list(admin: Arc<Admin>, request: Request, _: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&["limit", "cursor"])?;
    let page = Page::of(&request)?;
    let before = match &page.cursor {
        None => i64::MAX,
        Some(cursor) => {
            cursor.parse().map_err(|_| Problem::invalid("query:cursor", "is not a cursor of this list"))?
        }
    };
    let limit = i64::from(page.limit);
    let (rows, facts) = admin
        .ask(move |store| async move {
            let rows = store.events(before, limit).await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.event_id).collect();
            let facts = store.event_facts(&ids).await?;
            Ok((rows, facts))
        })
        .await?;
    let now = admin.parts.clock.now_ms();
    let full = rows.len() == page.limit as usize;
    let next = rows.last().filter(|_| full).map(|row| row.event_id.to_string());
    let events: Vec<Value> = rows.iter().zip(&facts).map(|(row, f)| view::event(row, f, now)).collect();
    Ok(Response::ok(&json!({"events": events, "next_cursor": next})))
}

async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&[])?;
    let id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    let found: (Option<EventRow>, Vec<EventFacts>) = admin
        .ask(move |store| async move { Ok((store.event(id).await?, store.event_facts(&[id]).await?)) })
        .await?;
    let row = found.0.ok_or_else(Problem::event_not_found)?;
    let facts = found.1.first().cloned().unwrap_or_default();
    Ok(Response::ok(&view::event(&row, &facts, admin.parts.clock.now_ms())))
}

async fn schedule(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let change = Change::Schedule {
        event,
        topic: admin.parts.topics.name(Topic::Apply),
        lane_count: admin.parts.apply_lanes,
        retention: admin.parts.log_retention.map(millis),
    };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

async fn pause(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    set_paused(admin, request, params, true).await
}

async fn resume(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    set_paused(admin, request, params, false).await
}

async fn set_paused(admin: Arc<Admin>, mut request: Request, params: Params, paused: bool) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let change = Change::Pause(event, paused);
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

async fn close(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: Nothing = request.json_or_default(request.body_limit()).await?;
    let not_before = admin.parts.clock.now_ms().saturating_add(millis(admin.parts.close_grace));
    let change = Change::Close { event, not_before };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

async fn add_stock(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let body: StockBody = request.json(request.body_limit()).await?;
    if body.add <= 0 {
        return Err(Problem::invalid("/add", "must be greater than 0"));
    }
    let change = Change::AddStock { event, option: body.option.clone(), add: body.add };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

async fn limits_of(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
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

async fn high_traffic(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, OPS).await?;
    let event = admin.event_of(&params).await?;
    let body: HighTrafficBody = request.json(request.body_limit()).await?;
    admin.make(&request, &staff, &body, 200, Change::HighTraffic(event, body.enabled)).await?;
    Ok(Response::ok(&body))
}

async fn command(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&[])?;
    let missing = || Problem::missing("COMMAND_NOT_FOUND", "there is no such command");
    let id = params.uuid("command_id").ok_or_else(missing)?.into_bytes();
    let found = admin.ask(move |store| async move { store.command(&id).await }).await?;
    Ok(Response::ok(&view::command(&found.ok_or_else(missing)?)))
}

async fn parked(admin: Arc<Admin>, request: Request, _: Params) -> Answer {
    admin.staff(&request, OPS).await?;
    request.only_query(&[])?;
    let rows = admin.ask(|store| async move { store.parked_events().await }).await?;
    let parked: Vec<Value> = rows.iter().map(view::parked).collect();
    Ok(Response::ok(&json!({"parked": parked})))
}

async fn unpark(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, OPS).await?;
    let event = admin.event_of(&params).await?;
    let body: UnparkBody = request.json_or_default(request.body_limit()).await?;
    let change = Change::Unpark { event, reject: body.reject, lane: body.lane };
    Ok(answer(admin.make(&request, &staff, &body, 202, change).await?))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
