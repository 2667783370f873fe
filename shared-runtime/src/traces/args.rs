//! Settings of traces.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use url::Url;

use super::export::{Exporting, Queue};
use super::{TRACER, Tracer};
use crate::config::{ConfigError, not_empty};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What is traced, and where it goes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// Base URL of an OTLP/HTTP collector, e.g. http://collector:4318; without it nothing is traced
    #[arg(long, env = ENDPOINT, value_parser = endpoint)]
    otel_exporter_otlp_endpoint: Option<Url>,
    /// Share of requests that is traced, 0 to 1
    #[arg(long, env, default_value_t = 0.01, value_parser = ratio)]
    trace_sample_ratio: f64,
}

impl TraceArgs {
    /// Begins to trace for this process, if an endpoint is set; give back what comes of it at the end. Call it once, before
    /// listeners and readers of the log are made, inside a tokio runtime. Errors: no HTTP client for that endpoint.
    pub fn start(
        &self,
        service: &'static str,
        version: &'static str,
    ) -> Result<Option<Exporting>, ConfigError> {
        let Some(base) = &self.otel_exporter_otlp_endpoint else { return Ok(None) };
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", version))
            .with_attribute(KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()))
            .build();
        let (queue, exporting) =
            Queue::to(base, &resource).map_err(|problem| ConfigError::new(ENDPOINT, problem))?;
        // What is begun is recorded: `Tracer::chooses` and those who call us decide what is begun.
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(queue).build();
        let tracer = Tracer { sdk: provider.tracer("event-system"), ratio: self.trace_sample_ratio };
        if TRACER.set(tracer).is_err() {
            tracing::warn!("traces were begun before; the first settings stay");
        }
        tracing::info!(endpoint = %base, ratio = self.trace_sample_ratio, "tracing");
        Ok(Some(exporting))
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(&not_empty(text)?).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err("must be an http or https URL without a query".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials; OTEL_EXPORTER_OTLP_HEADERS does".to_owned());
    }
    Ok(url)
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}
