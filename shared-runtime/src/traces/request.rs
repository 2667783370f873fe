//! A request's span, and what its handler hands on.

use std::sync::Arc;

use http::{Method, StatusCode};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use uuid::Uuid;

use super::{TRACER, Tracer, context, is_on, span};

/// Who calls a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Strangers: they may name the trace that a request belongs to, and have no say in whether it is recorded. A flood of
    /// `traceparent`s costs no more than `TRACE_SAMPLE_RATIO` of it.
    Strangers,
    /// Staff: a trace that they record is recorded here, one that they do not is not.
    Staff,
}

/// The spans of a listener.
pub(crate) struct ListenerTraces {
    tracer: &'static Tracer,
    callers: Callers,
}

/// What a request is part of. Clones share its span.
#[derive(Debug, Clone, Default)]
pub struct RequestTrace(Option<Arc<Part>>);

#[derive(Debug)]
enum Part {
    /// A client's `traceparent`; nothing is recorded here.
    PassedOn(String),
    Recorded {
        tracer: &'static Tracer,
        span: Context,
        method: &'static str,
    },
}

impl ListenerTraces {
    /// None where the process does not trace.
    pub(crate) fn of(callers: Callers) -> Option<Self> {
        Some(Self { tracer: TRACER.get()?, callers })
    }

    #[cfg(test)]
    pub(super) fn with(tracer: &'static Tracer, callers: Callers) -> Self {
        Self { tracer, callers }
    }

    /// Begins a request's span, if it is one that is recorded.
    pub(crate) fn begin<'a>(
        &self,
        method: &Method,
        traceparent: impl FnOnce() -> Option<&'a str>,
    ) -> RequestTrace {
        let parent = match self.callers {
            // Those that are not recorded cost no look at their headers.
            Callers::Strangers if !self.tracer.chooses() => return RequestTrace::default(),
            Callers::Strangers | Callers::Staff => traceparent().and_then(context::parse),
        };
        let recorded = match (&parent, self.callers) {
            (_, Callers::Strangers) => true,
            (Some(parent), Callers::Staff) => parent.is_sampled(),
            (None, Callers::Staff) => self.tracer.chooses(),
        };
        if !recorded {
            return RequestTrace::default();
        }
        let parent =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let method = known(method);
        let attributes = vec![KeyValue::new("http.request.method", method)];
        let span = self.tracer.begin(span(method.to_owned(), SpanKind::Server, attributes), &parent);
        RequestTrace(Some(Arc::new(Part::Recorded { tracer: self.tracer, span, method })))
    }
}

impl RequestTrace {
    /// Of a request that is not recorded.
    pub(crate) fn passed_on(traceparent: Option<&str>) -> Self {
        let traceparent = traceparent.and_then(|text| context::passed_on(text, is_on()));
        Self(traceparent.map(|text| Arc::new(Part::PassedOn(text))))
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded().is_some()
    }

    /// The request's span.
    pub(super) fn recorded(&self) -> Option<(&'static Tracer, &Context)> {
        match self.0.as_deref()? {
            Part::Recorded { tracer, span, .. } => Some((tracer, span)),
            Part::PassedOn(_) => None,
        }
    }

    /// What the client sent, for a record of a request that is not recorded.
    pub(super) fn of_client(&self) -> Option<&str> {
        match self.0.as_deref()? {
            Part::PassedOn(text) => Some(text),
            Part::Recorded { .. } => None,
        }
    }

    /// Names the command that the request made: the record that carries it into the log has a span with the same id.
    pub fn made_command(&self, id: [u8; 16]) {
        if let Some((_, span)) = self.recorded() {
            span.span().set_attribute(command(&id));
        }
    }

    /// Ends the request's span. `route` is the pattern, without what the path had in its place.
    pub(crate) fn answered(&self, route: Option<&'static str>, status: StatusCode, code: &'static str) {
        let Some(Part::Recorded { span, method, .. }) = self.0.as_deref() else { return };
        let span = span.span();
        if let Some(route) = route {
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route));
        }
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if !code.is_empty() {
            span.set_attribute(KeyValue::new("event_system.code", code));
        }
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// A method may be any word that a stranger likes.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == known).unwrap_or("_OTHER")
}

pub(super) fn command(id: &[u8]) -> KeyValue {
    KeyValue::new("event_system.command_id", Uuid::from_slice(id).unwrap_or_default().to_string())
}
