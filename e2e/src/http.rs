//! Requests as bytes on a socket, so that wrong ones can be sent too.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer of a listener takes longer: its own deadline is 15 s, its drain 15 s.
const BUDGET: Duration = Duration::from_secs(40);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; 0 when the connection ended without one.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// Body as text.
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// The body; null when it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A member of the body as text; "" when there is none.
    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts status and code; where the code says "later", also that it says when.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, &*self.text("code")), (status, code), "{self:?}");
        if [429, 503].contains(&status) || ["EVENT_NOT_STARTED", "EVENT_PAUSED"].contains(&code) {
            assert!(self.head.contains("\r\nretry-after: "), "{self:?}");
        }
        self
    }
}

/// Sends bytes, and reads until the server closes.
pub async fn send(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        // A server that has answered a bad head may close while the rest is still being sent.
        let sent = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        if answer.is_empty() {
            sent?;
            read?;
        }
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(BUDGET, exchange).await.expect("the answer ends");
    Answer::read(&answer.unwrap_or_default())
}

/// A request with a length, on a connection of its own. `headers` are whole lines.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The header line of a token.
pub fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Sends JSON; null is an empty body.
pub async fn call(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
    let headers = format!("{headers}content-type: application/json\r\n");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    send(addr, &request(method, path, &headers, body.as_bytes())).await
}
