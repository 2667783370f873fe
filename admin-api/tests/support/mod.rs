//! An admin API over a SQLite file and a log in memory.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use admin_api::{Admin, AdminParts, Relay};
use e2e::contract::Contract;
use e2e::http::Answer;
use serde_json::{Value, json};
use shared_domain::{EntryId, EventKeys, LogEntry};
use shared_proto::v1::{self, log_record::Kind};
use shared_proto::{Lane, Topic, TopicNames};
use shared_runtime::auth::{DevKey, Verifier};
use shared_runtime::clock::{Clock, ManualClock, SeededRandom};
use shared_runtime::http::{HttpLimits, serve};
use shared_runtime::keys::{DecisionKey, KeyEncryptionKey, RewardKeys};
use shared_runtime::log::LogEnds;
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::redis::RedisClient;
use shared_runtime::store::commands::EventTopics;
use shared_runtime::store::rows::ProgressRow;
use shared_runtime::store::{DatabaseArgs, KeyStore, KeyStoreArgs, Store, migrate, migrate_key_store};
use shared_runtime::worker::batch::{BatchRecord, LaneBatch, LaneMemory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub const NOW: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z
pub const GRACE_MS: i64 = 10_000;
pub const LANES: i32 = 4;
const DECISION_KEY: [u8; 32] = [5; 32];
pub const KEY_ENCRYPTION_KEY: [u8; 32] = [5; 32];
pub const BACKUP_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);
pub const LOG_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Records a batch of a worker has.
const BATCH: i64 = 1_000;

#[derive(Default)]
pub struct MemoryLog {
    pub records: Mutex<Vec<(i32, Vec<u8>)>>,
    pub broken: AtomicBool,
    /// How often somebody asked where the lanes end.
    pub asked: AtomicUsize,
    /// A lane that refuses.
    pub broken_lane: Mutex<Option<i32>>,
    /// A lane that does not answer until `release`.
    pub silent_lane: Mutex<Option<i32>>,
    pub release: CancellationToken,
}

impl Producer for MemoryLog {
    fn log_id(&self) -> &str {
        "memory"
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        let lane = Some(record.lane.partition);
        if *self.silent_lane.lock().unwrap() == lane {
            self.release.cancelled().await;
        }
        if self.broken.load(Ordering::SeqCst) || *self.broken_lane.lock().unwrap() == lane {
            return Err(ProduceError::Unknown("on purpose".to_owned()));
        }
        let mut records = self.records.lock().unwrap();
        records.push((record.lane.partition, record.value.to_vec()));
        Ok(records.len() as i64 - 1)
    }
}

/// Offsets count over all lanes.
impl LogEnds for MemoryLog {
    fn log_id(&self) -> &str {
        "memory"
    }

    fn lanes(&self, topic: String) -> futures::future::BoxFuture<'static, Result<Vec<Lane>, String>> {
        Box::pin(async move { Ok((0..4).map(|partition| Lane::new(topic.clone(), partition)).collect()) })
    }

    fn ends(&self, lanes: Vec<Lane>) -> futures::future::BoxFuture<'static, Result<Vec<i64>, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let end = self.records.lock().unwrap().len() as i64;
        // Nothing is in the lanes of raffles.
        let apply = TopicNames::default().name(Topic::Apply);
        let ends = lanes.iter().map(|lane| if lane.topic == apply { end } else { 0 }).collect();
        Box::pin(async move { Ok(ends) })
    }
}

impl MemoryLog {
    /// A member's entry, as the gateway would have published it.
    pub fn enter(&self, event: i64, lane: i32, member: i64, accepted_at_ms: i64, options: &[u32]) {
        self.enter_with(event, lane, member, accepted_at_ms, options, Vec::new());
    }

    /// The same with a contact.
    pub fn enter_with(
        &self,
        event: i64,
        lane: i32,
        member: i64,
        accepted_at_ms: i64,
        options: &[u32],
        sealed_contact: Vec<u8>,
    ) {
        let entry = v1::Entry {
            entry_id: entry_id(event, member).as_bytes().to_vec(),
            member_id: member,
            accepted_at_ms,
            options: options.to_vec(),
            sealed_contact,
        };
        self.records.lock().unwrap().push((lane, shared_proto::encode(event, Kind::Entry(entry))));
    }

    /// Event, lane and kind of every record.
    pub fn kinds(&self) -> Vec<(i64, i32, String)> {
        let records = self.records.lock().unwrap();
        let kind = |bytes: &[u8]| {
            let (event, kind) = shared_proto::decode(bytes).unwrap();
            (event, format!("{kind:?}").split('(').next().unwrap_or_default().to_owned())
        };
        records.iter().map(|(lane, bytes)| (kind(bytes).0, *lane, kind(bytes).1)).collect()
    }
}

pub fn entry_id(event: i64, member: i64) -> EntryId {
    EventKeys::new(&[3; 32]).entry_id(member, Some(&event.to_string()))
}

pub struct World {
    pub store: Store,
    pub keys: KeyStore,
    pub clock: Arc<ManualClock>,
    pub admin: Admin,
    pub log: Arc<MemoryLog>,
    pub key: DevKey,
    relay: OnceLock<Relay<MemoryLog>>,
    addr: std::net::SocketAddr,
    contract: Contract,
    stop: CancellationToken,
    dir: tempfile::TempDir,
    key_store_url: String,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn world(retention: Option<Duration>) -> World {
    world_with(retention, None, GRACE_MS).await
}

pub async fn world_with(retention: Option<Duration>, redis: Option<RedisClient>, grace_ms: i64) -> World {
    let dir = tempfile::tempdir().unwrap();
    let key_store = tempfile::tempdir().unwrap();
    // It outlives this world: a restored one reads it too.
    let keys = format!("sqlite://{}", key_store.keep().join("keys.db").display());
    migrate_key_store(&keys, false).await.unwrap();
    start(dir, &keys, Arc::default(), KEY_ENCRYPTION_KEY, (retention, redis, grace_ms)).await
}

async fn start(
    dir: tempfile::TempDir,
    key_store_url: &str,
    log: Arc<MemoryLog>,
    wrapping: [u8; 32],
    (retention, redis, grace_ms): (Option<Duration>, Option<RedisClient>, i64),
) -> World {
    let url = format!("sqlite://{}", dir.path().join("t.db").display());
    migrate(&url, false).await.unwrap();
    let store = Store::open(&DatabaseArgs::default(), &url).unwrap();
    let key_store = KeyStoreArgs { key_store_url: Some(key_store_url.to_owned()) };
    let keys = KeyStore::of(&key_store, &DatabaseArgs::default()).unwrap();
    let key = DevKey::new([7; 32]);
    let clock = Arc::new(ManualClock::new(NOW));
    let admin = Admin::new(AdminParts {
        store: store.clone(),
        redis,
        verifier: Verifier::development(&key, 100),
        clock: clock.clone(),
        random: Arc::new(SeededRandom::new(1)),
        ends: log.clone(),
        topics: TopicNames::default(),
        event_topics: EventTopics::new(&TopicNames::default(), |_| LANES),
        decision_key: Arc::new(DecisionKey::new(&DECISION_KEY)),
        chains: Arc::default(),
        log_retention: retention,
        close_grace: Duration::from_millis(grace_ms as u64),
        keys: keys.clone(),
        wrapping: Arc::new(KeyEncryptionKey::new(&wrapping)),
        backup_life: BACKUP_LIFE,
        log_life: Some(LOG_LIFE),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = admin.router(HttpLimits::default()).unwrap();
    tokio::spawn(serve(listener, router, stop.clone(), Duration::from_secs(1)));
    let contract = Contract::of(addr).await;
    let (relay, key_store_url) = (OnceLock::new(), key_store_url.to_owned());
    World { store, keys, clock, admin, log, key, relay, addr, contract, stop, dir, key_store_url }
}

pub fn draft() -> Value {
    json!({
        "title": "t", "type": "FIRST_COME", "internal_test": true,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
        "stock": [{"option": "A", "count": 3}],
    })
}

pub fn open_to_all() -> Value {
    json!({
        "title": "g", "type": "GENERAL", "internal_test": true,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z",
    })
}

/// The body without its chunks.
fn dechunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

impl World {
    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.dir.path().join("t.db").display())
    }

    /// A copy of the database as it is now.
    pub fn backup(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["t.db", "t.db-wal"] {
            std::fs::copy(self.dir.path().join(file), dir.path().join(file)).unwrap();
        }
        dir
    }

    /// Another admin API over a backup, with this one's log and key store, and its time.
    pub async fn restored(&self, backup: tempfile::TempDir, wrapping: [u8; 32]) -> World {
        let settings = (None, None, GRACE_MS);
        let world = start(backup, &self.key_store_url, self.log.clone(), wrapping, settings).await;
        world.clock.advance(self.clock.now_ms() - NOW);
        world
    }

    pub fn staff(&self, scopes: &str) -> String {
        self.key.issue_staff("ann", scopes, Duration::from_secs(600)).unwrap()
    }

    pub async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = self.staff("events:read events:write ops:write");
        self.send(method, path, Some(&token), None, body).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        key: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let key: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let (status, _, text) = self.ask(method, path, token, &key, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// How many routes under /admin the document names.
    pub fn routes(&self) -> usize {
        self.contract.operations().filter(|(path, ..)| path.starts_with("/admin/")).count()
    }

    /// Status, head and body.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, String, String) {
        let mut stream = self.open(method, path, token, headers, body).await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = dechunked(head, body);
        let answer = Answer { status, head: head.to_lowercase(), body: body.clone() };
        let faults = self.contract.faults(method, path, &answer);
        assert!(faults.is_empty(), "{faults:?}: {answer:?}");
        (status, head.to_owned(), body)
    }

    /// Sends a request and gives the connection.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> TcpStream {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        if let Some(token) = token {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    /// The relay publishes, every lane applies what is in the log, the relay settles it.
    pub async fn decide(&self) {
        self.decide_but(None).await;
    }

    /// The same, but an event parks in a lane.
    pub async fn park_next(&self, event: i64, lane: i32) {
        self.decide_but(Some((event, lane))).await;
    }

    async fn decide_but(&self, park: Option<(i64, i32)>) {
        let relay = self.relay.get_or_init(|| self.admin.relay(self.log.clone()));
        assert!(relay.pass().await.unwrap());
        let topic = TopicNames::default().name(Topic::Apply);
        let records = self.log.records.lock().unwrap().clone();
        for partition in 0..LANES {
            let lane = Lane::new(topic.clone(), partition);
            let mut from = match self.store.progress_of(&lane).await.unwrap().first() {
                Some(row) => row.next_offset,
                None => {
                    let row = ProgressRow {
                        log_id: "memory".to_owned(),
                        topic: topic.clone(),
                        partition_id: partition,
                        next_offset: 0,
                        last_hash: None,
                        updated_at: 0,
                    };
                    self.store.insert_progress(&row).await.unwrap();
                    0
                }
            };
            let end = records.len() as i64;
            while from < end {
                // As a worker cuts them.
                let to = end.min(from + BATCH);
                let own = (from..to).map(|offset| (offset, &records[offset as usize]));
                let batch = LaneBatch {
                    log_id: "memory".into(),
                    lane: lane.clone(),
                    from,
                    to,
                    last_hash: [0; 32],
                    records: own
                        .filter(|(_, (l, _))| *l == partition)
                        .map(|(offset, (_, bytes))| {
                            let (event_id, kind) = shared_proto::decode(bytes).unwrap();
                            let entry = LogEntry { offset, event_id, kind };
                            Arc::new(BatchRecord { entry, bytes: bytes.clone().into() })
                        })
                        .collect(),
                    park: park
                        .filter(|(_, lane)| *lane == partition)
                        .map(|(event, _)| (event, "refused".to_owned()))
                        .into_iter()
                        .collect(),
                };
                let key = Arc::new(DecisionKey::new(&DECISION_KEY));
                let mut memory = LaneMemory::default();
                memory.keys = RewardKeys::new(Some(key));
                self.store.apply(&batch, &memory, self.clock.now_ms()).await.unwrap();
                from = to;
            }
        }
        assert!(relay.pass().await.unwrap());
    }

    /// GET with every scope.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// A new event; its id.
    pub async fn created(&self, draft: &Value) -> i64 {
        let (status, event) = self.call("POST", "/admin/v1/events", draft).await;
        assert_eq!(status, 201, "{event}");
        event["event_id"].as_i64().unwrap()
    }

    /// A scheduled event; its id.
    pub async fn scheduled(&self, draft: &Value) -> i64 {
        let id = self.created(draft).await;
        let (status, command) =
            self.call("POST", &format!("/admin/v1/events/{id}/schedule"), &Value::Null).await;
        assert_eq!(status, 202, "{command}");
        id
    }
}
