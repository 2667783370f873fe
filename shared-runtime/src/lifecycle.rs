//! From start to exit: readiness, signals, tasks that must not die unseen, and the drain.

mod args;
mod ops;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

pub use args::{LifecycleArgs, OpsArgs};
pub use ops::{healthcheck, serve_ops};

/// How often a dependency is asked.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A process's life. Clones share it.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    drain: Duration,
    global: Duration,
    shutdown: CancellationToken,
    ended: CancellationToken,
    failed: AtomicBool,
    components: Mutex<Vec<Named>>,
    alarms: Mutex<BTreeMap<String, String>>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Named {
    name: String,
    /// Why it is not ready; None when it is.
    waiting_for: Option<String>,
}

/// A part of the process that says for itself whether it is ready.
#[derive(Debug, Clone)]
pub struct Component {
    inner: Arc<Inner>,
    index: usize,
}

/// A component that is not ready, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotReady {
    /// Its name.
    pub component: String,
    /// What it waits for.
    pub reason: String,
}

/// Something that stands still although the process is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alarm {
    /// Its name.
    pub component: String,
    /// Why.
    pub reason: String,
}

impl Lifecycle {
    /// A life with the time that each task (`drain`) and all together (`global`) have to end once shutdown begins.
    pub fn new(drain: Duration, global: Duration) -> Self {
        Self(Arc::new(Inner {
            drain,
            global,
            shutdown: CancellationToken::new(),
            ended: CancellationToken::new(),
            failed: AtomicBool::new(false),
            components: Mutex::default(),
            alarms: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Begins shutdown at SIGTERM or SIGINT. A second signal ends the process at once (exit 1). Must run inside a tokio
    /// runtime. Errors: the signal handlers cannot be installed.
    pub fn listen_for_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.0.shutdown.clone();
        tokio::spawn(async move {
            for first in [true, false] {
                let name = tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = int.recv() => "SIGINT",
                };
                if first {
                    tracing::info!(signal = name, "shutting down");
                    shutdown.cancel();
                } else {
                    tracing::warn!(signal = name, "second signal: leaving at once");
                    std::process::exit(1);
                }
            }
        });
        Ok(())
    }

    /// Cancelled when shutdown begins.
    pub fn shutdown_token(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// Cancelled when everything else has ended: what must outlive the drain (the ops listener) waits for this.
    pub fn ended_token(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// How long one task may take to end, e.g. an HTTP drain.
    pub fn drain_budget(&self) -> Duration {
        self.0.drain
    }

    /// Begins shutdown; the exit code stays 0.
    pub fn begin_shutdown(&self) {
        self.0.shutdown.cancel();
    }

    /// Begins shutdown because something is broken; the exit code becomes 1.
    pub fn fail(&self, reason: &str) {
        tracing::error!(reason, "shutting down after a failure");
        self.0.failed.store(true, Ordering::Release);
        self.0.shutdown.cancel();
    }

    /// Registers a component; it is not ready until it says so.
    pub fn component(&self, name: impl Into<String>) -> Component {
        let mut components = self.0.components();
        components.push(Named { name: name.into(), waiting_for: Some("starting".to_owned()) });
        Component { inner: Arc::clone(&self.0), index: components.len() - 1 }
    }

    /// What is not ready; empty when the process is. During shutdown it never is.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let mut list: Vec<_> = self
            .0
            .components()
            .iter()
            .filter_map(|c| Some(NotReady { component: c.name.clone(), reason: c.waiting_for.clone()? }))
            .collect();
        if self.0.shutdown.is_cancelled() {
            list.push(NotReady { component: "process".to_owned(), reason: "shutting down".to_owned() });
        }
        list
    }

    /// What stands still although the process is ready: name and reason. `/readyz` shows it.
    pub fn set_alarms(&self, alarms: BTreeMap<String, String>) {
        *self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner) = alarms;
    }

    /// See [`set_alarms`](Self::set_alarms).
    pub fn alarms(&self) -> Vec<Alarm> {
        let alarms = self.0.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms
            .iter()
            .map(|(name, reason)| Alarm { component: name.clone(), reason: reason.clone() })
            .collect()
    }

    /// A component that is ready while `ask` says so: a dependency, asked every two seconds.
    pub fn watch<F>(&self, name: &'static str, ask: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let (component, stop) = (self.component(name), self.shutdown_token());
        self.spawn(format!("{name} watch"), async move {
            while !stop.is_cancelled() {
                match ask().await {
                    Ok(()) => component.ready(),
                    Err(reason) => component.not_ready(reason),
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(WATCH_EVERY) => {}
                }
            }
            Ok(())
        });
    }

    /// Runs a task for the life of the process, with the default drain budget. It should end soon after
    /// [`shutdown_token`](Self::shutdown_token); that it ends, fails or panics before begins a shutdown with exit 1.
    pub fn spawn<F>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.spawn_with_budget(name, self.0.drain, task);
    }

    /// As [`spawn`](Self::spawn), with a drain budget of its own, after which the task is aborted (exit 1).
    pub fn spawn_with_budget<F>(&self, name: impl Into<String>, budget: Duration, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (life, name) = (self.clone(), name.into());
        let mut handle = tokio::spawn(task);
        self.0.tasks.spawn(async move {
            let early = tokio::select! {
                biased;
                ended = &mut handle => Some(ended),
                () = life.0.shutdown.cancelled() => None,
            };
            let during_shutdown = life.0.shutdown.is_cancelled();
            let ended = match early {
                Some(ended) => ended,
                None => match tokio::time::timeout(budget, &mut handle).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        handle.abort();
                        return life.fail(&format!("task {name} did not end within {budget:?}"));
                    }
                },
            };
            match ended {
                Ok(Ok(())) if during_shutdown => tracing::debug!(task = name, "ended"),
                Ok(Ok(())) => life.fail(&format!("task {name} ended unexpectedly")),
                Ok(Err(error)) => life.fail(&format!("task {name}: {error:#}")),
                Err(error) => life.fail(&format!("task {name} died: {error}")),
            }
        });
    }

    /// Waits for shutdown to begin and for the tasks to end, at most the global budget. 0 when all went well, 1 when a
    /// task failed or did not end in time.
    pub async fn run(&self) -> ExitCode {
        if self.finish().await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// As [`run`](Self::run), telling whether all went well.
    pub async fn finish(&self) -> bool {
        let inner = &self.0;
        inner.shutdown.cancelled().await;
        inner.tasks.close();
        if tokio::time::timeout(inner.global, inner.tasks.wait()).await.is_err() {
            self.fail(&format!("{} tasks did not end within {:?}", inner.tasks.len(), inner.global));
        }
        inner.ended.cancel();
        !inner.failed.load(Ordering::Acquire)
    }
}

impl Inner {
    fn components(&self) -> MutexGuard<'_, Vec<Named>> {
        // Plain values, whole at every moment: a panic elsewhere leaves nothing half done.
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Component {
    /// It is ready.
    pub fn ready(&self) {
        self.set(None);
    }

    /// It is not ready, and why, e.g. "the database does not answer".
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, waiting_for: Option<String>) {
        let mut components = self.inner.components();
        let Some(named) = components.get_mut(self.index) else { return };
        match (&named.waiting_for, &waiting_for) {
            (Some(_), None) => tracing::info!(component = named.name, "ready"),
            (None, Some(reason)) => tracing::warn!(component = named.name, reason, "not ready"),
            _ => {}
        }
        named.waiting_for = waiting_for;
    }
}
