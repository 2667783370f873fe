//! `GET /v1/ranking`: events by the entries that they have accepted, from Redis, where admin-api keeps the totals. Without
//! Redis (or where it knows of no event yet) from this gateway's own snapshot, which reads the same totals.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Serialize;
use shared_domain::EventId;
use shared_runtime::http::{Params, Problem, Request, Response, limit};
use shared_runtime::log::producer::Producer;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::Edge;
use crate::snapshot::Snapshot;

/// So long a ranking is shown without asking Redis.
const FRESH: Duration = Duration::from_secs(1);
/// Events shown unless said otherwise.
pub(crate) const DEFAULT: u32 = 10;
/// Events read: all that a request may ask for, and some that may have just been deleted.
const READ: usize = 300;

/// The most popular events.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranking)]
pub(crate) struct RankingJson<'a> {
    /// Highest score first; of equal ones, the newer event.
    events: Vec<RankedJson<'a>>,
}

/// An event's place in the ranking.
#[derive(Serialize, ToSchema)]
#[schema(as = RankedEvent)]
struct RankedJson<'a> {
    #[schema(value_type = i64)]
    event_id: EventId,
    title: &'a str,
    /// Entries accepted.
    score: i64,
}

#[derive(Debug)]
struct Known {
    read_at: Instant,
    scores: Vec<(EventId, i64)>,
}

/// The ranking as it was read last.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    known: ArcSwapOption<Known>,
    /// One reads, and the others take what it has read.
    reading: Mutex<()>,
}

/// The handler.
pub(crate) async fn get<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    _: Params,
) -> Result<Response, Problem> {
    request.only_query(&["limit"])?;
    let most = usize::try_from(limit(&request, DEFAULT)?).unwrap_or(usize::MAX);
    let snapshot = edge.snapshots.get()?;
    let known = match fresh(&edge.ranking) {
        Some(known) => known,
        None => look(&edge, &snapshot).await,
    };
    // Deleted events are not in the snapshot.
    let ranked = known.scores.iter().filter_map(|(event_id, score)| {
        let title = &snapshot.event(*event_id)?.facts.title;
        Some(RankedJson { event_id: *event_id, title, score: *score })
    });
    Ok(Response::ok(&RankingJson { events: ranked.take(most).collect() }))
}

fn fresh(ranking: &Ranking) -> Option<Arc<Known>> {
    ranking.known.load_full().filter(|known| known.read_at.elapsed() < FRESH)
}

async fn look<P>(edge: &Edge<P>, snapshot: &Snapshot) -> Arc<Known> {
    let _reading = edge.ranking.reading.lock().await;
    if let Some(known) = fresh(&edge.ranking) {
        return known;
    }
    let read_at = Instant::now();
    let mut scores = match edge.redis.ranking(READ).await {
        Ok(scores) if !scores.is_empty() => scores,
        Ok(_) => counted(snapshot),
        Err(error) => {
            tracing::debug!(%error, "the ranking is counted here");
            counted(snapshot)
        }
    };
    scores.sort_unstable_by_key(|(event, score)| Reverse((*score, *event)));
    scores.truncate(READ);
    let known = Arc::new(Known { read_at, scores });
    edge.ranking.known.store(Some(Arc::clone(&known)));
    known
}

fn counted(snapshot: &Snapshot) -> Vec<(EventId, i64)> {
    let events = snapshot.ids.iter().filter_map(|id| Some((*id, snapshot.event(*id)?.accepted)));
    events.filter(|(_, accepted)| *accepted > 0).collect()
}
