//! What stands in a lane's way: a record that fails parks its event, anything worse halts the lane under a named alarm
//! (DESIGN section 5, "Poison" and "Log identity").

use std::time::{Duration, Instant};

use shared_domain::EventId;
use shared_proto::Lane;

use super::{BETWEEN_TRIES, Worker};
use crate::log::producer::Producer;
use crate::log::reader::LaneLog;
use crate::worker::cursor::Halt;
use crate::worker::lane_store::{LaneKind, LaneStore};

const TRIES: u32 = 3;
const PARKS_BRAKE: usize = 5;
const PARKS_WINDOW: Duration = Duration::from_secs(600);

impl<L: LaneLog, S: LaneStore, P: Producer> Worker<L, S, P> {
    /// Narrows the batch down to the failing record, tries it, and then parks its event.
    pub(super) fn failing(&mut self, lane: &Lane, record: Option<(EventId, i64)>, why: String) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let from = state.cursor;
        // They were acknowledged before the transaction began.
        state.dead_letters_written();
        let size = state.put_back();
        if size > 1 {
            state.limit = match record {
                // Everything before the record can be decided now.
                Some((_, offset)) => usize::try_from(offset - from).unwrap_or(1).clamp(1, size - 1),
                None => size / 2,
            };
            return;
        }
        state.limit = 1;
        state.tries += 1;
        let Some((event, offset)) = state.front_event() else { return };
        tracing::warn!(event, offset, %lane, why, tries = state.tries, "a record fails");
        if state.tries < TRIES {
            state.wait_until = Some(Instant::now() + BETWEEN_TRIES);
            return;
        }
        self.parks.retain(|(at, _)| at.elapsed() < PARKS_WINDOW);
        if self.parks.iter().filter(|(_, parked)| *parked != event).count() >= PARKS_BRAKE {
            return self.halt(
                lane,
                Halt::Brake(format!("{PARKS_BRAKE} events parked within 10 minutes; now: {why}")),
            );
        }
        state.tries = 0;
        match S::HOLDS {
            LaneKind::Events => drop(state.park.insert(event, why)),
            LaneKind::Activities => {
                state.bury_front(why);
                self.parks.push_back((Instant::now(), event));
            }
        }
    }

    pub(super) fn halt(&mut self, lane: &Lane, halt: Halt) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        let name = halt.name();
        let known = state.halted.as_ref().map(|(old, _)| old).or(state.recovering.as_ref());
        if known != Some(&halt) {
            clear_gauges(lane);
            tracing::error!(%lane, alarm = name, detail = %halt, "lane halted");
        }
        metrics::gauge!("event_lane_halted", "topic" => lane.topic.clone(),
            "partition" => lane.partition.to_string(), "reason" => name)
        .set(1.0);
        state.put_back();
        state.paused = true;
        state.halted = Some((halt, Instant::now()));
        self.log.pause(lane);
    }

    pub(super) fn recovered(&mut self, lane: &Lane) {
        if self.lanes.get_mut(lane).is_some_and(|state| state.recovering.take().is_some()) {
            tracing::info!(%lane, "the lane goes on");
            clear_gauges(lane);
        }
    }
}

pub(super) fn clear_gauges(lane: &Lane) {
    for reason in [
        "unknown_log",
        "gap",
        "beyond_end",
        "mismatch",
        "newer_schema",
        "changed_outside_the_log",
        "brake",
        "database",
        "decision_key",
    ] {
        let labels = [
            ("topic", lane.topic.clone()),
            ("partition", lane.partition.to_string()),
            ("reason", reason.to_owned()),
        ];
        metrics::gauge!("event_lane_halted", &labels).set(0.0);
    }
}
