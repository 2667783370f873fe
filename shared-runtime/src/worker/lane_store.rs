//! What the loop needs from a store: the seam for simulators and tests.

use std::future::Future;

use shared_domain::EventId;
use shared_proto::Lane;
use shared_proto::v1::log_record::Kind;

use super::apply::{Applied, ApplyError, Unparked};
use super::batch::{LaneBatch, LaneMemory};
use crate::store::Store;
use crate::store::error_class::StoreError;
use crate::store::lane_tx::CursorMove;
use crate::store::rows::ProgressRow;

/// What the lanes of a loop hold. A record of the other kind has been written by nobody of ours: it goes to the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneKind {
    /// Entries and commands of events.
    Events,
    /// Activities of members. One that cannot be counted parks nobody: it goes to the dead letters, and may be reported again.
    Activities,
}

impl LaneKind {
    /// Whether a record belongs there.
    pub fn holds(self, kind: &Kind) -> bool {
        matches!(kind, Kind::Activity(_)) == (self == Self::Activities)
    }
}

/// A database as the loop sees it. Each call is one transaction.
pub trait LaneStore: Clone + Send + Sync + 'static {
    /// What its lanes hold.
    const HOLDS: LaneKind = LaneKind::Events;
    /// The database's name in OpenTelemetry's conventions.
    fn system(&self) -> &'static str {
        "other_sql"
    }
    /// Cursors of one lane, whatever the log.
    fn progress_of(&self, lane: &Lane) -> impl Future<Output = Result<Vec<ProgressRow>, StoreError>> + Send;
    /// Makes a cursor.
    fn insert_progress(&self, row: &ProgressRow) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Applies a batch.
    fn apply(
        &self,
        batch: &LaneBatch,
        memory: &LaneMemory,
        now: i64,
    ) -> impl Future<Output = Result<Applied, ApplyError>> + Send;
    /// Decides a block of parked records.
    fn unpark(
        &self,
        cursor: &CursorMove<'_>,
        batch: &LaneBatch,
        event: EventId,
        block: i64,
        memory: &LaneMemory,
    ) -> impl Future<Output = Result<Unparked, ApplyError>> + Send;
    /// Events whose parked records an operator wants decided: event, lane, topic.
    fn unpark_requests(
        &self,
    ) -> impl Future<Output = Result<Vec<(EventId, i32, Option<String>)>, StoreError>> + Send;
    /// Takes such a request back.
    fn refuse_unpark(
        &self,
        event: EventId,
        lane: i32,
        reason: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl LaneStore for Store {
    fn system(&self) -> &'static str {
        Store::system(self)
    }

    async fn progress_of(&self, lane: &Lane) -> Result<Vec<ProgressRow>, StoreError> {
        Store::progress_of(self, lane).await
    }

    async fn insert_progress(&self, row: &ProgressRow) -> Result<(), StoreError> {
        Store::insert_progress(self, row).await
    }

    async fn apply(&self, batch: &LaneBatch, memory: &LaneMemory, now: i64) -> Result<Applied, ApplyError> {
        Store::apply(self, batch, memory, now).await
    }

    async fn unpark(
        &self,
        cursor: &CursorMove<'_>,
        batch: &LaneBatch,
        event: EventId,
        block: i64,
        memory: &LaneMemory,
    ) -> Result<Unparked, ApplyError> {
        Store::unpark(self, cursor, batch, event, block, memory).await
    }

    async fn unpark_requests(&self) -> Result<Vec<(EventId, i32, Option<String>)>, StoreError> {
        Store::unpark_requests(self).await
    }

    async fn refuse_unpark(&self, event: EventId, lane: i32, reason: &str) -> Result<(), StoreError> {
        Store::refuse_unpark(self, event, lane, reason).await
    }
}
