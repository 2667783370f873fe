//! One lane in the loop's memory: cursor, buffer, what stands in its way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shared_domain::{EventId, LogEntry};
use shared_proto::v1::log_record::Kind;
use shared_proto::{DecodeError, Lane, decode};
use tokio_util::sync::CancellationToken;

use super::attempt::DeadLetter;
use super::batch::{BatchRecord, LaneBatch, LaneMemory};
use super::cursor::Halt;
use super::lane_store::LaneKind;
use crate::log::reader::Record;
use crate::traces::{Linked, SpanContext};

/// When a batch is cut.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Batching {
    /// Records a batch, at most 5,000 (one INSERT, and one transaction's locks).
    #[arg(long = "batch-records", env = "BATCH_RECORDS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    pub records: u64,
    /// Age of the oldest record at which a smaller batch is cut.
    #[arg(long = "batch-age", env = "BATCH_AGE", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub age: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { records: 5_000, age: Duration::from_millis(20) }
    }
}

enum Item {
    Record(Arc<BatchRecord>, Option<i64>, Option<Box<SpanContext>>),
    /// Of an event that is not decided here.
    Passed {
        offset: i64,
        bytes: Bytes,
    },
    /// `written`: acknowledged already, by an attempt whose other records failed.
    Dead {
        letter: DeadLetter,
        written: bool,
    },
    Newer {
        offset: i64,
        version: u32,
    },
}

impl Item {
    fn dead(offset: i64, bytes: Bytes, reason: String) -> Self {
        Self::Dead { letter: DeadLetter { offset, bytes, reason }, written: false }
    }

    fn offset(&self) -> i64 {
        match self {
            Self::Record(r, ..) => r.entry.offset,
            Self::Dead { letter, .. } => letter.offset,
            Self::Passed { offset, .. } | Self::Newer { offset, .. } => *offset,
        }
    }
}

/// A batch on its way.
pub(super) struct Cut {
    pub batch: LaneBatch,
    pub dead: Vec<DeadLetter>,
    pub timestamp: Option<i64>,
    pub linked: Linked,
}

/// One lane that is ours.
pub(super) struct LaneState {
    pub lane: Lane,
    holds: LaneKind,
    pub epoch: u64,
    pub cursor: i64,
    /// Compare the record before the cursor with this first.
    pub verify: Option<[u8; 32]>,
    pub busy_since: Option<Instant>,
    pub paused: bool,
    /// Its cursor is read.
    pub open: bool,
    pub halted: Option<(Halt, Instant)>,
    /// It was halted, and has not moved since it was opened again.
    pub recovering: Option<Halt>,
    pub memory: LaneMemory,
    pub cancel: CancellationToken,
    /// Replays: the events that are decided, and the offset up to which; `None`: all, to the end.
    pub only: Option<Arc<HashMap<EventId, i64>>>,
    /// Events to park at their next record.
    pub park: BTreeMap<EventId, String>,
    /// Batch size while a failing record is looked for.
    pub limit: usize,
    /// Tries of the single record that fails.
    pub tries: u32,
    pub wait_until: Option<Instant>,
    pub committed: i64,
    /// Cursor when the log's end was last asked for: the answer cannot be less, unless it is another log.
    pub seen: i64,
    buffer: VecDeque<Item>,
    in_flight: VecDeque<Item>,
    oldest: Option<Instant>,
    /// Records in a row that could not be decoded, up to the cursor.
    pub dead_run: usize,
}

impl LaneState {
    pub fn new(lane: Lane, holds: LaneKind, epoch: u64, limit: usize) -> Self {
        Self {
            lane,
            holds,
            epoch,
            cursor: 0,
            verify: None,
            busy_since: None,
            paused: false,
            open: false,
            halted: None,
            recovering: None,
            memory: LaneMemory::default(),
            cancel: CancellationToken::new(),
            only: None,
            park: BTreeMap::new(),
            limit,
            tries: 0,
            wait_until: None,
            committed: -1,
            seen: 0,
            buffer: VecDeque::new(),
            in_flight: VecDeque::new(),
            oldest: None,
            dead_run: 0,
        }
    }

    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub fn oldest_timestamp(&self) -> Option<i64> {
        self.in_flight.iter().chain(&self.buffer).find_map(|item| match item {
            Item::Record(_, timestamp, _) => *timestamp,
            _ => None,
        })
    }

    /// Takes a record in; an error halts the lane.
    pub fn take(&mut self, record: Record) -> Result<(), Halt> {
        if let Some(expected) = self.verify {
            if record.offset != self.cursor - 1 {
                return Err(Halt::Mismatch(self.cursor - 1));
            }
            if <[u8; 32]>::from(Sha256::digest(&record.payload)) != expected {
                return Err(Halt::Mismatch(record.offset));
            }
            self.verify = None;
            return Ok(());
        }
        let expected = self.next_offset();
        if record.offset < expected {
            return Ok(()); // of an earlier position of this assignment
        }
        if record.offset > expected {
            return Err(Halt::Gap { cursor: expected, low: record.offset });
        }
        let offset = record.offset;
        self.buffer.push_back(match decode(&record.payload) {
            Ok((_, kind)) if !self.holds.holds(&kind) => {
                let reason = "a record of another topic's kind".to_owned();
                Item::dead(offset, record.payload, reason)
            }
            // What stands for the event where a record is looked for that fails: one member's activities.
            Ok((_, Kind::Activity(activity))) => {
                let event_id = activity.member_id;
                let entry = LogEntry { offset, event_id, kind: Kind::Activity(activity) };
                let entry = Arc::new(BatchRecord { entry, bytes: record.payload });
                Item::Record(entry, record.timestamp, record.trace)
            }
            Ok((event_id, _)) if !self.decides(event_id, offset) => {
                Item::Passed { offset, bytes: record.payload }
            }
            Ok((event_id, kind)) => Item::Record(
                Arc::new(BatchRecord { entry: LogEntry { offset, event_id, kind }, bytes: record.payload }),
                record.timestamp,
                record.trace,
            ),
            Err(DecodeError::Undecodable(reason)) => Item::dead(offset, record.payload, reason),
            Err(DecodeError::NewerSchema(version)) => Item::Newer { offset, version },
        });
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn decides(&self, event: EventId, offset: i64) -> bool {
        let until = |only: &Arc<HashMap<EventId, i64>>| only.get(&event).is_some_and(|until| offset < *until);
        self.only.as_ref().is_none_or(until)
    }

    /// Offset that the buffer wants next.
    pub fn next_offset(&self) -> i64 {
        self.buffer.back().or(self.in_flight.back()).map_or(self.cursor, |item| item.offset() + 1)
    }

    /// Whether a batch is due.
    pub fn due(&self, batching: &Batching, draining: bool) -> bool {
        let now = Instant::now();
        self.busy_since.is_none()
            && self.halted.is_none()
            && !self.buffer.is_empty()
            && self.wait_until.is_none_or(|at| at <= now)
            && (draining
                || self.limit < batching.records as usize
                || self.buffer.len() >= batching.records as usize
                || self.oldest.is_some_and(|at| now.duration_since(at) >= batching.age))
    }

    /// When a smaller batch is due by age.
    pub fn due_at(&self, batching: &Batching) -> Option<Instant> {
        if self.busy_since.is_some() || self.halted.is_some() || self.buffer.is_empty() {
            return None;
        }
        let by_age = self.oldest? + batching.age;
        Some(self.wait_until.map_or(by_age, |at| at.max(by_age)))
    }

    /// Cuts a batch of at most `limit` records.
    pub fn cut(&mut self, log_id: &Arc<str>, dead_brake: usize) -> Result<Cut, Halt> {
        let mut records = Vec::with_capacity(self.limit.min(self.buffer.len()));
        let mut dead = Vec::new();
        let mut last = None;
        let mut timestamp = None;
        let mut linked = Linked::default();
        let mut dead_run = self.dead_run;
        while self.in_flight.len() < self.limit {
            match self.buffer.front() {
                None => break,
                Some(Item::Newer { offset, version }) => {
                    if self.in_flight.is_empty() {
                        return Err(Halt::NewerSchema { offset: *offset, version: *version });
                    }
                    break;
                }
                Some(Item::Passed { offset, bytes }) => {
                    dead_run = 0;
                    last = Some((*offset, bytes.clone()));
                }
                Some(Item::Dead { letter, written }) => {
                    dead_run += 1;
                    if dead_run > dead_brake {
                        return Err(Halt::Brake(format!(
                            "{dead_brake} records in a row cannot be decoded, up to offset {}",
                            letter.offset
                        )));
                    }
                    last = Some((letter.offset, letter.bytes.clone()));
                    if !written {
                        dead.push(letter.clone());
                    }
                }
                Some(Item::Record(record, at, trace)) => {
                    dead_run = 0;
                    last = Some((record.entry.offset, record.bytes.clone()));
                    timestamp = timestamp.or(*at);
                    if let Some(trace) = trace {
                        linked.add(trace);
                    }
                    records.push(Arc::clone(record));
                }
            }
            self.in_flight.extend(self.buffer.pop_front());
        }
        self.oldest = (!self.buffer.is_empty()).then(Instant::now);
        let (offset, bytes): (i64, Bytes) = last.unwrap_or((self.cursor - 1, Bytes::new()));
        self.busy_since = Some(Instant::now());
        let batch = LaneBatch {
            log_id: log_id.clone(),
            lane: self.lane.clone(),
            from: self.cursor,
            to: offset + 1,
            last_hash: Sha256::digest(&bytes).into(),
            records,
            park: self.park.clone(),
        };
        Ok(Cut { batch, dead, timestamp, linked })
    }

    /// The batch in flight is in the database.
    pub fn committed(&mut self) -> usize {
        if let Some(last) = self.in_flight.back() {
            self.cursor = last.offset() + 1;
        }
        let records = self.in_flight.len();
        for item in self.in_flight.drain(..) {
            self.dead_run = if matches!(item, Item::Dead { .. }) { self.dead_run + 1 } else { 0 };
        }
        self.busy_since = None;
        self.tries = 0;
        self.wait_until = None;
        records
    }

    /// The dead letters of the batch in flight are acknowledged, although the batch failed.
    pub fn dead_letters_written(&mut self) {
        for item in &mut self.in_flight {
            if let Item::Dead { written, .. } = item {
                *written = true;
            }
        }
    }

    /// The batch in flight failed: its records come first again.
    pub fn put_back(&mut self) -> usize {
        let records = self.in_flight.len();
        while let Some(item) = self.in_flight.pop_back() {
            self.buffer.push_front(item);
        }
        self.oldest.get_or_insert_with(Instant::now);
        self.busy_since = None;
        records
    }

    /// The event of the single record that is at the front.
    pub fn front_event(&self) -> Option<(EventId, i64)> {
        match self.buffer.front() {
            Some(Item::Record(record, ..)) => Some((record.entry.event_id, record.entry.offset)),
            _ => None,
        }
    }

    /// The record at the front goes to the dead letters.
    pub fn bury_front(&mut self, reason: String) {
        if let Some(Item::Record(record, ..)) = self.buffer.front() {
            let (offset, bytes) = (record.entry.offset, record.bytes.clone());
            self.buffer[0] = Item::dead(offset, bytes, reason);
        }
    }

    /// An empty batch at the cursor: what an unpark is fenced by.
    pub fn at_cursor(&self, log_id: &Arc<str>) -> LaneBatch {
        LaneBatch {
            log_id: log_id.clone(),
            lane: self.lane.clone(),
            from: self.cursor,
            to: self.cursor,
            last_hash: [0; 32],
            records: Vec::new(),
            park: BTreeMap::new(),
        }
    }
}
