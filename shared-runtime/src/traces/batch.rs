//! The span of a batch, linked to the records in it whose traces are recorded.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use shared_proto::Lane;

use super::{TRACER, Tracer, count, of_lane, span};

/// Links a span; the SDK's own bound, too.
const LINKS: usize = 128;

/// What of a batch is recorded.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    contexts: Vec<SpanContext>,
    all: usize,
}

impl Linked {
    /// One more record.
    pub(crate) fn add(&mut self, context: &SpanContext) {
        self.all += 1;
        if self.contexts.len() < LINKS {
            self.contexts.push(context.clone());
        }
    }
}

/// The span of a batch with a record that is recorded; nothing for any other.
#[derive(Debug)]
pub(crate) struct BatchSpan(Option<Part>);

#[derive(Debug)]
struct Part {
    tracer: &'static Tracer,
    context: Context,
    transactions: AtomicU32,
}

impl BatchSpan {
    /// Begins the span of a batch of `records` between these offsets (the last one excluded).
    pub(crate) fn begin(lane: &Lane, offsets: Range<i64>, records: usize, linked: Linked) -> Self {
        Self::with(TRACER.get(), lane, offsets, records, linked)
    }

    pub(super) fn with(
        tracer: Option<&'static Tracer>,
        lane: &Lane,
        offsets: Range<i64>,
        records: usize,
        linked: Linked,
    ) -> Self {
        let Some(tracer) = tracer.filter(|_| linked.all > 0) else { return Self(None) };
        let mut attributes = of_lane(lane, "process", "process");
        attributes.extend([
            KeyValue::new("messaging.batch.message_count", count(records)),
            KeyValue::new("event_system.first_offset", offsets.start),
            KeyValue::new("event_system.last_offset", offsets.end - 1),
            KeyValue::new("event_system.sampled_records", count(linked.all)),
        ]);
        let links = linked.contexts.into_iter().map(Link::with_context).collect();
        // A trace of its own: it belongs to all of its records alike.
        let span = span(format!("process {}", lane.topic), SpanKind::Consumer, attributes).with_links(links);
        let context = tracer.begin(span, &Context::new());
        Self(Some(Part { tracer, context, transactions: AtomicU32::new(0) }))
    }

    /// Begins the span of one try of its transaction. `system`: the database's name in the conventions.
    pub(crate) fn transaction(&self, system: &'static str) -> TransactionSpan {
        TransactionSpan(self.0.as_ref().map(|part| {
            part.transactions.fetch_add(1, Ordering::Relaxed);
            let attributes = vec![
                KeyValue::new("db.system.name", system),
                KeyValue::new("db.operation.name", "TRANSACTION"),
            ];
            part.tracer.begin(span("TRANSACTION".to_owned(), SpanKind::Client, attributes), &part.context)
        }))
    }

    /// Ends it: how, and whether that is what was wanted.
    pub(crate) fn ended(self, outcome: &'static str, well: bool) {
        let Some(part) = self.0 else { return };
        let span = part.context.span();
        let retries = part.transactions.into_inner().saturating_sub(1);
        span.set_attribute(KeyValue::new("event_system.outcome", outcome));
        span.set_attribute(KeyValue::new("event_system.retries", i64::from(retries)));
        if !well {
            span.set_attribute(KeyValue::new("error.type", outcome));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of one try of a batch's transaction.
#[derive(Debug)]
pub(crate) struct TransactionSpan(Option<Context>);

impl TransactionSpan {
    /// Ends it; `error`: its kind.
    pub(crate) fn ended(self, error: Option<&'static str>) {
        let Some(context) = self.0 else { return };
        let span = context.span();
        if let Some(kind) = error {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
