//! Scenarios that run on both columns.

use std::sync::Arc;
use std::time::Duration;

use apply_worker::ROLE;
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic};
use shared_runtime::keys::RewardKeys;
use shared_runtime::store::Store;
use shared_runtime::store::rows::ProgressRow;
use shared_runtime::worker::{Batching, Replay, Role, RoleParts, WorkerState};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::column::Column;
use crate::log::{append, append_bytes, append_entries, entry, id, scheduled};
use crate::promises::{entries, first_come_first_served, same_digests, wait_for_entries};
use crate::sql::{execute, number};

const BUDGET: Duration = Duration::from_secs(60);

/// A worker in this process.
pub struct InProcess {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    state: watch::Receiver<WorkerState>,
}

impl InProcess {
    /// Starts a worker of a group on a store.
    pub fn start(column: &Column, store: &Store, group: &str) -> Self {
        Self::start_role(column, store, &Role { group: group.to_owned().into(), ..ROLE })
    }

    /// Starts a worker of any role.
    pub fn start_role(column: &Column, store: &Store, role: &Role) -> Self {
        Self::start_with(column, store, role.clone(), None, column.keys())
    }

    /// Starts a worker with other keys than the column's.
    pub fn start_with_keys(column: &Column, store: &Store, keys: RewardKeys) -> Self {
        Self::start_with(column, store, ROLE, None, keys)
    }

    /// Decides the column's log again, both topics of it, as far as its store has come.
    pub async fn replay(column: &Column, store: &Store) -> Self {
        let live = column.store.standing().await.expect("cursors");
        let stretch = |r: ProgressRow| (Lane::new(r.topic, r.partition_id), 0..r.next_offset);
        let until = live.progress.into_iter().map(stretch).collect();
        let replay = Replay::prepare(&column.kafka, &column.store, until, &live.parked, None).await;
        let replay = replay.expect("the log is read");
        let role = Role { topics: &[Topic::Apply, Topic::Raffle], group: "replay".into() };
        Self::start_with(column, store, role, Some(Arc::new(replay)), column.keys())
    }

    fn start_with(
        column: &Column,
        store: &Store,
        role: Role,
        replay: Option<Arc<Replay>>,
        keys: RewardKeys,
    ) -> Self {
        let stop = CancellationToken::new();
        let parts = RoleParts {
            kafka: column.kafka.clone(),
            store: store.clone(),
            producer: column.producer.clone(),
            batching: Batching::default(),
            embedded: column.embedded,
            backlog: None,
            replay,
            keys,
            state: Default::default(),
        };
        let state = parts.state.subscribe();
        let token = stop.clone();
        let task = tokio::spawn(async move { role.run(parts, token, Duration::from_secs(10)).await });
        Self { stop, task, state }
    }

    /// Why its lanes stand still.
    pub fn halted(&self) -> Vec<String> {
        self.state.borrow().halted.values().cloned().collect()
    }

    /// Drains and stops it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("no panic").expect("drained");
    }
}

/// A check that fails leaves the worker running; its consumer, dropped with the runtime, would wait for ever for the
/// loop to give its lanes back, and the test with it.
impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop.cancel();
        if !self.task.is_finished() {
            let drain = async { tokio::time::timeout(Duration::from_secs(15), &mut self.task).await };
            drop(tokio::task::block_in_place(|| Handle::current().block_on(drain)));
        }
    }
}

/// A stampede straight into the log: double entries, a rubbish record, stock for a fifth; and a second reader that
/// decides the same into a second database while it runs.
pub async fn stampede(column: &Column) {
    let (_url, other) = column.second_database().await;
    let first = InProcess::start(column, &column.store, &ROLE.group);
    let second = InProcess::start(column, &other, "second-reader");
    append(column, 1, 7, scheduled(column, 7, 1_000, 1)).await;
    let members: Vec<i64> = (0..5_000).flat_map(|m| if m % 20 == 0 { vec![m, m] } else { vec![m] }).collect();
    let mut log = append_entries(column, 1, 7, members).await;
    append_bytes(column, 1, b"\xff\xffrubbish").await;
    log.extend(append_entries(column, 1, 7, (4_990..5_100).collect()).await);
    for store in [&column.store, &other] {
        wait_for_entries(store, 7, 1, 5_100, BUDGET).await;
    }
    first_come_first_served(&entries(&column.store, 7, 1).await, &log, 1_000);
    same_digests(&column.store, &other).await;
    first.stop().await;
    second.stop().await;
}

/// A record that always fails parks its event, another event in the same lane goes on, and unpark restores the order.
pub async fn parking(column: &Column) {
    execute(&column.database_url, &refusal(&column.database_url, 13)).await;
    let worker = InProcess::start(column, &column.store, &ROLE.group);
    append(column, 0, 1, scheduled(column, 1, 20, 0)).await;
    append(column, 0, 2, scheduled(column, 2, 20, 0)).await;
    let mut log = append_entries(column, 0, 1, (0..10).collect()).await;
    log.push((append(column, 0, 1, entry(13)).await, 13));
    log.extend(append_entries(column, 0, 1, (100..120).collect()).await);
    let other = append_entries(column, 0, 2, (200..230).collect()).await;
    wait_for_entries(&column.store, 2, 0, 30, BUDGET).await;
    let parked = column.store.parked_events().await.expect("parked");
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!((parked[0].event_id, parked[0].first_offset, parked[0].records), (1, log[10].0, 21));
    first_come_first_served(&entries(&column.store, 2, 0).await, &other, 20);

    // The cause is mended; the event's records are decided in their old order, before what arrives now.
    execute(&column.database_url, "DROP TRIGGER refuse_one").await;
    request_unpark(column, 1).await;
    log.extend(append_entries(column, 0, 1, (300..305).collect()).await);
    wait_for_entries(&column.store, 1, 0, 36, BUDGET).await;
    first_come_first_served(&entries(&column.store, 1, 0).await, &log, 20);
    assert!(column.store.parked_events().await.expect("parked").is_empty());
    worker.stop().await;
}

/// A parked record that an operator gives up ends as REJECTED(UNDECIDABLE) at its own place.
pub async fn giving_up(column: &Column) {
    execute(&column.database_url, &refusal(&column.database_url, 13)).await;
    let worker = InProcess::start(column, &column.store, &ROLE.group);
    append(column, 2, 3, scheduled(column, 3, 5, 2)).await;
    let offset = append(column, 2, 3, entry(13)).await;
    append_entries(column, 2, 3, (0..3).collect()).await;
    wait_for_parked(column, 3, 4).await;
    let rejected = Kind::Rejected(v1::Rejected { command_id: id(3, 9), offset });
    append(column, 2, 3, rejected).await;
    execute(&column.database_url, "DROP TRIGGER refuse_one").await;
    wait_for_command(column, 3, 1).await;
    request_unpark(column, 3).await;
    wait_for_entries(&column.store, 3, 2, 4, BUDGET).await;
    let rows = entries(&column.store, 3, 2).await;
    let outcome: Vec<_> = rows.iter().map(|r| (r.seq, r.member_id, r.status, r.reason)).collect();
    assert_eq!(outcome[0], (1, 13, 3, Some(8)));
    assert!(outcome[1..].iter().all(|o| o.2 == 1), "{outcome:?}");

    // Too late for a record that is decided: refused, and no replay may take it for given up.
    let refused = Kind::Rejected(v1::Rejected { command_id: id(3, 10), offset: rows[1].log_offset });
    append(column, 2, 3, refused).await;
    wait_for_command(column, 3, 2).await;
    let (_url, other) = column.second_database().await;
    let replay = InProcess::replay(column, &other).await;
    wait_for_entries(&other, 3, 2, 4, BUDGET).await;
    same_digests(&column.store, &other).await;
    replay.stop().await;
    worker.stop().await;
}

async fn wait_for_parked(column: &Column, event: i64, records: i64) {
    let until = std::time::Instant::now() + BUDGET;
    loop {
        let parked = column.store.parked_events().await.expect("parked");
        if parked.iter().any(|p| p.event_id == event && p.records == records) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{parked:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn request_unpark(column: &Column, event: i64) {
    let sql = format!("UPDATE event_lane SET unpark_requested = TRUE WHERE event_id = {event}");
    execute(&column.database_url, &sql).await;
}

/// Waits for a command behind the event's `Scheduled` that ended with this status.
async fn wait_for_command(column: &Column, event: i64, status: i16) {
    let until = std::time::Instant::now() + BUDGET;
    let applied = format!(
        "SELECT COUNT(*) AS n FROM command_applied WHERE event_id = {event} AND log_offset > 1 AND status = {status}"
    );
    while number(&column.database_url, &applied).await == 0 {
        assert!(std::time::Instant::now() < until, "no Rejected record ended with status {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A trigger that refuses one member's row, on either database.
pub fn refusal(database_url: &str, member: i64) -> String {
    if database_url.starts_with("sqlite") {
        format!(
            "CREATE TRIGGER refuse_one BEFORE INSERT ON event_entry WHEN NEW.member_id = {member} \
             BEGIN SELECT RAISE(ABORT, 'record refused'); END"
        )
    } else {
        format!(
            "CREATE TRIGGER refuse_one BEFORE INSERT ON event_entry FOR EACH ROW BEGIN \
             IF NEW.member_id = {member} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'record refused'; END IF; END"
        )
    }
}
