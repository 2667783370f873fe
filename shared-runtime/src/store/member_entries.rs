//! Entries as their members list them: pages of several members, read together.

use shared_domain::{EventId, MemberId, Millis};

use super::error_class::StoreError;
use super::rows::EntryRow;
use super::{Store, on_connection};

/// Where a page begins: behind this entry, in the order of a member's list (newest first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListPlace {
    /// When the gateway took it, ms.
    pub accepted_at: Millis,
    /// Its event.
    pub event: EventId,
    /// Its lane.
    pub lane: i32,
    /// Its place in the lane.
    pub seq: i64,
}

impl ListPlace {
    /// Before the newest entry.
    pub const START: Self =
        Self { accepted_at: Millis::MAX, event: EventId::MAX, lane: i32::MAX, seq: i64::MAX };

    /// The place of a row.
    pub fn of(row: &EntryRow) -> Self {
        Self { accepted_at: row.accepted_at, event: row.event_id, lane: row.lane, seq: row.seq }
    }
}

/// One page of one member's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListPage {
    /// Whose.
    pub member: MemberId,
    /// Behind this.
    pub after: ListPlace,
    /// At most so many.
    pub limit: i64,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// The row, as it may be shown.
    pub row: EntryRow,
    /// Name of the option won.
    pub option: Option<String>,
}

impl Store {
    /// These pages (at most 100), in their order, in one query. Entries of deleted events are in none.
    pub async fn entry_pages(&self, pages: &[ListPage]) -> Result<Vec<Vec<ListedEntry>>, StoreError> {
        on_connection!(self, |q, conn| q::member_entries::pages(conn, pages).await)
    }
}
