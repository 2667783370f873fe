//! The whole system over HTTP: every service as a process of its own on real stores, or `event-system serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use shared_domain::Lifecycle;
use shared_runtime::auth::DevKey;
use shared_runtime::store::{DatabaseArgs, Store};
use tempfile::TempDir;

use crate::column::Column;
use crate::contract::Contract;
use crate::http::{Answer, bearer, call};
use crate::process::{Process, binary, free_port};
use crate::sql::execute;

const BUDGET: Duration = Duration::from_secs(60);

/// Services that are up, and the keys to them.
pub struct System {
    /// Public listener.
    pub public: SocketAddr,
    /// Admin listener.
    pub admin: SocketAddr,
    /// What the public listener says of itself.
    pub public_contract: Contract,
    /// What the admin listener says of itself.
    pub admin_contract: Contract,
    /// Signs tokens.
    pub key: DevKey,
    /// Its database.
    pub database_url: String,
    /// The same.
    pub store: Store,
    /// Every service; one of them where all roles share a process.
    pub processes: Vec<Process>,
    column: Option<Column>,
    folder: TempDir,
}

impl System {
    /// All roles in one process, embedded stores.
    pub async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// The same with more settings.
    pub async fn embedded_with(settings: &[(&str, &str)]) -> Self {
        let Ground { folder, key, public, admin } = Ground::new();
        let data = folder.path().join("data");
        let mut command = clean("event-system");
        command.arg("serve").env("DATA_DIR", &data).env("AUTH_DEV_KEY_FILE", key_file(folder.path()));
        command.envs(settings.iter().copied());
        at(&mut command, public, admin);
        let process = Process::spawn(command, "serve");
        let url = format!("sqlite://{}", data.join("events.db").display());
        let database = DatabaseArgs { database_url: Some(url), ..DatabaseArgs::default() };
        Self::up(vec![process], None, Ground { folder, key, public, admin }, &database).await
    }

    /// admin-api, api-gateway and the workers on real stores.
    pub async fn real(name: &str) -> Self {
        Self::real_with(name, &[]).await
    }

    /// The same with more settings.
    pub async fn real_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let column = Column::real(name).await;
        // Redis is shared by all tests, and its keys go by the event's id.
        let first: i64 = rand::random_range(1_000_000..1_000_000_000_000);
        execute(&column.database_url, &format!("ALTER TABLE events AUTO_INCREMENT = {first}")).await;
        let Ground { folder, key, public, admin } = Ground::new();
        let services = ["apply-worker", "raffle-worker", "admin-api", "api-gateway"].map(|program| {
            let mut command = clean(program);
            at(&mut command, public, admin);
            on_column(&mut command, &column).env("AUTH_DEV_KEY_FILE", key_file(folder.path()));
            command.envs(settings.iter().copied());
            Process::spawn(command, program)
        });
        let url = column.database_url.clone();
        let database = DatabaseArgs { database_url: Some(url), ..DatabaseArgs::default() };
        Self::up(services.into(), Some(column), Ground { folder, key, public, admin }, &database).await
    }

    /// Services that were started, on a database that is reached so.
    pub(crate) async fn up(
        mut processes: Vec<Process>,
        column: Option<Column>,
        ground: Ground,
        database: &DatabaseArgs,
    ) -> Self {
        for process in &mut processes {
            process.wait_until_ready(BUDGET).await;
        }
        let Ground { folder, key, public, admin } = ground;
        let store = Store::of(database).expect("store");
        let database_url = database.database_url.clone().expect("an URL");
        let (public_contract, admin_contract) = (Contract::of(public).await, Contract::of(admin).await);
        Self {
            public,
            admin,
            public_contract,
            admin_contract,
            key,
            database_url,
            store,
            processes,
            column,
            folder,
        }
    }

    /// On real stores, a worker as after a new deployment.
    pub fn start_worker_again(&mut self) {
        if let Some(column) = &self.column {
            let mut command = clean("apply-worker");
            on_column(&mut command, column);
            self.processes.push(Process::spawn(command, "apply-worker"));
        }
    }

    /// The stores, where they are servers.
    pub fn column(&self) -> Option<&Column> {
        self.column.as_ref()
    }

    /// Where the embedded stores lie.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the key lies that signs tokens.
    pub fn key_file(&self) -> PathBuf {
        key_file(self.folder.path())
    }

    /// A member's header line.
    pub fn member(&self, member: i64) -> String {
        bearer(&self.key.issue_member(member, Duration::from_secs(600)).expect("token"))
    }

    /// A staff header line with scopes.
    pub fn staff(&self, scopes: &str) -> String {
        bearer(&self.key.issue_staff("ann", scopes, Duration::from_secs(600)).expect("token"))
    }

    /// Asks the admin listener with every scope.
    pub async fn ask_admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask_admin_with("", method, path, body).await
    }

    /// The same with header lines.
    pub async fn ask_admin_with(&self, headers: &str, method: &str, path: &str, body: Value) -> Answer {
        let token = self.staff("events:read events:write draws:run ops:write") + headers;
        let path = format!("/admin/v1{path}");
        let answer = call(self.admin, method, &path, &token, &body).await;
        keeps(&self.admin_contract, method, &path, answer)
    }

    /// Asks the public listener without a body.
    async fn ask_public(&self, method: &str, path: &str, headers: &str) -> Answer {
        let answer = call(self.public, method, path, headers, &Value::Null).await;
        keeps(&self.public_contract, method, path, answer)
    }

    /// A member reads something.
    pub async fn as_member(&self, member: i64, path: &str) -> Answer {
        self.ask_public("GET", path, &self.member(member)).await
    }

    /// A command of staff; its path under `/commands`.
    pub async fn command(&self, path: &str, body: Value) -> String {
        let answer = self.ask_admin("POST", path, body).await;
        Self::path_of(&answer)
    }

    /// The same by another method, without a body.
    pub async fn command_by(&self, method: &str, path: &str) -> String {
        let answer = self.ask_admin(method, path, Value::Null).await;
        Self::path_of(&answer)
    }

    fn path_of(answer: &Answer) -> String {
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(["PENDING", "APPLIED"].contains(&&*answer.text("status")), "{answer:?}");
        format!("/commands/{}", answer.text("command_id"))
    }

    /// Waits until a command is applied.
    pub async fn applied(&self, command: &str) {
        self.until("the command is applied", async || {
            self.ask_admin("GET", command, Value::Null).await.text("status") == "APPLIED"
        })
        .await;
    }

    /// Closes an event and waits until every lane has applied it.
    pub async fn close(&self, event: i64) {
        let close = self.command(&format!("/events/{event}/close"), Value::Null).await;
        self.applied(&close).await;
        self.until("closed in every lane", async || {
            let row = self.store.event(event).await.expect("the database").expect("the event");
            row.lifecycle == Lifecycle::Closed.code()
        })
        .await;
    }

    /// Creates an event with stock, schedules it and waits until members see it open; its id.
    pub async fn open_event(&self, stock: i64) -> i64 {
        self.open(json!({
            "type": "FIRST_COME", "stock": [{"count": stock}],
            "compliance": {"review_number": "R-1", "approved_from": "2026-01-01T00:00:00Z",
                           "approved_until": "2099-01-01T00:00:00Z"},
            "reward": {"reward_type": "FIXED", "fixed_amount": 7},
        }))
        .await
    }

    /// Creates an event from parts of a draft, schedules it and waits until members see it open; its id. Without
    /// compliance it is an internal test.
    pub async fn open(&self, parts: Value) -> i64 {
        // Within what the log keeps.
        let ends_at = SystemTime::now() + Duration::from_secs(2 * 24 * 3_600);
        let mut draft = json!({
            "title": "Mugs", "starts_at": "2026-01-01T00:00:00Z",
            "ends_at": humantime::format_rfc3339_seconds(ends_at).to_string(),
            "internal_test": parts.get("compliance").is_none(), "limits": {"per_member_per_second": 1000},
        });
        if let (Some(draft), Value::Object(parts)) = (draft.as_object_mut(), parts) {
            draft.extend(parts);
        }
        let made = self.ask_admin("POST", "/events", draft).await;
        assert_eq!(made.status, 201, "{made:?}");
        let event = made.json()["event_id"].as_i64().expect("event_id");
        assert!(made.head.contains(&format!("location: /admin/v1/events/{event}")), "{made:?}");
        let before = self.event(event).await;
        before.is(404, "EVENT_NOT_FOUND");
        self.enter(event, 1).await.is(404, "EVENT_NOT_FOUND");
        let scheduled = self.command(&format!("/events/{event}/schedule"), Value::Null).await;
        self.until_status(event, "OPEN").await;
        self.applied(&scheduled).await;
        event
    }

    /// The event as members see it.
    pub async fn event(&self, event: i64) -> Answer {
        self.ask_public("GET", &format!("/v1/events/{event}"), "").await
    }

    /// Waits until members see the event in this state.
    pub async fn until_status(&self, event: i64, status: &str) {
        self.until(status, async || self.event(event).await.text("status") == status).await;
    }

    /// A member presses the button.
    pub async fn enter(&self, event: i64, member: i64) -> Answer {
        self.press(event, &self.member(member)).await
    }

    /// The same with these header lines.
    pub async fn press(&self, event: i64, headers: &str) -> Answer {
        self.ask_public("POST", &format!("/v1/events/{event}/entries"), headers).await
    }

    /// The entry as its receipt shows it.
    pub async fn entry(&self, accepted: &Answer) -> Answer {
        let path = format!("/v1/entries/{}", accepted.text("entry_id"));
        let receipt = format!("x-entry-receipt: {}\r\n", accepted.text("receipt"));
        self.ask_public("GET", &path, &receipt).await
    }

    /// The entry once it is decided.
    pub async fn outcome(&self, accepted: &Answer) -> Value {
        let mut last = Value::Null;
        self.until("the entry is decided", async || {
            let answer = self.entry(accepted).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            last = answer.json();
            last["status"] != "QUEUED"
        })
        .await;
        last
    }

    /// The entry's row, once it is there, as its member sees it by token.
    pub async fn row(&self, member: i64, accepted: &Answer) -> Value {
        let path = format!("/v1/entries/{}", accepted.text("entry_id"));
        let mut last = Value::Null;
        self.until("the row is there", async || {
            let answer = self.ask_public("GET", &path, &self.member(member)).await;
            last = answer.json();
            answer.status == 200
        })
        .await;
        last
    }

    /// Asks again until it holds.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + BUDGET;
        while !holds().await {
            if Instant::now() >= until {
                let logs: Vec<String> = self.processes.iter().map(Process::log).collect();
                panic!("not within {BUDGET:?}: {what}; the logs: {}", logs.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Nothing failed inside: no answer was a 5xx, nothing panicked.
    pub async fn is_sound(&self) {
        for process in &self.processes {
            assert!(!process.log().contains("panicked"), "{}", process.log());
            let metrics = process.metrics().await.expect("metrics");
            // "Not ready yet" is the one good 5xx.
            let mut failed = metrics
                .lines()
                .filter(|line| line.contains("status=\"5") && !line.contains("route=\"/readyz\""));
            assert_eq!(failed.next(), None, "{}", process.log());
        }
    }
}

/// The answer, if the document tells of it.
fn keeps(contract: &Contract, method: &str, path: &str, answer: Answer) -> Answer {
    // Somebody may have been killed.
    let faults = if answer.status == 0 { vec![] } else { contract.faults(method, path, &answer) };
    assert!(faults.is_empty(), "{}: {answer:?}", faults.join(", "));
    answer
}

/// What every system stands on: a folder, the key that signs tokens, and its listeners' addresses.
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    pub(crate) key: DevKey,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let key = DevKey::create(&key_file(folder.path())).expect("key");
        let listener = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { folder, key, public: listener(), admin: listener() }
    }
}

pub(crate) fn key_file(folder: &Path) -> PathBuf {
    folder.join("dev.key")
}

/// A program with no setting but the log's, whatever the environment says.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(binary(program));
    command.env_clear().env("LOG", "info,librdkafka=off");
    command
}

pub(crate) fn at(command: &mut Command, public: SocketAddr, admin: SocketAddr) {
    command
        .env("PUBLIC_ADDR", public.to_string())
        .env("ADMIN_ADDR", admin.to_string())
        .env("CLOSE_GRACE", "1s");
}

/// The settings of a real column's stores.
pub fn on_column<'c>(command: &'c mut Command, column: &Column) -> &'c mut Command {
    let redis = std::env::var("REDIS_URL").expect("REDIS_URL is not set; run `make test`");
    command
        .env("DATABASE_URL", &column.database_url)
        .env("REDIS_URL", redis)
        .env("KEY_ENCRYPTION_KEY_FILE", &column.key_encryption_key)
        .env("KAFKA_BROKERS", column.kafka.kafka_brokers.as_deref().expect("real column"))
        .env("KAFKA_TOPIC_PREFIX", &column.kafka.kafka_topic_prefix)
        .env("KAFKA_SESSION_TIMEOUT", "6s")
        .env("DECISION_KEY_FILE", &column.decision_key)
        .env("ALLOW_UNSAFE_LOG", "true")
}
