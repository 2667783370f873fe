//! A stretch of the log decided again beside the live rows. Events that the stretch schedules are decided from nothing; of
//! others the state before it is made from the rows of what lies before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use shared_domain::{EventId, LogEntry};
use shared_proto::{Lane, Topic, decode};

use super::before::state_before;
use super::difference::{Difference, Witness, lane_differences, stock_differences};
use super::lane::{BatchTx, LaneAgain, TOLD};
use super::rows::is_weighed;
use super::{BLOCK, Moment, unreachable};
use crate::config::{ConfigError, StartError};
use crate::keys::RewardKeys;
use crate::log::{KafkaArgs, StartAt, stream, stretches};
use crate::store::rows::{LaneRow, StockRow};
use crate::worker::apply::{ApplyError, apply_batch};
use crate::worker::batch::{BatchRecord, LaneBatch, LaneMemory};
use crate::worker::plan::{self, LanePlan};

/// The log that a database was made from.
pub struct Log<'a> {
    /// Where it is.
    pub kafka: &'a KafkaArgs,
    /// Its identity.
    pub log_id: &'a str,
    /// For events with random rewards.
    pub keys: RewardKeys,
    /// Records that are decided at once.
    pub batch: usize,
}

/// What came of one event in one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneCompared {
    /// Event.
    pub event_id: EventId,
    /// Lane.
    pub lane: i32,
    /// Rows that were compared.
    pub rows: u64,
    /// Decided from its `Scheduled` on.
    pub is_whole: bool,
    /// Compared up to this offset: the records from there on wait, parked.
    pub parked: Option<i64>,
    /// Whether both agree.
    pub verdict: Verdict,
}

/// Whether the log, decided again, gives what is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Row by row, in totals, stock and digest.
    Equal,
    /// What differs, and how many rows more do; the lane's row as the log gives it, unless it was not decided to the end.
    Different(Vec<Difference>, u64, Option<Box<LaneRow>>),
    /// It was not, and why.
    NotCompared(&'static str),
}

/// Decides the last stretch of every lane again (of these, `one` event alone if it is named) and compares. `progress` is
/// told records done, and of how many, with each batch.
///
/// # Errors
/// The log or the database does not answer, or the decision key is not the one of an event.
pub async fn compare_with_log(
    moment: &mut Moment,
    log: &Log<'_>,
    from: StartAt,
    one: Option<EventId>,
    progress: &mut (dyn FnMut(i64, i64) + Send),
) -> Result<Vec<LaneCompared>, StartError> {
    let activities = log.kafka.topics().name(Topic::Activity);
    let cursors: BTreeMap<Lane, i64> = moment
        .standing
        .progress
        .iter()
        .filter(|row| row.log_id == log.log_id && row.next_offset > 0 && row.topic != activities)
        .map(|row| (Lane::new(row.topic.clone(), row.partition_id), row.next_offset))
        .collect();
    let stretches = stretches(log.kafka, cursors, from).await?;
    let plans = plan::read(log.kafka, &stretches).await?;
    let given_up = plan::given_up(&plans, &moment.store).await?;
    let mut runs = BTreeMap::new();
    for (lane, plan) in &plans {
        let mut memory = LaneMemory::default();
        memory.rejected_offsets = given_up.get(lane).cloned().unwrap_or_default();
        memory.keys = log.keys.clone();
        let start = stretches[lane].start;
        runs.insert(lane.clone(), Run::prepare(moment, log.log_id, (lane, plan), start, memory, one).await?);
    }
    let total: i64 = stretches.values().map(|stretch| stretch.end - stretch.start).sum();
    let (mut blocks, reading) = stream(log.kafka, stretches, log.batch)?;
    let mut done = 0;
    while let Some((lane, records)) = blocks.recv().await {
        let Some(run) = runs.get_mut(&lane) else { continue };
        done += records.len() as i64;
        run.decide(moment, records).await?;
        progress(done, total);
    }
    reading.await.map_err(|error| StartError::unreachable("KAFKA_BROKERS", error))??;
    let mut compared = Vec::new();
    for run in runs.into_values() {
        compared.extend(run.finish(moment).await?);
    }
    compared.sort_by_key(|lane| (lane.event_id, lane.lane));
    Ok(compared)
}

/// One lane on its way.
struct Run {
    again: LaneAgain,
    /// Events that are decided, and the offset up to which.
    until: HashMap<EventId, i64>,
    whole: HashSet<EventId>,
    /// Events that are not decided to the end.
    stopped: HashSet<EventId>,
    left_out: BTreeMap<EventId, &'static str>,
    log_id: Arc<str>,
}

impl Run {
    /// A lane whose stretch begins at `start`.
    async fn prepare(
        moment: &mut Moment,
        log_id: &str,
        (lane, plan): (&Lane, &LanePlan),
        start: i64,
        memory: LaneMemory,
        one: Option<EventId>,
    ) -> Result<Self, StartError> {
        let mut run = Self {
            again: LaneAgain::new(lane.clone(), memory),
            until: HashMap::new(),
            whole: HashSet::new(),
            stopped: HashSet::new(),
            left_out: BTreeMap::new(),
            log_id: log_id.into(),
        };
        let standing = &moment.standing;
        let parked = |event| standing.parked.get(&(event, lane.partition)).copied().unwrap_or(i64::MAX);
        let foreign = standing.progress.iter().any(|row| {
            (&row.topic, row.partition_id) == (&lane.topic, lane.partition)
                && row.log_id != log_id
                && row.next_offset > 0
        });
        for event in plan.touched.iter().copied().filter(|event| one.is_none_or(|one| one == *event)) {
            if plan.scheduled.contains(&event) {
                run.until.insert(event, parked(event));
                run.whole.insert(event);
                continue;
            }
            // A record of an event that was never scheduled here is parked or a dead letter, and decides nothing.
            let row = standing.lanes.iter().find(|row| (row.event_id, row.lane) == (event, lane.partition));
            let Some(row) = row.filter(|row| row.is_scheduled) else { continue };
            let Some(definition) = moment.definitions.get(&event).filter(|d| d.topic == lane.topic) else {
                continue;
            };
            if foreign {
                run.left_out.insert(event, "begun in a log that is not this one");
                continue;
            }
            if is_weighed(definition) {
                run.left_out.insert(event, "scheduled before the start, and missions add chances");
                continue;
            }
            let additions: Vec<_> = plan.additions.iter().filter(|a| a.event_id == event).collect();
            let stock: Vec<StockRow> = moment.stock_of(event, lane.partition);
            let before = state_before(&mut moment.live, row, &stock, definition, &additions, start).await;
            match before.map_err(unreachable)? {
                Ok((row, stock)) => {
                    run.until.insert(event, parked(event));
                    run.again.rows.insert(event, row);
                    run.again.stock.insert(event, stock);
                    run.again.memory.remember_definition(event, Arc::clone(definition));
                }
                Err(faults) => {
                    run.stopped.insert(event);
                    run.again.found.insert(event, faults);
                }
            }
        }
        Ok(run)
    }

    /// Decides the next records.
    async fn decide(&mut self, moment: &mut Moment, records: Vec<(i64, Bytes)>) -> Result<(), StartError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let (first, to) = (first.0, last.0 + 1);
        let mut wanted: Vec<Arc<BatchRecord>> = Vec::with_capacity(records.len());
        for (offset, bytes) in records {
            // Dead letters decide nothing, and what is parked is not decided yet.
            let Ok((event_id, kind)) = decode(&bytes) else { continue };
            if self.until.get(&event_id).is_some_and(|until| offset < *until) {
                wanted.push(Arc::new(BatchRecord { entry: LogEntry { offset, event_id, kind }, bytes }));
            }
        }
        loop {
            wanted.retain(|record| !self.stopped.contains(&record.entry.event_id));
            if wanted.is_empty() {
                return Ok(());
            }
            let batch = LaneBatch {
                log_id: Arc::clone(&self.log_id),
                lane: self.again.lane.clone(),
                from: first,
                to,
                last_hash: [0; 32],
                records: wanted.clone(),
                park: BTreeMap::new(),
            };
            let memory = self.again.memory.clone();
            let mut tx = BatchTx { again: &mut self.again, live: &mut moment.live, first };
            let (event, what, why) = match apply_batch(&mut tx, &batch, &memory, 0).await {
                Ok(applied) => {
                    for (event, definition) in applied.definitions {
                        memory.remember_definition(event, definition);
                    }
                    return Ok(());
                }
                // Both before anything is written: the other events of the batch are decided without this one.
                Err(ApplyError::Undecidable(error)) => {
                    (error.event_id, format!("the record at offset {}", error.offset), error.why)
                }
                Err(ApplyError::ChangedOutsideTheLog { table, event_id }) => {
                    (event_id, table.to_owned(), "changed outside the log".to_owned())
                }
                Err(ApplyError::RewardKey { event_id, error }) => {
                    let problem = format!("event {event_id}: {error}");
                    return Err(ConfigError::new("DECISION_KEY_FILE", problem).into());
                }
                Err(ApplyError::Store(error)) => return Err(unreachable(error)),
                Err(ApplyError::Fenced) => return Ok(()),
            };
            let place = (event, self.again.lane.partition);
            let decided = "decided".to_owned();
            let cannot = format!("not to be decided by this build ({why})");
            self.again.note(vec![Difference::in_lane(place, &what, decided, cannot, Witness::Log)]);
            self.stopped.insert(event);
        }
    }

    /// Compares totals, stock and digest, and chances.
    async fn finish(mut self, moment: &mut Moment) -> Result<Vec<LaneCompared>, StartError> {
        let partition = self.again.lane.partition;
        let mut compared = Vec::new();
        let events: Vec<EventId> = self.until.keys().chain(&self.stopped).copied().collect();
        for event in events.into_iter().collect::<HashSet<_>>() {
            let place = (event, partition);
            let live = moment.standing.lanes.iter().find(|row| (row.event_id, row.lane) == place);
            let expected = self.again.rows.remove(&event);
            let row = match (live.filter(|row| row.is_scheduled), expected) {
                // Parked before it was scheduled, or stopped before that.
                (None, None) => None,
                (None, Some(_)) => {
                    let (missing, there) = ("missing".to_owned(), "there".to_owned());
                    self.again.note(vec![Difference::in_lane(
                        place,
                        "event_lane",
                        missing,
                        there,
                        Witness::Log,
                    )]);
                    None
                }
                (Some(_), Some(_)) if self.stopped.contains(&event) => None,
                (Some(live), Some(expected)) => {
                    self.totals(moment, live, &expected);
                    self.rows_behind(moment, &expected).await?;
                    self.chances(moment, event).await?;
                    Some(expected)
                }
                (Some(live), None) => {
                    let scheduled = LaneRow { seq: 0, ..live.clone() };
                    self.rows_behind(moment, &scheduled).await?;
                    None
                }
            };
            let told = self.again.found.remove(&event).unwrap_or_default();
            let untold = self.again.untold.remove(&event).unwrap_or_default();
            compared.push(LaneCompared {
                event_id: event,
                lane: partition,
                rows: self.again.compared.get(&event).copied().unwrap_or_default(),
                is_whole: self.whole.contains(&event),
                parked: moment.standing.parked.get(&place).copied(),
                verdict: match told.is_empty() {
                    true => Verdict::Equal,
                    false => Verdict::Different(told, untold, row.map(Box::new)),
                },
            });
        }
        compared.extend(self.left_out.into_iter().map(|(event_id, why)| LaneCompared {
            event_id,
            lane: partition,
            rows: 0,
            is_whole: false,
            parked: None,
            verdict: Verdict::NotCompared(why),
        }));
        Ok(compared)
    }

    fn totals(&mut self, moment: &Moment, live: &LaneRow, expected: &LaneRow) {
        let place = (live.event_id, live.lane);
        let stock = self.again.stock.remove(&live.event_id).unwrap_or_default();
        let there = moment.stock_of(live.event_id, live.lane);
        let of_stock = stock_differences(&there, &stock);
        let of_lane =
            lane_differences(live, expected).into_iter().map(|(what, f, e)| (what.to_owned(), f, e));
        for (what, found, by) in of_lane.chain(of_stock) {
            let difference = Difference::in_lane(place, &what, found, by, Witness::Log);
            // Always told, however many rows were.
            self.again.found.entry(live.event_id).or_default().push(difference);
        }
    }

    /// Rows behind the last one that the log gives.
    async fn rows_behind(&mut self, moment: &mut Moment, expected: &LaneRow) -> Result<(), StartError> {
        let (event, lane) = (expected.event_id, expected.lane);
        let more = moment.live.entries_of_lane(event, lane, expected.seq, TOLD as i64).await;
        for row in more.map_err(unreachable)? {
            let (there, none) = ("there".to_owned(), "not".to_owned());
            self.again.note(vec![Difference::of_entry(&row, "event_entry", there, none, Witness::Log)]);
        }
        Ok(())
    }

    /// Chances that missions added: they grow behind the entry's own place.
    async fn chances(&mut self, moment: &mut Moment, event: EventId) -> Result<(), StartError> {
        let Some(bits) = self.again.weights.remove(&event) else { return Ok(()) };
        let mut after = 0;
        loop {
            let rows = moment.live.entries_of_lane(event, self.again.lane.partition, after, BLOCK).await;
            let rows = rows.map_err(unreachable)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.seq;
            for row in rows {
                let id = row.id().map_err(unreachable)?;
                let expected = bits.get(&id).copied().unwrap_or(0);
                if row.missions != expected {
                    let (found, expected) = (row.missions.to_string(), expected.to_string());
                    let what = "event_entry.missions";
                    self.again.note(vec![Difference::of_entry(&row, what, found, expected, Witness::Log)]);
                }
            }
        }
    }
}
