//! Chances that a completed mission adds to a raffle entry (DESIGN section 9).

use shared_proto::v1;

use super::{Folder, LogEntry};
use crate::mission::MISSIONS_MAX;
use crate::rules::Outcome;
use crate::{EntryId, EntryStatus, weight_step};

impl Folder<'_> {
    /// Sets the mission's bit, once; makes the entry if there is none. What comes behind the close, or names an entry that
    /// was rejected, changes nothing.
    pub(super) fn weight(&mut self, record: &LogEntry, added: &v1::WeightAdded) -> Result<(), String> {
        let entry_id = EntryId::from_slice(&added.entry_id).ok_or("entry id is not 16 bytes")?;
        let key = (record.event_id, entry_id);
        if self.known.rejected_offsets.contains(&record.offset) {
            return Ok(());
        }
        let event = self.event(record.event_id)?;
        let (mission, weight) = event
            .definition
            .missions
            .get(added.mission as usize)
            .and_then(|mission| mission.weight)
            .filter(|weight| u32::from(*weight) == added.weight && (added.mission as usize) < MISSIONS_MAX)
            .map(|weight| (added.mission as u16, weight))
            .ok_or("the event has no such mission with this weight")?;
        let bit = 1i64 << mission;
        let entry = v1::Entry {
            entry_id: added.entry_id.clone(),
            member_id: added.member_id,
            accepted_at_ms: added.accepted_at_ms,
            options: Vec::new(),
            sealed_contact: Vec::new(),
        };
        // By its own position: an entry that is in keeps its place, but chances are no longer added to it.
        let counts = matches!(event.definition.rules.judge(event, &entry, None), Outcome::Pending);
        let known = self.known.weighed.get(&key).copied();
        let makes = known.is_none() && !self.new_entries.contains_key(&key);
        if makes {
            self.entry(record, &entry)?;
        }
        let decisions = &mut self.fold.decisions;
        let place = self.new_entries.get(&key).copied();
        let (missions, rejected) = match (place, known) {
            (Some(place), _) => {
                let new = &decisions.entries[place];
                (new.missions, new.status == EntryStatus::Rejected)
            }
            (None, Some(row)) => (decisions.weights.get(&key).copied().unwrap_or(row.missions), row.rejected),
            (None, None) => (0, true),
        };
        if !counts || rejected || missions & bit != 0 {
            decisions.repeats += u64::from(!makes);
            return Ok(());
        }
        match place {
            Some(place) => decisions.entries[place].missions = missions | bit,
            None => drop(decisions.weights.insert(key, missions | bit)),
        }
        let lane = &mut self.event(record.event_id)?.lane;
        lane.digest = weight_step(&lane.digest, &entry_id, mission, weight);
        Ok(())
    }
}
