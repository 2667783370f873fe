//! (k) What a million entries cost: CPU of every program and every store, bytes in Kafka and the database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use shared_proto::Topic;
use shared_runtime::auth::DevKey;

use super::http::{Connection, entry_request, run, status};
use super::{Series, Table, cpu_time, service};
use crate::column::{Column, LANES};
use crate::log::{append, scheduled};
use crate::process::Process;
use crate::raffle_log;
use crate::sql::{execute, number};
use crate::staff::AdminApi;

const EVENT: i64 = 41;
const CONNECTIONS: usize = 64;
const DAY: Duration = Duration::from_secs(86_400);
const AT_REST: Duration = Duration::from_secs(10);

/// A kind of entries: where they go, and who decides them.
struct Kind {
    name: &'static str,
    topic: Topic,
    event: i64,
    worker: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind { name: "FCFS", topic: Topic::Apply, event: EVENT, worker: "apply-worker" },
    Kind { name: "raffle", topic: Topic::Raffle, event: raffle_log::EVENT, worker: "raffle-worker" },
];

/// Something that uses CPU: its processes, and what each row of the table sums up.
struct Part {
    name: String,
    pids: Vec<u32>,
}

impl Part {
    fn cpu(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_time(*pid).as_secs_f64()).sum()
    }
}

/// The native stack's folder, whose PID files and data tell what the stores use; containers have neither.
fn stack_dir() -> Option<PathBuf> {
    std::env::var_os("STACK_DIR").map(PathBuf::from).filter(|dir| dir.join("mariadb.pid").exists())
}

/// The stores that `stack.sh` started.
fn stores(dir: Option<&Path>) -> Vec<Part> {
    let pid = |name: &str| -> Option<u32> {
        std::fs::read_to_string(dir?.join(format!("{name}.pid"))).ok()?.trim().parse().ok()
    };
    [
        ("MariaDB", vec!["mariadb"]),
        ("Kafka, all brokers", vec!["kafka-1", "kafka-2", "kafka-3"]),
        ("Redis", vec!["redis"]),
    ]
    .into_iter()
    .map(|(name, files)| Part { name: name.to_owned(), pids: files.into_iter().filter_map(pid).collect() })
    .filter(|part| !part.pids.is_empty())
    .collect()
}

/// Bytes of the files in a folder whose names pass.
fn bytes_in(folder: &Path, wanted: impl Fn(&str) -> bool) -> f64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0.0 };
    let files = files.flatten().filter(|file| wanted(&file.file_name().to_string_lossy()));
    files.filter_map(|file| file.metadata().ok()).map(|m| m.len() as f64).sum()
}

/// Bytes of one replica of a topic.
fn topic_bytes(dir: &Path, topic: &str) -> f64 {
    let data = dir.join("kafka-1/data");
    (0..LANES)
        .map(|lane| bytes_in(&data.join(format!("{topic}-{lane}")), |name| name.ends_with(".log")))
        .sum()
}

fn binary_log_bytes(dir: &Path) -> f64 {
    bytes_in(&dir.join("mariadb/data"), |name| name.starts_with("binlog.0"))
}

/// Pages of the entries' table and its indexes, as InnoDB counts them.
async fn entry_bytes(url: &str) -> f64 {
    execute(url, "ANALYZE TABLE event_entry").await;
    let sql = "SELECT CAST(data_length + index_length AS SIGNED) AS n FROM information_schema.tables \
               WHERE table_schema = DATABASE() AND table_name = 'event_entry'";
    number(url, sql).await as f64
}

async fn decided(column: &Column, event: i64) -> i64 {
    column.store.lane_rows().await.expect("lanes").iter().filter(|r| r.event_id == event).map(|r| r.seq).sum()
}

/// Rows of one run: name, and the cost of one entry in microseconds or bytes.
type Costs = Vec<(String, f64)>;

/// The programs on a column, and the stores.
struct System {
    column: Column,
    gateway: SocketAddr,
    key: DevKey,
    parts: Vec<Part>,
    stack: Option<PathBuf>,
    running: (Process, Process, AdminApi, tempfile::TempDir),
}

impl System {
    async fn start(kind: &Kind) -> Self {
        let column = Column::real("bench_capacity").await;
        let folder = tempfile::tempdir().expect("folder");
        let key_file = folder.path().join("dev.key");
        let key = DevKey::create(&key_file).expect("a key");
        let worker = Process::start(kind.worker, &column, &column.database_url, "bench", &[]);
        let admin = AdminApi::start(&column, &column.database_url).await;
        if kind.topic == Topic::Raffle {
            raffle_log::schedule(&column, &raffle_log::raffle(&column, 1_000, 0)).await;
            // 202 as soon as the log has it, as in a stampede; the event is there once a worker has applied it.
            let flag = format!("/admin/v1/events/{}/high-traffic", kind.event);
            let until = Instant::now() + Duration::from_secs(60);
            while admin.send("PUT", &flag, None, &json!({"enabled": true})).await.is_none_or(|a| a.0 != 200) {
                assert!(Instant::now() < until, "no flag; the log: {}", admin.process.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        } else {
            append(&column, 0, kind.event, scheduled(&column, kind.event, 1_000_000_000, 0)).await;
        }
        let auth = [
            ("AUTH_DEV_KEY_FILE", key_file.to_str().expect("UTF-8")),
            ("RAFFLE_RATE_LIMIT_PER_SECOND", "1000000000"),
        ];
        let (process, gateway) = service::gateway(&column, &auth).await;
        let stack = stack_dir();
        let own =
            [("api-gateway", process.pid()), (kind.worker, worker.pid()), ("admin-api", admin.process.pid())];
        let mut parts: Vec<Part> =
            own.into_iter().map(|(name, pid)| Part { name: name.to_owned(), pids: vec![pid] }).collect();
        parts.extend(stores(stack.as_deref()));
        Self { column, gateway, key, parts, stack, running: (process, worker, admin, folder) }
    }

    /// CPU seconds a second of each part when nobody asks.
    async fn at_rest(&self) -> Vec<f64> {
        let before: Vec<f64> = self.parts.iter().map(Part::cpu).collect();
        tokio::time::sleep(AT_REST).await;
        self.parts.iter().zip(before).map(|(p, cpu)| (p.cpu() - cpu) / AT_REST.as_secs_f64()).collect()
    }

    fn request(&self, kind: &Kind, member: i64) -> Vec<u8> {
        entry_request(kind.event, &self.key.issue_member(member, DAY).expect("a token"))
    }

    /// One member after another, until one hears 202: the event is open. The last one's number, and how many are in.
    async fn warmed_up(&self, kind: &Kind) -> (i64, i64) {
        let mut connection = Connection::open(self.gateway).await.expect("connects");
        let mut entered = 0;
        for member in 1..1_000 {
            let answer = status(connection.ask(&self.request(kind, member)).await.expect("an answer"));
            entered += i64::from(matches!(answer, 201 | 202));
            if answer == 202 {
                return (member, entered);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody was accepted; the log: {}", self.running.0.log());
    }

    async fn wait_for(&self, kind: &Kind, wanted: i64) {
        let until = Instant::now() + Duration::from_secs(600);
        while decided(&self.column, kind.event).await < wanted {
            assert!(Instant::now() < until, "not all is decided; the log: {}", self.running.1.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends so many entries and waits until all are decided.
    async fn entries(&self, kind: &Kind, entries: i64) -> Costs {
        let (last, entered) = self.warmed_up(kind).await;
        let requests: Vec<Vec<u8>> =
            (last + 1..=last + entries).map(|member| self.request(kind, member)).collect();
        self.wait_for(kind, entered).await;
        let rest = self.at_rest().await;
        let topic = self.column.kafka.topics().name(kind.topic);
        let kept = |dir: &PathBuf| (topic_bytes(dir, &topic), binary_log_bytes(dir));
        let (kept_before, rows_before) =
            (self.stack.as_ref().map(kept), entry_bytes(&self.column.database_url).await);
        let (cpu_before, since): (Vec<f64>, Instant) =
            (self.parts.iter().map(Part::cpu).collect(), Instant::now());
        run(self.gateway, CONNECTIONS, Arc::new(requests), 202).await;
        self.wait_for(kind, entered + entries).await;
        let wall = since.elapsed().as_secs_f64();
        let each = 1.0 / entries as f64;
        let mut costs = Costs::new();
        for ((part, before), rest) in self.parts.iter().zip(cpu_before).zip(rest) {
            costs.push((
                format!("CPU of {}, s", part.name),
                ((part.cpu() - before) - rest * wall).max(0.0) * each * 1e6,
            ));
            costs.push((format!("{} at rest, s of CPU an hour", part.name), rest * 3_600.0));
        }
        if let (Some((topic_before, log_before)), Some(dir)) = (kept_before, &self.stack) {
            let (topic_bytes, log_bytes) = kept(dir);
            costs.push(("Kafka, one replica, MB".to_owned(), (topic_bytes - topic_before) * each));
            costs.push(("binary log of the database, MB".to_owned(), (log_bytes - log_before) * each));
        }
        let rows = entry_bytes(&self.column.database_url).await - rows_before;
        costs.push(("event_entry with its indexes, MB".to_owned(), rows * each));
        costs
    }
}

/// Measures, and adds to the table: rows that can stand in CAPACITY.md.
pub async fn bench(table: &mut Table, repetitions: usize, entries: i64) {
    let mut rows: Vec<(String, [Series; 2])> = Vec::new();
    for n in 1..=repetitions {
        for (column, kind) in KINDS.iter().enumerate() {
            let costs = System::start(kind).await.entries(kind, entries).await;
            for (name, cost) in costs {
                // Who decides has one row, whoever it is.
                let name = name.replace(kind.worker, "worker");
                let at = rows.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    rows.push((name, <[Series; 2]>::default()));
                    rows.len() - 1
                });
                rows[at].1[column].push(cost);
            }
            println!("  {n}/{repetitions}: {}", kind.name);
        }
    }
    table.heading(&format!(
        "(k) capacity: what 1,000,000 entries cost beyond what runs at rest; {entries} a run over HTTP, median (range)"
    ));
    table.line(&format!("| | {} | {} |\n|---|---|---|", KINDS[0].name, KINDS[1].name));
    for (name, [fcfs, raffle]) in &rows {
        table.line(&format!("| {name} | {} | {} |", fcfs.show(1), raffle.show(1)));
    }
    if stack_dir().is_none() {
        table.line("the stores are not the native stack's (STACK_DIR): their CPU and files were not read");
    }
}
