//! Many result streams on one gateway, on the real column: their caps, heartbeat and resuming, and every result told once.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::{Answer, call, request};
use crate::promises::wait_for_entries;
use crate::system::System;

/// Streams that wait at the same time.
const MEMBERS: i64 = 200;
const STOCK: i64 = 50;
/// A functional bound: some ticks of every clock on the way, on a busy machine.
const SOON: Duration = Duration::from_secs(10);
const BUDGET: Duration = Duration::from_secs(60);

/// What the services are started with.
pub const SETTINGS: [(&str, &str); 3] =
    [("MAX_STREAMS", "202"), ("MAX_STREAMS_PER_MEMBER", "2"), ("STREAM_HEARTBEAT", "1s")];

/// An open stream, and what it has told.
struct Stream {
    tcp: TcpStream,
    told: String,
}

impl Stream {
    async fn open(system: &System, path: &str, headers: &str) -> Self {
        let mut tcp = TcpStream::connect(system.public).await.expect("connects");
        tcp.write_all(&request("GET", path, headers, b"")).await.expect("sent");
        Self { tcp, told: String::new() }
    }

    /// Reads until it has told this.
    async fn until(&mut self, text: &str) {
        let read = async {
            while !self.told.contains(text) {
                assert!(self.more().await, "the stream ended: {}", self.told);
            }
        };
        tokio::time::timeout(BUDGET, read).await.unwrap_or_else(|_| panic!("not told {text}"));
    }

    /// Reads to the end, and tells when the result came.
    async fn result(mut self) -> (Instant, Value) {
        let read = async {
            self.until("event: result\n").await;
            let came = Instant::now();
            while self.more().await {}
            came
        };
        let came = tokio::time::timeout(BUDGET, read).await.expect("the stream ends");
        assert_eq!(self.told.matches("event: result\n").count(), 1, "{}", self.told);
        let (_, rest) = self.told.split_once("event: result\n").expect("a result");
        let data = rest.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        (came, serde_json::from_str(data).expect("JSON"))
    }

    async fn more(&mut self) -> bool {
        let mut block = [0; 4096];
        let n = self.tcp.read(&mut block).await.expect("read");
        self.told.push_str(std::str::from_utf8(&block[..n]).expect("ASCII"));
        n > 0
    }
}

fn path(accepted: &Answer) -> String {
    format!("/v1/entries/{}/stream?receipt={}", accepted.text("entry_id"), accepted.text("receipt"))
}

async fn refused(system: &System, accepted: &Answer, status: u16, code: &str) {
    let answer = call(system.public, "GET", &path(accepted), "", &Value::Null).await;
    answer.is(status, code);
    let faults = system.public_contract.faults("GET", &path(accepted), &answer);
    assert!(faults.is_empty(), "{faults:?}");
}

/// Everybody waits by a stream while the worker stands still, and hears the result when it goes on.
pub async fn everybody_hears_the_result(system: &System) {
    let event = system.open_event(STOCK).await;
    let [worker, .., gateway] = &system.processes[..] else { panic!("services of their own") };
    worker.signal("STOP");
    let mut accepted = Vec::new();
    for member in 1..=MEMBERS {
        let answer = system.enter(event, member).await;
        answer.is(202, "APPLIED");
        accepted.push(answer);
    }
    let mut streams = Vec::new();
    for answer in &accepted {
        let mut stream = Stream::open(system, &path(answer), "").await;
        stream.until("event: position\n").await;
        streams.push(stream);
    }

    // A member's cap, then the process's; what is closed makes room again.
    let mut second = Stream::open(system, &path(&accepted[0]), "").await;
    second.until("event: position\n").await;
    refused(system, &accepted[0], 429, "TRY_AGAIN").await;
    let mut last = Stream::open(system, &path(&accepted[1]), "").await;
    last.until("event: position\n").await;
    refused(system, &accepted[2], 503, "UNAVAILABLE").await;
    // Who is refused polls.
    assert_eq!(system.entry(&accepted[2]).await.text("status"), "QUEUED");
    drop((second, last));

    // A quiet stream says that it lives. One that was cut comes back, and hears nothing twice.
    streams[0].until(": heartbeat\n").await;
    let cut = streams.pop().expect("a stream");
    let seen = cut.told.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    drop(cut);
    let back = format!("last-event-id: {seen}\r\n");
    let mut resumed = Stream::open(system, &path(&accepted[accepted.len() - 1]), &back).await;
    resumed.until(": heartbeat\n").await;
    assert!(!resumed.told.contains("event: "), "{}", resumed.told);
    streams.push(resumed);

    let mut results = JoinSet::new();
    for (member, stream) in streams.into_iter().enumerate() {
        results.spawn(async move { (member, stream.result().await) });
    }
    worker.signal("CONT");
    let lane = system.store.lane_rows().await.expect("lanes");
    let lane = lane.iter().find(|row| row.event_id == event).expect("the event's lane").lane;
    wait_for_entries(&system.store, event, lane, MEMBERS, BUDGET).await;
    let committed = Instant::now();
    let mut won = 0;
    while let Some(heard) = results.join_next().await {
        let (member, (came, entry)) = heard.expect("no panic");
        assert!(came.saturating_duration_since(committed) < SOON, "after the commit");
        let by_receipt = system.entry(&accepted[member]).await.json();
        let known = |name: &str| entry.get(name).is_none_or(|value| *value == by_receipt[name]);
        assert!(["entry_id", "status", "seq", "rank"].into_iter().all(known), "{entry} is not {by_receipt}");
        won += i64::from(entry["status"] == "WIN");
    }
    assert_eq!(won, STOCK);
    let open = async || gateway.metric("event_open_streams", &[]).await == Some(0.0);
    system.until("every place is free again", open).await;
}
