//! An in-process Redis: RESP2 over TCP on loopback, so that the real client connects to it unchanged.
//!
//! It knows what this system uses: strings, counters, expiry, sorted sets and transactions, with Redis' own error
//! texts. `tests/redis_suite.rs` runs one table of commands against it and against a real Redis.

mod commands;
mod reply;
mod sorted;
mod store;
mod strings;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::commands::Session;
use self::store::Store;
use crate::clock::{SharedClock, SystemClock};

/// How often a part of the keyspace is searched for dead keys.
const SWEEP_EVERY: Duration = Duration::from_millis(200);
/// Replies that are written before more commands are read.
const FLUSH_BYTES: usize = 64 * 1024;

struct Shared {
    store: Store,
    sessions: AtomicI64,
    delay_ms: AtomicU64,
}

/// The server. Dropping it, or `shutdown`, closes the port and every connection; the data goes with it.
#[derive(Debug)]
pub struct FakeRedis {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl FakeRedis {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port to be had, or called outside a Tokio runtime.
    pub fn start() -> io::Result<Self> {
        Self::start_with_clock(Arc::new(SystemClock))
    }

    /// As `start`, with expiry by the given clock.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with_clock(clock: SharedClock) -> io::Result<Self> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;

        let shared = Arc::new(Shared {
            store: Store::new(clock),
            sessions: AtomicI64::new(0),
            delay_ms: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(run(listener, shared.clone(), stop.clone()));
        tasks.close();
        Ok(Self { address, shared, tasks, _stop_on_drop: stop.clone().drop_guard(), stop })
    }

    /// Where a client connects: `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// For fault tests: every answer from now on comes this much later (whole milliseconds). An hour is a server
    /// that accepts and never answers; answers that wait already are not shortened.
    pub fn delay_answers(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Stops, and returns when no task of it is left.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Accepts and sweeps until stopped; the connections are its own and end with it.
async fn run(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = sweep.tick() => shared.store.sweep(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = shared.clone();
                    connections.spawn(async move {
                        if let Err(error) = connection(stream, &shared).await {
                            tracing::debug!(%error, "connection to the embedded Redis ended");
                        }
                    });
                }
                // Out of descriptors: the next try may find some.
                Err(error) => {
                    tracing::warn!(%error, "the embedded Redis could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut session = Session::new(shared.sessions.fetch_add(1, Ordering::Relaxed) + 1);
    let mut input = BytesMut::with_capacity(4096);
    let mut output = BytesMut::new();
    loop {
        let reply = match wire::next_command(&mut input) {
            Ok(Some(args)) => session.execute(&shared.store, args),
            Ok(None) => {
                answer(&mut stream, &mut output, shared).await?;
                if session.closing || stream.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
                continue;
            }
            Err(problem) => {
                session.closing = true;
                BytesFrame::Error(format!("ERR {problem}").into())
            }
        };
        extend_encode(&mut output, &reply, false).map_err(|error| io::Error::other(error.to_string()))?;
        if session.closing {
            return answer(&mut stream, &mut output, shared).await;
        }
        if output.len() > FLUSH_BYTES {
            answer(&mut stream, &mut output, shared).await?;
        }
    }
}

async fn answer(stream: &mut TcpStream, output: &mut BytesMut, shared: &Shared) -> io::Result<()> {
    if output.is_empty() {
        return Ok(());
    }
    let delay = shared.delay_ms.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    stream.write_all(output).await?;
    output.clear();
    Ok(())
}
