//! Request metrics with handles looked up once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram};

/// The metric label of requests that match no route.
pub(super) const NO_ROUTE: &str = "(none)";

/// A route's metrics. Registering a metric hashes and compares its labels, so each is done once a thread.
pub(super) struct RouteMetrics {
    route: &'static str,
    seconds: OnceLock<Histogram>,
}

// Keyed by address and length: routes and codes are literals, and a literal that stands twice only costs a second handle.
type Key = (usize, usize, u16, usize, usize);

thread_local! {
    static COUNTERS: RefCell<HashMap<Key, Counter>> = RefCell::default();
}

impl RouteMetrics {
    pub(super) fn new(route: &'static str) -> Self {
        Self { route, seconds: OnceLock::new() }
    }

    pub(super) fn record(&self, status: StatusCode, code: &'static str, took: Duration) {
        let key =
            (self.route.as_ptr().addr(), self.route.len(), status.as_u16(), code.as_ptr().addr(), code.len());
        COUNTERS.with_borrow_mut(|counters| {
            counters
                .entry(key)
                .or_insert_with(|| {
                    metrics::counter!(
                        "event_http_requests_total",
                        "route" => self.route,
                        "status" => status.as_str().to_owned(),
                        "code" => code
                    )
                })
                .increment(1);
        });
        self.seconds
            .get_or_init(|| metrics::histogram!("event_http_request_seconds", "route" => self.route))
            .record(took.as_secs_f64());
    }
}
