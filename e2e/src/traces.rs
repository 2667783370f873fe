//! Traces through every service, on both columns: from the caller's context to the transaction that decided the entry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::collector::{Collector, Seen, hanging, text};
use crate::column::{Column, LANES};
use crate::http::{Answer, call, request, send};
use crate::log::read;
use crate::system::System;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;
/// A member that nobody else is.
const MEMBER: i64 = 7_310_492_658_017;
/// What the member says of itself, and what its client sends; no span may hold any of it.
const PERSONAL: [&str; 5] =
    ["canary-trace@mail.example", "82997312777", "Canary Road", "canary-agent", "canary-request"];

/// A trace and a span of the caller's, recorded there or not.
struct Caller {
    trace: String,
    span: String,
    flags: &'static str,
}

impl Caller {
    fn new(flags: &'static str) -> Self {
        let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
        Self { trace: format!("{trace:032x}"), span: format!("{span:016x}"), flags }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace, self.span, self.flags)
    }

    fn header(&self) -> String {
        format!("traceparent: {}\r\n", self.traceparent())
    }
}

/// Settings that trace everything.
fn settings(url: &str) -> [(&str, &str); 2] {
    [(ENDPOINT, url), ("TRACE_SAMPLE_RATIO", "1")]
}

/// A system that traces to a collector.
pub async fn traced(embedded: bool) -> (System, Collector) {
    let collector = Collector::start().await;
    let settings = settings(&collector.url);
    let system = if embedded {
        System::embedded_with(&settings).await
    } else {
        System::real_with("traces", &settings).await
    };
    (system, collector)
}

/// One entry is followed from its caller to the transaction that decided it, and a command to the log. Nothing that is
/// personal or the caller's own words is in what the collector was sent.
pub async fn from_the_caller_to_the_transaction(system: &System, collector: &Collector) {
    let event = system
        .open(json!({
            "type": "FIRST_COME", "stock": [{"count": 10}], "contact_collection": "AT_APPLY",
        }))
        .await;
    // Its own word "not recorded" counts for nothing at the public listener.
    let caller = Caller::new("00");
    let accepted = enter(system, event, MEMBER, &caller.header()).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(system.outcome(&accepted).await["status"], "WIN");

    let id = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let find = |kind: i32, holds: &dyn Fn(&Seen) -> bool| {
        collector.spans().into_iter().find(|seen| seen.span.kind == kind && holds(seen))
    };
    let wait = async |what: &str, kind: i32, holds: &dyn Fn(&Seen) -> bool| {
        let mut found = None;
        system
            .until(what, async || {
                found = find(kind, holds);
                found.is_some()
            })
            .await;
        found.expect("found")
    };
    let attribute = |seen: &Seen, key: &str| text(&seen.span.attributes, key);

    let http = wait("the request's span", SERVER, &|seen| id(&seen.span.trace_id) == caller.trace).await;
    assert_eq!(id(&http.span.parent_span_id), caller.span);
    assert_eq!(http.span.name, "POST /v1/events/{event_id}/entries");
    assert_eq!(attribute(&http, "http.route"), "/v1/events/{event_id}/entries");
    assert_eq!(attribute(&http, "http.response.status_code"), "202");
    assert_eq!(attribute(&http, "event_system.code"), "APPLIED");

    let published =
        wait("the record's span", PRODUCER, &|seen| id(&seen.span.trace_id) == caller.trace).await;
    assert_eq!(published.span.parent_span_id, http.span.span_id);
    let (partition, offset) = (
        attribute(&published, "messaging.destination.partition.id"),
        attribute(&published, "messaging.kafka.offset").parse::<i64>().expect("offset"),
    );

    let context = (&published.span.trace_id, &published.span.span_id);
    let links = |seen: &Seen| seen.span.links.iter().any(|link| (&link.trace_id, &link.span_id) == context);
    let batch = wait("the batch's span", CONSUMER, &links).await;
    assert_eq!(
        attribute(&batch, "messaging.destination.name"),
        attribute(&published, "messaging.destination.name")
    );
    assert_eq!(attribute(&batch, "messaging.destination.partition.id"), partition);
    let edge = |key: &str| attribute(&batch, key).parse::<i64>().expect("offset");
    let (first, last) = (edge("event_system.first_offset"), edge("event_system.last_offset"));
    assert!((first..=last).contains(&offset), "{first}..={last} {offset}");
    assert_eq!(attribute(&batch, "event_system.outcome"), "committed");
    let within = |seen: &Seen| seen.span.parent_span_id == batch.span.span_id;
    let transaction = wait("the transaction's span", CLIENT, &within).await;
    let database = if system.column().is_some() { "mysql" } else { "sqlite" };
    assert_eq!(attribute(&transaction, "db.system.name"), database);
    assert!(transaction.span.end_time_unix_nano <= batch.span.end_time_unix_nano);
    if system.column().is_some() {
        let services = [&http, &published, &batch, &transaction].map(|seen| seen.service.as_str());
        assert_eq!(services, ["api-gateway", "api-gateway", "apply-worker", "apply-worker"]);
    }

    // The command that scheduled the event: by its id, for the outbox has no place for a context.
    let request = wait("the command's request", SERVER, &|seen| {
        seen.span.name == "POST /admin/v1/events/{event_id}/schedule"
    })
    .await;
    let command = attribute(&request, "event_system.command_id");
    assert_eq!(command.len(), 36, "{request:?}");
    let carried =
        wait("the command's record", PRODUCER, &|seen| attribute(seen, "event_system.command_id") == command)
            .await;
    let links = |seen: &Seen| seen.span.links.iter().any(|link| link.span_id == carried.span.span_id);
    wait("the command's batch", CONSUMER, &links).await;

    let member = MEMBER.to_string();
    for personal in PERSONAL.iter().chain([&&*member]) {
        assert!(!collector.holds(personal.as_bytes()), "{personal}");
    }
    for seen in collector.spans() {
        let numbers = seen.span.attributes.iter().map(|pair| attribute(&seen, &pair.key));
        assert!(numbers.into_iter().all(|value| value != member), "{seen:?}");
        assert!(
            !["/livez", "/readyz", "/metrics"].iter().any(|route| seen.span.name.ends_with(route)),
            "{seen:?}"
        );
    }
    system.is_sound().await;
}

/// Enters with a contact, and with headers that hold the caller's own words.
async fn enter(system: &System, event: i64, member: i64, headers: &str) -> Answer {
    let contact = json!({"contact": {
        "phone_number": format!("+{}", PERSONAL[1]), "email": PERSONAL[0], "address": PERSONAL[2],
    }});
    let headers = format!(
        "{}{headers}user-agent: canary-agent\r\nx-request-id: canary-request-{member}\r\n",
        system.member(member)
    );
    call(system.public, "POST", &format!("/v1/events/{event}/entries"), &headers, &contact).await
}

/// A process that does not trace makes up no context; a client's is passed on as it came, and what is none is ignored.
pub async fn off_nothing_is_made_up(system: &System, column: &Column) {
    let event = system.open_event(10).await;
    let sent = Caller::new("01").traceparent();
    let broken = sent.replace("00-", "00-0");
    for (member, traceparent) in [(1, ""), (2, &*sent), (3, &*broken)] {
        let header =
            if traceparent.is_empty() { String::new() } else { format!("traceparent: {traceparent}\r\n") };
        let headers = format!("{}{header}x-request-id: request-{member}\r\n", system.member(member));
        let answer = system.press(event, &headers).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let mut found = BTreeMap::new();
    for lane in 0..LANES {
        for message in read(column, column.topic(), lane).await {
            let headers =
                message.headers().map(|headers| headers.iter().collect::<Vec<_>>()).unwrap_or_default();
            let value = |name: &str| {
                let header = headers.iter().find(|header| header.key == name)?;
                Some(String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
            };
            found.insert(value("x-request-id").unwrap_or_default(), value("traceparent"));
        }
    }
    for (member, traceparent) in [(1, None), (2, Some(sent)), (3, None)] {
        assert_eq!(found[&format!("request-{member}")], traceparent, "{found:?}");
    }
    // Nor had the commands of staff any.
    assert_eq!(found.values().flatten().count(), 1, "{found:?}");
}

/// A collector that takes connections and never answers: entries are answered as ever, its spans are dropped and counted,
/// and SIGTERM ends every process with 0 in time.
pub async fn a_hanging_collector_costs_nobody_time(embedded: bool) {
    let (url, connections) = hanging().await;
    let settings = [&settings(&url)[..], &[("DRAIN_BUDGET", "10s")]].concat();
    let mut system = if embedded {
        System::embedded_with(&settings).await
    } else {
        System::real_with("traces", &settings).await
    };
    let event = system.open_event(10_000).await;
    let path = format!("/v1/events/{event}/entries");
    let mut slowest = Duration::ZERO;
    for hundred in 0..10_i64 {
        let mut presses = JoinSet::new();
        for member in 1..=100_i64 {
            let bytes = request("POST", &path, &system.member(hundred * 100 + member), b"");
            let addr = system.public;
            presses.spawn(async move {
                let begun = Instant::now();
                (send(addr, &bytes).await, begun.elapsed())
            });
        }
        for (answer, took) in presses.join_all().await {
            assert_eq!(answer.status, 202, "{answer:?}");
            slowest = slowest.max(took);
        }
    }
    // The exporter's own patience is 3 s.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let gateway = system.processes.last().expect("a process");
    let dropped = "event_trace_spans_dropped_total";
    gateway.wait_for_metric(dropped, &["reason=\"not_taken\""], 1.0, Duration::from_secs(30)).await;
    assert!(!connections.lock().expect("no panic").is_empty());
    assert_eq!(gateway.metric("event_trace_spans_exported_total", &[]).await, Some(0.0));

    let begun = Instant::now();
    // Ended spans wait when the end comes.
    let last = system.enter(event, 100_000).await;
    assert_eq!(last.status, 202, "{last:?}");
    system.processes.iter().for_each(|process| process.signal("TERM"));
    for process in &mut system.processes {
        let code = process.ended(Duration::from_secs(20)).await;
        assert_eq!(code, Some(0), "{}", process.log());
    }
    let gateway = system.processes.last().expect("a process").log();
    assert!(gateway.contains("did not take the last spans in time"), "{gateway}");
    println!("SUMMARY slowest answer {slowest:?}, all ended {:?} after SIGTERM", begun.elapsed());
}

/// A wrong context at a listener that traces is no context.
pub async fn a_wrong_context_is_ignored(system: &System, collector: &Collector) {
    let wrong = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
    let headers = format!("traceparent: {wrong}\r\n");
    let answer = call(system.public, "GET", "/v1/ranking", &headers, &Value::Null).await;
    assert_ne!(answer.status, 0, "{answer:?}");
    let root = |seen: &Seen| seen.span.name == "GET /v1/ranking" && seen.span.parent_span_id.is_empty();
    system.until("the span of that request", async || collector.spans().iter().any(root)).await;
    assert!(!collector.holds(&hex_bytes("4bf92f3577b34da6a3ce929d0e0e4736")));
}

fn hex_bytes(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}
