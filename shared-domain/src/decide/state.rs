//! What a decision starts from: records, the state of their events, and what the database knows of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared_proto::v1::log_record::Kind;

use crate::{
    Approval, BLOCK_PRIZES, Budget, DIGEST_START, Digest, EntryId, EntryStatus, EventDefinition, EventId,
    MemberId, Reason, Reward, RewardKey, Stock, digest_step,
};

/// One record as the fold sees it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Offset in the lane.
    pub offset: i64,
    /// Event it belongs to.
    pub event_id: EventId,
    /// What it says.
    pub kind: Kind,
}

/// Counters and state of one event in one lane, at a position of that lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneState {
    /// Entries with a row; the next one gets `seq + 1`.
    pub seq: i64,
    /// Winners.
    pub wins: i64,
    /// Entries that lost.
    pub losses: i64,
    /// Entries that may not count.
    pub rejections: i64,
    /// Points granted.
    pub paid: i64,
    /// Points granted in the current block of [`BLOCK_PRIZES`] prizes, where AVERAGE_RANDOM has no stock; otherwise 0.
    pub block_paid: i64,
    /// Digest chain over the rows.
    pub digest: Digest,
    /// Approval in force at this position.
    pub approval: Option<Approval>,
    /// Offset of the `Closed` record.
    pub closed_at: Option<i64>,
    /// Offset of the `Deleted` record.
    pub deleted_at: Option<i64>,
    /// Offset of the record that took the last prize of all options; gone when stock is added.
    pub exhausted_at: Option<i64>,
}

impl LaneState {
    /// The state right behind a `Scheduled` record.
    pub fn new(approval: Option<Approval>) -> Self {
        Self {
            seq: 0,
            wins: 0,
            losses: 0,
            rejections: 0,
            paid: 0,
            block_paid: 0,
            digest: DIGEST_START,
            approval,
            closed_at: None,
            deleted_at: None,
            exhausted_at: None,
        }
    }
}

/// One event as one lane knows it.
#[derive(Debug, Clone)]
pub struct EventInLane {
    /// The definition, shared.
    pub definition: Arc<EventDefinition>,
    /// Counters.
    pub lane: LaneState,
    /// Stock of each option, by its index in the event.
    pub stock: Vec<Stock>,
}

impl EventInLane {
    /// The budget that the next reward comes from (DESIGN section 7).
    pub fn budget(&self) -> Budget {
        if self.stock.is_empty() {
            let given = self.lane.wins % BLOCK_PRIZES;
            Budget { prizes: BLOCK_PRIZES, given, paid: self.lane.block_paid }
        } else {
            let prizes = self.stock.iter().map(Stock::granted).sum();
            Budget { prizes, given: self.lane.wins, paid: self.lane.paid }
        }
    }

    /// Counts the next entry of the lane as it was decided: place, totals, digest and stock. The fold does it for each new
    /// row; done for rows that are there, it gives the state behind them. `exhausted_at` and mission weights are in no row
    /// and not counted here.
    ///
    /// # Errors
    /// A total that overflows, or more prizes than there are.
    pub fn count(&mut self, judged: &Judged) -> Result<(), String> {
        let lane = &mut self.lane;
        lane.seq = lane.seq.checked_add(1).ok_or("seq overflows")?;
        match judged.status {
            EntryStatus::Win => self.pay(judged.amount)?,
            EntryStatus::Lose => lane.losses += 1,
            EntryStatus::Rejected => lane.rejections += 1,
            EntryStatus::Pending => {}
        }
        let Judged { entry_id, status, reason, option, amount } = judged;
        let lane = &mut self.lane;
        lane.digest = digest_step(&lane.digest, lane.seq, entry_id, *status, *reason, *option, *amount);
        if let Some(won) = option {
            let stock = self.stock.get_mut(usize::from(*won)).ok_or("no such option")?;
            stock.decrease(1).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Counts a winner and the reward.
    fn pay(&mut self, amount: i64) -> Result<(), &'static str> {
        let lane = &mut self.lane;
        lane.wins += 1;
        lane.paid = lane.paid.checked_add(amount).ok_or("paid overflows")?;
        if self.stock.is_empty() && matches!(self.definition.reward, Reward::AverageRandom(_)) {
            lane.block_paid = if lane.wins % BLOCK_PRIZES == 0 { 0 } else { lane.block_paid + amount };
        }
        Ok(())
    }
}

/// What was decided of one entry: what its digest step covers besides the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Entry.
    pub entry_id: EntryId,
    /// Outcome.
    pub status: EntryStatus,
    /// Why, where it is REJECTED.
    pub reason: Option<Reason>,
    /// Option won, by index.
    pub option: Option<u16>,
    /// Points won.
    pub amount: i64,
}

/// An entry of an earlier batch that a mission may add chances to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// Whether the log rejected it. What staff or the draw made of it since does not matter here.
    pub rejected: bool,
    /// Bits of the missions that have added theirs.
    pub missions: i64,
}

/// What the database already knows of the records in a batch.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Entries that have a row.
    pub entries: HashSet<(EventId, EntryId)>,
    /// Of the entries that a `WeightAdded` of the batch names: those that have a row.
    pub weighed: HashMap<(EventId, EntryId), Weighed>,
    /// Commands that were applied in this lane.
    pub commands: HashSet<[u8; 16]>,
    /// Entries that count, a member, for events that limit them.
    pub member_entries: HashMap<(EventId, MemberId), u32>,
    /// Offsets that an operator gave up.
    pub rejected_offsets: HashSet<i64>,
    /// Reward keys, unwrapped, of every event in the batch whose policy [needs one](Reward::needs_key), the events
    /// that the batch itself schedules included. A missing one makes the record [`Undecidable`](crate::Undecidable):
    /// a caller whose key file is at fault stops before it asks.
    pub reward_keys: HashMap<EventId, RewardKey>,
}
