//! `GET /v1/entries/{entry_id}/stream`: the place in the queue, then the result, as Server-Sent Events.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use shared_domain::EntryId;
use shared_runtime::http::{Params, Problem, Request, Response, sse_event, sse_heartbeat};
use shared_runtime::log::producer::Producer;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::Edge;
use crate::entry_view::{Claim, Shown, claim, look};
use crate::stream_places::Owner;

/// Positions are told at most this often. The result wakes its stream.
const POSITION_EVERY: Duration = Duration::from_secs(1);
const RESULT: &str = "result";

/// Data of `event: position`.
#[derive(Serialize, ToSchema)]
#[schema(as = EntryPosition)]
pub(crate) struct Position {
    entry_id: EntryId,
    ahead: i64,
}

/// The handler. A client that has the result and reconnects (EventSource does) is told to stop by 204.
pub(crate) async fn get<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    request.only_query(&["receipt"])?;
    let entry_id = EntryId::parse(params.get("entry_id")).ok_or_else(Problem::entry_not_found)?;
    let room = edge.stream_places.room()?;
    let in_query = request.query_param("receipt");
    let shown = Shown::new(&request.headers, request.bearer(), in_query.as_deref());
    let claim = claim(&edge, shown, entry_id).await?;
    let last_event = request.header("last-event-id").unwrap_or_default();
    if last_event == RESULT {
        return Ok(Response::empty(StatusCode::NO_CONTENT));
    }
    // What the client saw last is not told again.
    let mut told = last_event.strip_prefix('p').and_then(|ahead| ahead.parse::<i64>().ok());
    // Errors that have a status are told before the head is sent.
    let mut entry = Some(look(&edge, entry_id, &claim).await?);
    let (owner, wake) = match &claim {
        Claim::Receipt(at) => {
            (Owner::Entry(entry_id), Some(edge.stream_wakes.at(at.event_id, at.lane, at.offset)))
        }
        // By token only what has a row is seen: there is nothing to wait for.
        Claim::Member(member) => (Owner::Member(*member), None),
    };
    let place = edge.stream_places.take(room, owner)?;
    Ok(Response::sse(async_stream::stream! {
        let _place = place;
        let (mut told_at, mut said_at) = (None::<Instant>, Instant::now());
        loop {
            // A failed look is tried again: the client keeps its stream while the database is away.
            if let Some(entry) = entry.take() {
                let Some(ahead) = entry.ahead else {
                    yield sse_event(RESULT, RESULT, &entry);
                    break;
                };
                if told != Some(ahead) && told_at.is_none_or(|at| at.elapsed() >= POSITION_EVERY) {
                    yield sse_event("position", &format!("p{ahead}"), &Position { entry_id, ahead });
                    (told, told_at, said_at) = (Some(ahead), Some(Instant::now()), Instant::now());
                }
            }
            if said_at.elapsed() >= edge.args.stream_heartbeat {
                yield sse_heartbeat();
                said_at = Instant::now();
            }
            let woken = async {
                match &wake {
                    Some(wake) => wake.woken().await,
                    None => std::future::pending().await,
                }
            };
            // In time or not: then it looks.
            drop(tokio::time::timeout(POSITION_EVERY, woken).await);
            match look(&edge, entry_id, &claim).await {
                Ok(found) => entry = Some(found),
                // The event was deleted.
                Err(problem) if problem.status() == StatusCode::NOT_FOUND => break,
                Err(_) => {}
            }
        }
    }))
}
