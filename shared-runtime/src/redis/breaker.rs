//! The circuit breaker: after a few failures in a row nobody asks for a while, then one probe tries.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::SharedRandom;

/// Failures in a row that open it.
const THRESHOLD: u32 = 3;
const FIRST_COOL_DOWN: Duration = Duration::from_secs(1);
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(5);

/// Clones share the state.
#[derive(Clone)]
pub(super) struct Breaker {
    state: Arc<Mutex<State>>,
    random: SharedRandom,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    /// `trips`: how often in a row it has opened.
    Open {
        until: Instant,
        trips: u32,
    },
    Probing {
        trips: u32,
    },
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lock().fmt(f)
    }
}

impl Breaker {
    pub(super) fn new(random: SharedRandom) -> Self {
        metrics::gauge!("event_redis_breaker_open").set(0.0);
        Self { state: Arc::new(Mutex::new(State::Closed { failures: 0 })), random }
    }

    /// Leave to ask once; `None` while it is open or another call is probing.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit> {
        let mut state = self.lock();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until, trips } if until <= now => {
                *state = State::Probing { trips };
                true
            }
            State::Open { .. } | State::Probing { .. } => return None,
        };
        Some(Permit { breaker: self.clone(), probe, admitted: now, settled: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, state: &mut State, trips: u32, now: Instant, why: &dyn Display) {
        let full = FIRST_COOL_DOWN.saturating_mul(1 << (trips - 1).min(8)).min(LONGEST_COOL_DOWN);
        // The last quarter is left to chance, so that many gateways do not probe in step.
        let spread = full.as_millis() as u64 / 4;
        let cool_down = full - Duration::from_millis(self.random.below(spread + 1));
        *state = State::Open { until: now + cool_down, trips };
        metrics::gauge!("event_redis_breaker_open").set(1.0);
        tracing::warn!(?cool_down, %why, "Redis is not asked for a while");
    }
}

/// One call's leave. Settle it by `success` or `failure`; one that is dropped counts as neither.
pub(super) struct Permit {
    breaker: Breaker,
    probe: bool,
    admitted: Instant,
    settled: bool,
}

impl Permit {
    pub(super) fn success(mut self) {
        self.settled = true;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures } if failures > 0 => *state = State::Closed { failures: 0 },
            State::Probing { .. } if self.probe => {
                *state = State::Closed { failures: 0 };
                metrics::gauge!("event_redis_breaker_open").set(0.0);
                tracing::info!("Redis answers again");
            }
            // A late answer to a call from before it opened proves nothing about now.
            _ => {}
        }
    }

    /// `why` is for the log, should this open the breaker.
    pub(super) fn failure(mut self, now: Instant, why: &dyn Display) {
        self.settled = true;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures } if failures + 1 >= THRESHOLD => {
                self.breaker.open(&mut state, 1, now, why)
            }
            State::Closed { failures } => *state = State::Closed { failures: failures + 1 },
            State::Probing { trips } if self.probe => {
                self.breaker.open(&mut state, trips.saturating_add(1), now, why)
            }
            _ => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.settled || !self.probe {
            return;
        }
        // The probe's caller went away: the next call may probe at once.
        let mut state = self.breaker.lock();
        if let State::Probing { trips } = *state {
            *state = State::Open { until: self.admitted, trips };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededRandom;

    fn breaker() -> Breaker {
        Breaker::new(Arc::new(SeededRandom::new(1)))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn fail(breaker: &Breaker, times: u32, now: Instant) {
        (0..times).for_each(|_| breaker.admit(now).expect("closed").failure(now, &"test"));
    }

    #[test]
    fn three_failures_in_a_row_open_it() {
        let (breaker, now) = (breaker(), Instant::now());
        fail(&breaker, 2, now);
        breaker.admit(now).expect("closed").success();
        fail(&breaker, 2, now);
        assert!(breaker.admit(now).is_some());
        fail(&breaker, 1, now);
        assert!(breaker.admit(now).is_none());
        assert!(breaker.admit(now + ms(749)).is_none(), "the first cool-down is 0.75 to 1 s");
        let probe = breaker.admit(now + ms(1000)).expect("the cool-down is over");
        assert!(breaker.admit(now + ms(1000)).is_none(), "one probe at a time");
        probe.success();
        assert!(breaker.admit(now + ms(1000)).is_some());
    }

    #[test]
    fn cool_downs_grow_to_five_seconds() {
        let (breaker, mut now) = (breaker(), Instant::now());
        fail(&breaker, 3, now);
        for (least, most) in [(750, 1000), (1500, 2000), (3000, 4000), (3750, 5000), (3750, 5000)] {
            let State::Open { until, .. } = *breaker.lock() else { panic!("open") };
            assert!((ms(least)..=ms(most)).contains(&(until - now)), "{:?}", until - now);
            now += ms(5000);
            breaker.admit(now).expect("the cool-down is over").failure(now, &"test");
        }
    }

    #[test]
    fn late_answers_and_lost_probes_change_nothing() {
        let (breaker, mut now) = (breaker(), Instant::now());
        let (slow, slower) = (breaker.admit(now).expect("closed"), breaker.admit(now).expect("closed"));
        fail(&breaker, 3, now);
        slow.success();
        assert!(breaker.admit(now).is_none(), "a late success does not close it");
        now += ms(1000);
        let probe = breaker.admit(now).expect("the cool-down is over");
        slower.failure(now, &"test");
        drop(probe);
        breaker.admit(now).expect("a lost probe leaves its turn to the next").success();
        assert!(breaker.admit(now).is_some());
    }
}
