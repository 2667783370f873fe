//! Winners and alternates as they stand after disqualifications.

use std::collections::VecDeque;

use super::Selected;
use crate::EntryId;

/// How many winners a draw still has to find; 0 once `max_winners` are there, whatever is asked again.
pub fn needed(max_winners: i64, winners: i64) -> u64 {
    u64::try_from(max_winners.saturating_sub(winners)).unwrap_or(0)
}

/// Ranks and the alternates still waiting. Starts as what was [`Selected`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// By rank - 1; `None` where somebody was disqualified and nobody was left to move up.
    pub winners: Vec<Option<EntryId>>,
    /// Who may still move up, in order.
    pub alternates: VecDeque<EntryId>,
}

/// What a disqualification changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disqualified {
    /// A winner: the place goes to the next alternate with rank and amount, or stays empty.
    Winner {
        /// From 1.
        rank: u64,
        /// Who moves up.
        replaced_by: Option<EntryId>,
    },
    /// An alternate: those behind it move on.
    Alternate,
    /// Neither: nothing changes in the standing.
    Neither,
}

impl Disqualified {
    /// Who moves up, as the record says it.
    pub fn replaced_by(self) -> Option<EntryId> {
        match self {
            Self::Winner { replaced_by, .. } => replaced_by,
            Self::Alternate | Self::Neither => None,
        }
    }
}

impl From<Selected> for Standing {
    fn from(selected: Selected) -> Self {
        Self {
            winners: selected.winners.into_iter().map(Some).collect(),
            alternates: selected.alternates.into(),
        }
    }
}

impl Standing {
    /// Takes an entry out. Calls must come in the order of the record's `disqualified`.
    pub fn disqualify(&mut self, entry: &EntryId) -> Disqualified {
        if let Some(index) = self.winners.iter().position(|w| w.as_ref() == Some(entry)) {
            let replaced_by = self.alternates.pop_front();
            self.winners[index] = replaced_by;
            return Disqualified::Winner { rank: index as u64 + 1, replaced_by };
        }
        match self.alternates.iter().position(|a| a == entry) {
            Some(index) => {
                self.alternates.remove(index);
                Disqualified::Alternate
            }
            None => Disqualified::Neither,
        }
    }
}
