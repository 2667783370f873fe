//! How many requests are being answered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter with a cap.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    inside: Arc<AtomicUsize>,
    cap: usize,
}

/// One request inside; leaves on drop, so a panic or a client that hangs up gives its place back.
pub(super) struct Inside(Arc<AtomicUsize>);

impl Gate {
    pub(super) fn new(cap: usize) -> Self {
        Self { inside: Arc::default(), cap }
    }

    /// A place, or None when all are taken.
    pub(super) fn enter(&self) -> Option<Inside> {
        let before = self.inside.fetch_add(1, Ordering::Relaxed);
        let inside = Inside(Arc::clone(&self.inside));
        (before < self.cap).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
