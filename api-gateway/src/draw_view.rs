//! `GET /v1/events/{event_id}/draw` and its list of entrants, for anyone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use shared_domain::EventId;
use shared_domain::draw::{DrawPhase, ENTRANTS_HEADER, Entrant};
use shared_runtime::draw::{entrants, public_record};
use shared_runtime::http::{Params, Problem, Request, Response, StreamError};
use shared_runtime::log::producer::Producer;
use shared_runtime::store::Store;
use shared_runtime::store::error_class::StoreError;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Edge;

/// So long a record is shown without asking the database.
const FRESH: Duration = Duration::from_millis(250);
/// Records remembered, in bytes: one has some 40 a winner.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// Records read at the same time, whoever asks.
const READS: usize = 2;
/// Lists sent at the same time; one more is 503.
const LISTS: usize = 16;

/// A record as JSON; `None`: there is none.
#[derive(Debug, Clone)]
struct Known {
    read_at: Instant,
    record: Option<Bytes>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<EventId, Known> for ByBytes {
    fn weight(&self, _: &EventId, known: &Known) -> u64 {
        known.record.as_ref().map_or(0, Bytes::len) as u64 + 100
    }
}

/// The records that somebody asked for lately.
#[derive(Debug)]
pub(crate) struct Draws {
    known: Cache<EventId, Known, ByBytes>,
    reads: Semaphore,
    lists: Arc<Semaphore>,
}

impl Default for Draws {
    fn default() -> Self {
        Self {
            known: Cache::with_weighter(1_000, CAPACITY, ByBytes),
            reads: Semaphore::new(READS),
            lists: Arc::new(Semaphore::new(LISTS)),
        }
    }
}

/// The record.
pub(crate) async fn record<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let event = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    request.only_query(&[])?;
    match look(&edge, event).await? {
        Some(record) => {
            Ok(Response::bytes(http::StatusCode::OK, HeaderValue::from_static("application/json"), record))
        }
        None => Err(missing(&edge, event)),
    }
}

async fn look<P: Producer>(edge: &Edge<P>, event: EventId) -> Result<Option<Bytes>, Problem> {
    let fresh = || edge.draws.known.get(&event).filter(|known| known.read_at.elapsed() < FRESH);
    if let Some(known) = fresh() {
        return Ok(known.record);
    }
    let away = |_| Problem::unavailable("shutting down");
    let _read = edge.draws.reads.acquire().await.map_err(away)?;
    if let Some(known) = fresh() {
        return Ok(known.record);
    }
    let read_at = Instant::now();
    let record = ask(edge, move |store| async move {
        let Some(parts) = store.draw_parts(event).await? else { return Ok(None) };
        let json = serde_json::to_vec(&public_record(&parts)?);
        json.map(|json| Some(Bytes::from(json))).map_err(|error| StoreError::fatal(error.to_string()))
    })
    .await?;
    edge.draws.known.insert(event, Known { read_at, record: record.clone() });
    Ok(record)
}

/// The frozen list, in blocks so that memory stays flat.
pub(crate) async fn list<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let event = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    request.only_query(&[])?;
    let place = Arc::clone(&edge.draws.lists)
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("too many lists are being sent").with_retry_after(2))?;
    let found = ask(&edge, move |store| async move {
        let Some(parts) = store.draw(event).await? else { return Ok(None) };
        Ok(Some((parts.phase()?, store.draw_lanes(event).await?)))
    });
    let (phase, lanes) = found.await?.ok_or_else(|| missing(&edge, event))?;
    if phase < DrawPhase::Frozen {
        return Err(Problem::missing("DRAW_NOT_FROZEN", "the list is not frozen yet"));
    }
    let mut walk = entrants(&edge.store, event, &lanes);
    let body = async_stream::try_stream! {
        let _place = place;
        yield Bytes::from(format!("{ENTRANTS_HEADER}\n"));
        while let Some(block) = walk.next().await? {
            yield lines(&block);
        }
    };
    let body = futures::StreamExt::map(body, move |block: Result<Bytes, StreamError>| {
        block.inspect_err(|error| tracing::error!(event_id = event, %error, "a list broke off"))
    });
    Ok(Response::stream(HeaderValue::from_static("text/csv; charset=utf-8; header=present"), body))
}

fn lines(block: &[Entrant]) -> Bytes {
    let mut text = String::with_capacity(block.len() * 40);
    for entrant in block {
        text.push_str(&entrant.to_string());
        text.push('\n');
    }
    text.into()
}

/// Asks the store in a task of its own: a client that hangs up must not cancel a query.
async fn ask<P, T, A>(edge: &Edge<P>, question: impl FnOnce(Store) -> A + Send) -> Result<T, Problem>
where
    T: Send + 'static,
    A: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    match tokio::spawn(question(edge.store.clone())).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a draw could not be read");
            Err(Problem::unavailable("the draw cannot be read now"))
        }
        Err(died) => {
            tracing::error!(%died, "a query died");
            Err(Problem::internal())
        }
    }
}

fn missing<P>(edge: &Edge<P>, event: EventId) -> Problem {
    match edge.snapshots.latest().is_some_and(|snapshot| snapshot.event(event).is_some()) {
        true => Problem::missing("DRAW_NOT_FOUND", "the event is no raffle"),
        false => Problem::event_not_found(),
    }
}
