//! Draws on the real column: `admin-api` killed at every boundary between phases and in the middle of each, and a lane that
//! stands still while its raffle closes.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection as _, AsyncMysqlConnection, SimpleAsyncConnection as _};
use e2e::column::Column;
use e2e::log::entry_id;
use e2e::raffle_log::one;
use e2e::raffles::{Raffle, verify};
use e2e::rounds::{BUDGET, Figures, rounds};
use e2e::scenarios::InProcess;
use e2e::sql::number;
use e2e::staff::AdminApi;
use e2e::statement_proxy::{Point, StatementProxy};
use e2e::system::System;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use shared_domain::draw::{DrawPhase, DrawRecord, ENTRANTS_HEADER};
use shared_domain::{EntryId, EntryStatus, Lifecycle};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic, lane_of_member};
use shared_runtime::clock::{Clock, SystemClock};
use shared_runtime::draw::{entrants, public_record};
use shared_runtime::worker::apply::definition_of;
use tokio::task::JoinSet;

// Places are stored and applied in more than one block.
const WINNERS: i64 = 2_600;
const ALTERNATES: i64 = 30;
const ENTRIES: i64 = 3_900;

const FREEZE: &str = "UPDATE `draw` SET `phase` = ?, `entrants`";
const STORE: &str = "INSERT INTO `draw_result`";
const DECIDE: &str = "UPDATE `draw` SET `phase` = ?, `winners`";
const APPLY: &str = "UPDATE `draw` SET `applied_places`";
const LOSE: &str = "UPDATE `draw` SET `applied_lane`";
const PUBLISH: &str = "UPDATE `draw` SET `phase` = ?, `seed`";
const POINTS: [Point; 14] = [
    Point::Before(FREEZE),
    Point::BehindCommit(FREEZE),
    Point::Before(STORE),
    Point::BehindCommit(STORE),
    Point::Before(DECIDE),
    Point::BehindCommit(DECIDE),
    Point::Before(APPLY),
    Point::BeforeCommit(APPLY),
    Point::BehindCommit(APPLY),
    Point::BeforeCommit(LOSE),
    Point::BehindCommit(LOSE),
    Point::Before(PUBLISH),
    Point::BeforeCommit(PUBLISH),
    Point::BehindCommit(PUBLISH),
];

/// A raffle with its entries, closed in every lane; its id.
async fn closed_raffle(column: &Column, admin: &AdminApi) -> i64 {
    let parts = json!({"type": "RAFFLE", "max_winners": WINNERS, "draw": {"alternates": ALTERNATES}});
    let event = admin.drafted(parts).await;
    let path = format!("/admin/v1/events/{event}");
    let (_, command) =
        admin.send("POST", &format!("{path}/schedule"), None, &Value::Null).await.expect("an answer");
    assert_eq!(admin.settled(&command).await["status"], "APPLIED");
    let row = column.store.event(event).await.expect("the database").expect("the event");
    let definition = definition_of(event, row.scheduled.as_deref().expect("scheduled")).expect("definition");
    let topic = column.kafka.topics().name(Topic::Raffle);
    let (mut members, mut sends) = (1..=ENTRIES, JoinSet::new());
    loop {
        for member in members.by_ref().take(200) {
            let lane = lane_of_member(member, &definition.lanes).expect("a lane");
            let (lane, value) =
                (Lane::new(topic.clone(), lane), shared_proto::encode(event, accepted_now(member)));
            let producer = column.producer.clone();
            sends.spawn(async move { e2e::log::produce(&*producer, lane, &value).await });
        }
        if sends.is_empty() {
            break;
        }
        while sends.join_next().await.is_some_and(|sent| sent.is_ok()) {}
    }
    let (_, command) =
        admin.send("POST", &format!("{path}/close"), None, &Value::Null).await.expect("an answer");
    assert_eq!(admin.settled(&command).await["status"], "APPLIED");
    until("closed in every lane", async || {
        let row = column.store.event(event).await.expect("the database").expect("the event");
        row.lifecycle == Lifecycle::Closed.code()
    })
    .await;
    event
}

/// As a gateway would have accepted it.
fn accepted_now(member: i64) -> Kind {
    match one(member) {
        Kind::Entry(entry) => Kind::Entry(v1::Entry { accepted_at_ms: SystemClock.now_ms(), ..entry }),
        other => other,
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + BUDGET;
    while !holds().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// What members may see of the entries: how many of each status.
async fn shown(column: &Column, event: i64) -> BTreeMap<i16, usize> {
    let ids: Vec<(i64, EntryId)> = (1..=ENTRIES).map(|member| (event, entry_id(member))).collect();
    let mut seen = BTreeMap::new();
    for block in ids.chunks(1_000) {
        for row in column.store.entries_by_ids(block).await.expect("entries") {
            *seen.entry(row.status).or_default() += 1;
        }
    }
    seen
}

async fn phase(column: &Column, event: i64) -> DrawPhase {
    column.store.draw(event).await.expect("the database").expect("a draw").phase().expect("a phase")
}

async fn list(column: &Column, event: i64) -> String {
    let lanes = column.store.draw_lanes(event).await.expect("lanes");
    let mut walk = entrants(&column.store, event, &lanes);
    let mut text = format!("{ENTRANTS_HEADER}\n");
    while let Some(block) = walk.next().await.expect("a block") {
        block.iter().for_each(|entrant| text.push_str(&format!("{entrant}\n")));
    }
    text
}

/// The record recomputes, and every row says what the record says, once.
async fn is_whole(column: &Column, event: i64, point: impl Debug) -> DrawRecord {
    let parts = column.store.draw_parts(event).await.expect("the database").expect("a draw");
    let record = public_record(&parts).expect("a record");
    let report = verify(&record, &list(column, event).await);
    let problems = (report.failed().count(), report.not_checked().count());
    assert_eq!(problems, (0, 0), "{point:?}: {report:?}");
    let counts = shown(column, event).await;
    let code = |status: EntryStatus| i16::from(status.code());
    let expected = BTreeMap::from([
        (code(EntryStatus::Win), WINNERS as usize),
        (code(EntryStatus::Lose), (ENTRIES - WINNERS) as usize),
    ]);
    assert_eq!(counts, expected, "{point:?}");
    let url = &column.database_url;
    let right = format!(
        "SELECT COUNT(*) AS n FROM draw_result r JOIN event_entry e ON e.event_id = r.event_id \
         AND e.entry_id = r.entry_id WHERE r.event_id = {event} AND ((e.status = 1 AND e.entry_rank = r.entry_rank \
         AND e.reward_amount = r.reward_amount) OR (e.status = 2 AND e.entry_rank = r.alternate))"
    );
    assert_eq!(number(url, &right).await, WINNERS + ALTERNATES, "{point:?}: ranks, amounts and numbers");
    let ranks: BTreeSet<EntryId> = record.winners.iter().flatten().copied().collect();
    assert_eq!(ranks.len() as i64, WINNERS, "{point:?}: nobody wins twice");
    let published = format!(
        "SELECT COUNT(*) AS n FROM events WHERE event_id = {event} AND lifecycle = {}",
        Lifecycle::Drawn.code()
    );
    assert_eq!(number(url, &published).await, 1, "{point:?}");
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_admin_api_draws_the_same_winners_once() {
    rounds("draw", async |seed| {
        let mut points = POINTS.to_vec();
        points.shuffle(&mut StdRng::seed_from_u64(seed));
        let column = Column::real("draw").await;
        let worker = InProcess::start_role(&column, &column.store, &raffle_worker::ROLE);
        let proxy = StatementProxy::start(&column.database_url).await;
        let mut admin = AdminApi::start(&column, proxy.url()).await;
        for point in points {
            let event = closed_raffle(&column, &admin).await;
            proxy.arm(point);
            let path = format!("/admin/v1/events/{event}/draw");
            let (status, asked) =
                admin.send("POST", &path, None, &json!({"publish": true})).await.expect("an answer");
            assert_eq!(status, 202, "{asked}");
            tokio::time::timeout(BUDGET, proxy.held()).await.expect("the point is reached");
            admin.process.signal("KILL");
            assert_eq!(admin.process.ended(BUDGET).await, None, "ended by the signal");
            if point != Point::BehindCommit(PUBLISH) {
                assert!(phase(&column, event).await < DrawPhase::Published, "{point:?}");
                let pending = i16::from(EntryStatus::Pending.code());
                assert_eq!(
                    shown(&column, event).await,
                    BTreeMap::from([(pending, ENTRIES as usize)]),
                    "{point:?}: nobody sees a result before PUBLISHED"
                );
            }
            // Nobody asks again: it goes on by itself.
            admin = AdminApi::start(&column, proxy.url()).await;
            until("published", async || phase(&column, event).await == DrawPhase::Published).await;
            let record = is_whole(&column, event, point).await;
            let (_, again) =
                admin.send("POST", &path, None, &json!({"publish": true})).await.expect("an answer");
            assert_eq!(again, asked, "{point:?}: the same draw");
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(is_whole(&column, event, point).await, record, "{point:?}");
            println!("  killed at {point:?}: the same winners, once");
        }
        drop(admin);
        worker.stop().await;
        Figures::default().with("kills", POINTS.len() as i64)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_waits_for_a_lane_that_stands_still_and_says_so() {
    let system = System::real("paused").await;
    let raffle = Raffle::open(&system, 5, json!({})).await;
    let heard = raffle.enter(1..=40).await;
    let worker = &system.processes[1];
    worker.signal("STOP");
    raffle.high_traffic(true).await;
    let late = raffle.enter(41..=50).await;
    let close = system.command(&format!("/events/{}/close", raffle.event), Value::Null).await;
    let admin = &system.processes[2];
    admin.wait_for_metric("event_close_lag_seconds", &["event-raffle-topic"], 5.0, BUDGET).await;
    let refused = raffle.draw(true).await;
    refused.is(409, "EVENT_NOT_CLOSED");
    assert!(
        refused.text("detail").contains("lanes of") && refused.text("detail").contains('0'),
        "{refused:?}"
    );
    let path = format!("/events/{}/draw", raffle.event);
    let shown = system.ask_admin("GET", &path, Value::Null).await.json();
    let waiting = shown["progress"]["waiting_for"].as_array().expect("a list").len();
    assert_eq!(waiting, 4, "{shown}");
    assert!(admin.log().contains("a closing event waits for this lane"), "{}", admin.log());
    worker.signal("CONT");
    system.applied(&close).await;
    system.until("the draw", async || raffle.draw(true).await.status == 202).await;
    let record = raffle.until_phase("PUBLISHED").await;
    assert_eq!(record.entrants, Some((heard.len() + late.len()) as u64), "who was told so is in the list");
    let shown = system.ask_admin("GET", &path, Value::Null).await.json();
    assert_eq!(shown["progress"]["waiting_for"], json!([]), "{shown}");
    raffle.verifies().await;
    system.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_waits_a_minute_for_one_lane_and_names_it() {
    const LANE: i32 = 2;
    let system = System::real("lane_paused").await;
    let raffle = Raffle::open(&system, 5, json!({})).await;
    raffle.high_traffic(true).await;
    let mut heard = 0;
    system
        .until("202 with the flag", async || {
            heard += 1;
            system.enter(raffle.event, heard).await.status == 202
        })
        .await;
    // The worker decides the other lanes on; this one waits for its row, is refused after the lock wait, and tries again.
    let row = format!("event_lane WHERE event_id = {} AND lane = {LANE}", raffle.event);
    let held = HeldRow::hold(&system.database_url, &row).await;
    let late = raffle.enter(10_001..=10_060).await;
    assert!(late.values().all(|answer| answer.status == 202), "{late:?}");
    let close = system.command(&format!("/events/{}/close", raffle.event), Value::Null).await;
    let path = format!("/events/{}/draw", raffle.event);
    let named = format!("/{LANE} ");
    let waits_for_one = |shown: &Value| {
        let lanes = shown["progress"]["waiting_for"].as_array().expect("a list");
        lanes.len() == 1 && lanes[0].as_str().is_some_and(|lane| lane.contains(&named))
    };
    system
        .until("the other lanes are closed", async || {
            waits_for_one(&system.ask_admin("GET", &path, Value::Null).await.json())
        })
        .await;
    let labels = ["event-raffle-topic", &format!("partition=\"{LANE}\"")];
    let admin = &system.processes[2];
    let until = Instant::now() + 2 * BUDGET;
    while admin.metric("event_close_lag_seconds", &labels).await.is_none_or(|seconds| seconds < 60.0) {
        assert!(Instant::now() < until, "the lag is not told; the log: {}", admin.log());
        raffle.draw(true).await.is(409, "EVENT_NOT_CLOSED");
        let shown = system.ask_admin("GET", &path, Value::Null).await.json();
        assert!(waits_for_one(&shown) && shown["phase"] == "SCHEDULED", "{shown}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(admin.log().contains("a closing event waits for this lane"), "{}", admin.log());
    held.release().await;
    system.applied(&close).await;
    system.until("the draw", async || raffle.draw(true).await.status == 202).await;
    let record = raffle.until_phase("PUBLISHED").await;
    assert_eq!(record.entrants, Some(heard as u64 + late.len() as u64), "who was told so is in the list");
    raffle.verifies().await;
    system.is_sound().await;
}

/// A draw that stands in the middle of its work, with its own rows locked, keeps no other from its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draw_that_stands_still_blocks_no_other() {
    let column = Column::real("draws").await;
    let worker = InProcess::start_role(&column, &column.store, &raffle_worker::ROLE);
    let admin = AdminApi::start(&column, &column.database_url).await;
    let (one, other) = (closed_raffle(&column, &admin).await, closed_raffle(&column, &admin).await);
    let row = format!("event_entry WHERE event_id = {one} AND lane = 0 AND seq = 1");
    let held = HeldRow::hold(&column.database_url, &row).await;
    let draw = async |event: i64| {
        let path = format!("/admin/v1/events/{event}/draw");
        let asked = admin.send("POST", &path, None, &json!({"publish": true})).await.expect("an answer");
        assert_eq!(asked.0, 202, "{}", asked.1);
    };
    draw(one).await;
    until("decided", async || phase(&column, one).await == DrawPhase::Decided).await;
    draw(other).await;
    until("published", async || phase(&column, other).await == DrawPhase::Published).await;
    is_whole(&column, other, "beside another").await;
    assert_eq!(phase(&column, one).await, DrawPhase::Decided);
    held.release().await;
    until("published", async || phase(&column, one).await == DrawPhase::Published).await;
    is_whole(&column, one, "after it was let go").await;
    drop(admin);
    worker.stop().await;
}

/// A row, locked by somebody who takes his time.
struct HeldRow(AsyncMysqlConnection);

impl HeldRow {
    /// Of `table WHERE ...`.
    async fn hold(url: &str, row: &str) -> Self {
        assert_eq!(number(url, &format!("SELECT COUNT(*) AS n FROM {row}")).await, 1, "{row}");
        let mut conn = AsyncMysqlConnection::establish(url).await.expect("MySQL");
        conn.batch_execute(&format!("BEGIN; SELECT 1 FROM {row} FOR UPDATE")).await.expect("the lock");
        Self(conn)
    }

    async fn release(mut self) {
        self.0.batch_execute("ROLLBACK").await.expect("the lock is given back");
    }
}
