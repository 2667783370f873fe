//! Simulated members: most press once, some twice at once, some lose their connection, some send rubbish.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const TRIES: usize = 50;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// One press.
    Once,
    /// Two presses at the same time.
    DoubleClick,
    /// The connection drops before the answer; then again.
    DroppedConnection,
    /// A body that is no JSON; then a good one.
    Garbage,
}

impl Behaviour {
    /// 5% double clicks, 5% dropped connections, 1% garbage.
    pub fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..5 => Self::DoubleClick,
            5..10 => Self::DroppedConnection,
            10 => Self::Garbage,
            _ => Self::Once,
        }
    }
}

/// What the members heard.
#[derive(Default)]
pub struct Heard {
    /// Answers by status and code.
    pub answers: BTreeMap<(u16, String), u64>,
    /// Entry ids of every 202.
    pub accepted: BTreeSet<String>,
    /// Members who were told LOSE.
    pub told_lose: BTreeSet<i64>,
    /// Presses that never got a final answer.
    pub unanswered: u64,
    /// Members who pressed twice, lost a connection, sent rubbish.
    pub behaviours: [u64; 3],
}

/// The crowd and its memory.
pub struct Crowd {
    http: reqwest::Client,
    addr: SocketAddr,
    event: i64,
    heard: Mutex<Heard>,
    latencies: Mutex<Histogram<u64>>,
}

impl Crowd {
    pub fn new(addr: SocketAddr, event: i64) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
        let latencies = Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 3)?);
        Ok(Self { http, addr, event, heard: Mutex::default(), latencies })
    }

    /// What was heard so far.
    pub fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Latencies of answered presses, microseconds.
    pub fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One member's visit.
    pub async fn press(&self, member: i64, token: &str, behaviour: Behaviour) {
        match behaviour {
            Behaviour::Once => {}
            Behaviour::DoubleClick => {
                self.heard().behaviours[0] += 1;
                tokio::join!(self.until_final(member, token), self.until_final(member, token));
                return;
            }
            Behaviour::DroppedConnection => {
                self.heard().behaviours[1] += 1;
                // An error here is a connection that dropped even earlier.
                drop(self.press_and_hang_up(token).await);
            }
            Behaviour::Garbage => {
                self.heard().behaviours[2] += 1;
                self.ask(member, token, "{not json").await;
            }
        }
        self.until_final(member, token).await;
    }

    async fn until_final(&self, member: i64, token: &str) {
        for _ in 0..TRIES {
            match self.ask(member, token, "").await {
                Some(200 | 202 | 409) => return,
                Some(429 | 503) | None => tokio::time::sleep(Duration::from_millis(200)).await,
                Some(_) => break,
            }
        }
        self.heard().unanswered += 1;
    }

    /// One request; gives the status, or none when there was no answer.
    async fn ask(&self, member: i64, token: &str, body: &'static str) -> Option<u16> {
        let url = format!("http://{}/v1/events/{}/entries", self.addr, self.event);
        let mut request = self.http.post(url).bearer_auth(token);
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        let started = Instant::now();
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.unwrap_or_default();
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.latencies().saturating_record(micros);
        let code = body["code"].as_str().unwrap_or("-").to_owned();
        let mut heard = self.heard();
        if status == 202 {
            heard.accepted.insert(body["entry_id"].as_str().unwrap_or_default().to_owned());
        }
        if code == "LOSE" {
            heard.told_lose.insert(member);
        }
        *heard.answers.entry((status, code)).or_default() += 1;
        Some(status)
    }

    async fn press_and_hang_up(&self, token: &str) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.addr).await?;
        let request = format!(
            "POST /v1/events/{}/entries HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 0\r\n\r\n",
            self.event, self.addr
        );
        stream.write_all(request.as_bytes()).await?;
        stream.shutdown().await
    }
}
