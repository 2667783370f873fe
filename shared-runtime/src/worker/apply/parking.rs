//! Parked events: their records wait in `parked_record`, in order, until an operator has them decided (DESIGN section 5,
//! "Poison").

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use shared_domain::{EventId, LaneState, LogEntry, Undecidable};
use shared_proto::v1::log_record::Kind;

use super::{Applied, ApplyError, Work};
use crate::store::lane_tx::{CursorMove, LaneTx};
use crate::store::rows::{LaneRow, ParkedRow};
use crate::worker::batch::{BatchRecord, LaneBatch, LaneMemory};

/// How far one block of an unpark came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unparked {
    /// What the block changed.
    pub applied: Applied,
    /// Whether parked records are left.
    pub more: bool,
}

/// Decides one block of an event's parked records, in order, under the lane's fence row at `cursor.from`.
pub async fn unpark_block<T: LaneTx>(
    tx: &mut T,
    cursor: &CursorMove<'_>,
    batch: &LaneBatch,
    event: EventId,
    block: i64,
    memory: &LaneMemory,
) -> Result<Unparked, ApplyError> {
    if !tx.advance(cursor).await? {
        return Err(ApplyError::Fenced);
    }
    let lane = batch.lane.partition;
    let rows = tx.parked(event, lane, block + 1).await?;
    let more = rows.len() as i64 > block;
    let rows = &rows[..rows.len().min(block as usize)];
    let mut work = Work::load(tx, batch, memory, std::iter::once(event)).await?;
    let given_up: HashSet<i64> = rows.iter().filter(|r| r.given_up).map(|r| r.log_offset).collect();
    let records = rows
        .iter()
        .map(|row| {
            let (event_id, kind) = shared_proto::decode(&row.record).map_err(|e| Undecidable {
                event_id: event,
                offset: row.log_offset,
                why: e.to_string(),
            })?;
            Ok(LogEntry { offset: row.log_offset, event_id, kind })
        })
        .collect::<Result<Vec<_>, Undecidable>>()?;
    if let Some(row) = work.rows.get_mut(&event)
        && !more
    {
        row.parked_offset = None;
        row.parked_since = None;
        row.parked_reason = None;
        row.unpark_requested = false;
        work.dirty.insert(event);
    }
    let records: Vec<&LogEntry> = records.iter().collect();
    let applied = work.decide_and_write(tx, &records, given_up, memory, cursor.now).await?;
    if let Some(last) = rows.last() {
        tx.unpark_through(event, lane, last.log_offset).await?;
    }
    Ok(Unparked { applied, more })
}

impl Work<'_> {
    /// Records to decide, and rows to park: an event that is parked here, or parks now, is decided no further.
    pub(super) fn split<'r>(
        &self,
        records: &'r [Arc<BatchRecord>],
        park: &BTreeMap<EventId, String>,
        now: i64,
    ) -> (Vec<&'r LogEntry>, Vec<ParkedRow>) {
        let mut decidable = Vec::with_capacity(records.len());
        let mut parked = Vec::new();
        for record in records {
            let id = record.entry.event_id;
            let reason = match park.get(&id) {
                Some(reason) => Some(reason.as_str()),
                None => self
                    .rows
                    .get(&id)
                    .filter(|row| row.is_parked())
                    .map(|row| row.parked_reason.as_deref().unwrap_or("its event is parked")),
            };
            match reason {
                // An operator's word on a parked record must pass the park itself.
                Some(reason) if !matches!(record.entry.kind, Kind::Rejected(_)) => parked.push(ParkedRow {
                    event_id: id,
                    lane: self.batch.lane.partition,
                    log_offset: record.entry.offset,
                    record: record.bytes.to_vec(),
                    reason: truncated(reason),
                    parked_at: now,
                    given_up: false,
                }),
                _ => decidable.push(&record.entry),
            }
        }
        (decidable, parked)
    }

    pub(super) async fn write_parked<T: LaneTx>(
        &mut self,
        tx: &mut T,
        parked: Vec<ParkedRow>,
        park: &BTreeMap<EventId, String>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        applied.parked_offsets = parked.iter().map(|row| row.log_offset).collect();
        let mut by_event: BTreeMap<EventId, Vec<ParkedRow>> = BTreeMap::new();
        for row in parked {
            by_event.entry(row.event_id).or_default().push(row);
        }
        for (event, records) in by_event {
            let exists = self.rows.contains_key(&event);
            let lane = self.batch.lane.partition;
            let row = self.rows.entry(event).or_insert_with(|| {
                let mut row = LaneRow::new(event, lane, &LaneState::new(None), "");
                row.is_scheduled = false;
                row
            });
            if !row.is_parked()
                && let Some(first) = records.first()
            {
                row.parked_offset = Some(first.log_offset);
                row.parked_since = Some(first.parked_at);
                row.parked_reason = park.get(&event).map(|r| truncated(r));
                applied.newly_parked.push(event);
            }
            tx.park(row, exists, records).await?;
        }
        Ok(())
    }
}

fn truncated(reason: &str) -> String {
    reason.chars().take(1_000).collect()
}
