//! Live figures. One task samples every event that somebody watches, once a second and in a constant number of queries,
//! however many watch it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use shared_domain::{EventId, Millis};
use shared_proto::Lane;
use shared_runtime::http::{Params, Problem, Request, Response, sse_event, sse_heartbeat};
use shared_runtime::store::desk::StatsRows;
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::{LaneRow, ProgressRow};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::routes::{Answer, READ};
use crate::{Admin, AdminParts, view};

const EVERY: Duration = Duration::from_secs(1);
/// An event that nobody has asked for is sampled this much longer, so that the next answer knows a rate.
const KEPT: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(15);
const STREAMS: usize = 256;

/// Figures of one event (API "Stats").
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Decided ones and the backlog.
    accepted: i64,
    /// Entries with a row.
    decided: i64,
    won: i64,
    lost: i64,
    rejected: i64,
    /// In a raffle that is not drawn.
    pending: i64,
    /// By option.
    remaining: BTreeMap<String, i64>,
    paid: i64,
    /// Parked records, and what lies unread in the event's lanes (which it may share with other events).
    backlog: i64,
    /// Decided a second, over the last two samples.
    entries_per_second: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    sold_out_at: Option<String>,
}

pub(crate) async fn get(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    admin.staff(&request, READ).await?;
    let event = admin.event_of(&params).await?;
    request.only_query(&[])?;
    let stats = admin.board.current(event).await?;
    Ok(Response::ok(&*stats))
}

/// `event: stats` once a second, until the token expires.
pub(crate) async fn stream(admin: Arc<Admin>, request: Request, params: Params) -> Answer {
    let staff = admin.staff(&request, READ).await?;
    let event = admin.event_of(&params).await?;
    request.only_query(&[])?;
    let place = admin.board.place()?;
    let left = staff.exp.saturating_mul(1_000).saturating_sub(admin.parts.clock.now_ms());
    let end = Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0));
    let mut watched = admin.board.watch(event);
    Ok(Response::sse(async_stream::stream! {
        let _place = place;
        let expired = tokio::time::sleep_until(end);
        tokio::pin!(expired);
        loop {
            let heard = tokio::select! {
                () = &mut expired => break,
                heard = tokio::time::timeout(HEARTBEAT, watched.changed()) => heard,
            };
            match heard {
                Ok(Ok(())) => {
                    let stats = watched.borrow_and_update().clone();
                    if let Some(stats) = stats {
                        yield sse_event("stats", "", &*stats);
                    }
                }
                Ok(Err(_)) => break,
                // The database is away; the stream is not.
                Err(_) => yield sse_heartbeat(),
            }
        }
    }))
}

type Latest = Option<Arc<Stats>>;

/// The figures that are being watched.
pub(crate) struct Board {
    parts: Arc<AdminParts>,
    watched: Mutex<Watched>,
    sample_now: Notify,
    streams: Arc<Semaphore>,
}

#[derive(Default)]
struct Watched {
    running: bool,
    events: HashMap<EventId, WatchedEvent>,
}

struct WatchedEvent {
    latest: watch::Sender<Latest>,
    asked: Instant,
    sampled: Option<(Instant, i64)>,
    rate: i64,
    /// Log, lane and offset of the last prize, and when it went.
    sold_out: Option<(String, i32, i64, Option<Millis>)>,
}

impl Board {
    pub(crate) fn new(parts: Arc<AdminParts>) -> Arc<Self> {
        Arc::new(Self {
            parts,
            watched: Mutex::default(),
            sample_now: Notify::new(),
            streams: Arc::new(Semaphore::new(STREAMS)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| Problem::unavailable("too many open streams").with_retry_after(2))
    }

    /// The event's figures from now on; what was sampled before counts as seen.
    fn watch(self: &Arc<Self>, event: EventId) -> watch::Receiver<Latest> {
        let mut watched = self.lock();
        let known = watched.events.contains_key(&event);
        let entry = watched.events.entry(event).or_insert_with(|| WatchedEvent {
            latest: watch::Sender::new(None),
            asked: Instant::now(),
            sampled: None,
            rate: 0,
            sold_out: None,
        });
        entry.asked = Instant::now();
        let receiver = entry.latest.subscribe();
        if !std::mem::replace(&mut watched.running, true) {
            tokio::spawn(Arc::clone(self).sample_until_idle());
        } else if !known {
            self.sample_now.notify_one();
        }
        receiver
    }

    /// The latest figures, at most a second old while the database answers. Errors: 503.
    async fn current(self: &Arc<Self>, event: EventId) -> Result<Arc<Stats>, Problem> {
        let mut receiver = self.watch(event);
        let latest = receiver.borrow_and_update().clone();
        if let Some(stats) = latest {
            return Ok(stats);
        }
        let away = || Problem::unavailable("the figures are not known yet");
        tokio::time::timeout(2 * EVERY, receiver.changed()).await.map_err(|_| away())?.map_err(|_| away())?;
        let latest = receiver.borrow().clone();
        latest.ok_or_else(away)
    }

    async fn sample_until_idle(self: Arc<Self>) {
        loop {
            let ids: Vec<EventId> = {
                let mut watched = self.lock();
                watched.events.retain(|_, e| e.latest.receiver_count() > 0 || e.asked.elapsed() < KEPT);
                watched.running = !watched.events.is_empty();
                watched.events.keys().copied().collect()
            };
            if ids.is_empty() {
                return;
            }
            if let Err(error) = self.sample(&ids).await {
                tracing::warn!(%error, "the figures could not be read");
                // An old figure is no figure; streams are not told of its end.
                for event in self.lock().events.values() {
                    event.latest.send_if_modified(|latest| {
                        *latest = None;
                        false
                    });
                }
            }
            tokio::select! {
                () = self.sample_now.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn sample(&self, ids: &[EventId]) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let rows = store.stats_rows(ids).await?;
        let unread = self.unread(&rows, &store.progress_rows().await?).await;
        let at = Instant::now();
        for id in ids {
            let mut stats = counted(&rows, *id);
            stats.backlog += unread.get(id).copied().unwrap_or(0);
            stats.accepted = stats.decided + stats.backlog;
            stats.sold_out_at = self.sold_out_at(&rows, *id).await?.map(view::time);
            let mut watched = self.lock();
            let Some(event) = watched.events.get_mut(id) else { continue };
            match event.sampled {
                // Sampled just now for somebody else's sake: too short a time for a rate.
                Some((before, _)) if at - before < EVERY / 2 => {}
                Some((before, decided)) => {
                    let ms = i64::try_from((at - before).as_millis()).unwrap_or(i64::MAX).max(1);
                    event.rate = (stats.decided - decided).max(0).saturating_mul(1_000) / ms;
                    event.sampled = Some((at, stats.decided));
                }
                None => event.sampled = Some((at, stats.decided)),
            }
            stats.entries_per_second = event.rate;
            event.latest.send_replace(Some(Arc::new(stats)));
        }
        Ok(())
    }

    /// Records behind the cursors of each event's lanes. Nothing while the log does not answer.
    async fn unread(&self, rows: &StatsRows, progress: &[ProgressRow]) -> HashMap<EventId, i64> {
        let lane_of = |row: &LaneRow| {
            let topic = rows.topics.iter().find(|(id, _)| *id == row.event_id)?;
            Some(Lane::new(topic.1.clone(), row.lane))
        };
        let mut lanes: Vec<Lane> = rows.lanes.iter().filter_map(lane_of).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let log = &self.parts.ends;
        let ends = match log.ends(lanes.clone()).await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(error, "the log's ends are not known");
                return HashMap::new();
            }
        };
        let cursor = |lane: &Lane| {
            let row = progress.iter().find(|p| {
                p.log_id == log.log_id() && p.topic == lane.topic && p.partition_id == lane.partition
            });
            row.map_or(0, |p| p.next_offset)
        };
        let behind: HashMap<&Lane, i64> =
            lanes.iter().zip(&ends).map(|(lane, end)| (lane, (end - cursor(lane)).max(0))).collect();
        let mut unread = HashMap::new();
        for row in &rows.lanes {
            let more = lane_of(row).and_then(|lane| behind.get(&lane).copied());
            *unread.entry(row.event_id).or_default() += more.unwrap_or(0);
        }
        unread
    }

    /// When the last prize went; looked up once for each time that an event sells out.
    async fn sold_out_at(&self, rows: &StatsRows, id: EventId) -> Result<Option<Millis>, StoreError> {
        let sold = rows.lanes.iter().find(|l| l.event_id == id && l.exhausted_offset.is_some());
        let Some((row, offset)) = sold.and_then(|row| Some((row, row.exhausted_offset?))) else {
            return Ok(None);
        };
        let key = (row.exhausted_log_id.clone().unwrap_or_default(), row.lane, offset);
        if let Some((log, lane, at_offset, at)) = self.lock().events.get(&id).and_then(|e| e.sold_out.clone())
            && (&log, lane, at_offset) == (&key.0, key.1, key.2)
        {
            return Ok(at);
        }
        let at = self.parts.store.decided_at_offset(id, row.lane, offset, row.seq).await?;
        if let Some(event) = self.lock().events.get_mut(&id) {
            event.sold_out = Some((key.0, key.1, key.2, at));
        }
        Ok(at)
    }
}

fn counted(rows: &StatsRows, id: EventId) -> Stats {
    let mut stats = Stats::default();
    for lane in rows.lanes.iter().filter(|lane| lane.event_id == id) {
        stats.decided += lane.seq;
        stats.won += lane.wins;
        stats.lost += lane.losses;
        stats.rejected += lane.rejections;
        stats.paid += lane.paid;
    }
    if let Some(drawn) = rows.drawn.iter().find(|drawn| drawn.event_id == id) {
        stats.won = drawn.won;
        stats.lost = drawn.lost;
        stats.rejected += drawn.disqualified;
        stats.paid = drawn.paid;
    }
    stats.pending = stats.decided - stats.won - stats.lost - stats.rejected;
    for stock in rows.stock.iter().filter(|stock| stock.event_id == id) {
        *stats.remaining.entry(stock.option_name.clone()).or_default() += stock.stock_count;
    }
    stats.backlog = rows.parked.iter().find(|(event, _)| *event == id).map_or(0, |(_, parked)| *parked);
    stats
}
