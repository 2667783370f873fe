//! A collector of traces: takes OTLP over HTTP, and tells what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use warp::Filter;

/// A span, and the process that made it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `service.name`.
    pub service: String,
    /// As it was sent.
    pub span: Span,
}

/// A running collector; it runs until the test's runtime ends.
#[derive(Debug, Clone)]
pub struct Collector {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Self {
        let (listener, url) = bound().await;
        let bodies = Arc::<Mutex<Vec<Bytes>>>::default();
        let taken = Arc::clone(&bodies);
        let route = warp::post()
            .and(warp::path!("v1" / "traces"))
            .and(warp::header::exact("content-type", "application/x-protobuf"))
            .and(warp::body::bytes())
            .map(move |body: Bytes| {
                taken.lock().expect("no panic").push(body);
                // An empty answer: everything was taken.
                warp::reply()
            });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        Self { url, bodies }
    }

    /// Everything so far, in the order in which it came.
    pub fn spans(&self) -> Vec<Seen> {
        let bodies = self.bodies.lock().expect("no panic").clone();
        let mut all = Vec::new();
        for body in bodies {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
            for resource in request.resource_spans {
                let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
                let service = text(&attributes, "service.name");
                let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                all.extend(spans.map(|span| Seen { service: service.clone(), span }));
            }
        }
        all
    }

    /// Whether anything that was sent holds these bytes.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let bodies = self.bodies.lock().expect("no panic");
        bodies.iter().any(|body| body.windows(bytes.len()).any(|window| window == bytes))
    }
}

/// One that takes connections and never answers. Its URL, and the connections so far.
pub async fn hanging() -> (String, Arc<Mutex<Vec<TcpStream>>>) {
    let (listener, url) = bound().await;
    let connections = Arc::<Mutex<Vec<TcpStream>>>::default();
    let kept = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            kept.lock().expect("no panic").push(stream);
        }
    });
    (url, connections)
}

async fn bound() -> (TcpListener, String) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    (listener, url)
}

/// A span's attribute, as text; "" where there is none.
pub fn text(attributes: &[KeyValue], key: &str) -> String {
    match attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref()?.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
