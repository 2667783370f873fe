//! (c) Memory: a worker far behind, and a gateway with many open connections.

use std::time::{Duration, Instant};

use shared_runtime::auth::DevKey;

use super::http::{Connection, status};
use super::{Bar, Series, Table, memory_mib, service};
use crate::column::Column;
use crate::log::{append, append_entries, scheduled};
use crate::process::Process;

const EVENT: i64 = 7;
const LANE: i32 = 0;

/// Peak memory of a worker that decides a backlog, in MiB.
async fn worker_peak(backlog: i64) -> f64 {
    let column = Column::real("bench_memory").await;
    append(&column, LANE, EVENT, scheduled(&column, EVENT, 1_000, LANE)).await;
    append_entries(&column, LANE, EVENT, (1..=backlog).collect()).await;
    let process = Process::apply_worker(&column, &column.database_url, "bench");
    let until = Instant::now() + Duration::from_secs(600);
    loop {
        let rows = column.store.lane_rows().await.expect("lanes");
        if rows.iter().any(|r| r.seq >= backlog) {
            return memory_mib(process.pid(), "VmHWM");
        }
        assert!(Instant::now() < until, "not all is decided; the log: {}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Memory of a gateway with that many connections open, each of which has had an answer, in MiB.
async fn gateway_open(connections: usize) -> f64 {
    let column = Column::real("bench_connections").await;
    let folder = tempfile::tempdir().expect("folder");
    let key_file = folder.path().join("dev.key");
    DevKey::create(&key_file).expect("a key");
    let (process, addr) =
        service::gateway(&column, &[("AUTH_DEV_KEY_FILE", key_file.to_str().expect("UTF-8"))]).await;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::open(addr).await.expect("connects");
        let answer =
            connection.ask(b"GET /v1/events HTTP/1.1\r\nhost: bench\r\n\r\n").await.expect("an answer");
        assert!(matches!(status(answer), 200 | 503), "{}", String::from_utf8_lossy(answer));
        open.push(connection);
    }
    // All at once, so that every connection has used its buffers while all others are open.
    for connection in &mut open {
        connection.ask(b"GET /v1/events HTTP/1.1\r\nhost: bench\r\n\r\n").await.expect("still open");
    }
    memory_mib(process.pid(), "VmHWM")
}

/// Measures, and adds to the table.
pub async fn bench(table: &mut Table, backlog: i64, connections: usize) {
    let one = |value: f64| {
        let mut series = Series::default();
        series.push(value);
        series
    };
    // Enough that what the worker remembers (two generations of 65,536 entry ids) is full in both.
    let less = backlog / 4;
    let small = worker_peak(less).await;
    println!("  worker, {less} behind: peak {small:.0} MiB");
    let large = worker_peak(backlog).await;
    println!("  worker, {backlog} behind: peak {large:.0} MiB");
    let gateway = gateway_open(connections).await;
    println!("  gateway, {connections} connections: peak {gateway:.0} MiB");
    table.heading("(c) peak resident memory");
    table.figure(&format!("worker, {less} records behind"), &one(small), 0, " MiB");
    let name = format!("worker, {backlog} records behind");
    table.against(&name, &one(large), 0, " MiB", Bar::Most(150.0));
    table.against("four times the backlog takes", &one(large / small), 2, "x", Bar::Most(1.2));
    let name = format!("gateway, {connections} open connections");
    table.against(&name, &one(gateway), 0, " MiB", Bar::Most(150.0));
}
