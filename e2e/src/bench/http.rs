//! An HTTP/1.1 client that costs little: requests made beforehand, one at a time on each open connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends one request and gives the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> std::io::Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = answer_length(&self.buffer)
                && self.buffer.len() >= end
            {
                return Ok(&self.buffer);
            }
        }
    }
}

/// Length of head and body, once the head is complete.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII");
    let body = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    Some(head + body.unwrap_or(0))
}

/// Status of an answer.
pub fn status(answer: &[u8]) -> u16 {
    std::str::from_utf8(&answer[9..12]).ok().and_then(|s| s.parse().ok()).expect("a status")
}

/// The request to enter an event, with a member's token.
pub fn entry_request(event: i64, token: &str) -> Vec<u8> {
    format!(
        "POST /v1/events/{event}/entries HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Answers of a run: every one had `wanted` as its status.
#[derive(Debug)]
pub struct Answers {
    /// Latency of each, sorted.
    pub latency: Vec<Duration>,
}

impl Answers {
    /// Latency that `share` (0 to 1) of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latency.len() - 1;
        self.latency[((last as f64) * share).round() as usize]
    }
}

/// Sends every request once over `connections`; each next one as soon as an answer is there.
pub async fn run(addr: SocketAddr, connections: usize, requests: Arc<Vec<Vec<u8>>>, wanted: u16) -> Answers {
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(addr).await.expect("connects"));
    }
    let tasks: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            tokio::spawn(async move {
                let mut latency = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let since = Instant::now();
                    let answer = connection.ask(request).await.expect("an answer");
                    latency.push(since.elapsed());
                    assert_eq!(status(answer), wanted, "{}", String::from_utf8_lossy(answer));
                }
                latency
            })
        })
        .collect();
    let mut latency = Vec::with_capacity(requests.len());
    for task in tasks {
        latency.extend(task.await.expect("no panic"));
    }
    latency.sort_unstable();
    Answers { latency }
}

/// Waits until something listens.
pub async fn until_ready(addr: SocketAddr) {
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(addr).await.is_err() {
        assert!(Instant::now() < until, "nobody listens on {addr}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The route that a bare server has, and no other.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum BareRoute {
    /// To enter an event.
    Enter,
    /// A member's list of entries.
    List,
}

impl std::fmt::Display for BareRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Enter => "enter",
            Self::List => "list",
        })
    }
}

/// Serves one fixed answer by one warp route, until killed. `answer` is an HTTP/1.1 response.
pub async fn bare_warp(addr: SocketAddr, answer: Vec<u8>, route: BareRoute) {
    use warp::Filter;
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("ASCII").to_owned();
    let body = bytes::Bytes::copy_from_slice(&answer[head..]);
    let headers: Vec<(String, String)> = text
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        // These two are the server's own.
        .filter(|(name, _)| !["content-length", "date"].contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let status = status(&answer);
    let respond = move || {
        let mut response = warp::http::Response::builder().status(status);
        for (name, value) in &headers {
            response = response.header(name, value);
        }
        response.body(body.clone()).expect("a response")
    };
    match route {
        BareRoute::Enter => {
            let path = warp::path!("v1" / "events" / i64 / "entries").and(warp::post());
            warp::serve(path.map(move |_event| respond())).run(addr).await;
        }
        BareRoute::List => {
            let path = warp::path!("v1" / "members" / "me" / "entries").and(warp::get());
            warp::serve(path.map(respond)).run(addr).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_measured() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer_length(answer), Some(answer.len()));
        assert_eq!(answer_length(b"HTTP/1.1 202 Acc"), None);
        assert_eq!(status(answer), 202);
    }
}
