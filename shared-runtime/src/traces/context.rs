//! W3C trace context, version 00: what a `traceparent` says.

use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

pub use opentelemetry::trace::SpanContext;

/// The context in a `traceparent`: `00-{32 hex}-{16 hex}-{2 hex}`, lower case, no id all zero. Anything else is none.
pub(super) fn parse(traceparent: &str) -> Option<SpanContext> {
    let hex =
        |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.split('-');
    let (Some("00"), Some(trace), Some(span), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if !(hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

/// The `traceparent` of a context.
pub(super) fn header(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

/// The context in a record's `traceparent`, if its trace is recorded.
pub(crate) fn sampled(traceparent: &[u8]) -> Option<Box<SpanContext>> {
    parse(std::str::from_utf8(traceparent).ok()?).filter(SpanContext::is_sampled).map(Box::new)
}

/// What a client's context becomes in our records: as it came, so that its owner finds them. Where we trace (`on`) and do not
/// record this request it must not say that it is recorded, and is a hop of its own then, as the standard asks.
pub(super) fn passed_on(traceparent: &str, on: bool) -> Option<String> {
    let context = parse(traceparent)?;
    if !on || !context.is_sampled() {
        return Some(traceparent.to_owned());
    }
    let (span, flags) =
        (SpanId::from(rand::random::<u64>().max(1)), context.trace_flags().with_sampled(false));
    Some(header(&SpanContext::new(context.trace_id(), span, flags, false, TraceState::NONE)))
}
