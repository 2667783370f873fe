use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use shared_proto::{Lane, TRACEPARENT};

use super::{BatchSpan, Callers, Linked, ListenerTraces, RequestTrace, Tracer, context, sampled};
use crate::log::producer::ProduceError;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NOT_RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}
    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Ended {
    fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }
}

fn tracer(ratio: f64) -> (&'static Tracer, Ended) {
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(ended.clone())
        .build();
    (Box::leak(Box::new(Tracer { sdk: provider.tracer("test"), ratio })), ended)
}

fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.clone())
}

fn lane() -> Lane {
    Lane::new("event-apply-topic", 3)
}

#[test]
fn a_traceparent_is_read_as_the_standard_says_or_not_at_all() {
    let read = context::parse(RECORDED).unwrap();
    assert_eq!(context::header(&read), RECORDED);
    assert!(sampled(RECORDED.as_bytes()).is_some() && sampled(NOT_RECORDED.as_bytes()).is_none());
    for bad in [
        "",
        "00-x",
        &RECORDED.to_uppercase(),
        &RECORDED.replace("00f067aa0ba902b7", "0000000000000000"),
        &RECORDED.replace(TRACE, &"0".repeat(32)),
        &RECORDED.replace("00-", "01-"),
        &RECORDED.replace("00-", "ff-"),
        &RECORDED.replace(TRACE, &format!("+{}", &TRACE[1..])),
        &format!("{RECORDED}-01"),
        &format!(" {RECORDED}"),
    ] {
        assert!(context::parse(bad).is_none() && context::passed_on(bad, false).is_none(), "{bad}");
        assert!(context::passed_on(bad, true).is_none() && sampled(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn a_clients_context_is_passed_on_and_never_says_that_we_record_what_we_do_not() {
    for (traceparent, on) in [(RECORDED, false), (NOT_RECORDED, false), (NOT_RECORDED, true)] {
        assert_eq!(context::passed_on(traceparent, on).as_deref(), Some(traceparent));
    }
    let changed = context::parse(&context::passed_on(RECORDED, true).unwrap()).unwrap();
    assert_eq!(changed.trace_id().to_string(), TRACE);
    assert!(!changed.is_sampled() && changed.span_id().to_string() != "00f067aa0ba902b7");
}

#[test]
fn strangers_have_no_say_in_what_is_recorded_and_staff_have() {
    for (callers, ratio, traceparent, recorded) in [
        (Callers::Strangers, 0.0, Some(RECORDED), false),
        (Callers::Strangers, 0.0, None, false),
        (Callers::Strangers, 1.0, Some(NOT_RECORDED), true),
        (Callers::Strangers, 1.0, None, true),
        (Callers::Staff, 0.0, Some(RECORDED), true),
        (Callers::Staff, 1.0, Some(NOT_RECORDED), false),
        (Callers::Staff, 0.0, None, false),
        (Callers::Staff, 1.0, None, true),
        (Callers::Staff, 0.0, Some("00-x"), false),
    ] {
        let (tracer, _) = tracer(ratio);
        let trace = ListenerTraces::with(tracer, callers).begin(&Method::GET, || traceparent);
        assert_eq!(trace.is_recorded(), recorded, "{callers:?} {ratio} {traceparent:?}");
    }
    let (tracer, _) = tracer(0.25);
    let chosen = (0..10_000).filter(|_| tracer.chooses()).count();
    assert!((2_200..2_800).contains(&chosen), "{chosen}");
}

#[test]
fn a_record_carries_the_span_that_made_it_within_the_callers_trace() {
    let (tracer, ended) = tracer(1.0);
    let trace = ListenerTraces::with(tracer, Callers::Strangers).begin(&Method::POST, || Some(RECORDED));
    let publishing = trace.publish(&lane());
    let own = [("schema-version", "1")];
    let headers = publishing.headers(&own).into_owned();
    assert_eq!((headers.len(), headers[0], headers[1].0), (2, own[0], TRACEPARENT));
    let header = sampled(headers[1].1.as_bytes()).unwrap();
    assert_eq!(publishing.ended(Ok(41)), Ok(41));
    let full = trace.publish(&lane());
    assert_eq!(full.ended(Err(ProduceError::QueueFull)), Err(ProduceError::QueueFull));
    trace.answered(Some("/v1/events/{event_id}/entries"), StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");

    let spans = ended.all();
    let [published, failed, request] = &spans[..] else { panic!("{spans:?}") };
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == TRACE));
    assert_eq!(request.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(published.parent_span_id, request.span_context.span_id());
    assert_eq!(header.span_id(), published.span_context.span_id());
    assert_eq!(
        (&*request.name, &*published.name),
        ("POST /v1/events/{event_id}/entries", "publish event-apply-topic")
    );
    assert_eq!(attribute(request, "http.response.status_code"), Some(Value::I64(503)));
    assert_eq!(attribute(request, "event_system.code"), Some("UNAVAILABLE".into()));
    assert_eq!(attribute(request, "error.type"), Some("503".into()));
    assert_eq!(attribute(published, "messaging.kafka.offset"), Some(Value::I64(41)));
    assert_eq!(attribute(published, "messaging.destination.partition.id"), Some("3".into()));
    assert_eq!(attribute(failed, "error.type"), Some("queue_full".into()));
}

#[test]
fn without_a_trace_a_record_has_its_own_headers_and_nothing_is_copied() {
    let own = [("schema-version", "1")];
    let publishing = RequestTrace::default().publish(&lane());
    assert!(matches!(publishing.headers(&own), std::borrow::Cow::Borrowed(same) if same == own));
    let publishing = RequestTrace::passed_on(Some(RECORDED)).publish(&lane());
    assert_eq!(publishing.headers(&own)[1], (TRACEPARENT, RECORDED));
    let publishing = RequestTrace::passed_on(Some("00-x")).publish(&lane());
    assert_eq!(publishing.headers(&own).len(), 1);
}

#[test]
fn what_a_stranger_calls_a_method_or_a_path_is_in_no_span() {
    let (tracer, ended) = tracer(1.0);
    let method = Method::from_bytes(b"CANARY").unwrap();
    let trace = ListenerTraces::with(tracer, Callers::Strangers).begin(&method, || None);
    trace.answered(None, StatusCode::NOT_FOUND, "NOT_FOUND");
    let spans = ended.all();
    assert!(!format!("{spans:?}").contains("CANARY"), "{spans:?}");
    assert_eq!(&*spans[0].name, "_OTHER");
}

#[test]
fn a_batch_links_to_its_recorded_records_within_a_bound_and_has_no_span_without_any() {
    let (tracer, ended) = tracer(0.0);
    let begin = |linked| BatchSpan::with(Some(tracer), &lane(), 10..1_010, 1_000, linked);
    let none = begin(Linked::default());
    none.transaction("mysql").ended(None);
    none.ended("committed", true);
    assert!(ended.all().is_empty());

    let mut linked = Linked::default();
    (0..200).for_each(|_| linked.add(&sampled(RECORDED.as_bytes()).unwrap()));
    let span = begin(linked);
    span.transaction("mysql").ended(Some("database"));
    span.transaction("mysql").ended(None);
    span.ended("committed", true);
    let spans = ended.all();
    let [failed, done, batch] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(batch.links.links.len(), 128);
    assert!(batch.links.links.iter().all(|link| link.span_context.trace_id().to_string() == TRACE));
    assert_ne!(batch.span_context.trace_id().to_string(), TRACE);
    for (key, value) in [
        ("event_system.sampled_records", 200),
        ("event_system.retries", 1),
        ("event_system.first_offset", 10),
        ("event_system.last_offset", 1_009),
        ("messaging.batch.message_count", 1_000),
    ] {
        assert_eq!(attribute(batch, key), Some(Value::I64(value)), "{key}");
    }
    assert!([failed, done].iter().all(|span| span.parent_span_id == batch.span_context.span_id()));
    assert_eq!(
        (attribute(failed, "error.type"), attribute(done, "error.type")),
        (Some("database".into()), None)
    );
}
