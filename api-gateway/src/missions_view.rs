//! `GET /v1/events/{event_id}/missions`: how far a member is. Those who ask at the same time are read by one query, and shown
//! for a second without another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::Serialize;
use shared_domain::{EventId, MemberId, MissionType};
use shared_runtime::http::{Params, Problem, Request, Response};
use shared_runtime::log::producer::Producer;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::MemberMissionRow;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::Edge;
use crate::entry_view::time;
use crate::gather::Gathered;

/// So long progress is shown without asking the database.
const FRESH: Duration = Duration::from_secs(1);
/// Members in one query.
const BLOCK: usize = 200;
/// Progress remembered: some 10 MiB.
const CAPACITY: usize = 50_000;

type Key = (MemberId, EventId);
type Rows = Arc<[MemberMissionRow]>;

/// The missions of an event, and how far the member is.
#[derive(Serialize, ToSchema)]
#[schema(as = Missions)]
pub(crate) struct MissionsJson<'a> {
    missions: Vec<MissionJson<'a>>,
}

/// One mission.
#[derive(Serialize, ToSchema)]
#[schema(as = Mission)]
struct MissionJson<'a> {
    /// Its number in the event, from 0.
    mission_id: u16,
    title: &'a str,
    mission_type: MissionType,
    goal_value: i64,
    /// May go on behind the goal.
    current_value: i64,
    /// The goal was reached once.
    is_completed: bool,
    /// When the activity was accepted that reached it.
    #[schema(required)]
    completed_at: Option<String>,
}

/// The progress that somebody asked for lately, and that is awaited.
#[derive(Debug)]
pub(crate) struct MissionProgress {
    known: Cache<Key, (Instant, Rows)>,
    asked: Gathered<Key, Rows>,
}

impl Default for MissionProgress {
    fn default() -> Self {
        Self { known: Cache::new(CAPACITY), asked: Gathered::new("missions") }
    }
}

/// The handler.
pub(crate) async fn list<P: Producer>(
    edge: Arc<Edge<P>>,
    request: Request,
    params: Params,
) -> Result<Response, Problem> {
    let event_id = params.id("event_id").ok_or_else(Problem::event_not_found)?;
    let snapshot = edge.snapshots.get()?;
    let event = snapshot.event(event_id).ok_or_else(Problem::event_not_found)?;
    let member = edge.verifier.verify_member(request.bearer()).await?.member_id;
    request.only_query(&[])?;
    let missions = &event.facts.definition.missions;
    let key = (member, event_id);
    let progress = &edge.mission_progress;
    let rows = match progress.known.get(&key).filter(|(read_at, _)| read_at.elapsed() < FRESH) {
        _ if missions.is_empty() => Rows::default(),
        Some((_, rows)) => rows,
        None => progress.asked.ask(key).await?,
    };
    let missions = missions.iter().zip(0u16..).map(|(mission, index)| {
        let row = rows.iter().find(|row| u16::try_from(row.mission_index) == Ok(index));
        MissionJson {
            mission_id: index,
            title: &mission.title,
            mission_type: mission.mission_type,
            goal_value: mission.goal_value,
            current_value: row.map_or(0, |row| row.current_value),
            is_completed: row.is_some_and(|row| row.is_completed),
            completed_at: row.and_then(|row| row.completed_at).map(time),
        }
    });
    Ok(Response::ok(&MissionsJson { missions: missions.collect() }))
}

/// Reads the progress that is awaited until `stop`.
pub(crate) async fn read_until<P: Producer>(
    edge: Arc<Edge<P>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let progress = &edge.mission_progress;
    let mut reader = progress.asked.reader(BLOCK);
    while let Some(batch) = reader.next(&stop).await {
        let read_at = Instant::now();
        match read(&edge, &batch.keys()).await {
            Ok(found) => {
                for (key, rows) in &found {
                    progress.known.insert(*key, (read_at, Arc::clone(rows)));
                }
                batch.answer(|key| found.get(key).cloned().unwrap_or_default());
            }
            Err(error) => {
                tracing::warn!(%error, "members' progress could not be read");
                batch.fail();
            }
        }
    }
    Ok(())
}

async fn read<P>(edge: &Edge<P>, keys: &[Key]) -> Result<HashMap<Key, Rows>, StoreError> {
    let mut members: Vec<MemberId> = keys.iter().map(|(member, _)| *member).collect();
    let mut events: Vec<EventId> = keys.iter().map(|(_, event)| *event).collect();
    for ids in [&mut members, &mut events] {
        ids.sort_unstable();
        ids.dedup();
    }
    // Whoever has not begun is remembered, too.
    let mut found: HashMap<Key, Vec<MemberMissionRow>> = keys.iter().map(|key| (*key, Vec::new())).collect();
    for row in edge.store.mission_progress(&members, &events).await? {
        if let Some(rows) = found.get_mut(&(row.member_id, row.event_id)) {
            rows.push(row);
        }
    }
    Ok(found.into_iter().map(|(key, rows)| (key, rows.into())).collect())
}
