//! Activities: lanes by member, in whose batches progress is counted instead of entries decided (DESIGN section 9).

use shared_domain::EventId;
use shared_proto::Lane;

use super::apply::{Applied, ApplyError, Unparked};
use super::batch::{LaneBatch, LaneMemory};
use super::lane_store::{LaneKind, LaneStore};
use crate::store::Store;
use crate::store::error_class::StoreError;
use crate::store::lane_tx::CursorMove;
use crate::store::rows::ProgressRow;

/// A store as the loop over activity lanes sees it.
#[derive(Clone)]
pub struct ActivityStore {
    store: Store,
    replay: bool,
}

impl ActivityStore {
    /// Over a store. `replay`: what counts for an event that is not decided again is passed over.
    pub fn new(store: Store, replay: bool) -> Self {
        Self { store, replay }
    }
}

impl LaneStore for ActivityStore {
    const HOLDS: LaneKind = LaneKind::Activities;

    fn system(&self) -> &'static str {
        self.store.system()
    }

    async fn progress_of(&self, lane: &Lane) -> Result<Vec<ProgressRow>, StoreError> {
        self.store.progress_of(lane).await
    }

    async fn insert_progress(&self, row: &ProgressRow) -> Result<(), StoreError> {
        self.store.insert_progress(row).await
    }

    async fn apply(&self, batch: &LaneBatch, memory: &LaneMemory, now: i64) -> Result<Applied, ApplyError> {
        self.store.count_activities(batch, memory, now, self.replay).await
    }

    /// Nothing parks here.
    async fn unpark(
        &self,
        _: &CursorMove<'_>,
        _: &LaneBatch,
        _: EventId,
        _: i64,
        _: &LaneMemory,
    ) -> Result<Unparked, ApplyError> {
        Ok(Unparked::default())
    }

    async fn unpark_requests(&self) -> Result<Vec<(EventId, i32, Option<String>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn refuse_unpark(&self, _: EventId, _: i32, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
