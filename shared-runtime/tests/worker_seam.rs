//! The worker's loop without I/O: a log and a store in memory behind the same seams, so that a simulator can drive it.
#![allow(clippy::expect_used)]

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shared_domain::{DecidedEntry, EventInLane, EventKeys, Known, decide};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, encode};
use shared_runtime::clock::{ManualClock, SeededRandom};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::log::reader::{LaneLog, LogEvent, Record};
use shared_runtime::store::error_class::{ErrorClass, StoreError, UNKNOWN_TRIES};
use shared_runtime::store::lane_tx::CursorMove;
use shared_runtime::store::rows::ProgressRow;
use shared_runtime::worker::apply::{Applied, ApplyError, Unparked};
use shared_runtime::worker::batch::{LaneBatch, LaneMemory};
use shared_runtime::worker::{Batching, LaneStore, Worker, WorkerParts, WorkerState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

fn lane() -> Lane {
    Lane::new("t", 0)
}

/// One lane whose records are all there from the start.
struct MemoryLog {
    records: Vec<Bytes>,
    next: Option<i64>,
    events: VecDeque<LogEvent>,
}

impl LaneLog for MemoryLog {
    fn log_id(&self) -> String {
        "memory".into()
    }

    async fn next(&mut self) -> LogEvent {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.next {
            Some(offset) if (offset as usize) < self.records.len() => {
                self.next = Some(offset + 1);
                let payload = self.records[offset as usize].clone();
                LogEvent::Record(Record { lane: lane(), offset, payload, timestamp: None, trace: None })
            }
            _ => std::future::pending().await,
        }
    }

    fn watermarks(
        &self,
        lanes: Vec<Lane>,
    ) -> impl Future<Output = Result<Vec<(Lane, i64, i64)>, String>> + Send + 'static {
        let high = self.records.len() as i64;
        async move { Ok(lanes.into_iter().map(|lane| (lane, 0, high)).collect()) }
    }

    fn accept(&mut self) {
        self.next = None;
    }

    fn stop(&mut self, _lanes: &[Lane]) {
        self.next = None;
    }

    fn pause(&mut self, _lane: &Lane) {}

    fn read_from(&mut self, _lane: &Lane, offset: i64) {
        self.next = Some(offset);
    }

    fn resume(&mut self, _lane: &Lane) {}

    fn commit(&mut self, _cursors: &[(Lane, i64)]) {}

    fn leave(&mut self) {
        self.events.push_back(LogEvent::Revoked { lanes: vec![lane()], lost: false });
    }

    async fn close(self) {}
}

#[derive(Default)]
struct Rows {
    progress: Vec<ProgressRow>,
    events: BTreeMap<i64, EventInLane>,
    known: Known,
    entries: Vec<DecidedEntry>,
    applies: u64,
    /// What every transaction fails with.
    broken: Option<ErrorClass>,
}

/// A store in memory; every third COMMIT is applied but its answer gets lost.
#[derive(Clone, Default)]
struct MemoryStore(Arc<Mutex<Rows>>);

impl LaneStore for MemoryStore {
    async fn progress_of(&self, _lane: &Lane) -> Result<Vec<ProgressRow>, StoreError> {
        Ok(self.0.lock().expect("rows").progress.clone())
    }

    async fn insert_progress(&self, row: &ProgressRow) -> Result<(), StoreError> {
        self.0.lock().expect("rows").progress.push(row.clone());
        Ok(())
    }

    async fn apply(&self, batch: &LaneBatch, _memory: &LaneMemory, _now: i64) -> Result<Applied, ApplyError> {
        let mut rows = self.0.lock().expect("rows");
        rows.applies += 1;
        if let Some(class) = rows.broken {
            return Err(StoreError { class, message: "out of porridge".to_owned() }.into());
        }
        let cursor = rows.progress.first_mut().expect("opened");
        if cursor.next_offset != batch.from {
            return Err(ApplyError::Fenced);
        }
        cursor.next_offset = batch.to;
        let fold = decide(&rows.events, &rows.known, batch.records.iter().map(|r| &r.entry))?;
        rows.events = fold.events;
        for entry in fold.decisions.entries {
            rows.known.entries.insert((entry.event_id, entry.entry_id));
            rows.entries.push(entry);
        }
        for command in fold.decisions.commands {
            rows.known.commands.insert(command.command_id);
        }
        if rows.applies.is_multiple_of(3) {
            let message = "the connection was cut at COMMIT".to_owned();
            return Err(StoreError { class: ErrorClass::Transient, message }.into());
        }
        Ok(Applied::default())
    }

    async fn unpark(
        &self,
        _cursor: &CursorMove<'_>,
        _batch: &LaneBatch,
        _event: i64,
        _block: i64,
        _memory: &LaneMemory,
    ) -> Result<Unparked, ApplyError> {
        Ok(Unparked::default())
    }

    async fn unpark_requests(&self) -> Result<Vec<(i64, i32, Option<String>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn refuse_unpark(&self, _event: i64, _lane: i32, _reason: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Takes dead letters.
#[derive(Default)]
struct DeadLetters(Mutex<Vec<Vec<u8>>>);

impl Producer for DeadLetters {
    fn log_id(&self) -> &str {
        "memory"
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        let mut letters = self.0.lock().expect("letters");
        letters.push(record.value.to_vec());
        Ok(letters.len() as i64 - 1)
    }
}

fn worker_over(
    records: Vec<Vec<u8>>,
    store: &MemoryStore,
    letters: &Arc<DeadLetters>,
    state: watch::Sender<WorkerState>,
) -> Worker<MemoryLog, MemoryStore, DeadLetters> {
    let log = MemoryLog {
        records: records.into_iter().map(Bytes::from).collect(),
        next: None,
        events: VecDeque::from([LogEvent::Assigned(vec![lane()])]),
    };
    Worker::new(
        log,
        WorkerParts {
            store: store.clone(),
            producer: letters.clone(),
            clock: Arc::new(ManualClock::new(5)),
            random: Arc::new(SeededRandom::new(1)),
            batching: Batching { records: 16, age: Duration::from_millis(20) },
            adopt_unknown_log: false,
            drain_backlog: true,
            backlog: None,
            replay: None,
            keys: Default::default(),
            state,
        },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loop_runs_on_memory_alone_and_survives_lost_commits() {
    let mut records = vec![encode(
        7,
        Kind::Scheduled(v1::Scheduled {
            command_id: vec![1; 16],
            rules_version: 1,
            r#type: v1::EventType::FirstCome.into(),
            ends_at_ms: 1_000,
            internal_test: true,
            options: vec![v1::StockOption { name: "DEFAULT".into(), granted: 10 }],
            lanes: vec![0],
            ..Default::default()
        }),
    )];
    let keys = EventKeys::new(&[9; 32]);
    for i in 0..200i64 {
        let member = i % 150; // the last fifty are repeats
        records.push(encode(
            7,
            Kind::Entry(v1::Entry {
                entry_id: keys.entry_id(member, None).as_bytes().to_vec(),
                member_id: member,
                accepted_at_ms: 5,
                options: vec![0],
                sealed_contact: vec![],
            }),
        ));
    }
    records.insert(100, b"\xff\xff".to_vec());
    let (store, letters) = (MemoryStore::default(), Arc::new(DeadLetters::default()));
    let worker = worker_over(records, &store, &letters, Default::default());
    let stop = CancellationToken::new();
    let watched = store.clone();
    let token = stop.clone();
    let watcher = tokio::spawn(async move {
        while watched.0.lock().expect("rows").entries.len() < 150 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        token.cancel();
    });
    let run = worker.run(stop, Duration::from_secs(10));
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("ends").expect("drains");
    watcher.await.expect("no panic");

    let rows = store.0.lock().expect("rows");
    assert_eq!(rows.progress[0].next_offset, 202, "the backlog was drained");
    let members: Vec<i64> = rows.entries.iter().map(|e| e.member_id).collect();
    assert_eq!(members, (0..150).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(rows.events[&7].lane.wins, 10);
    assert!(rows.applies > 12, "some commits were lost and found again");
    assert_eq!(*letters.0.lock().expect("letters"), [b"\xff\xff".to_vec()]);
}

#[tokio::test]
async fn an_error_that_nobody_knows_halts_the_lane_in_the_end() {
    let (store, letters) = (MemoryStore::default(), Arc::new(DeadLetters::default()));
    store.0.lock().expect("rows").broken = Some(ErrorClass::Unknown);
    let (state, mut told) = watch::channel(WorkerState::default());
    let records = vec![encode(7, Kind::Closed(v1::Closed { command_id: vec![1; 16] }))];
    let worker = worker_over(records, &store, &letters, state);
    let stop = CancellationToken::new();
    let run = tokio::spawn(worker.run(stop.clone(), Duration::ZERO));
    let halted = told.wait_for(|state| !state.halted.is_empty()).await.expect("a worker").halted.clone();
    assert!(halted[&lane()].contains("out of porridge"), "{halted:?}");
    assert_eq!(store.0.lock().expect("rows").applies, u64::from(UNKNOWN_TRIES));
    stop.cancel();
    run.await.expect("no panic").expect("drains");
}
