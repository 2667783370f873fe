//! `event-system reconcile`: a database of everything that the log decides, which agrees; then one thing after the other
//! changed, and each is found and named. On both columns.

use std::collections::BTreeSet;
use std::time::Duration;

use shared_domain::draw::DrawPhase;
use shared_domain::{EventDefinition, EventKeys, Mission, MissionType};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic, encode};
use shared_runtime::draw::Reached;
use shared_runtime::keys::EventSecrets;
use tokio_util::sync::CancellationToken;

use crate::column::{Column, LANES};
use crate::log::{SALT, append, append_bytes, append_entries, append_to, entry, entry_id, id, scheduled};
use crate::process::{on_column, run};
use crate::promises::wait_for_entries;
use crate::raffle_log::{EVENT as RAFFLE, one, raffle, runner, schedule};
use crate::scenarios::InProcess;
use crate::sql::{execute, number};

const BUDGET: Duration = Duration::from_secs(60);
/// First come, first served, with stock and an approval that come later.
pub const MUGS: i64 = 1;
/// Rewards with an average.
const POINTS: i64 = 2;
/// Two entries a member.
const TWICE: i64 = 3;

/// `event-system reconcile`: exit code, and what it said.
pub async fn reconcile(column: &Column, args: &[&str]) -> (Option<i32>, String) {
    let mut command = on_column("event-system", column, &column.database_url);
    command.arg("reconcile").args(args);
    run(command).await
}

/// Events of every kind, decided, drawn and counted; the workers have ended.
pub async fn decided_column(column: &Column) {
    let apply = InProcess::start(column, &column.store, &apply_worker::ROLE.group);
    let raffles = InProcess::start_role(column, &column.store, &raffle_worker::ROLE);
    append(column, 0, MUGS, scheduled(column, MUGS, 10, 0)).await;
    append_entries(
        column,
        0,
        MUGS,
        (0..20).flat_map(|m| if m % 5 == 0 { vec![m, m] } else { vec![m] }).collect(),
    )
    .await;
    append_bytes(column, 0, b"\xff\xffrubbish").await;
    let approval = v1::Approval { review_number: "R-2".to_owned(), from_ms: 0, until_ms: 4_102_444_800_000 };
    let changed = v1::ApprovalChanged { command_id: id(MUGS, 2), approval: Some(approval) };
    append(column, 0, MUGS, Kind::ApprovalChanged(changed)).await;
    let added = Kind::StockAdded(v1::StockAdded { command_id: id(MUGS, 3), option: 0, add: 5 });
    append(column, 0, MUGS, added.clone()).await;
    // Published twice, as a relay may.
    append(column, 0, MUGS, added).await;
    append_entries(column, 0, MUGS, (0..40).collect()).await;

    let Kind::Scheduled(mut points) = scheduled(column, POINTS, 30, 0) else { unreachable!() };
    let average = v1::AverageRandomReward { min: 1, max: 90, target: 20 };
    points.reward = Some(v1::Reward { policy: Some(v1::reward::Policy::AverageRandom(average)) });
    points.wrapped_reward_key = EventSecrets::new(&column.key(), POINTS).expect("secrets").reward_key;
    append(column, 0, POINTS, Kind::Scheduled(points)).await;
    append_entries(column, 0, POINTS, (0..25).collect()).await;

    let Kind::Scheduled(mut twice) = scheduled(column, TWICE, 100, 1) else { unreachable!() };
    (twice.duplicates_allowed, twice.max_entries_per_member) = (true, 2);
    append(column, 1, TWICE, Kind::Scheduled(twice)).await;
    for n in 0..30u8 {
        let Kind::Entry(mut again) = entry(i64::from(n % 10)) else { unreachable!() };
        let key = EventKeys::new(&SALT).entry_id(again.member_id, Some(&format!("key {n}")));
        again.entry_id = key.as_bytes().to_vec();
        append(column, 1, TWICE, Kind::Entry(again)).await;
    }
    let drawn = EventDefinition {
        missions: vec![Mission {
            title: "Come".into(),
            mission_type: MissionType::Attendance,
            goal_value: 1,
            self_reported: true,
            option: None,
            weight: Some(5),
        }],
        ..raffle(column, 3, 2)
    };
    enter_raffle(column, &drawn).await;
    for (event, lane, entries) in [(MUGS, 0, 40), (POINTS, 0, 25), (TWICE, 1, 30)] {
        wait_for_entries(&column.store, event, lane, entries, BUDGET).await;
    }
    for lane in 0..LANES {
        wait_for_entries(&column.store, RAFFLE, lane, 12, BUDGET).await;
    }
    apply.stop().await;
    raffles.stop().await;
    execute(&column.database_url, &format!("UPDATE events SET lifecycle = 3 WHERE event_id = {RAFFLE}"))
        .await;
    let wanted = format!("UPDATE draw SET requested = 1, publish = 1 WHERE event_id = {RAFFLE}");
    execute(&column.database_url, &wanted).await;
    let reached = runner(&column.store, column.key()).advance(RAFFLE, &CancellationToken::new()).await;
    assert_eq!(reached.expect("drawn"), Reached::Done(DrawPhase::Published));
}

/// In each lane ten entries, chances for three of them and for somebody new, once more for one, the close, and one too late.
async fn enter_raffle(column: &Column, raffle: &EventDefinition) {
    schedule(column, raffle).await;
    let topic = column.kafka.topics().name(Topic::Raffle);
    for lane in 0..LANES {
        let member = |n: i64| i64::from(lane) * 1_000 + n;
        let chances = |n: i64| {
            Kind::WeightAdded(v1::WeightAdded {
                entry_id: entry_id(member(n)).as_bytes().to_vec(),
                member_id: member(n),
                mission: 0,
                weight: 5,
                accepted_at_ms: 1_700_000_000_000,
            })
        };
        let mut records: Vec<Kind> = (0..10).map(|n| one(member(n))).collect();
        records.insert(5, chances(2));
        records.extend([chances(7), chances(2), chances(11), chances(8)]);
        records.push(Kind::Closed(v1::Closed { command_id: id(RAFFLE, 2) }));
        records.extend([one(member(10)), chances(3)]);
        for kind in records {
            append_to(column, Lane::new(topic.clone(), lane), &encode(RAFFLE, kind)).await;
        }
    }
}

/// What is done to the database, how it is undone, and what must be said of it with the log and without.
struct Change {
    done: String,
    undone: String,
    said: &'static [&'static str],
    alone: &'static [&'static str],
}

fn change(
    done: String,
    undone: String,
    said: &'static [&'static str],
    alone: &'static [&'static str],
) -> Change {
    Change { done, undone, said, alone }
}

fn changes() -> Vec<Change> {
    let row = |set: &str, event: i64, seq: i64| {
        format!("UPDATE event_entry SET {set} WHERE event_id = {event} AND seq = {seq} AND lane IN (0, 1)")
    };
    let back = |event: i64, seq: i64| {
        let at = format!("WHERE event_id = {event} AND seq = {seq} AND lane IN (0, 1)");
        format!("DELETE FROM event_entry {at}; INSERT INTO event_entry SELECT * FROM kept_entries {at}")
    };
    vec![
        // A corrupted row.
        change(
            row("status = 2", MUGS, 7),
            back(MUGS, 7),
            &["event 1 lane 0 seq 7: event_entry.status is LOSE, by the log WIN"],
            &["event 1 lane 0: event_lane.wins is 15, by the entries 14", "event_lane.digest is"],
        ),
        change(
            row("member_id = 999", MUGS, 9),
            back(MUGS, 9),
            &["event 1 lane 0 seq 9: event_entry.member_id is 999, by the log"],
            &[],
        ),
        change(
            row("reward_amount = reward_amount + 1", POINTS, 11),
            back(POINTS, 11),
            &["event 2 lane 0 seq 11: event_entry.reward_amount is"],
            &["event 2 lane 0: event_lane.paid is"],
        ),
        change(
            row("reason = 2", TWICE, 25),
            back(TWICE, 25),
            &["event 3 lane 1 seq 25: event_entry.reason is Closed, by the log EntryLimitReached"],
            &["event 3 lane 1: event_lane.digest is"],
        ),
        // A missing row, with a repeat of its entry behind it in the log.
        change(
            format!("DELETE FROM event_entry WHERE event_id = {MUGS} AND seq = 6"),
            back(MUGS, 6),
            &["event 1 lane 0 seq 6: event_entry is missing, by the log entry"],
            &["event 1 lane 0 seq 7: event_entry.seq is the next behind 5, by the entries 6 has no row"],
        ),
        // The last one, which leaves no gap.
        change(
            format!("DELETE FROM event_entry WHERE event_id = {MUGS} AND seq = 40"),
            back(MUGS, 40),
            &["event 1 lane 0 seq 40: event_entry is missing, by the log entry"],
            &["event 1 lane 0: event_lane.seq is 40, by the entries 39"],
        ),
        // A row that nobody entered.
        change(
            format!(
                "INSERT INTO event_entry SELECT event_id, lane, 41, x'00112233445566778899aabbccddeeff', 77, status, reason, \
                 option_index, reward_amount, entry_rank, log_offset + 1000, accepted_at, decided_at, missions \
                 FROM event_entry WHERE event_id = {MUGS} AND seq = 40"
            ),
            format!("DELETE FROM event_entry WHERE event_id = {MUGS} AND seq = 41"),
            &["event 1 lane 0 seq 41: event_entry is there, by the log not"],
            &["event 1 lane 0: event_lane.seq is 40, by the entries 41"],
        ),
        // Changed stock.
        change(
            format!("UPDATE event_stock SET stock_count = 3 WHERE event_id = {MUGS}"),
            format!("UPDATE event_stock SET stock_count = 0 WHERE event_id = {MUGS}"),
            &["event 1 lane 0: event_stock.stock_count of option 0 is 3, by the log 0"],
            &["event 1 lane 0: event_stock.stock_count of option 0 is 3, by the entries 0"],
        ),
        change(
            format!("UPDATE event_stock SET granted = 16, stock_count = 1 WHERE event_id = {MUGS}"),
            format!("UPDATE event_stock SET granted = 15, stock_count = 0 WHERE event_id = {MUGS}"),
            &["event 1 lane 0: event_stock.granted of option 0 is 16, by the log 15"],
            &[],
        ),
        // The lane's own row.
        change(
            "UPDATE event_lane SET closed_offset = 5 WHERE event_id = 2".to_owned(),
            "UPDATE event_lane SET closed_offset = NULL WHERE event_id = 2".to_owned(),
            &["event 2 lane 0: event_lane.closed_offset is 5, by the log none"],
            &[],
        ),
        // What became of a command.
        change(
            "UPDATE command_applied SET status = 2, reason = 'CLOSED' WHERE event_id = 1 AND status = 1".to_owned(),
            "UPDATE command_applied SET status = 1, reason = NULL WHERE event_id = 1".to_owned(),
            &["event 1 lane 0: command_applied is CLOSED at offset", "by the log APPLIED at offset"],
            &[],
        ),
        // Chances of a raffle, and its draw.
        change(
            format!("UPDATE event_entry SET missions = 0 WHERE event_id = {RAFFLE} AND lane = 1 AND seq = 3"),
            format!("UPDATE event_entry SET missions = 1 WHERE event_id = {RAFFLE} AND lane = 1 AND seq = 3"),
            &["event 40 lane 1 seq 3: event_entry.missions is 0, by the log 1", "event 40: draw.list_digest is"],
            &["event 40: draw.list_digest is"],
        ),
        change(
            format!("UPDATE event_entry SET status = 2, entry_rank = 1 WHERE event_id = {RAFFLE} AND status = 1"),
            "UPDATE event_entry SET status = 1, entry_rank = (SELECT entry_rank FROM draw_result r WHERE r.event_id = 40 \
             AND r.entry_id = event_entry.entry_id) WHERE event_id = 40 AND entry_id IN \
             (SELECT entry_id FROM draw_result WHERE event_id = 40 AND entry_rank IS NOT NULL)"
                .to_owned(),
            &["event 40: event_entry with WIN is 0, by the draw 3", "the entry at place 2 is LOSE, rank 1, amount"],
            &["event 40: event_entry with WIN is 0, by the draw 3"],
        ),
        // Beside the entries.
        change(
            format!("INSERT INTO contact SELECT event_id, entry_id, x'00', 1 FROM event_entry WHERE event_id = {MUGS} AND seq = 15"),
            "DELETE FROM contact".to_owned(),
            &["event 1: contact of entry", "is there, by the entries that of no winner"],
            &["event 1: contact of entry"],
        ),
        change(
            format!("INSERT INTO member_mission VALUES (5, {RAFFLE}, 0, 2, NULL, 0, NULL)"),
            "DELETE FROM member_mission".to_owned(),
            &["event 40: member_mission.current_value of member 5, mission 0 is 2, by the entries (mission_mark) 0"],
            &["event 40: member_mission.current_value of member 5, mission 0 is 2"],
        ),
    ]
}

/// All agrees; then each change is named, by the log and, where rows alone can show it, without; and what only counts is put
/// right where the log proves it.
pub async fn names_each_difference(column: &Column) {
    decided_column(column).await;
    let url = &column.database_url;
    execute(url, "CREATE TABLE kept_entries AS SELECT * FROM event_entry").await;
    let lanes = 3 + LANES;
    let agrees = async |why: &str| {
        let (code, text) = reconcile(column, &["--without-redis"]).await;
        assert_eq!(code, Some(0), "{why}: {text}");
        let log = format!(
            "log: {lanes} lanes equal, 0 different, 0 parked, 0 not compared, 0 without a record in it"
        );
        assert!(text.contains(&log) && text.contains("all agrees"), "{why}: {text}");
        let (code, text) = reconcile(column, &["--without-redis", "--without-log"]).await;
        assert_eq!(code, Some(0), "{why}: {text}");
    };
    agrees("as it was decided").await;
    for Change { done, undone, said, alone } in changes() {
        execute(url, &done).await;
        // In small batches: a repeat of what has no row stands in another one.
        for (args, said) in [
            (&["--without-redis"][..], said),
            (&["--without-redis", "--batch-records", "7"][..], said),
            (&["--without-redis", "--without-log"][..], alone),
        ] {
            let (code, text) = reconcile(column, args).await;
            let expected = if said.is_empty() { 0 } else { 1 };
            assert_eq!(code, Some(expected), "{done}: {text}");
            for said in said {
                assert!(text.contains(said), "{done}: {said}: {text}");
            }
            let named: BTreeSet<&str> =
                text.lines().filter(|line| line.starts_with("event ") && line.contains(", by ")).collect();
            let event = done_to(&done);
            let others: Vec<_> = named.iter().filter(|line| !line.starts_with(&event)).collect();
            assert!(others.is_empty(), "{done}: of other events: {others:?}");
        }
        execute(url, &undone).await;
    }
    agrees("everything undone").await;
    repairs_counters(column).await;
}

/// The event that a change is done to, as it begins a line.
fn done_to(sql: &str) -> String {
    let event = [MUGS, POINTS, TWICE].into_iter().find(|event| sql.contains(&format!("event_id = {event}")));
    let event =
        event.filter(|_| !sql.contains("member_mission") && !sql.contains(&format!("event_id = {RAFFLE}")));
    format!("event {}", event.unwrap_or(RAFFLE))
}

/// Counters of a lane are put right where they alone are wrong, with a line in the audit log; a digest never is.
async fn repairs_counters(column: &Column) {
    let url = &column.database_url;
    let wins = format!("SELECT wins AS n FROM event_lane WHERE event_id = {MUGS}");
    let wrong =
        format!("UPDATE event_lane SET wins = 3, paid = 0, exhausted_offset = NULL WHERE event_id = {MUGS}");
    let repair = ["--without-redis", "--repair", "--event", "1"];
    execute(url, &wrong).await;
    let (code, text) = reconcile(column, &["--without-redis"]).await;
    assert_eq!((code, number(url, &wins).await), (Some(1), 3), "only told: {text}");
    assert!(text.contains("event 1 lane 0: event_lane.wins is 3, by the log 15"), "{text}");
    let (code, text) = reconcile(column, &repair).await;
    assert_eq!((code, number(url, &wins).await), (Some(0), 15), "{text}");
    assert!(text.contains("event 1 lane 0: counters put right"), "{text}");
    let audited = "SELECT COUNT(*) AS n FROM audit_log WHERE action = 'COUNTERS_REPAIRED' AND event_id = 1";
    assert_eq!(number(url, audited).await, 1);
    let (code, text) = reconcile(column, &["--without-redis"]).await;
    assert_eq!(code, Some(0), "{text}");

    // Without the log nothing is proven, and beside a digest that differs neither.
    execute(url, &wrong).await;
    let (code, text) = reconcile(column, &["--without-redis", "--without-log", "--repair"]).await;
    assert_eq!((code, number(url, &wins).await), (Some(1), 3), "{text}");
    let nothing = "00".repeat(32);
    let digest = format!("SELECT COUNT(*) AS n FROM event_lane WHERE event_id = 1 AND digest = x'{nothing}'");
    execute(url, &format!("UPDATE event_lane SET digest = x'{nothing}' WHERE event_id = {MUGS}")).await;
    let (code, text) = reconcile(column, &repair).await;
    assert_eq!((code, number(url, &wins).await, number(url, &digest).await), (Some(1), 3, 1), "{text}");
    assert!(text.contains(&format!("event 1 lane 0: event_lane.digest is {nothing}, by the log")), "{text}");
}
