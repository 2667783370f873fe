//! Missions on the real column, with worker and relay killed at each step between an activity and its entry, and with two
//! relays at once.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::time::Instant;

use e2e::column::Column;
use e2e::log::{append_to, read_records};
use e2e::process::Process;
use e2e::promises::replay;
use e2e::rounds::{BUDGET, Figures, rounds, wait_until};
use e2e::sql::{execute, number};
use e2e::staff::AdminApi;
use e2e::statement_proxy::{Point, StatementProxy};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;
use shared_domain::{ActivityReport, MissionType};
use shared_proto::v1::log_record::Kind;
use shared_proto::{Lane, Topic, lane_of_member};
use shared_runtime::log::LogEnds;

/// The worker's transaction.
const WORKER: [Point; 5] = [
    Point::Before("INSERT INTO member_mission"),
    Point::Before("INSERT INTO `mission_mark`"),
    Point::Before("INSERT INTO `mission_outbox`"),
    Point::BeforeCommit("INSERT INTO `mission_outbox`"),
    Point::BehindCommit("INSERT INTO `mission_outbox`"),
];
/// The relay behind it: the first of these comes when the log has the entry and the database does not say so.
const RELAY: [Point; 3] = [
    Point::Before("UPDATE `mission_outbox`"),
    Point::BeforeCommit("UPDATE `mission_outbox`"),
    Point::BehindCommit("UPDATE `mission_outbox`"),
];

/// A column with a worker and an admin-api, each behind a proxy of its own.
struct Stage {
    column: Column,
    to_worker: StatementProxy,
    to_admin: StatementProxy,
    worker: Process,
    admin: AdminApi,
}

impl Stage {
    async fn new() -> Self {
        let column = Column::real("mission_faults").await;
        let to_worker = StatementProxy::start(&column.database_url).await;
        let to_admin = StatementProxy::start(&column.database_url).await;
        let worker = Process::apply_worker(&column, to_worker.url(), "worker");
        let admin = AdminApi::start(&column, to_admin.url()).await;
        Self { column, to_worker, to_admin, worker, admin }
    }

    /// A scheduled event whose one mission is to come once.
    async fn event(&self) -> i64 {
        let draft = json!({
            "title": "Come", "type": "FIRST_COME", "starts_at": "2026-01-01T00:00:00Z", "stock": [{"count": 1_000}],
            "ends_at": (chrono::Utc::now() + chrono::TimeDelta::days(2)).to_rfc3339(), "internal_test": true,
            "missions": [{"title": "Come", "mission_type": "ATTENDANCE", "goal_value": 1}],
        });
        let (status, made) =
            self.admin.send("POST", "/admin/v1/events", None, &draft).await.expect("an answer");
        assert_eq!(status, 201, "{made}");
        let event = made["event_id"].as_i64().expect("an id");
        let path = format!("/admin/v1/events/{event}/schedule");
        let (_, command) = self.admin.send("POST", &path, None, &json!({})).await.expect("an answer");
        assert_eq!(self.admin.settled(&command).await["status"], "APPLIED");
        event
    }

    /// A member comes, as the gateway would have written it.
    async fn came(&self, event: i64, member: i64) {
        let topic = self.column.kafka.topics().name(Topic::Activity);
        let lanes = self.column.producer.lanes(topic.clone()).await.expect("lanes");
        let partitions: Vec<i32> = lanes.iter().map(|lane| lane.partition).collect();
        let now = chrono::Utc::now().timestamp_millis();
        let report = ActivityReport {
            member,
            mission_type: MissionType::Attendance,
            value: None,
            friend: None,
            occurred_at: now,
        };
        let record = shared_proto::encode(0, Kind::Activity(report.to_record([1; 16], now, &[(event, 0)])));
        let lane = Lane::new(topic, lane_of_member(member, &partitions).expect("a lane"));
        append_to(&self.column, lane, &record).await;
    }

    async fn count(&self, what: &str, event: i64) -> i64 {
        number(&self.column.database_url, &format!("SELECT COUNT(*) AS n FROM {what} = {event}")).await
    }

    /// Everybody who came has one entry, which wins; the log may hold it more often.
    async fn everybody_won_once(&self, event: i64, members: i64) {
        wait_until("everybody has an entry", async || {
            self.count("event_entry WHERE status = 1 AND event_id", event).await == members
                && self.count("mission_outbox WHERE published_at IS NOT NULL AND event_id", event).await
                    == members
        })
        .await;
        assert_eq!(self.count("event_entry WHERE event_id", event).await, members);
        assert_eq!(self.count("mission_outbox WHERE event_id", event).await, members);
        assert_eq!(self.count("member_mission WHERE is_completed AND event_id", event).await, members);
    }

    /// How often the log holds an entry of this event.
    async fn entries_in_log(&self, event: i64) -> i64 {
        let sql = format!("SELECT lane AS n FROM event_lane WHERE event_id = {event}");
        let lane = number(&self.column.database_url, &sql).await;
        let records = read_records(&self.column, lane as i32).await;
        let ours = records.into_iter().filter(|(_, id, kind)| *id == event && matches!(kind, Kind::Entry(_)));
        ours.count() as i64
    }

    async fn agrees_with_a_replay(&self) {
        let (code, text, _) = replay(&self.column, &[]).await;
        assert_eq!(code, Some(0), "{text}");
    }
}

async fn killed_between_activity_and_entry(seed: u64) -> Figures {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::new().await;
    let mut points: Vec<(bool, Point)> = WORKER.map(|point| (true, point)).to_vec();
    points.extend(RELAY.map(|point| (false, point)));
    points.shuffle(&mut random);
    let (mut kills, mut twice) = (0, 0);
    for (worker, point) in points {
        let event = stage.event().await;
        let proxy = if worker { &stage.to_worker } else { &stage.to_admin };
        proxy.arm(point);
        stage.came(event, 42).await;
        tokio::time::timeout(BUDGET, proxy.held()).await.expect("the point is reached");
        let process = if worker { &mut stage.worker } else { &mut stage.admin.process };
        process.signal("KILL");
        assert_eq!(process.ended(BUDGET).await, None, "ended by the signal");
        if worker {
            stage.worker = Process::apply_worker(&stage.column, stage.to_worker.url(), "worker");
        } else {
            stage.admin = AdminApi::start(&stage.column, stage.to_admin.url()).await;
        }
        stage.everybody_won_once(event, 1).await;
        // Came again, in the log again: nothing new.
        stage.came(event, 42).await;
        stage.came(event, 43).await;
        stage.everybody_won_once(event, 2).await;
        let copies = stage.entries_in_log(event).await;
        assert!((2..=3).contains(&copies), "{point:?}: {copies} entries in the log");
        twice += copies - 2;
        kills += 1;
    }
    // The relay that died with the log's word in hand wrote the entry again.
    assert!(twice >= 1, "no entry was ever in the log twice");
    stage.agrees_with_a_replay().await;
    Figures::default().with("kills", kills).with("entries_twice_in_log", twice)
}

async fn two_relays_at_once(seed: u64) -> Figures {
    const MEMBERS: i64 = 200;
    let stage = Stage::new().await;
    let event = stage.event().await;
    // The first has published, and freezes before it says so; the second takes over when the lease is out.
    stage.to_admin.arm(Point::Before("UPDATE `mission_outbox`"));
    stage.came(event, 1).await;
    tokio::time::timeout(BUDGET, stage.to_admin.held()).await.expect("the point is reached");
    stage.admin.process.signal("STOP");
    let second = AdminApi::start(&stage.column, &stage.column.database_url).await;
    stage.everybody_won_once(event, 1).await;
    assert_eq!(stage.entries_in_log(event).await, 2, "both have published it");
    stage.admin.process.signal("CONT");
    // Both at work, with much to publish.
    let started = Instant::now();
    for member in 2..=MEMBERS {
        stage.came(event, member).await;
    }
    stage.everybody_won_once(event, MEMBERS).await;
    println!("seed {seed}: {MEMBERS} entries after {:.1} s", started.elapsed().as_secs_f64());
    let copies = stage.entries_in_log(event).await;
    stage.agrees_with_a_replay().await;
    // And it would not agree with anything else.
    let url = &stage.column.database_url;
    let changed =
        format!("UPDATE member_mission SET current_value = 2 WHERE event_id = {event} AND member_id = 7");
    execute(url, &changed).await;
    let (code, text, _) = replay(&stage.column, &[]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("event {event} mission 0: DIFFERS")), "{text}");
    drop(second);
    Figures::default().with("members", MEMBERS).with("entries_in_log", copies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_between_an_activity_and_its_entry() {
    rounds("mission_kills", killed_between_activity_and_entry).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_make_one_entry() {
    rounds("mission_relays", two_relays_at_once).await;
}
