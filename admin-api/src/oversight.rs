//! Figures over all events, for dashboards and alerts: what is parked, won and paid against what may be, where draws stand,
//! and when the last deletion was certified. Read from the database, so that a restart or another instance says the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use shared_domain::{EventDefinition, EventId};
use shared_runtime::store::error_class::StoreError;
use tokio_util::sync::CancellationToken;

use crate::reward_totals::KEPT_MS;
use crate::{AdminParts, view};

const EVERY: Duration = Duration::from_secs(5);

/// Looks at everything.
pub struct Oversight {
    parts: Arc<AdminParts>,
    /// Policies stand from scheduling on.
    known: BTreeMap<EventId, EventDefinition>,
}

/// Over all events that may still pay, or ended a month ago at most.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    winners: i64,
    paid: i64,
    budget: i64,
    /// Events that gave more than they may.
    exceeded: Vec<EventId>,
}

impl Oversight {
    pub(crate) fn new(parts: Arc<AdminParts>) -> Self {
        Self { parts, known: BTreeMap::new() }
    }

    /// Looks every five seconds until shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the figures over all events could not be read");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Looks once. Errors: a database; what was read before it is told.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let (events, records) = self.parts.store.parked_totals().await?;
        metrics::gauge!("event_parked_events").set(events as f64);
        metrics::gauge!("event_parked_records").set(records as f64);
        for (phase, draws) in self.parts.store.draws_by_phase().await? {
            metrics::gauge!("event_draws", "phase" => phase.name()).set(draws as f64);
        }
        let given = self.given().await?;
        metrics::gauge!("event_winners").set(given.winners as f64);
        metrics::gauge!("event_paid_points").set(given.paid as f64);
        metrics::gauge!("event_budget_points").set(given.budget as f64);
        metrics::gauge!("event_budgets_exceeded").set(given.exceeded.len() as f64);
        for event in given.exceeded {
            tracing::error!(event_id = event, alarm = "budget", "more was given than the event may give");
        }
        let certificate = self.parts.keys.last_certificate().await?;
        if let Some(at) = certificate.as_deref().and_then(completed_at) {
            metrics::gauge!("event_last_deletion_certificate_timestamp_seconds").set(at);
        }
        Ok(())
    }

    async fn given(&mut self) -> Result<Given, StoreError> {
        let parts = Arc::clone(&self.parts);
        let since = parts.clock.now_ms() - KEPT_MS;
        // Prizes are read behind the winners: they only become more.
        let totals = parts.store.reward_totals(since).await?;
        self.known.retain(|event, _| totals.contains_key(event));
        let unknown: Vec<EventId> =
            totals.keys().filter(|event| !self.known.contains_key(event)).copied().collect();
        for row in parts.store.event_rows(&unknown).await? {
            if let Some(definition) = view::definition(&row) {
                self.known.insert(row.event_id, definition);
            }
        }
        let events: Vec<EventId> = self.known.keys().copied().collect();
        let mut prizes: BTreeMap<EventId, i64> = BTreeMap::new();
        for (event, granted) in parts.store.prizes(&events).await? {
            let sum = prizes.entry(event).or_default();
            *sum = sum.saturating_add(granted);
        }
        let mut given = Given::default();
        for (event, (winners, paid)) in totals {
            let Some(definition) = self.known.get(&event) else { continue };
            let ceiling = definition.ceiling(prizes.get(&event).copied().unwrap_or(0), winners);
            given.winners = given.winners.saturating_add(winners);
            given.paid = given.paid.saturating_add(paid);
            given.budget = given.budget.saturating_add(ceiling.points);
            if ceiling.is_exceeded(winners, paid) {
                given.exceeded.push(event);
            }
        }
        Ok(given)
    }
}

/// Unix seconds at which a deletion had ended, by its certificate.
fn completed_at(certificate: &str) -> Option<f64> {
    let certificate: Value = serde_json::from_str(certificate).ok()?;
    let at = DateTime::parse_from_rfc3339(certificate["completed_at"].as_str()?).ok()?;
    Some(at.timestamp_millis() as f64 / 1_000.0)
}
