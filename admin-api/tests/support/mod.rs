//! An admin API over a SQLite file and a log in memory.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use admin_api::{Admin, AdminParts};
use serde_json::{Value, json};
use shared_runtime::auth::{DevKey, Verifier};
use shared_runtime::clock::{ManualClock, SeededRandom};
use shared_runtime::http::{HttpLimits, serve};
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::store::{DatabaseArgs, Store, migrate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub const NOW: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z
pub const GRACE_MS: i64 = 10_000;
pub const LANES: i32 = 4;

#[derive(Default)]
pub struct MemoryLog {
    pub records: Mutex<Vec<(i32, Vec<u8>)>>,
    pub broken: AtomicBool,
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

impl MemoryLog {
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

pub struct World {
    pub store: Store,
    pub clock: Arc<ManualClock>,
    pub admin: Admin,
    pub log: Arc<MemoryLog>,
    pub key: DevKey,
    addr: std::net::SocketAddr,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn world(retention: Option<Duration>) -> World {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("t.db").display());
    migrate(&url, false).await.unwrap();
    let store = Store::open(&DatabaseArgs::default(), &url).unwrap();
    let key = DevKey::new([7; 32]);
    let clock = Arc::new(ManualClock::new(NOW));
    let admin = Admin::new(AdminParts {
        store: store.clone(),
        redis: None,
        verifier: Verifier::development(&key, 100),
        clock: clock.clone(),
        random: Arc::new(SeededRandom::new(1)),
        topics: shared_proto::TopicNames::default(),
        apply_lanes: LANES,
        log_retention: retention,
        close_grace: Duration::from_millis(GRACE_MS as u64),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = admin.router(HttpLimits::default()).unwrap();
    tokio::spawn(serve(listener, router, stop.clone(), Duration::from_secs(1)));
    World { store, clock, admin, log: Arc::default(), key, addr, stop, _dir: dir }
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

impl World {
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
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n");
        head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        if let Some(token) = token {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        if let Some(key) = key {
            head += &format!("idempotency-key: {key}\r\n");
        }
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let json = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, serde_json::from_str(json).unwrap_or(Value::Null))
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
