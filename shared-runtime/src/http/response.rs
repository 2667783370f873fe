//! What a handler answers.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warp::Reply;

/// What a body stream may fail with; the client sees a cut connection, never a whole but truncated body.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

enum Body {
    Empty,
    Full(Bytes),
    /// Finishes within the drain budget or is cut.
    Stream(ByteStream),
    /// Ends cleanly when the process drains.
    Events(ByteStream),
}

/// An answer under construction.
pub struct Response {
    status: StatusCode,
    code: &'static str,
    headers: HeaderMap,
    body: Body,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Response {
    fn with_body(status: StatusCode, content_type: Option<HeaderValue>, body: Body) -> Self {
        // Room for what every answer carries.
        let mut headers = HeaderMap::with_capacity(6);
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        Self { status, code: "", headers, body }
    }

    /// JSON with a status. A value that cannot be written as JSON is a 500, logged.
    pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::bytes(status, HeaderValue::from_static("application/json"), bytes.into()),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                super::Problem::internal().into()
            }
        }
    }

    /// 200 with JSON.
    pub fn ok<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// A status without a body, e.g. 204.
    pub fn empty(status: StatusCode) -> Self {
        Self::with_body(status, None, Body::Empty)
    }

    /// Plain text (UTF-8).
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::bytes(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
    }

    /// Bytes of any type.
    pub fn bytes(status: StatusCode, content_type: HeaderValue, bytes: Bytes) -> Self {
        Self::with_body(status, Some(content_type), Body::Full(bytes))
    }

    /// 200 with a body in chunks, e.g. a CSV export. At shutdown it may go on until the drain budget ends; then the
    /// connection is cut, so that a client never takes half an export for a whole one.
    pub fn stream<S>(content_type: HeaderValue, stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, StreamError>> + Send + 'static,
    {
        Self::with_body(StatusCode::OK, Some(content_type), Body::Stream(Box::pin(stream)))
    }

    /// 200 with Server-Sent Events; the stream yields whole, already formatted blocks ([`sse_event`]). It ends when
    /// the process drains; clients reconnect with `Last-Event-ID`.
    pub fn sse<S>(stream: S) -> Self
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        let stream: ByteStream = Box::pin(stream.map(Ok));
        Self::with_body(
            StatusCode::OK,
            Some(HeaderValue::from_static("text/event-stream")),
            Body::Events(stream),
        )
        .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        // nginx buffers answers unless told not to.
        .with_header(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))
    }

    /// Sets a header, replacing one of that name.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets `Location`; a value that is no header text is left out.
    pub fn with_location(self, location: &str) -> Self {
        match HeaderValue::from_str(location) {
            Ok(value) => self.with_header(header::LOCATION, value),
            Err(_) => self,
        }
    }

    /// The answer's code, for the metric's `code` label, e.g. `APPLIED`.
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer's code, or "".
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The headers so far.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The body's bytes, unless it is a stream; for tests of handlers.
    pub fn body_bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Empty => Some(&[]),
            Body::Full(bytes) => Some(bytes),
            Body::Stream(_) | Body::Events(_) => None,
        }
    }

    pub(super) fn into_warp(self, draining: &CancellationToken) -> warp::reply::Response {
        let mut reply = match self.body {
            Body::Empty => http::Response::new(None::<Bytes>).into_response(),
            Body::Full(bytes) => http::Response::new(bytes).into_response(),
            Body::Stream(stream) => warp::reply::stream(Shareable(Mutex::new(stream))).into_response(),
            Body::Events(stream) => {
                let end = draining.clone().cancelled_owned();
                let stream: ByteStream = Box::pin(stream.take_until(end));
                warp::reply::stream(Shareable(Mutex::new(stream))).into_response()
            }
        };
        *reply.status_mut() = self.status;
        *reply.headers_mut() = self.headers;
        reply
    }
}

/// One event as text: `event`, `id` (may be empty) and JSON data on one line.
pub fn sse_event<T: Serialize + ?Sized>(event: &str, id: &str, data: &T) -> Bytes {
    // serde_json writes no line breaks, so data stays on one line.
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    format!("event: {event}\n{id}data: {data}\n\n").into()
}

/// The heartbeat: a comment that clients ignore and that keeps proxies from closing the connection.
pub fn sse_heartbeat() -> Bytes {
    Bytes::from_static(b": heartbeat\n\n")
}

/// warp asks for `Sync` streams; a mutex that is only ever reached through `&mut` makes any stream one, without locking.
struct Shareable(Mutex<ByteStream>);

impl Stream for Shareable {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.get_mut() {
            Ok(stream) => stream.as_mut().poll_next(cx),
            Err(poisoned) => poisoned.into_inner().as_mut().poll_next(cx),
        }
    }
}
