//! A lane decided again by the worker's own transaction, with memory in the place of its writes: state, stock and chances
//! are kept here, and each new row is compared with the one that the live database has at its place.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared_domain::{EntryId, EventDefinition, EventId, MemberId, Weighed};
use shared_proto::Lane;

use super::difference::{Difference, Witness, entry_text, row_differences};
use crate::store::error_class::StoreError;
use crate::store::lane_tx::{CursorMove, Inserted, LaneTx};
use crate::store::reading::Reading;
use crate::store::rows::{
    ApprovalRow, CommandAppliedRow, ContactErasureRow, ContactRow, EntryRow, LaneRow, ParkedRow, StockRow,
};
use crate::worker::batch::LaneMemory;

/// Differences of an event in a lane that are told one by one.
pub const TOLD: usize = 20;

/// One lane, as far as it is decided again.
pub struct LaneAgain {
    pub lane: Lane,
    pub rows: BTreeMap<EventId, LaneRow>,
    pub stock: BTreeMap<EventId, Vec<StockRow>>,
    pub memory: LaneMemory,
    /// Bits that missions set.
    pub weights: HashMap<EventId, HashMap<EntryId, i64>>,
    /// What was decided and has no row: a repeat of it must not be decided once more.
    missing: HashSet<(EventId, EntryId)>,
    pub found: BTreeMap<EventId, Vec<Difference>>,
    /// Rows with differences that are not told.
    pub untold: BTreeMap<EventId, u64>,
    /// Rows compared.
    pub compared: BTreeMap<EventId, u64>,
}

impl LaneAgain {
    pub fn new(lane: Lane, memory: LaneMemory) -> Self {
        Self {
            lane,
            rows: BTreeMap::new(),
            stock: BTreeMap::new(),
            memory,
            weights: HashMap::new(),
            missing: HashSet::new(),
            found: BTreeMap::new(),
            untold: BTreeMap::new(),
            compared: BTreeMap::new(),
        }
    }

    pub fn note(&mut self, differences: Vec<Difference>) {
        let Some(event) = differences.first().map(|first| first.event_id) else { return };
        let told = self.found.entry(event).or_default();
        if told.len() >= TOLD {
            *self.untold.entry(event).or_default() += 1;
        } else {
            told.extend(differences);
        }
    }

    /// Compares rows of one event, by place, with those that are there.
    async fn compare(
        &mut self,
        live: &mut Reading,
        event: EventId,
        rows: &[&EntryRow],
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let many = last.seq - first.seq + 1;
        let there = live.entries_of_lane(event, self.lane.partition, first.seq - 1, many).await?;
        let there: HashMap<i64, &EntryRow> = there.iter().map(|row| (row.seq, row)).collect();
        for row in rows {
            let id = row.id()?;
            *self.compared.entry(event).or_default() += 1;
            let Some(found) = there.get(&row.seq) else {
                self.missing.insert((event, id));
                let expected = entry_text(row);
                let missing = "missing".to_owned();
                self.note(vec![Difference::of_entry(row, "event_entry", missing, expected, Witness::Log)]);
                continue;
            };
            if found.entry_id != row.entry_id {
                self.missing.insert((event, id));
            }
            let differ = row_differences(found, row, false).into_iter();
            self.note(
                differ
                    .map(|(what, found, by)| Difference::of_entry(row, what, found, by, Witness::Log))
                    .collect(),
            );
        }
        Ok(())
    }
}

/// One batch: the lane, and the live database as it was before the batch's first offset.
pub struct BatchTx<'a> {
    pub again: &'a mut LaneAgain,
    pub live: &'a mut Reading,
    pub first: i64,
}

impl BatchTx<'_> {
    async fn before(
        &mut self,
        event: EventId,
        ids: &[EntryId],
    ) -> Result<HashMap<EntryId, bool>, StoreError> {
        let lane = self.again.lane.partition;
        let found = self.live.entries_before(event, lane, ids, self.first).await?;
        let mut found: HashMap<EntryId, bool> = found.into_iter().collect();
        for id in ids.iter().filter(|id| self.again.missing.contains(&(event, **id))) {
            found.entry(*id).or_insert(false);
        }
        Ok(found)
    }

    fn stock(&mut self, event: EventId, option: u16) -> Option<&mut StockRow> {
        let rows = self.again.stock.get_mut(&event)?;
        rows.iter_mut().find(|row| row.option_index == option as i16)
    }
}

fn of<'r, T>(map: &'r BTreeMap<EventId, T>, ids: &[EventId]) -> impl Iterator<Item = &'r T> {
    ids.iter().filter_map(|id| map.get(id))
}

impl LaneTx for BatchTx<'_> {
    async fn advance(&mut self, _: &CursorMove<'_>) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn lane_rows(&mut self, _: i32, events: &[EventId]) -> Result<Vec<LaneRow>, StoreError> {
        Ok(of(&self.again.rows, events).cloned().collect())
    }

    async fn stock_rows(&mut self, _: i32, events: &[EventId]) -> Result<Vec<StockRow>, StoreError> {
        Ok(of(&self.again.stock, events).flatten().cloned().collect())
    }

    async fn definitions(&mut self, _: &[EventId]) -> Result<Vec<(EventId, Vec<u8>)>, StoreError> {
        // All that have a lane row here are in the lane's memory.
        Ok(Vec::new())
    }

    async fn applied_commands(
        &mut self,
        lane: i32,
        commands: &[[u8; 16]],
    ) -> Result<Vec<[u8; 16]>, StoreError> {
        let ids: Vec<Vec<u8>> = commands.iter().map(|id| id.to_vec()).collect();
        let applied = self.live.commands(lane, &ids).await?;
        let before = applied.iter().filter(|row| row.log_offset < self.first);
        Ok(before.filter_map(|row| row.command_id.as_slice().try_into().ok()).collect())
    }

    async fn member_entries(
        &mut self,
        event: EventId,
        members: &[MemberId],
    ) -> Result<HashMap<MemberId, u32>, StoreError> {
        self.live.member_entries_before(event, self.again.lane.partition, members, self.first).await
    }

    async fn existing_entries(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> Result<Vec<EntryId>, StoreError> {
        Ok(self.before(event, entries).await?.into_keys().collect())
    }

    async fn weighed(
        &mut self,
        event: EventId,
        entries: &[EntryId],
    ) -> Result<Vec<(EntryId, Weighed)>, StoreError> {
        let before = self.before(event, entries).await?;
        let bits = self.again.weights.get(&event);
        let missions = |id: &EntryId| bits.and_then(|bits| bits.get(id)).copied().unwrap_or(0);
        Ok(before
            .into_iter()
            .map(|(id, rejected)| (id, Weighed { rejected, missions: missions(&id) }))
            .collect())
    }

    async fn set_missions(
        &mut self,
        event: EventId,
        missions: i64,
        entries: &[EntryId],
    ) -> Result<(), StoreError> {
        self.again.weights.entry(event).or_default().extend(entries.iter().map(|id| (*id, missions)));
        Ok(())
    }

    async fn insert_entries(&mut self, rows: Vec<EntryRow>) -> Result<Inserted, StoreError> {
        let mut by_event: BTreeMap<EventId, Vec<&EntryRow>> = BTreeMap::new();
        for row in &rows {
            by_event.entry(row.event_id).or_default().push(row);
        }
        for (event, rows) in &by_event {
            let ids = rows.iter().map(|row| row.id()).collect::<Result<Vec<_>, _>>()?;
            if !self.before(*event, &ids).await?.is_empty() {
                return Ok(Inserted::Duplicate);
            }
        }
        for (event, mut rows) in by_event {
            rows.sort_unstable_by_key(|row| row.seq);
            for row in rows.iter().filter(|row| row.missions != 0) {
                self.again.weights.entry(event).or_default().insert(row.id()?, row.missions);
            }
            self.again.compare(self.live, event, &rows).await?;
        }
        Ok(Inserted::All)
    }

    async fn insert_scheduled(
        &mut self,
        event: EventId,
        _: &EventDefinition,
        _: &[u8],
        row: &LaneRow,
        stock: Vec<StockRow>,
        _: i64,
    ) -> Result<(), StoreError> {
        self.again.rows.insert(event, row.clone());
        self.again.stock.insert(event, stock);
        Ok(())
    }

    async fn add_stock(&mut self, event: EventId, _: i32, option: u16, add: i64) -> Result<bool, StoreError> {
        let Some(row) = self.stock(event, option) else { return Ok(false) };
        row.granted += add;
        row.stock_count += add;
        Ok(true)
    }

    async fn take_stock(
        &mut self,
        event: EventId,
        _: i32,
        option: u16,
        won: i64,
    ) -> Result<bool, StoreError> {
        let Some(row) = self.stock(event, option).filter(|row| row.stock_count >= won) else {
            return Ok(false);
        };
        row.stock_count -= won;
        Ok(true)
    }

    async fn update_lane(&mut self, row: &LaneRow, _: i64) -> Result<bool, StoreError> {
        self.again.rows.insert(row.event_id, row.clone());
        Ok(true)
    }

    async fn insert_commands(&mut self, rows: Vec<CommandAppliedRow>) -> Result<(), StoreError> {
        let lane = self.again.lane.partition;
        let ids: Vec<Vec<u8>> = rows.iter().map(|row| row.command_id.clone()).collect();
        let there = self.live.commands(lane, &ids).await?;
        let shown = |row: &CommandAppliedRow| {
            let reason = row.reason.as_deref().unwrap_or("APPLIED");
            format!("{reason} at offset {}", row.log_offset)
        };
        for row in rows {
            let found = there.iter().find(|there| there.command_id == row.command_id);
            let found = found.map_or_else(|| "missing".to_owned(), shown);
            let expected = shown(&row);
            if found != expected {
                let place = (row.event_id, lane);
                self.again.note(vec![Difference::in_lane(
                    place,
                    "command_applied",
                    found,
                    expected,
                    Witness::Log,
                )]);
            }
        }
        Ok(())
    }

    async fn put_approvals(&mut self, _: Vec<ApprovalRow>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn erased(&mut self, _: &[EventId], _: &[MemberId]) -> Result<Vec<ContactErasureRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_contacts(&mut self, _: Vec<ContactRow>) -> Result<(), StoreError> {
        // Claimed, erased and deleted outside the log.
        Ok(())
    }

    async fn park(&mut self, _: &LaneRow, _: bool, _: Vec<ParkedRow>) -> Result<(), StoreError> {
        // The records of parked events are left out before.
        Ok(())
    }

    async fn give_up(&mut self, _: EventId, _: i32, offset: i64) -> Result<bool, StoreError> {
        Ok(self.again.memory.rejected_offsets.contains(&offset))
    }

    async fn parked(&mut self, _: EventId, _: i32, _: i64) -> Result<Vec<ParkedRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn unpark_through(&mut self, _: EventId, _: i32, _: i64) -> Result<(), StoreError> {
        Ok(())
    }
}
