//! The embedded system stopped, killed and started again on the same data directory: the log is a new one each time, the
//! database is not (DESIGN section 5, "Log identity").
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::process::{Process, free_port};
use e2e::rounds::{BUDGET, Figures, rounds};
use e2e::sql::{execute, number};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared_runtime::auth::DevKey;

const HOUR: Duration = Duration::from_secs(3_600);

/// `event-system serve` on one data directory, at the same addresses each time.
struct Served {
    data: tempfile::TempDir,
    ports: (u16, u16),
    http: reqwest::Client,
    process: Option<Process>,
}

impl Served {
    fn new() -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("client");
        Self {
            data: tempfile::tempdir().expect("folder"),
            ports: (free_port(), free_port()),
            http,
            process: None,
        }
    }

    async fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_event-system"));
        command.arg("serve").env("DATA_DIR", self.data.path()).env("LOG", "info,librdkafka=off");
        for real in ["DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS"] {
            command.env_remove(real);
        }
        command.env("PUBLIC_ADDR", format!("127.0.0.1:{}", self.ports.0));
        command.env("ADMIN_ADDR", format!("127.0.0.1:{}", self.ports.1));
        self.process = Some(Process::spawn(command, "embedded"));
        let events = self.public("events");
        let answers =
            async || self.http.get(&events).send().await.is_ok_and(|a| a.status() == StatusCode::OK);
        self.until("it answers", answers).await;
    }

    async fn end(&mut self, signal: &str) -> Option<i32> {
        let mut process = self.process.take().expect("running");
        process.signal(signal);
        process.ended(BUDGET).await
    }

    async fn until(&self, what: &str, done: impl AsyncFn() -> bool) {
        let until = Instant::now() + BUDGET;
        while !done().await {
            let log = self.process.as_ref().map(Process::log).unwrap_or_default();
            assert!(Instant::now() < until, "{what}; the log: {log}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn public(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/v1/{path}", self.ports.0)
    }

    fn key(&self) -> DevKey {
        DevKey::read(&self.data.path().join("dev.key")).expect("key")
    }

    async fn staff(&self, path: &str, body: &Value) -> Value {
        let token = self.key().issue_staff("tester", "events:read events:write", HOUR).expect("token");
        let url = format!("http://127.0.0.1:{}/admin/v1/{path}", self.ports.1);
        let request = match body {
            Value::Null => self.http.get(url),
            body => self.http.post(url).json(body),
        };
        let answer = request.bearer_auth(token).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// Makes and schedules an event; gives its id and the command's.
    async fn schedule(&self, stock: i64) -> (i64, String) {
        let draft = json!({
            "title": "t", "content": "", "type": "FIRST_COME", "time_zone": "Asia/Seoul",
            "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z",
            "compliance": {"review_number": "T-1", "approved_from": "2026-01-01T00:00:00Z",
                           "approved_until": "2099-01-01T00:00:00Z"},
            "stock": [{"option": "DEFAULT", "count": stock}],
            "limits": {"per_second": 50_000, "per_member_per_second": 1_000},
        });
        let event = self.staff("events", &draft).await["event_id"].as_i64().expect("event_id");
        let command = self.staff(&format!("events/{event}/schedule"), &json!({})).await;
        (event, command["command_id"].as_str().expect("command_id").to_owned())
    }

    async fn open(&self, event: i64) {
        let url = self.public(&format!("events/{event}"));
        let open = async || match self.http.get(&url).send().await {
            Ok(answer) => matches!(
                answer.json::<Value>().await.unwrap_or_default()["status"].as_str(),
                Some("OPEN" | "SOLD_OUT")
            ),
            Err(_) => false,
        };
        self.until("the event opens", open).await;
    }

    async fn applied(&self, command: &str) {
        let path = format!("commands/{command}");
        let applied = async || self.staff(&path, &Value::Null).await["status"] == "APPLIED";
        self.until("the command is applied", applied).await;
    }

    /// Presses until something final is heard: status and body.
    async fn enter(&self, event: i64, member: i64) -> (u16, Value) {
        let token = self.key().issue_member(member, HOUR).expect("token");
        loop {
            let url = self.public(&format!("events/{event}/entries"));
            let answer = self.http.post(url).bearer_auth(&token).send().await.expect("an answer");
            let status = answer.status().as_u16();
            let body = answer.json::<Value>().await.expect("JSON");
            match status {
                200 | 202 | 409 => return (status, body),
                429 | 503 => tokio::time::sleep(Duration::from_millis(200)).await,
                _ => panic!("{status} {body}"),
            }
        }
    }

    /// By receipt: status and body.
    async fn look(&self, entry: &Value) -> (u16, Value) {
        let id = entry["entry_id"].as_str().expect("entry_id");
        let receipt = entry["receipt"].as_str().expect("receipt");
        let get = self.http.get(self.public(&format!("entries/{id}"))).header("X-Entry-Receipt", receipt);
        let answer = get.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// By receipt, once decided.
    async fn outcome(&self, entry: &Value) -> String {
        let until = Instant::now() + BUDGET;
        loop {
            let (status, body) = self.look(entry).await;
            assert_eq!(status, 200, "{body}");
            match body["status"].as_str().expect("status") {
                "QUEUED" => assert!(Instant::now() < until, "{body}"),
                decided => return decided.to_owned(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        let url = format!("sqlite://{}", self.data.path().join("events.db").display());
        number(&url, sql).await
    }

    /// One outcome a member, winners + stock = granted, ranks without a gap.
    async fn check(&self, event: i64) -> (i64, i64) {
        let of = format!("FROM event_entry WHERE event_id = {event}");
        let rows = self.number(&format!("SELECT COUNT(*) AS n {of}")).await;
        assert_eq!(self.number(&format!("SELECT COUNT(DISTINCT member_id) AS n {of}")).await, rows);
        assert_eq!(self.number(&format!("SELECT COALESCE(MAX(seq), 0) AS n {of}")).await, rows);
        let won = self.number(&format!("SELECT COUNT(*) AS n {of} AND status = 1")).await;
        assert_eq!(self.number(&format!("SELECT COALESCE(MAX(entry_rank), 0) AS n {of}")).await, won);
        let left = format!("SELECT granted - stock_count AS n FROM event_stock WHERE event_id = {event}");
        assert_eq!(self.number(&left).await, won, "winners + stock = granted");
        (rows, won)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_started_again_it_knows_everybody() {
    rounds("embedded-stop", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut served = Served::new();
        served.start().await;
        let (event, _) = served.schedule(60).await;
        served.open(event).await;
        let (mut entries, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
        for stop in 0..3 {
            // The last of them are acknowledged right before the signal: the backlog is decided first.
            for member in stop * 30..stop * 30 + random.random_range(20..30) {
                let (status, body) = served.enter(event, member).await;
                if status == 202 {
                    entries.insert(member, body);
                }
            }
            assert_eq!(served.end("TERM").await, Some(0), "drained");
            let decided = served.number("SELECT COUNT(*) AS n FROM event_entry").await;
            assert_eq!(decided, entries.len() as i64, "everybody acknowledged is decided before the end");
            served.start().await;
            served.open(event).await;
            for (member, entry) in &entries {
                let told = served.outcome(entry).await;
                let first = outcomes.entry(*member).or_insert_with(|| told.clone());
                assert_eq!(*first, told, "the same outcome by the receipt of a log that is gone");
                let (status, again) = served.enter(event, *member).await;
                match told.as_str() {
                    // No second entry, whatever this process remembers.
                    "WIN" => assert!(matches!(status, 200 | 202), "{again}"),
                    _ => assert!(matches!(status, 200 | 202 | 409), "{again}"),
                }
            }
        }
        assert_eq!(served.end("TERM").await, Some(0), "drained");
        let (rows, won) = served.check(event).await;
        assert_eq!((rows, won), (entries.len() as i64, 60));
        let logs = served.number("SELECT COUNT(DISTINCT log_id) AS n FROM partition_progress").await;
        Figures::default().with("acked", rows).with("decided", rows).with("won", won).with("logs", logs)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again_it_decides_nobody_twice_and_forgets_no_command() {
    rounds("embedded-kill", async |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut served = Served::new();
        served.start().await;
        let (event, _) = served.schedule(100).await;
        served.open(event).await;
        let mut stock = 100;
        let (mut lost, mut acked) = (0, 0);
        for kill in 0..4 {
            if kill % 2 == 1 {
                // A worker needs seconds to join: what comes now is in a log that nobody has read when it dies.
                served.end("KILL").await;
                served.start().await;
                served.open(event).await;
            }
            let mut entries = BTreeMap::new();
            for member in kill * 20..kill * 20 + 15 {
                let (status, body) = served.enter(event, member).await;
                if status == 202 {
                    entries.insert(member, body);
                }
            }
            acked += entries.len() as i64;
            // Commands of every age: in the outbox, in the log that dies, applied.
            let mut commands = Vec::new();
            let (new_event, command) = served.schedule(5).await;
            commands.push(command);
            let added =
                served.staff(&format!("events/{event}/stock"), &json!({"option": "DEFAULT", "add": 3})).await;
            commands.push(added["command_id"].as_str().expect("command_id").to_owned());
            stock += 3;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..2_400))).await;
            served.end("KILL").await;
            // As if all of them had been published right before: the log that took them is gone.
            let url = format!("sqlite://{}", served.data.path().join("events.db").display());
            execute(&url, "UPDATE outbox SET published_at = 1 WHERE published_at IS NULL").await;
            served.start().await;
            served.open(event).await;
            for (member, entry) in &entries {
                // The log was in memory: an entry is decided, or gone; never waiting for a log that will not come back.
                let (status, body) = served.look(entry).await;
                match status {
                    200 => assert_ne!(body["status"], "QUEUED", "{body}"),
                    _ => {
                        assert_eq!((status, &body["code"]), (404, &json!("ENTRY_NOT_FOUND")), "{body}");
                        lost += 1;
                        // Pressing again is the same entry.
                        let (status, again) = served.enter(event, *member).await;
                        if status == 202 {
                            assert_eq!(again["entry_id"], entry["entry_id"]);
                            let told = served.outcome(&again).await;
                            assert_eq!(served.outcome(entry).await, told, "the old receipt is good again");
                        }
                    }
                }
            }
            for command in &commands {
                served.applied(command).await;
            }
            served.open(new_event).await;
            let (_, entry) = served.enter(new_event, 1).await;
            assert_eq!(served.outcome(&entry).await, "WIN");
        }
        assert_eq!(served.end("TERM").await, Some(0), "drained");
        let (rows, won) = served.check(event).await;
        let granted = format!("SELECT granted AS n FROM event_stock WHERE event_id = {event}");
        assert_eq!(served.number(&granted).await, stock, "each addition once");
        assert_eq!(won, rows.min(stock));
        Figures::default()
            .with("acked", acked)
            .with("lost_with_the_log", lost)
            .with("decided", rows)
            .with("won", won)
    })
    .await;
}
