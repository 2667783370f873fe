//! What a client asks.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, header};
use serde::de::DeserializeOwned;
use shared_domain::Violation;
use shared_proto::TRACEPARENT;

use super::{HttpLimits, Problem, json, request_id};
use crate::traces::RequestTrace;

/// The client went away in the middle of its body.
pub(super) struct Aborted;

pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, Aborted>> + Send>>;

/// A body that was refused is read on (and thrown away) this far, so that the client, still sending, sees the answer
/// and not a reset connection.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_millis(500);

/// A request with its body not yet read.
pub struct Request {
    /// The method as sent; HEAD stays HEAD although the GET handler answers it.
    pub method: Method,
    /// The path as sent, without the query.
    pub path: String,
    /// The raw query, without `?`. May hold a receipt: never log it.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    request_id: HeaderValue,
    /// Its span, where it has one.
    pub(super) trace: RequestTrace,
    /// None: it has none.
    body: Option<BodyStream>,
    body_limit: usize,
    body_timeout: Duration,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers and query hold tokens and receipts.
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn new(
        method: Method,
        path: String,
        query: Option<String>,
        headers: HeaderMap,
        body: Option<BodyStream>,
        limits: &HttpLimits,
    ) -> Self {
        let request_id = request_id::of(&headers);
        let (body_limit, body_timeout) = (limits.body_limit, limits.body_read_timeout);
        let trace = RequestTrace::default();
        Self { method, path, query, headers, request_id, trace, body, body_limit, body_timeout }
    }

    /// A request that came over no socket, for tests of handlers.
    pub fn local(method: Method, path: &str, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        let body = futures::stream::iter([Ok(body.into())]).boxed();
        Self::new(method, path.to_owned(), query, headers, Some(body), &HttpLimits::default())
    }

    /// The id that the answer carries as `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        // Checked to be visible ASCII when it was taken.
        self.request_id.to_str().unwrap_or_default()
    }

    pub(super) fn request_id_value(&self) -> &HeaderValue {
        &self.request_id
    }

    /// The listener's limit for bodies, in bytes.
    pub fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// A header's text; None when it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }

    /// A query parameter, decoded; the first of that name.
    pub fn query_param(&self, name: &str) -> Option<String> {
        let query = self.query.as_deref()?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Refuses query parameters that the route does not know, so that a typo is not silently dropped.
    /// Errors: 422 with pointer `query:NAME`.
    pub fn only_query(&self, known: &[&str]) -> Result<(), Problem> {
        let Some(query) = self.query.as_deref() else { return Ok(()) };
        let unknown: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| !known.contains(&name.as_ref()))
            .map(|(name, _)| Violation::new(format!("query:{name}"), "unknown parameter"))
            .collect();
        if unknown.is_empty() { Ok(()) } else { Err(Problem::invalid_request(unknown)) }
    }

    /// What the records that this request makes are part of: its span; else the client's trace, if it named one.
    pub fn trace(&self) -> RequestTrace {
        if self.trace.is_recorded() {
            return self.trace.clone();
        }
        RequestTrace::passed_on(self.header(TRACEPARENT))
    }

    /// Reads the whole body. Errors: 413 above `limit` bytes (announced or not), 408 when it does not arrive in time,
    /// 400 when the client breaks off.
    pub async fn read_body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let Some(mut body) = self.body.take() else { return Ok(Bytes::new()) };
        let announced = self.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            // Who waits for "100 Continue" is not sending; reading would only invite the body.
            if !self.headers.contains_key(header::EXPECT) {
                linger(&mut body).await;
            }
            return Err(Problem::body_too_large(limit));
        }
        match tokio::time::timeout(self.body_timeout, collect(&mut body, limit)).await {
            Ok(Ok(Some(body))) => Ok(body),
            Ok(Ok(None)) => {
                linger(&mut body).await;
                Err(Problem::body_too_large(limit))
            }
            // Nobody is there to read this; it ends the handler without a word in the log.
            Ok(Err(Aborted)) => Err(Problem::bad_request("INCOMPLETE_BODY", "the body broke off")),
            Err(_) => Err(Problem::request_timeout()),
        }
    }

    /// Reads a JSON body. Errors: as [`read_body`](Self::read_body); 415 for another content type; 400 `INVALID_JSON`
    /// for what does not parse; 422 with a pointer for what does not fit `T`.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Problem> {
        if !json::is_json(&self.headers) {
            return Err(Problem::unsupported_media_type());
        }
        json::parse(&self.read_body(limit).await?)
    }

    /// As [`json`](Self::json), but an empty body, with or without a content type, is `T::default()`.
    pub async fn json_or_default<T: DeserializeOwned + Default>(
        &mut self,
        limit: usize,
    ) -> Result<T, Problem> {
        if self.body.is_none() {
            return Ok(T::default());
        }
        // Boxed, so that requests without a body are not moved about with the room for reading one.
        let body = Box::pin(self.read_body(limit)).await?;
        if body.is_empty() {
            return Ok(T::default());
        }
        if !json::is_json(&self.headers) {
            return Err(Problem::unsupported_media_type());
        }
        json::parse(&body)
    }
}

async fn linger(body: &mut BodyStream) {
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Either way the answer follows.
    drop(tokio::time::timeout(LINGER, drain).await);
}

/// The body, or None as soon as it exceeds the limit.
async fn collect(body: &mut BodyStream, limit: usize) -> Result<Option<Bytes>, Aborted> {
    let Some(first) = body.next().await.transpose()? else { return Ok(Some(Bytes::new())) };
    if first.len() > limit {
        return Ok(None);
    }
    let Some(second) = body.next().await.transpose()? else { return Ok(Some(first)) };
    let mut all = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if all.len() + chunk.len() > limit {
            return Ok(None);
        }
        all.extend_from_slice(&chunk);
        next = body.next().await.transpose()?;
    }
    Ok(Some(all.freeze()))
}
