//! The span of a record on its way to the log, whose context goes with it.

use std::borrow::Cow;

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use shared_proto::{Lane, TRACEPARENT};

use super::request::command;
use super::{RequestTrace, TRACER, Tracer, context, of_lane, span};
use crate::log::producer::ProduceError;

/// A record on its way. Most have no trace, and cost nothing.
#[derive(Debug)]
pub struct Publishing(Option<Box<Part>>);

#[derive(Debug)]
struct Part {
    traceparent: String,
    span: Option<Context>,
}

impl RequestTrace {
    /// For a record that this request makes.
    pub fn publish(&self, lane: &Lane) -> Publishing {
        if let Some((tracer, request)) = self.recorded() {
            return Publishing::begin(tracer, request, lane);
        }
        let passed_on = |text: &str| Box::new(Part { traceparent: text.to_owned(), span: None });
        Publishing(self.of_client().map(passed_on))
    }
}

impl Publishing {
    /// For a record that a process makes by itself, if it is one that is recorded.
    pub fn root(lane: &Lane) -> Self {
        let tracer = TRACER.get().filter(|tracer| tracer.chooses());
        tracer.map_or(Self(None), |tracer| Self::begin(tracer, &Context::new(), lane))
    }

    fn begin(tracer: &Tracer, parent: &Context, lane: &Lane) -> Self {
        let attributes = of_lane(lane, "publish", "send");
        let span =
            tracer.begin(span(format!("publish {}", lane.topic), SpanKind::Producer, attributes), parent);
        let traceparent = context::header(span.span().span_context());
        Self(Some(Box::new(Part { traceparent, span: Some(span) })))
    }

    /// Names the command that the record carries.
    pub fn of_command(self, id: &[u8]) -> Self {
        if let Some(span) = self.span() {
            span.span().set_attribute(command(id));
        }
        self
    }

    /// The record's headers: its own, and `traceparent` where there is one.
    pub fn headers<'a>(&'a self, own: &'a [(&'a str, &'a str)]) -> Cow<'a, [(&'a str, &'a str)]> {
        match &self.0 {
            None => Cow::Borrowed(own),
            Some(part) => Cow::Owned([own, &[(TRACEPARENT, part.traceparent.as_str())]].concat()),
        }
    }

    /// Ends the span with what became of the record, and gives that on.
    pub fn ended(&self, outcome: Result<i64, ProduceError>) -> Result<i64, ProduceError> {
        if let Some(span) = self.span() {
            let span = span.span();
            match &outcome {
                Ok(offset) => span.set_attribute(KeyValue::new("messaging.kafka.offset", *offset)),
                Err(error) => {
                    let kind = match error {
                        ProduceError::QueueFull => "queue_full",
                        ProduceError::Unknown(_) => "outcome_unknown",
                        ProduceError::Refused(_) => "refused",
                    };
                    span.set_attribute(KeyValue::new("error.type", kind));
                    span.set_status(Status::error(""));
                }
            }
            span.end();
        }
        outcome
    }

    fn span(&self) -> Option<&Context> {
        self.0.as_ref()?.span.as_ref()
    }
}
