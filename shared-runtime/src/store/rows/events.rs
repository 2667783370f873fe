//! Rows of events, which staff write.

use diesel::prelude::{Insertable, Queryable, Selectable};

use crate::store::schema::events;

/// `events`: one event as staff and gateways know it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = events)]
pub struct EventRow {
    /// Event.
    pub event_id: i64,
    /// Code of `Lifecycle`.
    pub lifecycle: i16,
    /// Admission is paused.
    pub paused: bool,
    /// Title, as it is now.
    pub title: String,
    /// Content, as it is now.
    pub content: String,
    /// Number of the event type.
    pub event_type: i16,
    /// ms.
    pub starts_at: i64,
    /// ms.
    pub ends_at: i64,
    /// The draft as staff wrote it, JSON; gone where the log recreated the event.
    pub draft: Option<String>,
    /// Bytes of the `Scheduled` record.
    pub scheduled: Option<Vec<u8>>,
    /// Full topic name.
    pub topic: Option<String>,
    /// Number of lanes; 0 for a draft.
    pub lane_count: i32,
    /// Entries a second; `None`: the default.
    pub limit_per_second: Option<i64>,
    /// Raffle entries a second; `None`: the default.
    pub raffle_limit_per_second: Option<i64>,
    /// Requests a second of one member; `None`: the default.
    pub member_limit_per_second: Option<i64>,
    /// High-traffic flag of raffles.
    pub high_traffic: Option<bool>,
    /// Grows with every change of this row.
    pub version: i64,
    /// ms.
    pub created_at: i64,
    /// ms.
    pub updated_at: i64,
    /// ms.
    pub deleted_at: Option<i64>,
}

/// What staff change live.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = events)]
pub struct LiveLimits {
    /// Event.
    pub event_id: i64,
    /// See [`EventRow`].
    pub limit_per_second: Option<i64>,
    /// See [`EventRow`].
    pub raffle_limit_per_second: Option<i64>,
    /// See [`EventRow`].
    pub high_traffic: Option<bool>,
}

/// A new draft.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub struct NewEvent {
    /// Code of `Lifecycle`.
    pub lifecycle: i16,
    /// See [`EventRow`].
    pub paused: bool,
    /// See [`EventRow`].
    pub title: String,
    /// See [`EventRow`].
    pub content: String,
    /// See [`EventRow`].
    pub event_type: i16,
    /// See [`EventRow`].
    pub starts_at: i64,
    /// See [`EventRow`].
    pub ends_at: i64,
    /// See [`EventRow`].
    pub draft: Option<String>,
    /// See [`EventRow`].
    pub lane_count: i32,
    /// See [`EventRow`].
    pub limit_per_second: Option<i64>,
    /// See [`EventRow`].
    pub raffle_limit_per_second: Option<i64>,
    /// See [`EventRow`].
    pub member_limit_per_second: Option<i64>,
    /// See [`EventRow`].
    pub version: i64,
    /// See [`EventRow`].
    pub created_at: i64,
    /// See [`EventRow`].
    pub updated_at: i64,
}
