//! One pass over the frozen list finds winners and alternates, with as much memory as they take.

use std::collections::BinaryHeap;

use super::{DrawKey, Entrant, Ticket};
use crate::EntryId;

/// Who won, and who stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Winners by rank; fewer than asked for where the list is shorter.
    pub winners: Vec<EntryId>,
    /// Alternates in their order.
    pub alternates: Vec<EntryId>,
    /// Length of the list.
    pub entrants: u64,
}

/// A selection under way: `push` the list in order, then `finish`. Parts of a list may be pushed into clones side by side,
/// and be joined in order.
#[derive(Debug, Clone)]
pub struct Selection {
    winners: usize,
    keep: usize,
    entrants: u64,
    order: Order,
}

type Candidate = (Ticket, EntryId);

#[derive(Debug, Clone)]
enum Order {
    /// The lowest (ticket, entry id); the highest of those kept is on top.
    Ticket {
        key: DrawKey,
        lowest: BinaryHeap<Candidate>,
    },
    Arrival(Vec<EntryId>),
}

impl Selection {
    /// Method RANDOM: by (ticket, entry id) the first `winners` win and the next `alternates` stand behind.
    pub fn random(key: DrawKey, winners: u64, alternates: u32) -> Self {
        Self::new(winners, alternates, Order::Ticket { key, lowest: BinaryHeap::new() })
    }

    /// Method ARRIVAL: the same, in the list's order.
    pub fn arrival(winners: u64, alternates: u32) -> Self {
        Self::new(winners, alternates, Order::Arrival(Vec::new()))
    }

    fn new(winners: u64, alternates: u32, order: Order) -> Self {
        let winners = usize::try_from(winners).unwrap_or(usize::MAX);
        let keep = winners.saturating_add(usize::try_from(alternates).unwrap_or(usize::MAX));
        Self { winners, keep, entrants: 0, order }
    }

    /// The next entrant in list order.
    pub fn push(&mut self, entrant: &Entrant) {
        self.entrants += 1;
        match &mut self.order {
            Order::Arrival(first) => {
                if first.len() < self.keep {
                    first.push(*entrant.entry_id());
                }
            }
            Order::Ticket { key, lowest } => {
                keep_lowest(lowest, self.keep, (key.ticket(entrant), *entrant.entry_id()));
            }
        }
    }

    /// With what was found in the part of the list right behind this one's.
    #[must_use]
    pub fn join(mut self, behind: Self) -> Self {
        self.entrants += behind.entrants;
        match (&mut self.order, behind.order) {
            (Order::Arrival(first), Order::Arrival(next)) => {
                first.extend(next.into_iter().take(self.keep - first.len()));
            }
            (Order::Ticket { lowest, .. }, Order::Ticket { lowest: others, .. }) => {
                others.into_iter().for_each(|candidate| keep_lowest(lowest, self.keep, candidate));
            }
            // Clones of one selection have one method.
            (Order::Arrival(_) | Order::Ticket { .. }, _) => {}
        }
        self
    }

    /// Winners and alternates.
    pub fn finish(self) -> Selected {
        let mut winners: Vec<EntryId> = match self.order {
            Order::Arrival(first) => first,
            Order::Ticket { lowest, .. } => lowest.into_sorted_vec().into_iter().map(|(_, id)| id).collect(),
        };
        let alternates = winners.split_off(self.winners.min(winners.len()));
        Selected { winners, alternates, entrants: self.entrants }
    }
}

fn keep_lowest(lowest: &mut BinaryHeap<Candidate>, keep: usize, candidate: Candidate) {
    if lowest.len() < keep {
        lowest.push(candidate);
    } else if let Some(mut highest) = lowest.peek_mut()
        && candidate < *highest
    {
        *highest = candidate;
    }
}
