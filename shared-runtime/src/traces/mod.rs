//! Traces (OpenTelemetry): from a sampled request over its record in the log to the transaction that decided it.
//!
//! Off unless an endpoint is set. A span is made only where its trace is recorded: the decision comes first, so that all
//! other requests cost one random number. No span has a member, a token, a contact or anything else that a caller chose.

mod args;
mod batch;
mod context;
mod export;
mod publish;
mod request;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

pub use args::TraceArgs;
pub(crate) use batch::{BatchSpan, Linked};
pub use context::SpanContext;
pub(crate) use context::sampled;
pub use export::Exporting;
pub use publish::Publishing;
pub(crate) use request::ListenerTraces;
pub use request::{Callers, RequestTrace};

/// Of the process, like its metrics.
static TRACER: OnceLock<Tracer> = OnceLock::new();

/// Makes spans.
#[derive(Debug)]
struct Tracer {
    sdk: SdkTracer,
    /// Share of what nobody before has decided on.
    ratio: f64,
}

impl Tracer {
    /// Whether to record something. Not by the trace's id, which a stranger may have chosen.
    fn chooses(&self) -> bool {
        rand::random::<f64>() < self.ratio
    }

    /// A span that has begun, as the context of what it causes.
    fn begin(&self, span: SpanBuilder, parent: &Context) -> Context {
        Context::new().with_span(self.sdk.build_with_context(span, parent))
    }
}

/// Whether this process traces.
pub(crate) fn is_on() -> bool {
    TRACER.get().is_some()
}

fn span(name: String, kind: SpanKind, attributes: Vec<KeyValue>) -> SpanBuilder {
    SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes)
}

/// What every span about a lane has, by the conventions for messaging.
fn of_lane(
    lane: &shared_proto::Lane,
    operation: &'static str,
    operation_type: &'static str,
) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation_type),
        KeyValue::new("messaging.destination.name", lane.topic.clone()),
        KeyValue::new("messaging.destination.partition.id", lane.partition.to_string()),
    ]
}

/// A number of things, as attributes take it.
fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}
