//! The way of ended spans to the collector: a bounded queue and one task. A collector that is away costs spans, and nobody
//! time. The SDK's own batch processor is a thread that blocks, does not tell how many spans it dropped, and holds the end of
//! the process up.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Spans that wait, about 1 KiB each.
const QUEUE: usize = 2_048;
/// Spans a request to the collector.
const BATCH: usize = 512;
/// How long a span waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// A request to the collector, with its retries.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Takes ended spans. What there is no room for is dropped.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

/// The task that sends what was taken.
#[derive(Debug)]
pub struct Exporting {
    task: JoinHandle<()>,
    closing: CancellationToken,
}

impl Queue {
    /// To the collector at this base URL. Errors: no client can be made for it.
    pub(super) fn to(base: &Url, resource: &Resource) -> Result<(Self, Exporting), String> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // Spans go to the configured place, not to where it points.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let endpoint = format!("{}/v1/traces", base.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint);
        let mut exporter = exporter.with_timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        Ok(Self::with(exporter))
    }

    fn with(exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static) -> (Self, Exporting) {
        let (sender, spans) = mpsc::channel(QUEUE);
        let closing = CancellationToken::new();
        let task = tokio::spawn(send(spans, exporter, closing.clone()));
        (Self(sender), Exporting { task, closing })
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            metrics::counter!("event_trace_spans_dropped_total", "reason" => "queue_full").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Nothing: [`Exporting::close`] ends it.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Exporting {
    /// Sends what is queued, in vain when the budget ends.
    pub async fn close(mut self, budget: Duration) {
        self.closing.cancel();
        if timeout(budget, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

async fn send(
    mut spans: mpsc::Receiver<SpanData>,
    exporter: impl opentelemetry_sdk::trace::SpanExporter,
    closing: CancellationToken,
) {
    let mut failing = false;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled(), if !spans.is_closed() => spans.close(),
            taken = spans.recv_many(&mut batch, BATCH) => if taken == 0 { return },
        }
        if batch.is_empty() {
            continue;
        }
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH && !spans.is_closed() {
            let room = BATCH - batch.len();
            let more =
                closing.run_until_cancelled(timeout_at(until, spans.recv_many(&mut batch, room))).await;
            if !matches!(more, Some(Ok(1..))) {
                break;
            }
        }
        let count = batch.len() as u64;
        match exporter.export(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await {
            Ok(()) => {
                metrics::counter!("event_trace_spans_exported_total").increment(count);
                if std::mem::take(&mut failing) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                metrics::counter!("event_trace_spans_dropped_total", "reason" => "not_taken")
                    .increment(count);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the collector does not take spans; they are dropped");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

    use super::*;
    use crate::telemetry::metrics_handle;

    #[derive(Debug, Clone, Default)]
    struct Taken(Arc<Mutex<Vec<usize>>>);

    impl opentelemetry_sdk::trace::SpanExporter for Taken {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().push(batch.len());
            Ok(())
        }
    }

    /// Takes spans, tells of them here, and says nothing to who sent them.
    #[derive(Debug)]
    struct Hangs(mpsc::UnboundedSender<usize>);

    impl opentelemetry_sdk::trace::SpanExporter for Hangs {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.send(batch.len()).unwrap();
            std::future::pending().await
        }
    }

    fn tracer(queue: Queue) -> SdkTracer {
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(queue);
        provider.build().tracer("test")
    }

    #[tokio::test]
    async fn the_end_sends_what_is_queued() {
        let taken = Taken::default();
        let (queue, exporting) = Queue::with(taken.clone());
        let tracer = tracer(queue);
        (0..1_300).for_each(|_| tracer.start("span").end());
        exporting.close(Duration::from_secs(10)).await;
        let batches = taken.0.lock().unwrap().clone();
        assert_eq!(batches.iter().sum::<usize>(), 1_300, "{batches:?}");
        assert!(batches.iter().all(|batch| *batch <= BATCH), "{batches:?}");
    }

    #[tokio::test]
    async fn a_collector_that_hangs_costs_spans_and_no_time() {
        let metrics = metrics_handle();
        let (sender, mut sent) = mpsc::unbounded_channel();
        let (queue, exporting) = Queue::with(Hangs(sender));
        let tracer = tracer(queue);
        tracer.start("span").end();
        // The first batch is on its way, for ever.
        assert_eq!(sent.recv().await, Some(1));
        // No await here: whoever ends a span waits for nothing.
        (0..QUEUE + 100).for_each(|_| tracer.start("span").end());
        let dropped = "event_trace_spans_dropped_total{reason=\"queue_full\"} 100";
        assert!(metrics.render().contains(dropped), "{}", metrics.render());
        let (begun, budget) = (Instant::now(), Duration::from_millis(200));
        exporting.close(budget).await;
        assert!((budget..TIMEOUT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
