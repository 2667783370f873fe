//! Logs and metrics of a process.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;

/// Upper bounds of every histogram, in seconds.
pub const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Samples wait in memory between two upkeeps, so this also bounds them.
const UPKEEP: Duration = Duration::from_secs(5);

/// How logs are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Settings of the log, which goes to standard error.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct TelemetryArgs {
    /// What is logged, e.g. `info` or `info,api_gateway=debug`; RUST_LOG stands in when this is not set
    #[arg(long = "log", env = "LOG")]
    pub log: Option<String>,
    /// How it is written
    #[arg(long, env, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

impl TelemetryArgs {
    /// Starts logging and metrics for this process; a second call changes nothing. Errors: a filter that does not parse.
    pub fn init(&self) -> Result<PrometheusHandle, ConfigError> {
        init(self.log.as_deref(), self.log_format)
    }
}

/// Starts logging (filter: this one, else `RUST_LOG`, else `info`) and metrics. A second call keeps the first's log.
/// Errors: a filter that does not parse.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<PrometheusHandle, ConfigError> {
    let from_env = std::env::var("RUST_LOG").ok();
    let (setting, text) = match (filter, from_env.as_deref()) {
        (Some(text), _) => ("LOG", text),
        (None, Some(text)) if !text.is_empty() => ("RUST_LOG", text),
        (None, _) => ("LOG", "info"),
    };
    let filter = EnvFilter::try_new(text).map_err(|error| ConfigError::new(setting, error))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error here means that a log is installed already, which stays.
    let installed = match format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init().is_ok(),
        LogFormat::Text => log.try_init().is_ok(),
    };
    if installed {
        std::panic::set_hook(Box::new(on_panic));
    }
    Ok(metrics_handle())
}

/// The process's metrics: installed at the first call, the same handle at every later one.
pub fn metrics_handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = match builder.set_buckets(&BUCKETS_SECONDS) {
                Ok(builder) => builder,
                // Only an empty list is refused.
                Err(_) => PrometheusBuilder::new(),
            };
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            handle
        })
        .clone()
}

/// Folds waiting samples into their histograms, for ever. Run it as a task of the process.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

thread_local! {
    /// Whether a panic on this thread is caught and logged by who catches it.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let text = info.to_string();
    if CAUGHT.get() {
        LAST_PANIC.set(Some(text));
    } else {
        tracing::error!(panic = text, "panicked");
    }
}

/// Calls a function; a panic in it becomes an error that says what and where, for the caller to log.
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CAUGHT.replace(true);
    // Nobody sees the state that a panic left behind: callers give up what they called.
    let called = catch_unwind(AssertUnwindSafe(call));
    CAUGHT.set(outer);
    called.map_err(|payload| LAST_PANIC.take().unwrap_or_else(|| panic_text(payload.as_ref())))
}

/// Runs a future; a panic in it becomes an error, as in [`catch_panic`]. It is not polled again after that.
pub(crate) async fn catch_panics<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(move |cx| match catch_panic(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_with_its_text() {
        let caught = catch_panics(async { panic!("boom") }).await;
        assert!(caught.unwrap_err().contains("boom"));
        assert_eq!(catch_panics(async { 7 }).await, Ok(7));
    }

    #[test]
    fn metrics_are_installed_once_and_rendered() {
        let (handle, again) = (metrics_handle(), metrics_handle());
        metrics::histogram!("telemetry_test_seconds").record(0.003);
        assert!(
            again.render().contains("telemetry_test_seconds_bucket{le=\"0.005\"} 1"),
            "{}",
            handle.render()
        );
    }

    #[test]
    fn a_wrong_filter_is_named() {
        assert_eq!(init(Some("info,=="), LogFormat::Text).unwrap_err().setting, "LOG");
    }
}
