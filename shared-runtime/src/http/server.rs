//! The listener: warp's filter under hyper, with the bounds that warp's own server lacks.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, Method, header};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::{Buf, Filter, Stream};

use super::request::Aborted;
use super::server_connection::{Connection, Stop};
use super::{Problem, Request, Router, ServingThreads, request_id};

/// Answers to connections above the cap that are being written at once; beyond that they are just closed.
const REFUSALS: usize = 64;
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How long after shutdown what comes is still answered: a request may be on its way on a connection that was open, or
/// accepted by the system only, and its sender could not tell whether it was begun.
pub(super) const LAST_REQUESTS: Duration = Duration::from_millis(500);

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections cut with an answer or a stream unfinished when the budget ended.
    pub cut: usize,
}

/// [`serve_on`] the caller's own runtime.
pub async fn serve<S: Send + Sync + 'static>(
    listener: TcpListener,
    router: Router<S>,
    shutdown: CancellationToken,
    drain_budget: Duration,
) -> Drained {
    serve_on(&ServingThreads::default(), listener, router, shutdown, drain_budget).await
}

/// Serves until `shutdown`; then ends event streams, answers what was on its way ([`LAST_REQUESTS`]) and asks each
/// client to close, stops accepting, finishes what is in flight, and after `drain_budget` cuts the rest. A failing
/// accept (no file descriptors left) never ends it.
pub async fn serve_on<S: Send + Sync + 'static>(
    threads: &ServingThreads,
    listener: TcpListener,
    router: Router<S>,
    shutdown: CancellationToken,
    drain_budget: Duration,
) -> Drained {
    let limits = router.limits().clone();
    let stop = Stop { drain: shutdown.clone(), cut: CancellationToken::new() };
    let router = Arc::new(router.draining_at(stop.drain.clone()));
    let service = TowerToHyperService::new(warp::service(all_requests(router)));
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let open = TaskTracker::new();

    let mut over = pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(LAST_REQUESTS).await;
    });
    while let Some((stream, _peer)) = accept(&listener, over.as_mut()).await {
        // Answers are small and written whole; waiting for more to send only adds latency.
        drop(stream.set_nodelay(true));
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let connection =
                Connection { service: service.clone(), limits: limits.clone(), stop: stop.clone() };
            // Taken from this runtime, to be watched by the one that will serve it.
            let Ok(stream) = stream.into_std() else { continue };
            let served = async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => connection.run(stream).await,
                    Err(error) => tracing::warn!(%error, "a connection cannot be served"),
                }
                drop(place);
            };
            open.spawn_on(served, &threads.next());
        } else {
            metrics::counter!("event_http_connections_refused_total").increment(1);
            if let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() {
                open.spawn(async move {
                    refuse(stream).await;
                    drop(turn);
                });
            }
        }
    }

    drop(listener);
    open.close();
    let mut cut = 0;
    if tokio::time::timeout(drain_budget.saturating_sub(LAST_REQUESTS), open.wait()).await.is_err() {
        cut = open.len();
        tracing::warn!(connections = cut, "the drain budget ended; connections are cut");
        stop.cut.cancel();
        open.wait().await;
    }
    Drained { cut }
}

/// The next connection, or None when it is over.
async fn accept(
    listener: &TcpListener,
    mut over: Pin<&mut impl Future<Output = ()>>,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = over.as_mut() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(connection) => return Some(connection),
            // The client left before it was its turn.
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                metrics::counter!("event_http_accept_errors_total").increment(1);
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn is_connection_error(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// Tells a connection above the cap to come back, without reading what it wants.
async fn refuse(mut stream: TcpStream) {
    let body = Problem::unavailable("too many connections").to_json();
    let id = request_id::fresh();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         x-request-id: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        id.to_str().unwrap_or_default(),
        body.len()
    );
    let answer = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would reset the connection and take the answer with it.
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    drop(tokio::time::timeout(Duration::from_secs(1), answer).await);
}

/// The one warp filter: takes everything, rejects nothing.
fn all_requests<S: Send + Sync + 'static>(
    router: Arc<Router<S>>,
) -> impl Filter<Extract = (warp::reply::Response,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw().map(Some).or(warp::any().map(|| None)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method, path: warp::path::FullPath, query, headers, body| {
            let request = request(method, path.as_str(), query, headers, body, &router);
            Arc::clone(&router).dispatch(request)
        })
}

fn request<S: Send + Sync + 'static, B: Buf, E>(
    method: Method,
    path: &str,
    query: Option<String>,
    headers: HeaderMap,
    body: impl Stream<Item = Result<B, E>> + Send + 'static,
    router: &Router<S>,
) -> Request {
    let body = has_body(&headers).then(|| {
        let chunks = body.map(|chunk| match chunk {
            Ok(mut chunk) => Ok(chunk.copy_to_bytes(chunk.remaining())),
            Err(_) => Err(Aborted),
        });
        chunks.boxed()
    });
    Request::new(method, path.to_owned(), query, headers, body, router.limits())
}

/// Whether a body follows the head (RFC 9112, 6.3).
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}
