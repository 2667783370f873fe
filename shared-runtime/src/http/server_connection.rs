//! One connection: its clocks, and its end.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::HttpLimits;
use super::server::LAST_REQUESTS;

/// A request's head must fit. hyper's buffers start at 8 KiB and never grow beyond this.
const MAX_BUFFER: usize = 16 * 1024;

/// How often a connection's clock is read at most.
const LOOK: Duration = Duration::from_secs(2);
/// A connection that has been idle so long gives its buffers back.
const FOLD_AFTER: Duration = Duration::from_secs(1);

/// The two ways in which a listener ends its connections.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// After the last requests and their answers.
    pub(super) drain: CancellationToken,
    /// At once.
    pub(super) cut: CancellationToken,
}

/// What serves one accepted stream.
pub(super) struct Connection<V> {
    pub(super) service: V,
    pub(super) limits: HttpLimits,
    pub(super) stop: Stop,
}

impl<V, B> Connection<V>
where
    V: Service<http::Request<Incoming>, Response = http::Response<B>>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Serves until the client, a clock or the listener ends it. What a client does wrong is no news for the log.
    pub(super) async fn run(self, stream: TcpStream) {
        let mut idle = Waiting { stream, read: Bytes::new(), since: Instant::now() };
        // A connection that waits has no buffers: opened and left, or kept between requests, it costs next to nothing.
        while self.bytes_come(&idle).await {
            // Boxed, so that the waiting does not hold the room for what follows.
            match Box::pin(self.serve(idle)).await {
                Some(waits_again) => idle = waits_again,
                None => return,
            }
        }
    }

    /// Waits for the first byte of a request; false when none came in time.
    async fn bytes_come(&self, idle: &Waiting) -> bool {
        if !idle.read.is_empty() {
            return true;
        }
        let over = async {
            tokio::select! {
                () = tokio::time::sleep_until(idle.since + self.limits.keep_alive_timeout) => {}
                () = self.stop.drain.cancelled() => tokio::time::sleep(LAST_REQUESTS).await,
            }
        };
        // Peeked, because "readable" alone is also said of a socket that has nothing yet.
        let mut first = [0];
        tokio::select! {
            biased;
            peeked = idle.stream.peek(&mut first) => matches!(peeked, Ok(1..)),
            () = self.stop.cut.cancelled() => false,
            () = over => false,
        }
    }

    /// Answers requests until the connection ends (None) or has nothing to do for a while.
    async fn serve(&self, idle: Waiting) -> Option<Waiting> {
        let clock = Arc::new(Clock::new(idle.since));
        let io = TokioIo::new(Watched { stream: idle.stream, read: idle.read, clock: Arc::clone(&clock) });
        let service = hyper::service::service_fn(|request| {
            clock.set(Phase::Busy);
            let done = Done(Arc::clone(&clock));
            let answer = self.service.call(request);
            async move {
                let mut answer = answer.await?;
                if self.stop.drain.is_cancelled() {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, V::Error>(answer.map(|body| Tracked { body, _done: done }))
            }
        });
        let mut builder = http1::Builder::new();
        // hyper's timeout would count a connection's idle time as header time; the clock tells them apart.
        builder.header_read_timeout(None).max_buf_size(MAX_BUFFER);
        let mut connection = builder.serve_connection(io, service);
        // In a set of their own, because a set polls only what was woken: each of these would take a lock that all
        // connections share, several times a request.
        let stop = &self.stop;
        let mut signals = FuturesUnordered::<BoxFuture<'_, Signal>>::new();
        let look = async |due| {
            tokio::time::sleep_until(due).await;
            Signal::Look
        };
        signals.push(Box::pin(look(clock.next_look(&self.limits)?)));
        signals.push(Box::pin(async {
            stop.drain.cancelled().await;
            over().await
        }));
        signals.push(Box::pin(async {
            stop.cut.cancelled().await;
            Signal::Cut
        }));
        loop {
            let signal = tokio::select! {
                biased;
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return None;
                }
                Some(signal) = signals.next() => signal,
            };
            match signal {
                // hyper would close in the middle of a head, and nobody would hear what became of the request.
                Signal::Over if clock.reads_head() => signals.push(Box::pin(over())),
                Signal::Over => Pin::new(&mut connection).graceful_shutdown(),
                Signal::Look => {
                    let next = clock.next_look(&self.limits)?;
                    if let Some(since) = clock.idle_for(FOLD_AFTER).filter(|_| !stop.drain.is_cancelled()) {
                        let parts = connection.into_parts();
                        let Watched { stream, .. } = parts.io.into_inner();
                        return Some(Waiting { stream, read: parts.read_buf, since });
                    }
                    signals.push(Box::pin(look(next)));
                }
                Signal::Cut => return None,
            }
        }
    }
}

async fn over() -> Signal {
    tokio::time::sleep(LAST_REQUESTS).await;
    Signal::Over
}

/// What reaches a connection from elsewhere.
enum Signal {
    /// It is time to read the clock.
    Look,
    /// The time for last requests has passed: end after the answer that is being written.
    Over,
    /// End at once.
    Cut,
}

/// A connection between two requests.
struct Waiting {
    stream: TcpStream,
    /// What has been read of the next one.
    read: Bytes,
    since: Instant,
}

/// What the connection is waiting for, since when.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The next request.
    Idle(Instant),
    /// The rest of a request's head.
    Head(Instant),
    /// Our own answer, which has timeouts of its own.
    Busy,
}

struct Clock {
    phase: Mutex<Phase>,
    /// The client does not read: the end of an answer still waits in hyper's buffer.
    write_blocked: AtomicBool,
}

impl Clock {
    fn new(idle_since: Instant) -> Self {
        Self { phase: Mutex::new(Phase::Idle(idle_since)), write_blocked: AtomicBool::new(false) }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // A plain value, whole at every moment.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase() = phase;
    }

    fn bytes_arrived(&self) {
        let mut phase = self.phase();
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(Instant::now());
        }
    }

    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.write_blocked.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }

    fn reads_head(&self) -> bool {
        matches!(*self.phase(), Phase::Head(_))
    }

    /// Since when it has been idle, if that is so long ago and everything is written.
    fn idle_for(&self, least: Duration) -> Option<Instant> {
        match *self.phase() {
            Phase::Idle(since) if since.elapsed() >= least => {
                (!self.write_blocked.load(Ordering::Relaxed)).then_some(since)
            }
            _ => None,
        }
    }

    /// When to look again, or None when time is up. A head that begins before the next look cannot be due by then, so
    /// the timer need not be moved for each request.
    fn next_look(&self, limits: &HttpLimits) -> Option<Instant> {
        let now = Instant::now();
        let soonest = now + limits.header_read_timeout.clamp(Duration::from_millis(1), LOOK);
        let due = match *self.phase() {
            Phase::Busy => return Some(soonest),
            Phase::Idle(since) => since + limits.keep_alive_timeout,
            Phase::Head(since) => since + limits.header_read_timeout,
        };
        (due > now).then(|| due.min(soonest))
    }
}

/// Dropped with the answer's body: the answer is written or given up.
struct Done(Arc<Clock>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.set(Phase::Idle(Instant::now()));
    }
}

pin_project! {
    struct Tracked<B> {
        #[pin]
        body: B,
        _done: Done,
    }
}

impl<B: Body> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells the clock when bytes arrive.
struct Watched {
    stream: TcpStream,
    /// Read before, and to be read again first.
    read: Bytes,
    clock: Arc<Clock>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let some = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read.split_to(some));
            self.clock.bytes_arrived();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.bytes_arrived();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.clock.wrote(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.clock.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
