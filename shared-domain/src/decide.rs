//! The decision: a pure fold over a batch of one lane, in offset order (DESIGN section 5, step 3).
//!
//! Whatever the split into batches and whatever is redelivered, one log gives one set of rows and one digest.

mod changes;
mod state;
mod weight;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use shared_proto::v1::{self, log_record::Kind};

use crate::definition::approval_of;
use crate::rules::Outcome;
use crate::{EntryId, EntryStatus, EventDefinition, EventId, MemberId, Reason, Stock};

pub use changes::{CommandOutcome, DecidedCommand, DecidedEntry, Decisions, Fold, Undecidable};
pub use state::{EventInLane, Judged, Known, LaneState, LogEntry, Weighed};

/// Judges `records` (one lane, ascending offsets) from the states in `events`.
///
/// `known` must hold every entry id, command id and member count of the database that the records touch.
/// The input states are not changed, so that the caller can fold again when it learns of more known entries.
pub fn decide<'r>(
    events: &BTreeMap<EventId, EventInLane>,
    known: &Known,
    records: impl IntoIterator<Item = &'r LogEntry>,
) -> Result<Fold, Undecidable> {
    let records = records.into_iter();
    let (most, _) = records.size_hint();
    let mut new_entries = foldhash::HashMap::default();
    new_entries.reserve(most);
    let mut decisions = Decisions::default();
    decisions.entries.reserve(most);
    let mut folder = Folder {
        fold: Fold { events: events.clone(), decisions },
        known,
        new_entries,
        new_commands: HashSet::new(),
        member_entries: known.member_entries.clone(),
    };
    for record in records {
        folder.step(record).map_err(|why| Undecidable {
            event_id: record.event_id,
            offset: record.offset,
            why,
        })?;
    }
    Ok(folder.fold)
}

struct Folder<'k> {
    fold: Fold,
    known: &'k Known,
    /// Entries of this batch, by their place in its decisions.
    new_entries: foldhash::HashMap<(EventId, EntryId), usize>,
    new_commands: HashSet<[u8; 16]>,
    member_entries: HashMap<(EventId, MemberId), u32>,
}

impl Folder<'_> {
    fn step(&mut self, record: &LogEntry) -> Result<(), String> {
        match &record.kind {
            Kind::Entry(entry) => self.entry(record, entry),
            Kind::WeightAdded(added) => self.weight(record, added),
            Kind::Activity(_) => Err("an activity in an event's lane".into()),
            Kind::Scheduled(c) => self.command(record, &c.command_id, |f| f.schedule(record, c)),
            Kind::StockAdded(c) => self.command(record, &c.command_id, |f| f.add_stock(record, c)),
            Kind::ApprovalChanged(c) => self.command(record, &c.command_id, |f| f.change_approval(record, c)),
            Kind::Closed(c) => self.command(record, &c.command_id, |f| {
                let lane = &mut f.event(record.event_id)?.lane;
                lane.closed_at = lane.closed_at.or(Some(record.offset));
                Ok(CommandOutcome::Applied)
            }),
            Kind::Deleted(c) => self.command(record, &c.command_id, |f| {
                let lane = &mut f.event(record.event_id)?.lane;
                lane.deleted_at = lane.deleted_at.or(Some(record.offset));
                Ok(CommandOutcome::Applied)
            }),
            Kind::Rejected(c) => self.command(record, &c.command_id, |f| {
                let command = c.command_id.as_slice().try_into().map_err(|_| "command id is not 16 bytes")?;
                f.fold.decisions.given_up.push((record.event_id, c.offset, command));
                Ok(CommandOutcome::Applied)
            }),
        }
    }

    fn event(&mut self, id: EventId) -> Result<&mut EventInLane, String> {
        self.fold.events.get_mut(&id).ok_or_else(|| "event was not scheduled in this lane".into())
    }

    /// Runs a command once, however often it is in the log.
    fn command(
        &mut self,
        record: &LogEntry,
        id: &[u8],
        run: impl FnOnce(&mut Self) -> Result<CommandOutcome, String>,
    ) -> Result<(), String> {
        let command_id: [u8; 16] = id.try_into().map_err(|_| "command id is not 16 bytes")?;
        if self.known.commands.contains(&command_id) || !self.new_commands.insert(command_id) {
            self.fold.decisions.repeats += 1;
            return Ok(());
        }
        let outcome = if self.known.rejected_offsets.contains(&record.offset) {
            CommandOutcome::Refused("UNDECIDABLE")
        } else {
            run(self)?
        };
        self.fold.decisions.commands.push(DecidedCommand {
            command_id,
            event_id: record.event_id,
            offset: record.offset,
            outcome,
        });
        Ok(())
    }

    fn schedule(&mut self, record: &LogEntry, scheduled: &v1::Scheduled) -> Result<CommandOutcome, String> {
        if self.fold.events.contains_key(&record.event_id) {
            return Ok(CommandOutcome::Refused("ALREADY_SCHEDULED"));
        }
        let definition = EventDefinition::from_record(scheduled).map_err(|e| e.to_string())?;
        let stock = definition
            .options
            .iter()
            .map(|(_, granted)| Stock::new(*granted))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| e.to_string())?;
        let mut lane = LaneState::new(definition.approval.clone());
        if exhausted(&stock) {
            lane.exhausted_at = Some(record.offset);
        }
        self.fold.decisions.scheduled.push(record.event_id);
        let event = EventInLane { definition: Arc::new(definition), lane, stock };
        self.fold.events.insert(record.event_id, event);
        Ok(CommandOutcome::Applied)
    }

    fn add_stock(&mut self, record: &LogEntry, added: &v1::StockAdded) -> Result<CommandOutcome, String> {
        let event = self.event(record.event_id)?;
        if event.lane.deleted_at.is_some() {
            return Ok(CommandOutcome::Refused("DELETED"));
        }
        if event.lane.closed_at.is_some() {
            return Ok(CommandOutcome::Refused("CLOSED"));
        }
        let granted: i64 = event.stock.iter().map(Stock::granted).sum();
        let Some(stock) = event.stock.get_mut(added.option as usize) else {
            return Ok(CommandOutcome::Refused("UNKNOWN_OPTION"));
        };
        let fits = granted
            .checked_add(added.add)
            .and_then(|winners| event.definition.reward.budget(winners))
            .is_some();
        if !fits || stock.increase(added.add).is_err() {
            return Ok(CommandOutcome::Refused("INVALID_AMOUNT"));
        }
        event.lane.exhausted_at = None;
        let option = added.option as u16;
        *self.fold.decisions.added.entry((record.event_id, option)).or_default() += added.add;
        Ok(CommandOutcome::Applied)
    }

    fn change_approval(
        &mut self,
        record: &LogEntry,
        changed: &v1::ApprovalChanged,
    ) -> Result<CommandOutcome, String> {
        let approval = changed.approval.as_ref().ok_or("ApprovalChanged without an approval")?;
        let approval = approval_of(approval).map_err(|e| e.to_string())?;
        let lane = &mut self.event(record.event_id)?.lane;
        if lane.deleted_at.is_some() {
            return Ok(CommandOutcome::Refused("DELETED"));
        }
        if lane.closed_at.is_some() {
            return Ok(CommandOutcome::Refused("CLOSED"));
        }
        let first = lane.seq.checked_add(1).ok_or("seq overflows")?;
        lane.approval = Some(approval.clone());
        self.fold.decisions.approvals.insert((record.event_id, first), approval);
        Ok(CommandOutcome::Applied)
    }

    fn entry(&mut self, record: &LogEntry, entry: &v1::Entry) -> Result<(), String> {
        let entry_id = EntryId::from_slice(&entry.entry_id).ok_or("entry id is not 16 bytes")?;
        let key = (record.event_id, entry_id);
        let given_up = self.known.rejected_offsets.contains(&record.offset);
        let Some(event) = self.fold.events.get_mut(&record.event_id) else {
            // Without its event there is no row to write; an operator may only let it go.
            return if given_up { Ok(()) } else { Err("event was not scheduled in this lane".into()) };
        };
        if self.known.entries.contains(&key) || self.new_entries.contains_key(&key) {
            self.fold.decisions.repeats += 1;
            return Ok(());
        }
        self.new_entries.insert(key, self.fold.decisions.entries.len());
        let member = (record.event_id, entry.member_id);
        let earlier = event
            .definition
            .max_entries_per_member
            .filter(|_| event.definition.duplicates_allowed)
            .map(|limit| (limit, self.member_entries.get(&member).copied().unwrap_or(0)));
        let rules = event.definition.rules;
        let outcome = if given_up {
            Outcome::Rejected(Reason::Undecidable)
        } else {
            rules.judge(event, entry, earlier)
        };
        if earlier.is_some() && !matches!(outcome, Outcome::Rejected(_)) {
            *self.member_entries.entry(member).or_default() += 1;
        }
        let mut judged =
            Judged { entry_id, status: EntryStatus::Pending, reason: None, option: None, amount: 0 };
        match outcome {
            Outcome::Win(won) => {
                judged.status = EntryStatus::Win;
                judged.option = won;
                let key = self.known.reward_keys.get(&record.event_id);
                let amount = rules.next_reward(event, record.event_id, &entry_id, key);
                judged.amount = amount.map_err(|e| e.to_string())?;
            }
            Outcome::Pending => {}
            Outcome::Lose => judged.status = EntryStatus::Lose,
            Outcome::Rejected(why) => (judged.status, judged.reason) = (EntryStatus::Rejected, Some(why)),
        }
        event.count(&judged)?;
        if let Some(won) = judged.option {
            if exhausted(&event.stock) {
                event.lane.exhausted_at = Some(record.offset);
            }
            *self.fold.decisions.won.entry((record.event_id, won)).or_default() += 1;
        }
        let won = judged.status == EntryStatus::Win;
        let rank = (won && event.definition.lanes.len() == 1).then_some(event.lane.wins);
        let Judged { status, reason, option, amount, .. } = judged;
        self.fold.decisions.entries.push(DecidedEntry {
            event_id: record.event_id,
            seq: event.lane.seq,
            offset: record.offset,
            entry_id,
            member_id: entry.member_id,
            status,
            reason,
            option,
            amount,
            rank,
            accepted_at: entry.accepted_at_ms,
            missions: 0,
        });
        Ok(())
    }
}

fn exhausted(stock: &[Stock]) -> bool {
    !stock.is_empty() && stock.iter().all(|s| s.left() == 0)
}
