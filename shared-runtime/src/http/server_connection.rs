//! One connection: its clocks, and its end.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

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

/// A request's head must fit. hyper's buffers start at 8 KiB and never grow beyond this.
const MAX_BUFFER: usize = 16 * 1024;

/// The two ways in which a listener ends its connections.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// After the answer that is being written.
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
        // Before its first byte a connection has no buffers: one that is opened and left costs next to nothing.
        tokio::select! {
            ready = tokio::time::timeout(self.limits.keep_alive_timeout, stream.readable()) => {
                if !matches!(ready, Ok(Ok(()))) {
                    return;
                }
            }
            () = self.stop.drain.cancelled() => return,
        }

        let clock = Arc::new(Clock(Mutex::new(Phase::Idle(Instant::now()))));
        let io = TokioIo::new(Watched { stream, clock: Arc::clone(&clock) });
        let service = hyper::service::service_fn(|request| {
            clock.set(Phase::Busy);
            let done = Done(Arc::clone(&clock));
            let answer = self.service.call(request);
            async move { Ok::<_, V::Error>(answer.await?.map(|body| Tracked { body, _done: done })) }
        });
        let mut builder = http1::Builder::new();
        // hyper's timeout would count a connection's idle time as header time; the clock tells them apart.
        builder.header_read_timeout(None).max_buf_size(MAX_BUFFER);
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut timer =
            pin!(tokio::time::sleep(self.limits.header_read_timeout.min(self.limits.keep_alive_timeout)));
        let mut drain = pin!(self.stop.drain.cancelled());
        let mut cut = pin!(self.stop.cut.cancelled());
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = drain.as_mut(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = timer.as_mut() => match clock.next_look(&self.limits) {
                    Some(at) => timer.as_mut().reset(at),
                    None => return,
                },
                () = cut.as_mut() => return,
            }
        }
    }
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

struct Clock(Mutex<Phase>);

impl Clock {
    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn bytes_arrived(&self) {
        let mut phase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(Instant::now());
        }
    }

    /// When to look again, or None when time is up. A head that begins before the next look cannot be due by then, so
    /// the timer need not be moved for each request.
    fn next_look(&self, limits: &HttpLimits) -> Option<Instant> {
        let now = Instant::now();
        let phase = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let soonest = now + limits.header_read_timeout.max(Duration::from_millis(1));
        match phase {
            Phase::Busy => Some(soonest),
            Phase::Idle(since) => {
                let due = since + limits.keep_alive_timeout;
                (due > now).then(|| due.min(soonest))
            }
            Phase::Head(since) => {
                let due = since + limits.header_read_timeout;
                (due > now).then_some(due)
            }
        }
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
    clock: Arc<Clock>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
