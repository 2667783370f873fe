//! What a gateway knows without asking: an immutable picture of every event, renewed in the background.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use shared_domain::{
    EventDefinition, EventId, EventKeys, EventStatus, EventType, Lifecycle, Millis, MissionType,
    public_status,
};
use shared_proto::{Lane, TopicNames};
use shared_runtime::http::Problem;
use shared_runtime::lifecycle::Component;
use shared_runtime::log::producer::Producer;
use shared_runtime::redis::LivePolicy;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::{EventRow, SnapshotRows, StockRow, WatchedLane};
use shared_runtime::worker::apply::definition_of;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{Edge, GatewayArgs};

/// An older snapshot proves nothing about stock: nobody hears LOSE from it.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// Closed events are known this long after their end, for those who come for their result.
const CLOSED_KEPT_MS: i64 = 31 * 24 * 3_600 * 1_000;
/// Rows asked for at once.
const BLOCK: usize = 500;

/// What changes only with the event's version.
#[derive(Debug)]
pub(crate) struct EventFacts {
    pub event_id: EventId,
    pub event_id_text: String,
    version: i64,
    pub definition: EventDefinition,
    pub keys: EventKeys,
    pub title: String,
    pub content: String,
    lifecycle: Lifecycle,
    paused: bool,
    /// In the order of the definition's lanes.
    pub lanes: Vec<Lane>,
    limit: Option<i64>,
    member_limit: Option<i64>,
    high_traffic: Option<bool>,
    /// Of a drawn raffle: numbers of alternates, as drawn, who wait no more; ascending.
    gone: Vec<i64>,
}

impl EventFacts {
    /// The number that an alternate has now, by the one that it was drawn with.
    pub(crate) fn alternate(&self, drawn: i64) -> i64 {
        drawn - self.gone.partition_point(|gone| *gone < drawn) as i64
    }
}

/// Where the last prize went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExhaustedAt {
    pub log_id: String,
    pub lane: i32,
    pub offset: i64,
    /// Winners in that lane: how many the winner set must have.
    pub wins: i64,
}

/// One event at the moment of the snapshot.
#[derive(Debug)]
pub(crate) struct EventView {
    pub facts: Arc<EventFacts>,
    /// `Scheduled` is applied in every lane.
    pub admitting: bool,
    /// Approval in force in all lanes; `None` where a lane has none.
    pub approved: Option<(Millis, Millis)>,
    pub review_number: Option<String>,
    /// Left, by option.
    pub remaining: Vec<i64>,
    pub exhausted: Option<ExhaustedAt>,
    pub stock_pending: bool,
    /// Entries with a row.
    pub accepted: i64,
    /// Next offset to be applied, by lane; `None`: nothing of this log was applied there.
    pub cursors: Vec<Option<i64>>,
    pub limit: i64,
    pub member_limit: i64,
    /// Raffles: 202 as soon as the log has the entry.
    pub high_traffic: bool,
}

impl EventView {
    /// What clients see.
    pub(crate) fn status(&self, now: Millis) -> EventStatus {
        let facts = &self.facts;
        public_status(
            facts.lifecycle,
            &facts.definition.period,
            now,
            self.admitting,
            facts.paused,
            self.exhausted.is_some(),
        )
    }

    /// Errors: 409 when the event takes no entries at `now`.
    pub(crate) fn admits(&self, now: Millis) -> Result<(), Problem> {
        let facts = &self.facts;
        match self.status(now) {
            EventStatus::Open | EventStatus::SoldOut => {}
            EventStatus::Paused => {
                return Err(Problem::conflict("EVENT_PAUSED", "the event is paused").with_retry_after(5));
            }
            EventStatus::Scheduled => {
                let wait = (facts.definition.period.starts_at() - now).max(1).saturating_add(999) / 1_000;
                return Err(Problem::conflict("EVENT_NOT_STARTED", "the event has not started")
                    .with_retry_after(u32::try_from(wait).unwrap_or(u32::MAX)));
            }
            EventStatus::Draft => return Err(Problem::event_not_found()),
            EventStatus::Closed | EventStatus::Drawn => {
                return Err(Problem::conflict("EVENT_CLOSED", "the event takes no more entries"));
            }
        }
        let approved = match self.approved {
            Some((from, until)) => from <= now && now < until,
            None => facts.definition.internal_test,
        };
        if approved {
            Ok(())
        } else {
            Err(Problem::conflict("APPROVAL_EXPIRED", "the approval in force does not cover this moment"))
        }
    }

    /// The place of a partition among the event's lanes.
    pub(crate) fn lane_index(&self, partition: i32) -> Option<usize> {
        self.facts.definition.lanes.iter().position(|lane| *lane == partition)
    }
}

/// All events.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Before the first query began: nothing in here is older than what was true then.
    pub taken_at: Instant,
    events: HashMap<EventId, Arc<EventView>>,
    /// Ids in order, for lists.
    pub ids: Vec<EventId>,
    /// Missions of every event, by type: in the order of the events and their missions.
    missions: HashMap<MissionType, Vec<(Arc<EventView>, u16)>>,
    /// Versions of events that this build cannot read, so that they are not read each tick.
    unreadable: HashMap<EventId, i64>,
}

impl Snapshot {
    pub(crate) fn event(&self, id: EventId) -> Option<&Arc<EventView>> {
        self.events.get(&id)
    }

    /// Missions of a type with their events, by event and index.
    pub(crate) fn missions(&self, of: MissionType) -> &[(Arc<EventView>, u16)] {
        self.missions.get(&of).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.taken_at.elapsed() < FRESH
    }
}

/// The latest snapshot.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(ArcSwapOption<Snapshot>);

impl Snapshots {
    /// Errors: 503 while there is none.
    pub(crate) fn get(&self) -> Result<Arc<Snapshot>, Problem> {
        self.0.load_full().ok_or_else(|| Problem::unavailable("starting"))
    }

    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.0.load_full()
    }
}

/// Renews the snapshot until `stop`. A database that is down leaves the old one, which ages.
pub(crate) async fn refresh_until<P: Producer>(
    edge: Arc<Edge<P>>,
    component: Component,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(edge.args.snapshot_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Only the tick is cancelled: a query, once begun, is awaited.
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        match refresh(&edge).await {
            Ok(()) => component.ready(),
            Err(error) => {
                metrics::counter!("event_snapshot_failures_total").increment(1);
                tracing::warn!(%error, "the snapshot could not be renewed");
                if edge.snapshots.latest().is_none() {
                    component.not_ready("the database does not answer");
                }
            }
        }
        if let Some(snapshot) = edge.snapshots.latest() {
            metrics::gauge!("event_snapshot_age_seconds").set(snapshot.taken_at.elapsed().as_secs_f64());
        }
        edge.winners.look();
        edge.event_limit.sweep(edge.clock.now_ms());
    }
    Ok(())
}

async fn refresh<P: Producer>(edge: &Edge<P>) -> Result<(), StoreError> {
    let (taken_at, now) = (Instant::now(), edge.clock.now_ms());
    let previous = edge.snapshots.latest();
    let known = |id: EventId| previous.as_ref()?.event(id);

    let open: Vec<EventId> = previous
        .iter()
        .flat_map(|s| s.events.values())
        .filter_map(|event| {
            let closed = matches!(event.status(now), EventStatus::Closed | EventStatus::Drawn);
            (!closed).then_some(event.facts.event_id)
        })
        .collect();
    let (rows, live) = tokio::join!(
        edge.store.snapshot(edge.producer.log_id(), now - CLOSED_KEPT_MS, now),
        edge.redis.read_live_policies(&open)
    );
    // Without Redis the database's values stand.
    let (rows, live) = (rows?, live.unwrap_or_default());

    let mut unreadable: HashMap<EventId, i64> =
        previous.as_ref().map(|s| s.unreadable.clone()).unwrap_or_default();
    let changed: Vec<EventId> = rows
        .versions
        .iter()
        .filter(|(id, version)| {
            known(*id).is_none_or(|view| view.facts.version != *version)
                && unreadable.get(id) != Some(version)
        })
        .map(|(id, _)| *id)
        .collect();
    let mut facts = HashMap::new();
    for block in changed.chunks(BLOCK) {
        let rows = edge.store.event_rows(block).await?;
        let drawn = |row: &&EventRow| row.lifecycle == Lifecycle::Drawn.code();
        let drawn: Vec<EventId> = rows.iter().filter(drawn).map(|row| row.event_id).collect();
        let gone = if drawn.is_empty() { Vec::new() } else { edge.store.alternates_gone(&drawn).await? };
        for row in rows {
            let (id, version) = (row.event_id, row.version);
            match facts_of(row, &edge.topics) {
                Ok(Some(mut new)) => {
                    new.gone = gone.iter().filter(|(event, _)| *event == id).map(|(_, n)| *n).collect();
                    facts.insert(id, Arc::new(new));
                }
                // Scheduled by staff, and not in the log yet.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(event_id = id, %error, "this event cannot be offered here");
                    unreadable.insert(id, version);
                }
            }
        }
    }
    for (id, _) in &rows.versions {
        if let (false, Some(old)) = (facts.contains_key(id), known(*id)) {
            facts.insert(*id, Arc::clone(&old.facts));
        }
    }
    unreadable.retain(|id, _| !facts.contains_key(id));
    let snapshot = assemble(taken_at, &rows, facts, &live, &edge.args, unreadable);
    let snapshot = Arc::new(snapshot);
    edge.snapshots.0.store(Some(Arc::clone(&snapshot)));
    edge.stream_wakes.look(&snapshot);
    Ok(())
}

fn facts_of(row: EventRow, topics: &TopicNames) -> Result<Option<EventFacts>, StoreError> {
    let Some(bytes) = &row.scheduled else { return Ok(None) };
    let lifecycle = Lifecycle::from_code(row.lifecycle)
        .ok_or_else(|| StoreError::fatal(format!("event {}: bad lifecycle", row.event_id)))?;
    let definition = definition_of(row.event_id, bytes)?;
    if topics.topic(&definition.topic).is_none() {
        return Err(StoreError::fatal(format!("topic {} is not one of ours", definition.topic)));
    }
    let raffle = definition.event_type == EventType::Raffle;
    Ok(Some(EventFacts {
        event_id: row.event_id,
        event_id_text: row.event_id.to_string(),
        version: row.version,
        keys: EventKeys::new(&definition.salt),
        lanes: definition.lanes.iter().map(|lane| Lane::new(definition.topic.clone(), *lane)).collect(),
        limit: if raffle { row.raffle_limit_per_second } else { row.limit_per_second },
        member_limit: row.member_limit_per_second,
        high_traffic: row.high_traffic,
        gone: Vec::new(),
        definition,
        title: row.title,
        content: row.content,
        lifecycle,
        paused: row.paused,
    }))
}

fn assemble(
    taken_at: Instant,
    rows: &SnapshotRows,
    facts: HashMap<EventId, Arc<EventFacts>>,
    live: &HashMap<EventId, LivePolicy>,
    args: &GatewayArgs,
    unreadable: HashMap<EventId, i64>,
) -> Snapshot {
    let cursors: HashMap<(&str, i32), i64> =
        rows.progress.iter().map(|p| ((p.topic.as_str(), p.partition_id), p.next_offset)).collect();
    let pending: HashSet<EventId> = rows.stock_pending.iter().copied().collect();
    let mut lanes: HashMap<EventId, Vec<&WatchedLane>> = HashMap::new();
    for lane in &rows.lanes {
        lanes.entry(lane.event_id).or_default().push(lane);
    }
    let mut stock: HashMap<EventId, Vec<&StockRow>> = HashMap::new();
    for row in &rows.stock {
        stock.entry(row.event_id).or_default().push(row);
    }
    let mut ids = Vec::with_capacity(facts.len());
    let mut events = HashMap::with_capacity(facts.len());
    let mut missions: HashMap<MissionType, Vec<(Arc<EventView>, u16)>> = HashMap::new();
    for (id, _) in &rows.versions {
        let Some(facts) = facts.get(id) else { continue };
        let lanes = lanes.get(id).map_or(&[][..], Vec::as_slice);
        // The log says it before a restored database does.
        if lanes.iter().any(|lane| lane.deleted_offset.is_some()) {
            continue;
        }
        let stock = stock.get(id).map_or(&[][..], Vec::as_slice);
        let cursors =
            facts.lanes.iter().map(|l| cursors.get(&(l.topic.as_str(), l.partition)).copied()).collect();
        let mut view = view_of(Arc::clone(facts), lanes, stock, cursors);
        view.stock_pending = pending.contains(id);
        let live = live.get(id).copied().unwrap_or_default();
        (view.limit, view.member_limit) = limits(facts, live, args);
        view.high_traffic = live.high_traffic.or(facts.high_traffic).unwrap_or(false);
        ids.push(*id);
        let view = Arc::new(view);
        for (mission, index) in view.facts.definition.missions.iter().zip(0..) {
            missions.entry(mission.mission_type).or_default().push((Arc::clone(&view), index));
        }
        events.insert(*id, view);
    }
    Snapshot { taken_at, events, ids, missions, unreadable }
}

fn limits(facts: &EventFacts, live: LivePolicy, args: &GatewayArgs) -> (i64, i64) {
    let (live, default) = if facts.definition.event_type == EventType::Raffle {
        (live.raffle_limit, args.raffle_rate_limit_per_second)
    } else {
        (live.limit, args.rate_limit_per_second)
    };
    let member = facts.member_limit.unwrap_or(args.member_rate_limit_per_second);
    (live.or(facts.limit).unwrap_or(default), member)
}

fn view_of(
    facts: Arc<EventFacts>,
    lanes: &[&WatchedLane],
    stock: &[&StockRow],
    cursors: Vec<Option<i64>>,
) -> EventView {
    let definition = &facts.definition;
    let admitting = definition
        .lanes
        .iter()
        .all(|partition| lanes.iter().any(|lane| lane.lane == *partition && lane.is_scheduled));
    let (approved, review_number) = if lanes.is_empty() {
        let approval = definition.approval.as_ref();
        let period = approval.map(|a| (a.period().starts_at(), a.period().ends_at()));
        (period, approval.map(|a| a.review_number().to_owned()))
    } else {
        // While a change is on its way through the lanes, only what all of them allow is allowed.
        let period = lanes.iter().try_fold((Millis::MIN, Millis::MAX), |(from, until), lane| {
            Some((from.max(lane.approved_from?), until.min(lane.approved_until?)))
        });
        (period, lanes[0].review_number.clone())
    };
    let remaining: Vec<i64> = definition
        .options
        .iter()
        .enumerate()
        .map(|(index, (_, granted))| {
            let row = stock.iter().find(|row| usize::try_from(row.option_index) == Ok(index));
            row.map_or(*granted, |row| row.stock_count)
        })
        .collect();
    let sold_out = !remaining.is_empty() && remaining.iter().all(|left| *left <= 0);
    // An event with stock has one lane. Both must agree: the rows are read one after the other.
    let exhausted = lanes.first().filter(|_| sold_out).and_then(|lane| {
        Some(ExhaustedAt {
            log_id: lane.exhausted_log_id.clone()?,
            lane: lane.lane,
            offset: lane.exhausted_offset?,
            wins: lane.wins,
        })
    });
    EventView {
        admitting,
        approved,
        review_number,
        remaining,
        exhausted,
        cursors,
        accepted: lanes.iter().map(|lane| lane.seq).sum(),
        stock_pending: false,
        limit: 0,
        member_limit: 0,
        high_traffic: false,
        facts,
    }
}
