//! A gateway over a log in memory, a temporary SQLite and the in-process Redis, behind a real listener.
// Only what is itself a test is exempt by clippy.toml.
// Each test file uses its part.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_gateway::{Gateway, GatewayArgs, GatewayParts};
use e2e::contract::Contract;
use shared_domain::{
    Approval, ContactCollection, EventDefinition, EventPeriod, EventType, LogEntry, OptionName, Reward,
    Rules, WrappedKeys,
};
use shared_proto::{Lane, TRACEPARENT, Topic, TopicNames, v1::log_record::Kind};
use shared_runtime::auth::{DevKey, Verifier};
use shared_runtime::clock::{Clock, SharedRandom, SystemClock, SystemRandom};
use shared_runtime::embedded::{BacklogGuard, FakeRedis};
use shared_runtime::http::{Drained, serve};
use shared_runtime::lifecycle::Lifecycle;
use shared_runtime::log::producer::{ProduceError, Producer, ToProduce};
use shared_runtime::redis::{RedisArgs, RedisClient};
use shared_runtime::store::commands::{Change, StaffRequest};
use shared_runtime::store::rows::ProgressRow;
use shared_runtime::store::{DatabaseArgs, Store, migrate};
use shared_runtime::worker::batch::{BatchRecord, LaneBatch, LaneMemory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const LOG_ID: &str = "test-log";
pub const HOUR: i64 = 3_600_000;

/// A log in memory; `fail` is what the next records meet, `held` makes them wait.
pub struct TestLog {
    lanes: Mutex<BTreeMap<i32, Vec<Vec<u8>>>>,
    /// `traceparent` of each record that was produced, in their order.
    pub traceparents: Mutex<Vec<Option<String>>>,
    pub fail: Mutex<Option<ProduceError>>,
    held: watch::Sender<bool>,
    /// Records that wait.
    waiting: watch::Sender<usize>,
}

impl Default for TestLog {
    fn default() -> Self {
        Self {
            lanes: Mutex::default(),
            traceparents: Mutex::default(),
            fail: Mutex::default(),
            held: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }
    }
}

impl TestLog {
    /// As a producer would; gives the offset.
    pub fn append(&self, lane: i32, value: &[u8]) -> i64 {
        let mut lanes = self.lanes.lock().unwrap();
        let records = lanes.entry(lane).or_default();
        records.push(value.to_vec());
        records.len() as i64 - 1
    }

    /// From now on acknowledgements wait (true), or those that wait come (false).
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Returns when that many records wait for their acknowledgement.
    pub async fn waiting(&self, records: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting == records);
        tokio::time::timeout(Duration::from_secs(10), reached).await.expect("acknowledgements").unwrap();
    }

    pub fn record(&self, lane: i32, offset: usize) -> Vec<u8> {
        self.lanes.lock().unwrap()[&lane][offset].clone()
    }

    pub fn len(&self, lane: i32) -> usize {
        self.lanes.lock().unwrap().get(&lane).map_or(0, Vec::len)
    }
}

impl Producer for TestLog {
    fn log_id(&self) -> &str {
        LOG_ID
    }

    async fn produce(&self, record: ToProduce<'_>) -> Result<i64, ProduceError> {
        if let Some(error) = self.fail.lock().unwrap().clone() {
            return Err(error);
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        self.waiting.send_modify(|waiting| *waiting -= 1);
        assert!(record.headers.iter().all(|(_, value)| value.is_ascii() && !value.is_empty()));
        let traceparent = record.headers.iter().find(|(name, _)| *name == TRACEPARENT);
        self.traceparents.lock().unwrap().push(traceparent.map(|(_, value)| (*value).to_owned()));
        assert_eq!(record.headers.len(), 3 + usize::from(traceparent.is_some()));
        Ok(self.append(record.lane.partition, record.value))
    }
}

pub fn now() -> i64 {
    SystemClock.now_ms()
}

/// An open event of internal test; every event has the lane of its own id.
pub fn definition(id: i64, options: &[(&str, i64)]) -> EventDefinition {
    EventDefinition {
        rules: Rules::NEWEST,
        event_type: if options.is_empty() { EventType::General } else { EventType::FirstCome },
        title: format!("Event {id}"),
        content: "content".to_owned(),
        period: EventPeriod::new(now() - HOUR, now() + HOUR).unwrap(),
        time_zone: "UTC".to_owned(),
        approval: None,
        internal_test: true,
        max_winners: None,
        target_condition: String::new(),
        duplicates_allowed: false,
        max_entries_per_member: None,
        options: options.iter().map(|(name, count)| (OptionName::new(*name).unwrap(), *count)).collect(),
        reward: Reward::Fixed(7),
        missions: Vec::new(),
        contact_collection: ContactCollection::None,
        claim_until: now() + HOUR,
        topic: TopicNames::default().name(Topic::Apply),
        lanes: vec![id as i32],
        salt: vec![id as u8; 32],
        draw: None,
        draw_commitment: None,
        wrapped_keys: WrappedKeys::default(),
        contact_key: None,
    }
}

/// An approval over a period around now.
pub fn approval(from: i64, until: i64) -> Option<Approval> {
    Some(Approval::new("R-1", EventPeriod::new(now() + from, now() + until).unwrap()).unwrap())
}

pub struct Edge {
    pub log: Arc<TestLog>,
    pub store: Store,
    pub life: Lifecycle,
    pub redis: RedisClient,
    /// Ends the listener.
    pub stop: CancellationToken,
    pub drained: JoinHandle<Drained>,
    pub addr: SocketAddr,
    /// What the listener says of itself, once it is known.
    contract: Option<Contract>,
    key: DevKey,
    memory: LaneMemory,
    server: Option<FakeRedis>,
    _dir: tempfile::TempDir,
}

impl Edge {
    /// A gateway that has a snapshot with these events.
    pub async fn start(events: Vec<(i64, EventDefinition)>, args: GatewayArgs) -> Self {
        Self::bounded(events, args, None).await
    }

    /// The same over a log with a bound.
    pub async fn bounded(
        events: Vec<(i64, EventDefinition)>,
        args: GatewayArgs,
        backlog: Option<Arc<BacklogGuard>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("events.db").display());
        migrate(&url, false).await.unwrap();
        let store = Store::open(&DatabaseArgs::default(), &url).unwrap();
        let server = FakeRedis::start().unwrap();
        let random: SharedRandom = Arc::new(SystemRandom);
        let key = DevKey::new([9; 32]);
        let log = Arc::new(TestLog::default());
        let redis = RedisClient::new(&RedisArgs::for_url(server.url()), Arc::clone(&random)).unwrap();
        let gateway = Gateway::new(GatewayParts {
            producer: Arc::clone(&log),
            store: store.clone(),
            redis: redis.clone(),
            verifier: Verifier::development(&key, 100),
            clock: Arc::new(SystemClock),
            random,
            backlog,
            args,
            topics: TopicNames::default(),
            activity_partitions: (0..4).collect(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let life = Lifecycle::new(Duration::from_secs(2), Duration::from_secs(5));
        let router = gateway.router().unwrap();
        let stop = CancellationToken::new();
        let drained = tokio::spawn(serve(listener, router, stop.clone(), Duration::from_secs(10)));
        let memory = LaneMemory::default();
        let mut edge = Self {
            log,
            store,
            life,
            redis,
            stop,
            drained,
            addr,
            contract: None,
            key,
            memory,
            server: Some(server),
            _dir: dir,
        };
        let document = edge.ask("GET", "/openapi.json", "", "").await;
        edge.contract = Some(Contract::new(serde_json::from_str(&document.body).unwrap()));
        let before = edge.ask("GET", "/v1/events", "", "").await;
        assert!(before.status == 503 && before.body.contains("UNAVAILABLE"), "{before:?}");
        for (id, definition) in &events {
            let record = shared_proto::encode(*id, Kind::Scheduled(definition.to_record([*id as u8; 16])));
            edge.log.append(*id as i32, &record);
            let progress = ProgressRow {
                log_id: LOG_ID.to_owned(),
                topic: definition.topic.clone(),
                partition_id: *id as i32,
                next_offset: 0,
                last_hash: None,
                updated_at: now(),
            };
            edge.store.insert_progress(&progress).await.unwrap();
            edge.decide(*id, 0).await;
        }
        gateway.spawn_background(&edge.life, &edge.life.shutdown_token());
        for (id, _) in &events {
            edge.until("GET", &format!("/v1/events/{id}"), "", 200, "event_id").await;
        }
        edge
    }

    /// Redis is gone.
    pub async fn stop_redis(&mut self) {
        self.server.take().unwrap().shutdown().await;
    }

    /// Appends a record to the event's lane; its offset.
    pub fn append(&self, id: i64, kind: Kind) -> i64 {
        self.log.append(id as i32, &shared_proto::encode(id, kind))
    }

    /// A change of staff, as admin-api would make it.
    pub async fn staff(&self, change: Change) {
        let request = StaffRequest {
            actor: "ann".to_owned(),
            request_id: "r".to_owned(),
            route: String::new(),
            key: None,
            now: now(),
        };
        self.store.change(&request, &change, &SystemRandom, &|_| (202, String::new())).await.unwrap();
    }

    /// Applies what the event's lane holds from an offset on.
    pub async fn decide(&self, id: i64, from: i64) {
        self.decide_some(id, from, self.log.len(id as i32) as i64, false).await;
    }

    /// Applies `from..to` of the event's lane, or parks the event there.
    pub async fn decide_some(&self, id: i64, from: i64, to: i64, park: bool) {
        let lane = id as i32;
        let all = self.log.lanes.lock().unwrap()[&lane][..to as usize].to_vec();
        let records = all.iter().enumerate().skip(from as usize).map(|(offset, bytes)| {
            let (event_id, kind) = shared_proto::decode(bytes).unwrap();
            let entry = LogEntry { offset: offset as i64, event_id, kind };
            Arc::new(BatchRecord { entry, bytes: bytes.clone().into() })
        });
        let batch = LaneBatch {
            log_id: LOG_ID.into(),
            lane: Lane::new(TopicNames::default().name(Topic::Apply), lane),
            from,
            to,
            last_hash: [0; 32],
            records: records.collect(),
            park: park.then(|| (id, "refused".to_owned())).into_iter().collect(),
        };
        self.store.apply(&batch, &self.memory, now()).await.unwrap();
    }

    pub fn token(&self, member: i64) -> String {
        let token = self.key.issue_member(member, Duration::from_secs(600)).unwrap();
        format!("authorization: Bearer {token}\r\n")
    }

    pub async fn enter(&self, event: i64, headers: &str, body: &str) -> Answer {
        let headers = format!("{headers}content-type: application/json\r\n");
        self.ask("POST", &format!("/v1/events/{event}/entries"), &headers, body).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = self.send(method, path, headers, body).await;
        let answer = Answer::read(&mut stream).await;
        if let Some(contract) = &self.contract {
            let faults = contract.faults(method, path, &answer.lower());
            assert!(faults.is_empty(), "{faults:?}: {answer:?}");
        }
        answer
    }

    /// Sends a request, and leaves its answer to be read.
    pub async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// A member's entry whose answer is to be read later.
    pub async fn press(&self, event: i64, member: i64) -> TcpStream {
        self.send("POST", &format!("/v1/events/{event}/entries"), &self.token(member), "").await
    }

    /// Asks again until the answer is the one wanted.
    pub async fn until(&self, method: &str, path: &str, headers: &str, status: u16, holds: &str) -> Answer {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.ask(method, path, headers, "").await;
            if answer.status == status && answer.body.contains(holds) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "wanted {status} {holds}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Reads to the end of the connection.
    pub async fn read_rest(stream: &mut TcpStream) -> String {
        let mut all = String::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut all))
            .await
            .expect("the answer ends")
            .unwrap();
        all
    }

    /// The answer, read to the end of the connection.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let all = Self::read_rest(stream).await;
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let status = head[9..12].parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn lower(&self) -> e2e::http::Answer {
        let (head, body) = (self.head.to_lowercase(), self.body.clone());
        e2e::http::Answer { status: self.status, head, body }
    }

    #[track_caller]
    pub fn is(&self, status: u16, holds: &str) -> &Self {
        assert!(self.status == status && self.body.contains(holds), "wanted {status} {holds}: {self:?}");
        assert!(![429, 503].contains(&status) || self.head.contains("retry-after: "), "{self:?}");
        self
    }

    pub fn text(&self, name: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        json[name].as_str().unwrap_or_default().to_owned()
    }
}
