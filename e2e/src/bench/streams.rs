//! (h) Open result streams: what they cost, and how soon a result arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::Value;
use shared_runtime::auth::DevKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::http::{Connection, entry_request, status};
use super::{Bar, Meter, Series, Table, gateway, memory_mib, service};
use crate::column::Column;
use crate::log::{append, scheduled};
use crate::process::Process;

const LANE: i32 = 0;
const DAY: Duration = Duration::from_secs(86_400);
const BUDGET: Duration = Duration::from_secs(120);
/// Members that do something at the same time.
const AT_ONCE: usize = 64;
/// How long the streams are watched while nothing happens.
const QUIET: Duration = Duration::from_secs(10);

/// An event that is open and a log in which nobody decides any more.
async fn open_event(column: &Column, event: i64, stock: i64, addr: SocketAddr) {
    let mut worker = Process::apply_worker(column, &column.database_url, "bench");
    append(column, LANE, event, scheduled(column, event, stock, LANE)).await;
    let request = format!("GET /v1/events/{event} HTTP/1.1\r\nhost: bench\r\n\r\n");
    gateway::answer_of(addr, request.as_bytes(), 200).await;
    worker.signal("TERM");
    worker.ended(Duration::from_secs(30)).await;
}

/// Every member enters; the paths of their streams. Events here have one salt, so each has members of its own.
async fn enter(addr: SocketAddr, event: i64, members: usize, key: &Arc<DevKey>) -> Vec<String> {
    let before = event * members as i64;
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let key = Arc::clone(key);
        tasks.spawn(async move {
            let mut connection = Connection::open(addr).await.expect("connects");
            let mut paths = Vec::new();
            for member in (first..members).step_by(AT_ONCE) {
                let token = key.issue_member(before + member as i64, DAY).expect("a token");
                let answer = connection.ask(&entry_request(event, &token)).await.expect("an answer");
                let text = String::from_utf8_lossy(answer);
                assert_eq!(status(answer), 202, "{text}");
                let (_, body) = text.split_once("\r\n\r\n").expect("a body");
                let body: Value = serde_json::from_str(body).expect("JSON");
                let [id, receipt] =
                    ["entry_id", "receipt"].map(|name| body[name].as_str().expect("text").to_owned());
                paths.push(format!("/v1/entries/{id}/stream?receipt={receipt}"));
            }
            paths
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// Opens a stream and waits for its first position.
async fn open(addr: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut told = Vec::with_capacity(512);
    while !contains(&told, b"event: position") {
        assert_ne!(stream.read_buf(&mut told).await.expect("read"), 0, "{}", String::from_utf8_lossy(&told));
    }
    stream
}

fn contains(told: &[u8], part: &[u8]) -> bool {
    told.windows(part.len()).any(|window| window == part)
}

/// Waits for the result: how long after its decision it arrived. The worker takes that moment before it writes, so the
/// commit is later still. Gives the connection back: a client keeps it for its next request.
async fn delay(mut stream: TcpStream) -> (Duration, TcpStream) {
    let mut told = Vec::with_capacity(512);
    let end = loop {
        assert_ne!(stream.read_buf(&mut told).await.expect("read"), 0, "ended without a result");
        if contains(&told, b"event: result") && contains(&told, b"decided_at") {
            break SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        }
    };
    let text = String::from_utf8_lossy(&told);
    let (_, decided) = text.split_once(r#""decided_at":""#).expect("decided_at");
    let decided = DateTime::parse_from_rfc3339(decided.split('"').next().expect("a time")).expect("a time");
    let decided = Duration::from_millis(decided.timestamp_millis().try_into().expect("positive"));
    (end.saturating_sub(decided), stream)
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, repetitions: usize, streams: usize) {
    let column = Column::real("bench_streams").await;
    let folder = tempfile::tempdir().expect("folder");
    let key_file = folder.path().join("dev.key");
    let key = Arc::new(DevKey::create(&key_file).expect("a key"));
    let most = (streams + 1_000).to_string();
    let settings = [
        ("AUTH_DEV_KEY_FILE", key_file.to_str().expect("UTF-8")),
        ("MAX_STREAMS", &most),
        ("MAX_CONNECTIONS", &most),
    ];
    let (process, addr) = service::gateway(&column, &settings).await;
    let [mut before, mut resident, mut quiet, mut median, mut p99, mut last] =
        [(); 6].map(|()| Series::default());
    for n in 1..=repetitions {
        let event = n as i64;
        open_event(&column, event, streams as i64, addr).await;
        let paths = enter(addr, event, streams, &key).await;
        let start = memory_mib(process.pid(), "VmRSS");
        let (mut opening, turns) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
        for path in paths {
            let turn = Arc::clone(&turns).acquire_owned().await.expect("never closed");
            opening.spawn(async move {
                let stream = open(addr, &path).await;
                drop(turn);
                stream
            });
        }
        let open = opening.join_all().await;
        let meter = Meter::start(process.pid());
        tokio::time::sleep(QUIET).await;
        let idle = meter.stop(1);
        let full = memory_mib(process.pid(), "VmRSS");

        let mut waiting: JoinSet<(Duration, TcpStream)> = open.into_iter().map(delay).collect();
        let mut worker = Process::apply_worker(&column, &column.database_url, "bench");
        let until = Instant::now() + BUDGET;
        let (mut delays, mut kept) = (Vec::with_capacity(streams), Vec::with_capacity(streams));
        while let Ok(Some(heard)) = tokio::time::timeout_at(until.into(), waiting.join_next()).await {
            let (delay, connection) = heard.expect("no panic");
            delays.push(delay);
            kept.push(connection);
        }
        drop(kept);
        assert_eq!(delays.len(), streams, "every stream has its result; the log: {}", process.log());
        worker.signal("TERM");
        worker.ended(Duration::from_secs(30)).await;
        delays.sort_unstable();
        let ms = |share: f64| delays[((streams - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let cpu = idle.cpu.as_secs_f64() / idle.wall.as_secs_f64() * 100.0;
        println!(
            "  {n}/{repetitions}: {start:.0} MiB, with {streams} streams {full:.0} MiB and {cpu:.1} % CPU; results after {:.0} ms, p99 {:.0} ms, last {:.0} ms",
            ms(0.5),
            ms(0.99),
            ms(1.0),
        );
        for (series, value) in [
            (&mut before, start),
            (&mut resident, full),
            (&mut quiet, cpu),
            (&mut median, ms(0.5)),
            (&mut p99, ms(0.99)),
            (&mut last, ms(1.0)),
        ] {
            series.push(value);
        }
    }
    table.heading(&format!("(h) {streams} open result streams on one gateway, all decided at once"));
    table.figure("resident before", &before, 0, " MiB");
    table.against("resident, all open", &resident, 0, " MiB", Bar::Most(300.0));
    table.figure("CPU while nothing happens, of one core", &quiet, 1, " %");
    table.figure("from the decision to the arrival, median", &median, 0, " ms");
    table.figure("p99", &p99, 0, " ms");
    table.against("the last", &last, 0, " ms", Bar::Most(1_000.0));
}
