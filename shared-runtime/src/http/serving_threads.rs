//! Threads that answer requests, each with a runtime of its own.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Threads that serve connections. A connection stays on one of them, so that what it waits for wakes no other thread: a
/// runtime that shares its tasks among threads spends a good part of a short answer's time on that.
///
/// They live until this is dropped: what a request has opened (a connection to a store, say) may be used by others, also
/// after the listener has drained.
/// The default is none: connections are served by the runtime of whoever listens.
#[derive(Debug, Default)]
pub struct ServingThreads {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    end: CancellationToken,
}

impl ServingThreads {
    /// So many threads. Errors: the system gives none.
    pub fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let mut threads = Self { runtimes: Vec::with_capacity(count), next: AtomicUsize::new(0), end };
        for n in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.runtimes.push(runtime.handle().clone());
            let end = threads.end.clone();
            let thread = std::thread::Builder::new().name(format!("serving-{n}"));
            thread.spawn(move || runtime.block_on(end.cancelled()))?;
        }
        Ok(threads)
    }

    /// The one whose turn it is; the caller's runtime where there is none.
    pub(super) fn next(&self) -> Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match self.runtimes.len() {
            0 => Handle::current(),
            count => self.runtimes[turn % count].clone(),
        }
    }
}

impl Drop for ServingThreads {
    fn drop(&mut self) {
        self.end.cancel();
    }
}
