//! The ops listener, and the client that asks it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use utoipa::ToSchema;

use super::{Alarm, Lifecycle, NotReady};
use crate::config::ConfigError;
use crate::http::{About, HttpLimits, Operation, Response, Router, openapi, serve};
use crate::telemetry;

const TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_BUDGET: Duration = Duration::from_secs(1);

struct Ops {
    life: Lifecycle,
    metrics: PrometheusHandle,
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    not_ready: Vec<NotReady>,
    alarms: Vec<Alarm>,
}

/// Serves `/livez`, `/readyz` and `/metrics` until the life has ended, so that a draining process still says so.
/// Run it in a task of its own, before anything that may take time. Errors: none in practice (no CORS is set).
pub async fn serve_ops(
    listener: TcpListener,
    life: Lifecycle,
    metrics: PrometheusHandle,
) -> Result<(), ConfigError> {
    let ended = life.ended_token();
    let upkeep = telemetry::upkeep(metrics.clone());
    let limits = HttpLimits {
        max_connections: 256,
        max_in_flight: 64,
        request_timeout: Duration::from_secs(5),
        ..HttpLimits::default()
    };
    let router = Router::new(Arc::new(Ops { life, metrics }), limits)?
        // Asks nothing and nobody: a dependency that is down is no reason to be restarted.
        .route(
            Method::GET,
            "/livez",
            |_, _, _| async { Ok(Response::text(StatusCode::OK, "ok\n")) },
            Operation::new("livez", "The process lives").content(
                200,
                "text/plain",
                "It does",
                openapi::text(),
                json!("ok\n"),
            ),
        )
        .route(
            Method::GET,
            "/readyz",
            |ops: Arc<Ops>, _, _| async move { Ok(ops.readiness()) },
            Operation::new("readyz", "Whether it can do its work, and what is missing")
                .answer::<Readiness>(200, "Ready", json!({"ready": true, "not_ready": [], "alarms": []}))
                .answer::<Readiness>(503, "Not ready", json!({
                    "ready": false, "not_ready": [{"component": "database", "reason": "starting"}], "alarms": [],
                })),
        )
        .route(
            Method::GET,
            "/metrics",
            |ops: Arc<Ops>, _, _| async move {
                let text_format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                Ok(Response::bytes(StatusCode::OK, text_format, ops.metrics.render().into()))
            },
            Operation::new("metrics", "Figures for Prometheus").content(
                200,
                "text/plain",
                "Prometheus text format 0.0.4",
                openapi::text(),
                json!("event_http_requests_total{route=\"/livez\",status=\"200\",code=\"\"} 1\n"),
            ),
        )
        .documented(About {
            title: "Ops listener",
            version: env!("CARGO_PKG_VERSION"),
            description: "Probes and figures of one process; keep it off the internet.",
        });
    tokio::select! {
        _ = serve(listener, router, ended, CLOSE_BUDGET) => {}
        () = upkeep => {}
    }
    Ok(())
}

impl Ops {
    fn readiness(&self) -> Response {
        let not_ready = self.life.not_ready();
        let ready = not_ready.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let response = Response::json(status, &Readiness { ready, not_ready, alarms: self.life.alarms() });
        if ready {
            response
        } else {
            response.with_header(http::header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
    }
}

/// Whether the process with this ops address is ready: `/readyz` answers 200 within two seconds.
pub async fn healthcheck(ops_addr: SocketAddr) -> bool {
    matches!(tokio::time::timeout(TIMEOUT, ask_readyz(reachable(ops_addr))).await, Ok(Ok(true)))
}

async fn ask_readyz(addr: SocketAddr) -> std::io::Result<bool> {
    const OK: &[u8] = b"HTTP/1.1 200 ";
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut start = [0; OK.len()];
    stream.read_exact(&mut start).await?;
    Ok(start == OK)
}

/// An address to listen on every interface is no address to connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
