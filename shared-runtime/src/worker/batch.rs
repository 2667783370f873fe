//! A batch of one lane, as the loop hands it to the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shared_domain::{EntryId, EventDefinition, EventId, LogEntry};
use shared_proto::Lane;

use crate::keys::RewardKeys;
use crate::store::lane_tx::CursorMove;

/// One decoded record with its bytes, for parking.
#[derive(Debug, Clone)]
pub struct BatchRecord {
    /// What it says.
    pub entry: LogEntry,
    /// The record as it was read.
    pub bytes: Bytes,
}

/// Records of one lane between two cursor positions.
#[derive(Debug, Clone)]
pub struct LaneBatch {
    /// Identity of the log.
    pub log_id: Arc<str>,
    /// Lane.
    pub lane: Lane,
    /// Cursor before.
    pub from: i64,
    /// Cursor behind.
    pub to: i64,
    /// SHA-256 of the bytes of the last record.
    pub last_hash: [u8; 32],
    /// The records; dead-lettered ones are left out, but `to` passes them.
    pub records: Vec<Arc<BatchRecord>>,
    /// Events to park at their first record in this batch, and why.
    pub park: BTreeMap<EventId, String>,
}

impl LaneBatch {
    /// The move of the cursor over this batch.
    pub fn cursor_move(&self, now: i64) -> CursorMove<'_> {
        CursorMove {
            log_id: &self.log_id,
            lane: &self.lane,
            from: self.from,
            to: self.to,
            last_hash: Some(self.last_hash),
            now,
        }
    }
}

/// What a lane's worker has at hand between batches: copies of committed state, and keys.
#[derive(Debug, Clone, Default)]
pub struct LaneMemory {
    definitions: Arc<Mutex<HashMap<EventId, Arc<EventDefinition>>>>,
    recent: Arc<Mutex<RecentEntries>>,
    /// Offsets given up by `Rejected` records, known up front: a replay fills it.
    pub rejected_offsets: Arc<std::collections::HashSet<i64>>,
    /// For events with random rewards.
    pub keys: RewardKeys,
}

/// The latest entry ids that were committed, so that a double click costs no duplicate-key round. Two generations, of
/// which the older is forgotten as a whole: that costs one insertion an entry and no bookkeeping.
#[derive(Debug, Default)]
struct RecentEntries {
    newer: Keys,
    older: Keys,
}

type Keys = foldhash::HashSet<(EventId, EntryId)>;

impl LaneMemory {
    /// Entry ids a generation: at most 6 MiB a lane.
    const RECENT: usize = 65_536;

    /// A definition that was seen before.
    pub fn definition(&self, event: EventId) -> Option<Arc<EventDefinition>> {
        lock(&self.definitions).get(&event).cloned()
    }

    /// Remembers a committed definition.
    pub fn remember_definition(&self, event: EventId, definition: Arc<EventDefinition>) {
        lock(&self.definitions).insert(event, definition);
    }

    /// Remembers committed entries.
    pub fn remember_entries(&self, entries: impl Iterator<Item = (EventId, EntryId)>) {
        let mut recent = lock(&self.recent);
        if recent.newer.len() >= Self::RECENT {
            recent.older = std::mem::take(&mut recent.newer);
        }
        recent.newer.extend(entries);
    }

    /// Which of these are known to be committed.
    pub fn known_entries(
        &self,
        entries: impl Iterator<Item = (EventId, EntryId)>,
    ) -> std::collections::HashSet<(EventId, EntryId)> {
        let recent = lock(&self.recent);
        entries.filter(|key| recent.newer.contains(key) || recent.older.contains(key)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while these are held; a poisoned copy of committed state would still be right.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
