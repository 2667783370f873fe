//! Staff's commands on the real column, with `admin-api` killed at every step, and with fifty of them at once.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use apply_worker::ROLE;
use e2e::column::{Column, LANES};
use e2e::log::read_records;
use e2e::rounds::{BUDGET, Figures, rounds};
use e2e::scenarios::InProcess;
use e2e::sql::{execute, number};
use e2e::staff::AdminApi;
use e2e::statement_proxy::{Point, StatementProxy};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared_domain::HexBytes;
use shared_proto::v1::log_record::Kind;
use tokio::task::JoinSet;

/// The steps of a command's transaction, and of the relay behind it.
const EACH: [Point; 8] = [
    Point::Before("UPDATE `event_lock`"),
    Point::Before("INSERT INTO `outbox`"),
    Point::Before("INSERT INTO `audit_log`"),
    Point::Before("INSERT INTO `idempotency_key`"),
    Point::BeforeCommit("INSERT INTO `idempotency_key`"),
    Point::BehindCommit("INSERT INTO `idempotency_key`"),
    Point::Before("UPDATE `outbox` SET `published_at`"),
    Point::Before("UPDATE `outbox` SET `settled_at`"),
];
const SCHEDULE_ONLY: [Point; 2] =
    [Point::Before("UPDATE `events` SET `lifecycle`"), Point::Before("UPDATE `events` SET `scheduled`")];

/// The steps of a deletion behind its command: contact key, event, contacts, salt, certificate.
const DELETE_ONLY: [Point; 12] = [
    Point::Before("INSERT INTO `erasure`"),
    Point::Before("UPDATE `event_key`"),
    Point::BeforeCommit("UPDATE `event_key`"),
    Point::BehindCommit("UPDATE `event_key`"),
    Point::Before("UPDATE `partition_progress`"),
    Point::Before("UPDATE `events` SET `deleted_at`"),
    Point::BehindCommit("UPDATE `events` SET `deleted_at`"),
    Point::Before("DELETE FROM `contact`"),
    Point::BeforeCommit("DELETE FROM `contact`"),
    Point::BehindCommit("DELETE FROM `contact`"),
    Point::Before("UPDATE `events` SET `salt`"),
    Point::Before("UPDATE `erasure` SET `record`"),
];
const CONTACTS: i64 = 3;

/// Whether a command is in the database when its process dies at this point.
fn is_committed(point: Point) -> bool {
    match point {
        point if DELETE_ONLY.contains(&point) => true,
        Point::Before(statement) => statement.starts_with("UPDATE `outbox`"),
        Point::BeforeCommit(_) => false,
        Point::BehindCommit(_) => true,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Schedule,
    Stock,
    Delete,
}

/// Kills the process at each point of one command; each time with an event of its own.
async fn killed_at_each_step(asked: Asked, mut points: Vec<Point>, seed: u64) {
    const ADD: i64 = 5;
    points.shuffle(&mut StdRng::seed_from_u64(seed));
    let column = Column::real("staff").await;
    let worker = InProcess::start(&column, &column.store, &ROLE.group);
    let proxy = StatementProxy::start(&column.database_url).await;
    let mut admin = AdminApi::start(&column, proxy.url()).await;
    let url = &column.database_url;
    for point in points {
        let event = admin.draft(10).await;
        let schedule = format!("/admin/v1/events/{event}/schedule");
        if asked != Asked::Schedule {
            let (_, command) = admin.send("POST", &schedule, None, &json!({})).await.expect("an answer");
            assert_eq!(admin.settled(&command).await["status"], "APPLIED");
        }
        let (method, path, action, body) = match asked {
            Asked::Schedule => ("POST", schedule, "SCHEDULED", json!({})),
            Asked::Stock => {
                let body = json!({"option": "DEFAULT", "add": ADD});
                ("POST", format!("/admin/v1/events/{event}/stock"), "STOCK_ADDED", body)
            }
            Asked::Delete => {
                for n in 1..=CONTACTS {
                    let row = format!("INSERT INTO contact VALUES ({event}, X'{n:032x}', X'00', 0)");
                    execute(url, &row).await;
                }
                ("DELETE", format!("/admin/v1/events/{event}"), "DELETED", Value::Null)
            }
        };
        let lines = async |outcome: &str| {
            let sql = format!(
                "SELECT COUNT(*) AS n FROM audit_log WHERE event_id = {event} AND action = '{action}' \
                 AND outcome = '{outcome}'"
            );
            number(url, &sql).await
        };
        let commands = async || {
            let sql = format!(
                "SELECT COUNT(DISTINCT command_id) AS n FROM outbox WHERE event_id = {event} AND kind = '{action}'"
            );
            number(url, &sql).await
        };
        proxy.arm(point);
        let first = tokio::spawn(admin.request(method, &path, Some("once"), &body).send());
        tokio::time::timeout(BUDGET, proxy.held()).await.expect("the point is reached");
        admin.process.signal("KILL");
        assert_eq!(admin.process.ended(BUDGET).await, None, "ended by the signal");
        let first = match first.await.expect("no panic") {
            Ok(answer) => Some((answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))),
            Err(_) => None,
        };

        // All or nothing, and the audit log tells which. (A session that was cut is rolled back in a moment.)
        let expected = i64::from(is_committed(point));
        let until = Instant::now() + BUDGET;
        while (lines("ACCEPTED").await, commands().await) != (expected, expected) {
            assert!(Instant::now() < until, "{point:?}: {} {}", lines("ACCEPTED").await, commands().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        // Whoever asks again hears one answer, and it is done once.
        admin = AdminApi::start(&column, proxy.url()).await;
        let again = admin.send(method, &path, Some("once"), &body).await.expect("an answer");
        assert_eq!(again.0, 202, "{point:?}: {}", again.1);
        if let Some(first) = first {
            assert_eq!(first, again, "{point:?}");
        }
        assert_eq!(admin.settled(&again.1).await["status"], "APPLIED", "{point:?}");
        assert_eq!(admin.send(method, &path, Some("once"), &body).await, Some(again), "{point:?}");
        assert_eq!(
            (lines("ACCEPTED").await, lines("APPLIED").await, commands().await),
            (1, 1, 1),
            "{point:?}"
        );
        let granted = format!("SELECT granted AS n FROM event_stock WHERE event_id = {event}");
        let stock = 10 + if asked == Asked::Stock { ADD } else { 0 };
        assert_eq!(number(url, &granted).await, stock, "{point:?}");
        let applied =
            format!("SELECT COUNT(*) AS n FROM command_applied WHERE event_id = {event} AND status = 1");
        assert_eq!(number(url, &applied).await, 1 + i64::from(asked != Asked::Schedule), "{point:?}");
        if asked == Asked::Delete {
            deleted_once(&admin, url, event, point).await;
        }
        println!("  {action}, killed at {point:?}: applied once");
    }
    drop(admin);
    worker.stop().await;
}

/// Whatever step it died at: key, contacts and salt are gone, counted once, and the certificate says so.
async fn deleted_once(admin: &AdminApi, url: &str, event: i64, point: Point) {
    let shown = admin.get(&format!("/admin/v1/events/{event}/deletion")).await;
    assert_eq!(shown["state"], "COMPLETE", "{point:?}: {shown}");
    assert_eq!(shown["contacts_destroyed"], CONTACTS, "{point:?}: {shown}");
    for (table, rows) in [
        ("contact WHERE", 0),
        ("event_key WHERE wrapped_key IS NOT NULL AND", 0),
        ("event_key WHERE", 1),
        ("events WHERE salt IS NULL AND deleted_at IS NOT NULL AND", 1),
    ] {
        let count = format!("SELECT COUNT(*) AS n FROM {table} event_id = {event}");
        assert_eq!(number(url, &count).await, rows, "{point:?}: {table}");
    }
    let listed = format!("SELECT COUNT(*) AS n FROM erasure WHERE subject = 1 AND subject_id = {event}");
    assert_eq!(number(url, &listed).await, 1, "{point:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_admin_api_applies_each_command_once_or_not_at_all() {
    rounds("staff", async |seed| {
        tokio::join!(
            killed_at_each_step(Asked::Schedule, [&EACH[..], &SCHEDULE_ONLY].concat(), seed),
            killed_at_each_step(Asked::Stock, EACH.to_vec(), seed),
            killed_at_each_step(Asked::Delete, [&EACH[..], &DELETE_ONLY].concat(), seed),
        );
        Figures::default().with("kills", (3 * EACH.len() + SCHEDULE_ONLY.len() + DELETE_ONLY.len()) as i64)
    })
    .await;
}

fn command_id(kind: &Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Scheduled(c) => Some(c.command_id.clone()),
        Kind::StockAdded(c) => Some(c.command_id.clone()),
        Kind::Closed(c) => Some(c.command_id.clone()),
        _ => None,
    }
}

/// Fifty requests of staff at once on one event, a draft or already scheduled: commands in the log, audit rows and states
/// agree. Gives how many were accepted, how many of them add stock, and how many were refused.
async fn fifty_at_once(
    column: &Column,
    admin: &AdminApi,
    scheduled: bool,
    random: &mut StdRng,
) -> (usize, usize, i64) {
    let event = admin.draft(10).await;
    let mut accepted = Vec::new();
    if scheduled {
        let path = format!("/admin/v1/events/{event}/schedule");
        let (_, command) = admin.send("POST", &path, None, &json!({})).await.expect("an answer");
        assert_eq!(admin.settled(&command).await["status"], "APPLIED");
        accepted.push(command);
    }
    // Two want to schedule, one to close; the others meet whatever state there is.
    let mut wishes = vec![("schedule", json!({})), ("schedule", json!({})), ("close", json!({}))];
    wishes.extend((3..50).map(|_| match random.random_range(0..4) {
        0 | 1 => ("stock", json!({"option": "DEFAULT", "add": random.random_range(1..100)})),
        2 => ("pause", json!({})),
        _ => ("resume", json!({})),
    }));
    wishes[1..].shuffle(random);
    // Of a scheduled event, or most of the others would meet a closed one.
    let mut close_later = scheduled.then(|| {
        let close = wishes.iter().position(|(what, _)| *what == "close").expect("one");
        wishes.remove(close)
    });
    let send = |(what, body): &(&str, Value)| {
        let path = format!("/admin/v1/events/{event}/{what}");
        admin.request("POST", &path, None, body).send()
    };
    let mut sends: JoinSet<_> = wishes.iter().map(send).collect();
    let (mut answered, mut refused) = (0, 0);
    while let Some(answer) = sends.join_next().await {
        let answer = answer.expect("no panic").expect("an answer");
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"));
        match status {
            202 => accepted.push(body),
            409 => refused += 1,
            _ => panic!("{status}: {body}"),
        }
        answered += 1;
        if answered == 20
            && let Some(close) = close_later.take()
        {
            sends.spawn(send(&close));
        }
    }
    let mut granted = 10;
    let mut last = Value::Null;
    for command in &accepted {
        last = admin.settled(command).await;
        if last["kind"] == "STOCK_ADDED" && last["status"] == "REJECTED" {
            assert_eq!(last["reason"], "CLOSED");
        } else {
            assert_eq!(last["status"], "APPLIED", "{last}");
        }
    }
    drop(last);
    let count = async |sql: &str| number(&column.database_url, sql).await;

    // Audit rows: one for each that was accepted, and how each command ended, once.
    let lines = format!("SELECT COUNT(*) AS n FROM audit_log WHERE event_id = {event} AND ");
    let accepted_lines = count(&format!("{lines} outcome = 'ACCEPTED' AND action <> 'CREATED'")).await;
    assert_eq!(accepted_lines, accepted.len() as i64);
    let distinct: HashSet<&str> = accepted.iter().map(|c| c["command_id"].as_str().expect("an id")).collect();
    let in_log = format!("SELECT COUNT(DISTINCT command_id) AS n FROM outbox WHERE event_id = {event}");
    assert_eq!(count(&in_log).await, distinct.len() as i64);
    let settled = count(&format!("{lines} outcome IN ('APPLIED', 'REJECTED')")).await;
    assert_eq!(settled, count(&format!("{in_log} AND lane >= 0")).await);

    // The log has the commands in the order in which they were given, and nothing else.
    let mut log = Vec::new();
    for lane in 0..LANES {
        log.extend(read_records(column, lane).await);
    }
    let mut seen = HashSet::new();
    let ids: Vec<Vec<u8>> = log
        .iter()
        .filter(|(_, id, _)| *id == event)
        .filter_map(|(.., kind)| command_id(kind))
        .filter(|id| seen.insert(id.clone()))
        .collect();
    for (place, id) in ids.iter().enumerate() {
        let hex = HexBytes(id.clone());
        let before = format!(
            "SELECT COUNT(*) AS n FROM outbox o JOIN outbox me ON me.command_id = X'{hex}' \
             WHERE o.event_id = {event} AND o.lane >= 0 AND o.ordinal < me.ordinal"
        );
        assert_eq!(count(&before).await, place as i64, "the log keeps the order of the commands");
    }
    assert_eq!(ids.len() as i64, settled);

    // States: what was applied, and nothing else.
    let mut closed = false;
    for (_, _, kind) in log.iter().filter(|(_, id, _)| *id == event) {
        match kind {
            Kind::StockAdded(added) if !closed => granted += added.add,
            Kind::Closed(_) => closed = true,
            _ => {}
        }
    }
    let stock = format!("SELECT granted AS n FROM event_stock WHERE event_id = {event}");
    assert_eq!(count(&stock).await, granted);
    let stock_adds = accepted.iter().filter(|c| c["kind"] == "STOCK_ADDED").count();
    let paused = format!(
        "SELECT CASE WHEN (SELECT kind FROM outbox WHERE event_id = {event} AND kind IN ('PAUSED', 'RESUMED') \
         ORDER BY ordinal DESC LIMIT 1) = 'PAUSED' THEN 1 ELSE 0 END AS n"
    );
    let shown = admin.get(&format!("/admin/v1/events/{event}")).await;
    assert_eq!(shown["paused"], json!(count(&paused).await == 1));
    assert_eq!(closed, accepted.iter().any(|c| c["kind"] == "CLOSED"));
    (accepted.len(), stock_adds, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_at_once_leave_one_history() {
    rounds("fifty", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let column = Column::real("fifty").await;
        let worker = InProcess::start(&column, &column.store, &ROLE.group);
        let admin = AdminApi::start(&column, &column.database_url).await;
        fifty_at_once(&column, &admin, false, &mut random).await;
        let (accepted, stock, refused) = fifty_at_once(&column, &admin, true, &mut random).await;
        assert!(stock > 1, "{accepted} accepted, {refused} refused: they hardly met");
        drop(admin);
        worker.stop().await;
        Figures::default()
            .with("accepted", accepted as i64)
            .with("stock", stock as i64)
            .with("refused", refused)
    })
    .await;
}
