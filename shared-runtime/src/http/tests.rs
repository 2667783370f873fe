//! The HTTP layer over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

mod connections;

#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Thing {
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Default)]
struct State {
    running: AtomicUsize,
}

/// What the document says of a route here does not matter, except to the tests of the document.
fn any(id: &'static str) -> Operation {
    Operation::new(id, "For tests").empty(200, "Done")
}

struct Server {
    addr: std::net::SocketAddr,
    shutdown: CancellationToken,
    done: JoinHandle<Drained>,
    state: Arc<State>,
}

fn limits() -> HttpLimits {
    HttpLimits { body_limit: 100, ..HttpLimits::default() }
}

async fn start(limits: HttpLimits) -> Server {
    let state = Arc::new(State::default());
    let router = Router::new(Arc::clone(&state), limits)
        .unwrap()
        .route(
            Method::GET,
            "/things/{id}",
            |_, request: Request, params: Params| async move {
                let id = params.id("id").ok_or_else(Problem::event_not_found)?;
                Ok(Response::ok(
                    &serde_json::json!({"id": id, "bearer": request.bearer(), "q": request.query_param("q")}),
                ))
            },
            any("getThing").path("id", "Thing", openapi::id(), 7).member(),
        )
        .route(
            Method::POST,
            "/things",
            |_, mut request: Request, _| async move {
                let thing: Thing = request.json(request.body_limit()).await?;
                Ok(Response::json(StatusCode::CREATED, &thing).with_location("/things/1").with_code("MADE"))
            },
            any("makeThing").body::<Thing>(true, 100, serde_json::json!({"options": ["A"]})).location(201),
        )
        .route(
            Method::POST,
            "/maybe",
            |_, mut request: Request, _| async move {
                Ok(Response::ok(&request.json_or_default::<Thing>(100).await?))
            },
            any("maybe"),
        )
        .route(Method::GET, "/panic", |_, _, _| async move { panic!("on purpose") }, any("panic"))
        .route(Method::GET, "/busy", |_, _, _| async move { Err(Problem::try_again(3)) }, any("busy"))
        .route(
            Method::GET,
            "/page",
            |_, request: Request, _| async move {
                request.only_query(&["limit", "cursor"])?;
                Ok(Response::ok(&Page::of(&request)?.limit))
            },
            any("page").page(),
        )
        .route(
            Method::GET,
            "/slow",
            |state: Arc<State>, _, _| async move {
                state.running.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(400)).await;
                Ok(Response::text(StatusCode::OK, "slow"))
            },
            any("slow"),
        )
        .route(
            Method::GET,
            "/events",
            |_, _, _| async move {
                let first =
                    futures::stream::iter([sse_event("position", "1", &serde_json::json!({"ahead": 2}))]);
                Ok(Response::sse(first.chain(futures::stream::pending())))
            },
            any("events"),
        )
        .route(
            Method::GET,
            "/export",
            |_, _, _| async move {
                let csv = http::HeaderValue::from_static("text/csv");
                Ok(Response::stream(
                    csv,
                    futures::stream::iter([Ok(Bytes::from("a,b\n")), Ok(Bytes::from("1,2\n"))]),
                ))
            },
            any("export"),
        )
        .documented(About { title: "Things", version: "1", description: "For tests." });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let done = tokio::spawn(async move {
        let threads = ServingThreads::start(2).unwrap();
        serve_on(&threads, listener, router, stop, Duration::from_millis(900)).await
    });
    Server { addr, shutdown, done, state }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends raw text and reads until the server closes.
    async fn raw(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn ask(&self, line: &str, headers: &str, body: &str) -> String {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.raw(&format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{length}\r\n{body}"))
            .await
    }

    async fn post(&self, path: &str, content_type: &str, body: &str) -> String {
        self.ask(&format!("POST {path}"), &format!("content-type: {content_type}\r\n"), body).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset after the answer still leaves the answer.
    drop(
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all))
            .await
            .expect("server closes"),
    );
    String::from_utf8(all).unwrap()
}

/// Reads until the text appears.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let mut chunk = [0; 4096];
    while !all.contains(text) {
        let n = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut chunk)).await.unwrap().unwrap();
        assert!(n > 0, "closed before {text:?}: {all}");
        all.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
    }
    all
}

#[track_caller]
fn check(answer: &str, status: u16, holds: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "wanted {status}: {answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    for part in holds {
        assert!(answer.contains(part), "no {part:?} in {answer}");
    }
}

#[tokio::test]
async fn routes_and_methods() {
    let server = start(limits()).await;
    let get = |path: &'static str| server.ask(path, "", "");
    check(&get("GET /things/7?q=a%20b").await, 200, &[r#""id":7"#, r#""q":"a b""#, "application/json"]);
    check(&get("GET /things/x").await, 404, &["EVENT_NOT_FOUND", "application/problem+json"]);
    check(&get("GET /nowhere").await, 404, &[r#""code":"NOT_FOUND""#]);
    check(&get("GET /things/").await, 404, &["NOT_FOUND"]);
    check(&get("DELETE /things/7").await, 405, &["METHOD_NOT_ALLOWED", "allow: GET, HEAD\r\n"]);
    check(&get("OPTIONS /things/7").await, 405, &["allow: GET, HEAD\r\n"]);
    check(&get("GET /busy").await, 429, &["TRY_AGAIN", "retry-after: 3\r\n"]);
    let head = get("HEAD /things/7").await;
    check(&head, 200, &["content-length: "]);
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
    check(&get("GET /export").await, 200, &["text/csv", "a,b\n", "1,2\n"]);
    check(&get("GET /page?limit=5").await, 200, &["\r\n\r\n5"]);
    check(&get("GET /page?limit=201").await, 422, &["query:limit"]);
    check(&get("GET /page?limt=5").await, 422, &["query:limt"]);
    let authorized = server.ask("GET /things/1", "authorization: bearer abc\r\n", "").await;
    check(&authorized, 200, &[r#""bearer":"abc""#]);
}

#[tokio::test]
async fn bodies() {
    let server = start(limits()).await;
    let json = "application/json; charset=utf-8";
    let made = server.post("/things", json, r#"{"options":["A"]}"#).await;
    check(&made, 201, &["location: /things/1", r#"{"options":["A"]}"#]);
    check(&server.post("/things", "text/plain", "{}").await, 415, &["UNSUPPORTED_MEDIA_TYPE"]);
    check(&server.ask("POST /things", "", "{}").await, 415, &["UNSUPPORTED_MEDIA_TYPE"]);
    check(&server.post("/things", json, "{").await, 400, &["INVALID_JSON"]);
    check(&server.post("/things", json, "").await, 400, &["INVALID_JSON"]);
    let wrong = server.post("/things", json, r#"{"options":["A",2]}"#).await;
    check(&wrong, 422, &["INVALID_REQUEST", r#""pointer":"/options/1""#]);
    check(&server.post("/things", json, r#"{"option":[]}"#).await, 422, &[r#""pointer":"/option""#]);

    check(&server.ask("POST /maybe", "", "").await, 200, &["[]"]);
    check(&server.post("/maybe", json, "").await, 200, &["[]"]);
    check(&server.post("/maybe", "text/plain", "x").await, 415, &[]);
    check(&server.post("/maybe", json, r#"{"options":["B"]}"#).await, 200, &["\"B\""]);
}

#[tokio::test]
async fn too_large_announced_or_chunked() {
    let server = start(limits()).await;
    let big = "x".repeat(300_000);
    check(&server.post("/things", "application/json", &big).await, 413, &["BODY_TOO_LARGE", "100 bytes"]);
    let chunks: String = (0..40).map(|_| format!("a\r\n{}\r\n", "y".repeat(10))).collect();
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let text =
        format!("POST /things HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{chunked}\r\n{chunks}0\r\n\r\n");
    check(&server.raw(&text).await, 413, &["BODY_TOO_LARGE"]);
    let small = "POST /things HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".to_owned() + chunked;
    check(&server.raw(&(small + "\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")).await, 201, &[]);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let server = start(HttpLimits { body_read_timeout: Duration::from_millis(100), ..limits() }).await;
    let text =
        "POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    check(&server.raw(text).await, 408, &["REQUEST_TIMEOUT"]);
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let server = start(limits()).await;
    let echoed = server.ask("GET /nowhere", "x-request-id: my-id-1\r\n", "").await;
    check(&echoed, 404, &["x-request-id: my-id-1\r\n"]);
    for bad in ["two words".to_owned(), "x".repeat(129)] {
        let made = server.ask("GET /things/1", &format!("x-request-id: {bad}\r\n"), "").await;
        assert!(!made.contains(&bad), "{made}");
        check(&made, 200, &[]);
    }
}

#[tokio::test]
async fn a_panic_is_one_500_and_the_server_goes_on() {
    let server = start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = until(&mut stream, "INTERNAL").await;
    check(&answer, 500, &[]);
    assert!(!answer.contains("on purpose"), "{answer}");
    check(&server.ask("GET /things/1", "", "").await, 200, &[]);
}

#[tokio::test]
async fn cors_names_only_the_listed() {
    let cors_allowed_origins = vec!["https://shop.example".to_owned()];
    let server = start(HttpLimits { cors_allowed_origins, ..limits() }).await;
    let ask = "access-control-request-method: POST\r\n";
    let ours = server.ask("OPTIONS /things", &format!("origin: https://shop.example\r\n{ask}"), "").await;
    check(
        &ours,
        204,
        &[
            "access-control-allow-origin: https://shop.example",
            "access-control-allow-methods: POST",
            "X-Entry-Receipt",
            "Idempotency-Key",
            "vary: Origin",
        ],
    );
    let other = server.ask("OPTIONS /things", &format!("origin: https://evil.example\r\n{ask}"), "").await;
    check(&other, 204, &["vary: Origin"]);
    assert!(!other.contains("access-control"), "{other}");
    let plain = server.ask("GET /things/1", "origin: https://shop.example\r\n", "").await;
    check(
        &plain,
        200,
        &["access-control-allow-origin: https://shop.example", "expose-headers: Location, Retry-After"],
    );
    check(&server.ask("GET /nowhere", "origin: https://shop.example\r\n", "").await, 404, &["allow-origin"]);
}

#[tokio::test]
async fn one_too_many_in_flight_is_503_and_streams_do_not_count() {
    let server = start(HttpLimits { max_in_flight: 1, ..limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    check(&until(&mut stream, "\"ahead\":2").await, 200, &["text/event-stream", "event: position\nid: 1\n"]);
    let (slow, refused) = tokio::join!(server.ask("GET /slow", "", ""), async {
        while server.state.running.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.ask("GET /things/1", "", "").await
    });
    check(&slow, 200, &["slow"]);
    check(&refused, 503, &["UNAVAILABLE", "retry-after: 1\r\n"]);
    check(&server.ask("GET /things/1", "", "").await, 200, &[]);
}

#[tokio::test]
async fn a_client_that_hangs_up_gives_its_place_back() {
    let server = start(HttpLimits { max_in_flight: 1, ..limits() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while server.state.running.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    check(&server.ask("GET /things/1", "", "").await, 200, &[]);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503() {
    let server = start(HttpLimits { request_timeout: Duration::from_millis(50), ..limits() }).await;
    check(&server.ask("GET /slow", "", "").await, 503, &["UNAVAILABLE", "retry-after: 1"]);
}

#[tokio::test]
async fn requests_are_counted_by_route_status_and_code() {
    let metrics = crate::telemetry::metrics_handle();
    let server = start(limits()).await;
    server.post("/things", "application/json", "{}").await;
    server.ask("GET /busy", "", "").await;
    server.ask("GET /else/where", "", "").await;
    let text = metrics.render();
    for line in [
        r#"event_http_requests_total{route="/things",status="201",code="MADE"} "#,
        r#"event_http_requests_total{route="/busy",status="429",code="TRY_AGAIN"} "#,
        r#"event_http_requests_total{route="(none)",status="404",code="NOT_FOUND"} "#,
        r#"event_http_request_seconds_bucket{route="/things",le="0.0005"}"#,
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}
