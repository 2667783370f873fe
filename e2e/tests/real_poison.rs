//! Records that cannot be decoded or decided, through a real worker and the operator's tools, on the real column.
#![allow(clippy::expect_used)]

use e2e::campaign::{decided, set_up};
use e2e::column::Column;
use e2e::load::event_of;
use e2e::log::{append, append_bytes, append_entries, read, scheduled};
use e2e::process::{Process, on_column, run};
use e2e::promises::{entries, first_come_first_served, wait_for_entries};
use e2e::rounds::{BUDGET, Figures, rounds, wait_until};
use e2e::sql::{execute, number};
use rand::Rng;
use rdkafka::message::{Headers, Message};
use shared_proto::{DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TOPIC};

async fn brake(worker: &Process) {
    let labels = ["partition=\"0\"", "reason=\"brake\""];
    worker.wait_for_metric("event_lane_halted", &labels, 1.0, BUDGET).await;
}

async fn tool(column: &Column, args: &[&str]) -> String {
    let mut command = on_column("event-system", column, &column.database_url);
    command.args(args);
    let (code, text) = run(command).await;
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_goes_to_the_dead_letters_and_too_much_of_it_halts_the_lane() {
    rounds("rubbish", async |seed| {
        let (column, mut random, _) = set_up("rubbish", seed).await;
        let worker = Process::apply_worker(&column, &column.database_url, "rubbish");
        let mut rubbish = Vec::new();
        append_entries(&column, 0, event_of(0), (0..20).collect()).await;
        for _ in 0..90 {
            // No record of ours begins with this byte.
            let mut bytes = vec![0xff; random.random_range(1..200)];
            random.fill(&mut bytes[1..]);
            rubbish.push((append_bytes(&column, 0, &bytes).await, bytes));
        }
        append_entries(&column, 0, event_of(0), (20..40).collect()).await;
        wait_for_entries(&column.store, event_of(0), 0, 40, BUDGET).await;
        let letters = read(&column, format!("{}.DLT", column.topic()), 0).await;
        assert_eq!(letters.len(), rubbish.len());
        for (letter, (offset, bytes)) in letters.iter().zip(&rubbish) {
            assert_eq!(letter.payload(), Some(&bytes[..]), "the original bytes");
            let headers = letter.headers().expect("headers");
            let header = |name: &str| {
                let found = headers.iter().find(|h| h.key == name).and_then(|h| h.value).expect("the header");
                String::from_utf8_lossy(found).into_owned()
            };
            assert_eq!(header(DLT_TOPIC), column.topic());
            assert_eq!((header(DLT_PARTITION), header(DLT_OFFSET)), ("0".to_owned(), offset.to_string()));
            assert!(!header(DLT_REASON).is_empty());
        }

        // More in a row than bad luck explains: this may be a worker that reads them wrongly.
        for _ in 0..250 {
            append_bytes(&column, 0, b"\xff\xffrubbish").await;
        }
        let behind = append_entries(&column, 0, event_of(0), (40..60).collect()).await[0].0;
        append_entries(&column, 1, event_of(1), (0..20).collect()).await;
        brake(&worker).await;
        wait_for_entries(&column.store, event_of(1), 1, 20, BUDGET).await;
        // Looking at the lane again, which happens each 5 s, must not let the next hundred through.
        let reopened = async || worker.log().matches("brake: ").count() > 0;
        wait_until("the alarm is named", reopened).await;
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        let passed = read(&column, format!("{}.DLT", column.topic()), 0).await.len() - rubbish.len();
        assert!(passed <= 100, "{passed} of 250 passed the brake");
        assert_eq!(decided(&column).await.expect("database")[0], 40, "nothing behind it was decided");

        tool(
            &column,
            &["lanes", "reset", &column.topic(), "0", "--to", &behind.to_string(), "--reason", "rubbish"],
        )
        .await;
        wait_for_entries(&column.store, event_of(0), 0, 60, BUDGET).await;
        Figures::default()
            .with("decided", 80)
            .with("dead_letters", letters.len() as i64)
            .with("passed_before_the_brake", passed as i64)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_deploy_is_braked_and_nobody_loses_rank() {
    const EVENTS: i64 = 8;
    const STOCK: i64 = 10;
    rounds("bad-deploy", async |seed| {
        let (column, mut random, _) = set_up("deploy", seed).await;
        let refuse = "CREATE TRIGGER refuse_all BEFORE INSERT ON event_entry FOR EACH ROW \
                      SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'record refused by a bad deploy'";
        execute(&column.database_url, refuse).await;
        for event in 1..=EVENTS {
            append(&column, 0, event, scheduled(&column, event, STOCK, 0)).await;
        }
        let mut logs = vec![Vec::new(); EVENTS as usize + 1];
        for n in 0..EVENTS * 2 * STOCK {
            let event = if n < EVENTS { n + 1 } else { random.random_range(1..=EVENTS) };
            logs[event as usize].extend(append_entries(&column, 0, event, vec![n]).await);
        }
        let worker = Process::apply_worker(&column, &column.database_url, "deploy");
        brake(&worker).await;
        let parked = column.store.parked_events().await.expect("parked");
        assert!(parked.len() <= 5, "the brake came after {} events", parked.len());
        let rows = "SELECT COUNT(*) AS n FROM event_entry";
        assert_eq!(number(&column.database_url, rows).await, 0);

        // The deploy is taken back: the lane goes on by itself, and what is parked is decided in its old order.
        execute(&column.database_url, "DROP TRIGGER refuse_all").await;
        for event in &parked {
            tool(&column, &["parked", "unpark", &event.event_id.to_string()]).await;
        }
        let mut won = 0;
        for event in 1..=EVENTS {
            let log = &logs[event as usize];
            wait_for_entries(&column.store, event, 0, log.len() as i64, BUDGET).await;
            let rows = entries(&column.store, event, 0).await;
            first_come_first_served(&rows, log, STOCK as usize);
            won += rows.iter().filter(|r| r.status == 1).count() as i64;
        }
        wait_until("nothing is parked", async || {
            column.store.parked_events().await.is_ok_and(|p| p.is_empty())
        })
        .await;
        let figures = Figures::default().with("decided", EVENTS * 2 * STOCK).with("won", won);
        figures.with("events", EVENTS).with("parked_before_the_brake", parked.len() as i64)
    })
    .await;
}
