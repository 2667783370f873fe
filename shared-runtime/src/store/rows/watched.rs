//! What a gateway watches.

use diesel::prelude::{Queryable, Selectable};
use shared_domain::EventId;

use super::{ProgressRow, StockRow};
use crate::store::schema::event_lane;

/// One lane as gateways watch it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = event_lane)]
pub struct WatchedLane {
    /// Event.
    pub event_id: i64,
    /// Partition.
    pub lane: i32,
    /// `Scheduled` is applied.
    pub is_scheduled: bool,
    /// Entries decided.
    pub seq: i64,
    /// Winners.
    pub wins: i64,
    /// Approval in force.
    pub review_number: Option<String>,
    /// Approval in force.
    pub approved_from: Option<i64>,
    /// Approval in force.
    pub approved_until: Option<i64>,
    /// Offset of `Closed`.
    pub closed_offset: Option<i64>,
    /// Offset of `Deleted`.
    pub deleted_offset: Option<i64>,
    /// Offset that took the last prize.
    pub exhausted_offset: Option<i64>,
    /// Log of that offset.
    pub exhausted_log_id: Option<String>,
}

/// What a gateway reads a tick, in a constant number of queries.
#[derive(Debug, Clone, Default)]
pub struct SnapshotRows {
    /// Ids and versions of the events to watch.
    pub versions: Vec<(EventId, i64)>,
    /// Their lanes.
    pub lanes: Vec<WatchedLane>,
    /// Their stock.
    pub stock: Vec<StockRow>,
    /// Cursors of the current log.
    pub progress: Vec<ProgressRow>,
    /// Events with a `StockAdded` that is not applied yet.
    pub stock_pending: Vec<EventId>,
}
