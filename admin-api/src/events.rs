//! Events as staff write and read them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use shared_domain::{EventDraft, EventId, EventStatus, EventType, check_draft};
use shared_runtime::http::{Page, Params, Problem, Request, Response};
use shared_runtime::store::commands::{Answered, Change, EventFacts};
use shared_runtime::store::desk::EventFilter;
use shared_runtime::store::rows::EventRow;
use utoipa::ToSchema;
use warp::http::{HeaderValue, header};

use crate::change::answer;
use crate::cursor;
use crate::routes::{Answer, READ, WRITE};
use crate::{Admin, view};

/// A draft may hold 1,000 options and 20,000 characters.
pub(crate) const DRAFT_BYTES: usize = 512 * 1024;
/// A status follows from time and lanes, so events are looked through for it: at most this many a page.
const LOOKED_THROUGH: usize = 2_000;
const BLOCK: i64 = 200;

/// A page of events, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = StaffEvents)]
pub(crate) struct EventsJson {
    events: Vec<view::EventJson>,
    #[schema(required)]
    next_cursor: Option<String>,
}

pub(crate) async fn create(admin: Arc<Admin>, mut request: Request, _: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let draft: EventDraft = request.json(DRAFT_BYTES).await?;
    let definition = check_draft(&draft).map_err(Problem::invalid_request)?;
    if let Some(beacon) = definition.draw.and_then(|draw| draw.beacon) {
        let known = admin.parts.chains.check_round(&beacon, definition.period.ends_at());
        known.map_err(|violation| Problem::invalid_request(vec![violation]))?;
    }
    let text = serde_json::to_string(&draft).map_err(|_| Problem::internal())?;
    let change = Change::Create(text, Box::new(definition), draft.limits.unwrap_or_default());
    let answered = admin.make(&request, &staff, &draft, 201, change).await?;
    let made: Value = serde_json::from_str(&answered.body).map_err(|_| Problem::internal())?;
    let location = format!("/admin/v1/events/{}", made["event_id"]);
    Ok(event_answer(answered)?.with_location(&location))
}

pub(crate) async fn patch(admin: Arc<Admin>, mut request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, WRITE).await?;
    let event = admin.event_of(&params).await?;
    let if_match = if_match(&request);
    let patch: Map<String, Value> = request.json(DRAFT_BYTES).await?;
    let change = Change::Edit { event, patch: patch.clone(), if_match };
    event_answer(admin.make(&request, &staff, &patch, 200, change).await?)
}

pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&[])?;
    let id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    let (row, facts) = admin
        .ask(move |store| async move { Ok((store.event(id).await?, store.event_facts(&[id]).await?)) })
        .await?;
    let row: EventRow = row.ok_or_else(Problem::event_not_found)?;
    let facts: EventFacts = facts.into_iter().next().unwrap_or_default();
    Ok(with_etag(Response::ok(&view::event(&row, &facts, admin.parts.clock.now_ms())), row.version))
}

/// Filters: `status`, `type`, `deleted`. A page may hold fewer than `limit` while `next_cursor` says that more follow.
pub(crate) async fn list(admin: Arc<Admin>, request: Request, _: Params) -> Answer {
    admin.staff(&request, READ).await?;
    request.only_query(&["limit", "cursor", "status", "type", "deleted"])?;
    let page = Page::of(&request)?;
    let mut before = cursor::parse(page.cursor.as_deref(), |[id]| Some(id))?.unwrap_or(EventId::MAX);
    let status: Option<EventStatus> = named(&request, "status")?;
    let filter = EventFilter {
        draft: status.map(|status| status == EventStatus::Draft),
        event_type: named::<EventType>(&request, "type")?,
        deleted: match request.query_param("deleted").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Problem::invalid("query:deleted", "must be true or false")),
        },
    };
    let (now, limit) = (admin.parts.clock.now_ms(), page.limit as usize);
    let (mut events, mut seen) = (Vec::with_capacity(limit), 0);
    let next = loop {
        let block = if status.is_some() { BLOCK } else { i64::from(page.limit) };
        let (rows, facts) = admin
            .ask(move |store| async move {
                let rows = store.events(&filter, before, block).await?;
                let ids: Vec<EventId> = rows.iter().map(|row| row.event_id).collect();
                let facts = store.event_facts(&ids).await?;
                Ok((rows, facts))
            })
            .await?;
        for (row, facts) in rows.iter().zip(&facts) {
            before = row.event_id;
            if status.is_none_or(|wanted| view::status(row, facts, now) == wanted) {
                events.push(view::event(row, facts, now));
            }
            if events.len() == limit {
                break;
            }
        }
        seen += rows.len();
        if events.len() == limit || (seen >= LOOKED_THROUGH && !rows.is_empty()) {
            break Some(before.to_string());
        }
        if (rows.len() as i64) < block {
            break None;
        }
    };
    Ok(Response::ok(&EventsJson { events, next_cursor: next }))
}

/// A query parameter that is one of an enum's names.
fn named<T: serde::de::DeserializeOwned>(request: &Request, name: &str) -> Result<Option<T>, Problem> {
    let Some(text) = request.query_param(name) else { return Ok(None) };
    serde_json::from_value(Value::String(text))
        .map(Some)
        .map_err(|error| Problem::invalid(format!("query:{name}"), error))
}

/// `If-Match` (RFC 9110, 13.1.1): the versions it names; `None` without the header or for `*`. Weak tags and tags that
/// are not ours match nothing.
fn if_match(request: &Request) -> Option<Vec<i64>> {
    let values = request.headers.get_all(header::IF_MATCH);
    let tags: Vec<&str> = values
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .collect();
    if tags.is_empty() || tags == ["*"] {
        return None;
    }
    let version = |tag: &&str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Some(tags.iter().filter_map(version).collect())
}

fn event_answer(answered: Answered) -> Answer {
    let event: Value = serde_json::from_str(&answered.body).map_err(|_| Problem::internal())?;
    let version = event["version"].as_i64().ok_or_else(Problem::internal)?;
    Ok(with_etag(answer(answered), version))
}

/// The tag stands for what staff can change, not for stock and status, which move by themselves.
fn with_etag(response: Response, version: i64) -> Response {
    match HeaderValue::from_str(&format!("\"{version}\"")) {
        Ok(tag) => response.with_header(header::ETAG, tag),
        Err(_) => response,
    }
}
