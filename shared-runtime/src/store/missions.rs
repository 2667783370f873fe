//! Members' progress, and what completed missions earn.

use shared_domain::{EventId, MemberId, Millis};

use super::error_class::StoreError;
use super::rows::{EarnedRow, MemberMissionRow, MissionTotal};
use super::{Store, in_transaction, on_connection};

impl Store {
    /// How far these members are in these events.
    pub async fn mission_progress(
        &self,
        members: &[MemberId],
        events: &[EventId],
    ) -> Result<Vec<MemberMissionRow>, StoreError> {
        on_connection!(self, |q, conn| q::mission::progress(conn, members, events).await)
    }

    /// What all members did, mission by mission.
    pub async fn mission_totals(&self) -> Result<Vec<MissionTotal>, StoreError> {
        on_connection!(self, |q, conn| q::mission::totals(conn).await)
    }

    /// Whether an event has missions.
    pub async fn has_missions(&self, event: EventId) -> Result<bool, StoreError> {
        on_connection!(self, |q, conn| q::mission::has_missions(conn, event).await)
    }

    /// What completed missions earned and the log does not have, behind a row, oldest first.
    pub async fn earned(&self, after: i64, limit: i64) -> Result<Vec<EarnedRow>, StoreError> {
        on_connection!(self, |q, conn| q::mission_outbox::unpublished(conn, after, limit).await)
    }

    /// Notes that the broker has acknowledged these.
    pub async fn mark_earned_published(&self, ids: &[i64], now: Millis) -> Result<(), StoreError> {
        in_transaction!(self, |q, tx| q::mission_outbox::mark_published(tx, ids, now).await)
    }

    /// Whether something that an event's missions earned is not published.
    pub async fn holds_earned(&self, event: EventId) -> Result<bool, StoreError> {
        on_connection!(self, |q, conn| q::mission_outbox::holds(conn, event).await)
    }

    /// When the oldest of what is not published was earned.
    pub async fn oldest_earned(&self) -> Result<Option<Millis>, StoreError> {
        on_connection!(self, |q, conn| q::mission_outbox::oldest(conn).await)
    }
}
