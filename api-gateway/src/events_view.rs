//! `GET /v1/events` and `GET /v1/events/{event_id}`, from memory.

use std::sync::Arc;

use serde::Serialize;
use shared_domain::{ContactCollection, EventId, EventStatus, EventType, Hex32, Millis};
use shared_runtime::http::{Page, Params, Problem, Request, Response};
use shared_runtime::log::producer::Producer;
use utoipa::ToSchema;

use crate::Edge;
use crate::entry_view::time;
use crate::snapshot::EventView;

/// An event as members see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventJson<'a> {
    #[schema(value_type = i64)]
    event_id: EventId,
    title: &'a str,
    content: &'a str,
    #[serde(rename = "type")]
    event_type: EventType,
    status: EventStatus,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    options: Vec<OptionJson<'a>>,
    /// Null where everybody valid wins.
    #[schema(required)]
    max_winners: Option<i64>,
    duplicate_participation_allowed: bool,
    /// Null for an internal test event.
    #[schema(required)]
    review_number: Option<&'a str>,
    contact_collection: ContactCollection,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false)]
    draw_commitment: Option<Hex32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    server_time: Option<String>,
}

/// An option of an event.
#[derive(Serialize, ToSchema)]
#[schema(as = EventOption)]
struct OptionJson<'a> {
    name: &'a str,
    /// A hint, at most a second old.
    remaining: i64,
}

/// A page of events, by id.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(crate) struct EventsJson<'a> {
    events: Vec<EventJson<'a>>,
    #[schema(required)]
    next_cursor: Option<String>,
    #[schema(format = DateTime)]
    server_time: String,
}

impl<'a> EventJson<'a> {
    fn new(event: &'a EventView, now: Millis) -> Self {
        let (facts, definition) = (&event.facts, &event.facts.definition);
        let options = definition.options.iter().zip(&event.remaining);
        Self {
            event_id: facts.event_id,
            title: &facts.title,
            content: &facts.content,
            event_type: definition.event_type,
            status: event.status(now),
            starts_at: time(definition.period.starts_at()),
            ends_at: time(definition.period.ends_at()),
            options: options
                .map(|((name, _), remaining)| OptionJson { name: name.as_str(), remaining: *remaining })
                .collect(),
            max_winners: definition.max_winners,
            duplicate_participation_allowed: definition.duplicates_allowed,
            review_number: event.review_number.as_deref(),
            contact_collection: definition.contact_collection,
            draw_commitment: definition.draw_commitment.map(Hex32),
            server_time: None,
        }
    }
}

/// One event.
pub(crate) async fn one<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let event_id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    request.only_query(&[])?;
    let (snapshot, now) = (edge.snapshots.get()?, edge.clock.now_ms());
    let event = snapshot.event(event_id).ok_or_else(Problem::event_not_found)?;
    Ok(Response::ok(&EventJson { server_time: Some(time(now)), ..EventJson::new(event, now) }))
}

/// Those that take entries, or will.
pub(crate) async fn list<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    _: Params,
) -> Result<Response, Problem> {
    request.only_query(&["limit", "cursor"])?;
    let page = Page::of(&request)?;
    let after = match &page.cursor {
        None => EventId::MIN,
        Some(text) => text.parse().map_err(|_| Problem::invalid("query:cursor", "is not one of ours"))?,
    };
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let (snapshot, now) = (edge.snapshots.get()?, edge.clock.now_ms());
    let start = snapshot.ids.partition_point(|id| *id <= after);
    let mut open = snapshot.ids[start..].iter().filter_map(|id| snapshot.event(*id)).filter(|event| {
        use EventStatus::{Open, Paused, Scheduled, SoldOut};
        matches!(event.status(now), Scheduled | Open | Paused | SoldOut)
    });
    let events: Vec<_> = open.by_ref().take(limit).map(|event| EventJson::new(event, now)).collect();
    let more = open.next().is_some();
    let next_cursor = events.last().filter(|_| more).map(|event| event.event_id.to_string());
    Ok(Response::ok(&EventsJson { events, next_cursor, server_time: time(now) }))
}
