//! What staff ask for, and what the relay does about it: one transaction each (DESIGN section 4, "One outbox").

mod error;
mod relay;
mod request;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use shared_domain::EventId;

pub use error::CommandError;
pub use request::delete_command_id;
pub use request::{
    Answered, Change, Changed, CommandView, ERASURE_SKEW_MS, EventTopic, EventTopics, MemberErasure, Render,
    RequestKey, StaffRequest,
};
pub(crate) use request::{Fresh, close_command_id};

use super::error_class::StoreError;
use super::rows::{EventRow, OutboxRow};
use super::{Store, in_transaction, on_connection};
use crate::clock::Random;

/// What staff see of an event beside its row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFacts {
    /// Lanes that have applied `Scheduled`.
    pub scheduled_lanes: usize,
    /// Every option is exhausted.
    pub exhausted: bool,
    /// Name, granted and left of each option.
    pub options: Vec<(String, i64, i64)>,
    /// The approval in force at the end of every lane: review number, from, until (ms). `None` where the lanes do not
    /// agree (yet), or have none.
    pub approval: Option<(String, i64, i64)>,
}

impl Store {
    /// Does what staff ask in one transaction: the change, its outbox rows, the audit line and, under an
    /// Idempotency-Key, the kept answer. Runs again, with the same ids, after errors that may pass.
    pub async fn change(
        &self,
        request: &StaffRequest,
        change: &Change,
        random: &dyn Random,
        render: &Render,
    ) -> Result<Answered, CommandError> {
        let mut fresh = Fresh::new(random);
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(500))
            .with_max_times(4)
            .with_jitter()
            .build();
        loop {
            let outcome = self.try_change(request, change, &fresh, render).await;
            match outcome {
                Err(error) if error.may_pass() => match delays.next() {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => return Err(error),
                },
                outcome => return outcome,
            }
            fresh.retried = true;
        }
    }

    async fn try_change(
        &self,
        request: &StaffRequest,
        change: &Change,
        fresh: &Fresh,
        render: &Render,
    ) -> Result<Answered, CommandError> {
        in_transaction!(self, |q, tx| q::staff::run(tx, request, change, fresh, render).await)
    }

    /// One event, deleted ones too.
    pub async fn event(&self, id: EventId) -> Result<Option<EventRow>, StoreError> {
        on_connection!(self, |q, conn| q::events::get(conn, id).await)
    }

    /// What the lanes say about these events, in the same order.
    pub async fn event_facts(&self, ids: &[EventId]) -> Result<Vec<EventFacts>, StoreError> {
        on_connection!(self, |q, conn| q::facts::of(conn, ids).await)
    }

    /// Which of these commands (16 bytes each) took effect, and in which lanes.
    pub async fn commands_in_effect(&self, ids: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, i32)>, StoreError> {
        on_connection!(self, |q, conn| q::outbox::in_effect(conn, ids).await)
    }

    /// A command over all its lanes.
    pub async fn command(&self, id: &[u8; 16]) -> Result<Option<CommandView>, StoreError> {
        let rows: Vec<OutboxRow> = on_connection!(self, |q, conn| q::outbox::command(conn, id).await)?;
        Ok(CommandView::of(&rows))
    }
}
