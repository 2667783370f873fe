//! The batch transaction (DESIGN section 5): fence, read, decide, insert, decrement, lane rows, commands.

mod contacts;
mod outcome_rows;
mod parking;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use shared_domain::{
    DecidedEntry, EntryId, EventDefinition, EventId, EventInLane, EventType, Fold, Known, LogEntry,
    RewardKey, Stock, Undecidable, decide,
};
use shared_proto::v1::log_record::Kind;

use super::batch::{LaneBatch, LaneMemory};
use crate::keys::RewardKeyError;
use crate::store::error_class::StoreError;
use crate::store::lane_tx::{Inserted, LaneTx};
use crate::store::rows::{EntryRow, LaneRow, StockRow};

pub use parking::{Unparked, unpark_block};

/// What a committed batch changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// New rows by status code (PENDING, WIN, LOSE, REJECTED).
    pub decided: [u64; 4],
    /// Records that repeated an entry or a command.
    pub repeats: u64,
    /// Offsets of the records that went to `parked_record`.
    pub parked_offsets: Vec<i64>,
    /// Events that were parked by this batch.
    pub newly_parked: Vec<EventId>,
    /// Commands applied or refused.
    pub commands: u64,
    /// Entry ids with rows now, to remember after the commit.
    pub entries: Vec<(EventId, EntryId)>,
    /// Activities: how often they counted for a mission.
    pub counted: u64,
    /// Activities: missions completed for the first time.
    pub completed: u64,
    /// Definitions to remember after the commit.
    pub definitions: Vec<(EventId, Arc<EventDefinition>)>,
}

/// Why a batch was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The cursor did not stand at `from`: somebody else applied this lane, or we did and never heard of it.
    #[error("the fence did not match")]
    Fenced,
    /// One record cannot be decided by this build.
    #[error(transparent)]
    Undecidable(#[from] Undecidable),
    /// A row changed outside the log: the lane must halt.
    #[error("{table} of event {event_id} was changed outside the log")]
    ChangedOutsideTheLog {
        /// Table.
        table: &'static str,
        /// Event.
        event_id: EventId,
    },
    /// An event's rewards cannot be computed here: the lane must halt, for with the right key they can.
    #[error("event {event_id}: {error}")]
    RewardKey {
        /// Event.
        event_id: EventId,
        /// What is wrong with the key.
        error: RewardKeyError,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplyError {
    /// For tools.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Undecidable(_) => "undecidable",
            Self::ChangedOutsideTheLog { .. } => "changed_outside_the_log",
            Self::RewardKey { .. } => "reward_key",
            Self::Store(_) => "database",
        }
    }
}

impl From<diesel::result::Error> for ApplyError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Applies a batch in an open transaction. On an error the caller rolls back.
pub async fn apply_batch<T: LaneTx>(
    tx: &mut T,
    batch: &LaneBatch,
    memory: &LaneMemory,
    now: i64,
) -> Result<Applied, ApplyError> {
    if !tx.advance(&batch.cursor_move(now)).await? {
        return Err(ApplyError::Fenced);
    }
    let mut work = Work::load(tx, batch, memory, batch.records.iter().map(|r| r.entry.event_id)).await?;
    let (decidable, parked) = work.split(&batch.records, &batch.park, now);
    let mut applied = work.decide_and_write(tx, &decidable, HashSet::new(), memory, now).await?;
    work.write_parked(tx, parked, &batch.park, &mut applied).await?;
    Ok(applied)
}

/// The rows that a batch touches.
struct Work<'b> {
    batch: &'b LaneBatch,
    rows: BTreeMap<EventId, LaneRow>,
    events: BTreeMap<EventId, EventInLane>,
    /// Lane rows to write although no entry or command changed them.
    dirty: BTreeSet<EventId>,
}

impl<'b> Work<'b> {
    async fn load<T: LaneTx>(
        tx: &mut T,
        batch: &'b LaneBatch,
        memory: &LaneMemory,
        touched: impl Iterator<Item = EventId>,
    ) -> Result<Self, ApplyError> {
        let lane = batch.lane.partition;
        let ids: Vec<EventId> = touched.collect::<BTreeSet<_>>().into_iter().collect();
        let mut work = Self { batch, rows: BTreeMap::new(), events: BTreeMap::new(), dirty: BTreeSet::new() };
        if ids.is_empty() {
            return Ok(work);
        }
        let rows = tx.lane_rows(lane, &ids).await?;
        let mut stock: BTreeMap<EventId, Vec<StockRow>> = BTreeMap::new();
        for row in tx.stock_rows(lane, &ids).await? {
            stock.entry(row.event_id).or_default().push(row);
        }
        let scheduled = rows.iter().filter(|row| row.is_scheduled).map(|row| row.event_id);
        let mut definitions = definitions(tx, memory, scheduled).await?;
        for row in rows {
            if row.is_scheduled {
                let id = row.event_id;
                let definition = definitions.remove(&id).ok_or_else(|| {
                    StoreError::fatal(format!("event {id} is scheduled but has no definition"))
                })?;
                let stock = stock
                    .remove(&id)
                    .unwrap_or_default()
                    .iter()
                    .map(|s| Stock::restore(s.granted, s.stock_count))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| ApplyError::ChangedOutsideTheLog { table: "event_stock", event_id: id })?;
                if stock.len() != definition.options.len() {
                    return Err(ApplyError::ChangedOutsideTheLog { table: "event_stock", event_id: id });
                }
                work.events.insert(id, EventInLane { definition, lane: row.state()?, stock });
            }
            work.rows.insert(row.event_id, row);
        }
        Ok(work)
    }

    async fn decide_and_write<T: LaneTx>(
        &mut self,
        tx: &mut T,
        records: &[&LogEntry],
        given_up: HashSet<i64>,
        memory: &LaneMemory,
        now: i64,
    ) -> Result<Applied, ApplyError> {
        let lane = self.batch.lane.partition;
        let mut known = Known { rejected_offsets: given_up, ..Known::default() };
        known.rejected_offsets.extend(memory.rejected_offsets.iter());
        known.entries = memory.known_entries(entry_keys(records));
        let commands: Vec<[u8; 16]> = records.iter().filter_map(|r| command_id(&r.kind)).collect();
        if !commands.is_empty() {
            known.commands.extend(tx.applied_commands(lane, &commands).await?);
        }
        self.load_member_entries(tx, records, &mut known).await?;
        known.reward_keys = self.reward_keys(records, memory)?;
        for (event, ids) in by_event(weighed_keys(records)) {
            let rows = tx.weighed(event, &ids).await?;
            known.weighed.extend(rows.into_iter().map(|(id, row)| ((event, id), row)));
        }

        let mut fold = decide(&self.events, &known, records.iter().copied())?;
        let rows = self.entry_rows(&fold, now);
        if !rows.is_empty() && tx.insert_entries(rows).await? == Inserted::Duplicate {
            for (event, ids) in by_event(entry_keys(records).chain(weighed_keys(records))) {
                let existing = tx.existing_entries(event, &ids).await?;
                known.entries.extend(existing.into_iter().map(|id| (event, id)));
            }
            fold = decide(&self.events, &known, records.iter().copied())?;
            let rows = self.entry_rows(&fold, now);
            if !rows.is_empty() && tx.insert_entries(rows).await? == Inserted::Duplicate {
                // Only a row written outside the log can still be in the way.
                let event_id = records.first().map_or(0, |r| r.event_id);
                return Err(ApplyError::ChangedOutsideTheLog { table: "event_entry", event_id });
            }
        }
        self.write_weights(tx, &fold).await?;
        self.write_contacts(tx, records, &fold).await?;
        self.write_scheduled(tx, records, &fold, now).await?;
        self.write_stock(tx, &fold).await?;
        self.write_lanes(tx, &fold).await?;
        self.write_approvals(tx, &fold).await?;
        let commands = self.write_commands(tx, &fold, now).await?;

        let mut applied = Applied { repeats: fold.decisions.repeats, commands, ..Applied::default() };
        for entry in &fold.decisions.entries {
            applied.decided[usize::from(entry.status.code())] += 1;
        }
        applied.entries = entry_keys(records).collect();
        applied.definitions = fold
            .decisions
            .scheduled
            .iter()
            .filter_map(|id| fold.events.get(id).map(|e| (*id, e.definition.clone())))
            .collect();
        Ok(applied)
    }

    /// Keys of the events that pay random rewards here: those with an entry in the batch, and those that it schedules. A
    /// raffle pays when it is drawn.
    fn reward_keys(
        &self,
        records: &[&LogEntry],
        memory: &LaneMemory,
    ) -> Result<HashMap<EventId, RewardKey>, ApplyError> {
        let mut keys = HashMap::new();
        for record in records {
            let event_id = record.event_id;
            let definition = match &record.kind {
                _ if keys.contains_key(&event_id) => continue,
                Kind::Entry(_) => self.events.get(&event_id).map(|event| Arc::clone(&event.definition)),
                // One that cannot be read is the fold's to name.
                Kind::Scheduled(scheduled) => EventDefinition::from_record(scheduled).ok().map(Arc::new),
                _ => None,
            };
            let pays = |d: &Arc<EventDefinition>| d.event_type != EventType::Raffle && d.reward.needs_key();
            if let Some(definition) = definition.filter(pays) {
                let key = memory.keys.open(event_id, &definition.wrapped_keys.reward_key);
                keys.insert(event_id, key.map_err(|error| ApplyError::RewardKey { event_id, error })?);
            }
        }
        Ok(keys)
    }

    async fn load_member_entries<T: LaneTx>(
        &self,
        tx: &mut T,
        records: &[&LogEntry],
        known: &mut Known,
    ) -> Result<(), ApplyError> {
        let mut members: BTreeMap<EventId, BTreeSet<i64>> = BTreeMap::new();
        for record in records {
            if let Kind::Entry(entry) = &record.kind
                && let Some(event) = self.events.get(&record.event_id)
                && event.definition.duplicates_allowed
                && event.definition.max_entries_per_member.is_some()
            {
                members.entry(record.event_id).or_default().insert(entry.member_id);
            }
        }
        for (event, members) in members {
            let members: Vec<i64> = members.into_iter().collect();
            for (member, count) in tx.member_entries(event, &members).await? {
                known.member_entries.insert((event, member), count);
            }
        }
        Ok(())
    }

    /// Entries with the same bits take one statement.
    async fn write_weights<T: LaneTx>(&self, tx: &mut T, fold: &Fold) -> Result<(), ApplyError> {
        let mut alike: BTreeMap<(EventId, i64), Vec<EntryId>> = BTreeMap::new();
        for ((event, id), missions) in &fold.decisions.weights {
            alike.entry((*event, *missions)).or_default().push(*id);
        }
        for ((event, missions), ids) in alike {
            tx.set_missions(event, missions, &ids).await?;
        }
        Ok(())
    }

    fn entry_rows(&self, fold: &Fold, now: i64) -> Vec<EntryRow> {
        let mut decided: Vec<&DecidedEntry> = fold.decisions.entries.iter().collect();
        // By unique key: writers of other lanes of the same event then never deadlock with us.
        decided.sort_unstable_by_key(|e| (e.event_id, e.entry_id));
        let lane = self.batch.lane.partition;
        decided.into_iter().map(|e| EntryRow::new(e, lane, now)).collect()
    }
}

/// Definitions of these events, as far as the database knows them; read once a lane.
pub async fn definitions<T: LaneTx>(
    tx: &mut T,
    memory: &LaneMemory,
    events: impl Iterator<Item = EventId>,
) -> Result<HashMap<EventId, Arc<EventDefinition>>, StoreError> {
    let mut definitions = HashMap::new();
    let mut missing = Vec::new();
    for event in events {
        match memory.definition(event) {
            Some(known) => drop(definitions.insert(event, known)),
            None => missing.push(event),
        }
    }
    if !missing.is_empty() {
        for (event, bytes) in tx.definitions(&missing).await? {
            let definition = Arc::new(definition_of(event, &bytes)?);
            memory.remember_definition(event, Arc::clone(&definition));
            definitions.insert(event, definition);
        }
    }
    Ok(definitions)
}

/// The definition in the bytes of a `Scheduled` record.
pub fn definition_of(event: EventId, bytes: &[u8]) -> Result<EventDefinition, StoreError> {
    let bad = |why: String| StoreError::fatal(format!("definition of event {event}: {why}"));
    match shared_proto::decode(bytes).map_err(|e| bad(e.to_string()))? {
        (_, Kind::Scheduled(s)) => EventDefinition::from_record(&s).map_err(|e| bad(e.to_string())),
        _ => Err(bad("is not a Scheduled record".into())),
    }
}

fn entry_keys(records: &[&LogEntry]) -> impl Iterator<Item = (EventId, EntryId)> {
    records.iter().filter_map(|r| match &r.kind {
        Kind::Entry(e) => EntryId::from_slice(&e.entry_id).map(|id| (r.event_id, id)),
        _ => None,
    })
}

/// Entries that a mission adds chances to: they may be made by that, or have a row.
fn weighed_keys(records: &[&LogEntry]) -> impl Iterator<Item = (EventId, EntryId)> {
    records.iter().filter_map(|r| match &r.kind {
        Kind::WeightAdded(w) => EntryId::from_slice(&w.entry_id).map(|id| (r.event_id, id)),
        _ => None,
    })
}

fn by_event(keys: impl Iterator<Item = (EventId, EntryId)>) -> BTreeMap<EventId, Vec<EntryId>> {
    let mut map: BTreeMap<EventId, BTreeSet<EntryId>> = BTreeMap::new();
    for (event, id) in keys {
        map.entry(event).or_default().insert(id);
    }
    map.into_iter().map(|(event, ids)| (event, ids.into_iter().collect())).collect()
}

fn command_id(kind: &Kind) -> Option<[u8; 16]> {
    let id = match kind {
        Kind::Entry(_) | Kind::WeightAdded(_) | Kind::Activity(_) => return None,
        Kind::Scheduled(c) => &c.command_id,
        Kind::StockAdded(c) => &c.command_id,
        Kind::ApprovalChanged(c) => &c.command_id,
        Kind::Rejected(c) => &c.command_id,
        Kind::Closed(c) => &c.command_id,
        Kind::Deleted(c) => &c.command_id,
    };
    id.as_slice().try_into().ok()
}
