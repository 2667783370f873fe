//! Whose turn it is: one task an event, a pause of its own for an event that fails, and room for the others.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared_domain::{EventId, Millis};

/// Events at work at the same time.
const AT_ONCE: usize = 64;
/// Of these, events that failed last time: a lane that is away must not keep every place busy with its time-outs.
const FAILED_AT_ONCE: usize = 16;
const PAUSE_MIN_MS: Millis = 200;
const PAUSE_MAX_MS: Millis = 5_000;

/// Shared by the passes and the tasks of one relay.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// At work; true where the event failed last time.
    busy: HashMap<EventId, bool>,
    failed: HashMap<EventId, Failed>,
    /// The event that was looked at last: the next pass begins behind it.
    after: EventId,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    pause: Millis,
    until: Millis,
}

impl Turns {
    /// Where the next pass begins.
    pub fn after(&self) -> EventId {
        self.lock().after
    }

    /// Whether an event that failed still waits.
    pub fn waits(&self, event: EventId, now: Millis) -> bool {
        self.lock().failed.get(&event).is_some_and(|failed| failed.until > now)
    }

    /// Takes the turns that are free, of `due` events in the order in which they are to be looked at.
    pub fn take(&self, due: &[EventId], now: Millis) -> Vec<Turn> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut seen = HashSet::new();
        for event in due.iter().copied().filter(|event| seen.insert(*event)) {
            if state.busy.len() >= AT_ONCE {
                break;
            }
            state.after = event;
            let failed = state.failed.get(&event).copied();
            let no_room = || state.busy.values().filter(|failed| **failed).count() >= FAILED_AT_ONCE;
            if state.busy.contains_key(&event) || failed.is_some_and(|failed| failed.until > now || no_room())
            {
                continue;
            }
            state.busy.insert(event, failed.is_some());
            taken.push(Turn { event, turns: self.clone() });
        }
        taken
    }

    /// It went well.
    pub fn succeeded(&self, event: EventId) {
        self.lock().failed.remove(&event);
    }

    /// It failed: this event waits longer each time. Gives the pause.
    pub fn failed(&self, event: EventId, now: Millis) -> Millis {
        let mut state = self.lock();
        let pause = state.failed.get(&event).map_or(PAUSE_MIN_MS, |old| (old.pause * 2).min(PAUSE_MAX_MS));
        state.failed.insert(event, Failed { pause, until: now.saturating_add(pause) });
        pause
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values, whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One event's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    pub event: EventId,
    turns: Turns,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().busy.remove(&self.event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(turns: &[Turn]) -> Vec<EventId> {
        turns.iter().map(|turn| turn.event).collect()
    }

    #[test]
    fn an_event_has_one_turn_at_a_time_and_waits_longer_each_time_it_fails() {
        let turns = Turns::default();
        let first = turns.take(&[1, 2, 2], 0);
        assert_eq!(events(&first), [1, 2]);
        assert!(turns.take(&[1, 2], 0).is_empty());
        drop(first);
        let pauses: Vec<_> = (0..7).map(|_| turns.failed(1, 0)).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert!(turns.waits(1, 4_999) && !turns.waits(1, 5_000));
        assert_eq!(events(&turns.take(&[1, 2], 4_999)), [2]);
        turns.succeeded(1);
        assert_eq!(turns.failed(1, 0), 200);
    }

    #[test]
    fn events_that_fail_leave_room_and_the_next_pass_begins_behind_the_last() {
        let turns = Turns::default();
        let all: Vec<EventId> = (0..200).collect();
        for event in 0..100 {
            turns.failed(event, 0);
        }
        let taken = turns.take(&all, 10_000);
        let failed = taken.iter().filter(|turn| turn.event < 100).count();
        assert_eq!((taken.len(), failed), (AT_ONCE, FAILED_AT_ONCE));
        assert_eq!(turns.after(), taken[AT_ONCE - 1].event);
    }
}
