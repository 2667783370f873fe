//! What the loop does every tick beside its batches: pauses, halts looked at again, the mirror of the cursors, lag.

use std::time::Duration;

use shared_proto::Lane;

use super::{Done, Worker};
use crate::log::producer::Producer;
use crate::log::reader::LaneLog;
use crate::worker::lane::LaneState;
use crate::worker::lane_store::LaneStore;

const HALT_RECHECK: Duration = Duration::from_secs(5);
const PAUSE_AFTER: Duration = Duration::from_millis(500);

impl<L: LaneLog, S: LaneStore, P: Producer> Worker<L, S, P> {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.mirror();
        let slow: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| !l.paused && l.buffered() >= self.batching.records as usize * 4)
            .filter(|l| l.busy_since.is_some_and(|at| at.elapsed() > PAUSE_AFTER))
            .map(|l| l.lane.clone())
            .collect();
        for lane in slow {
            // The client must stay polled; what it would give us now has no room.
            self.log.pause(&lane);
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.paused = true;
            }
        }
        let ready: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| l.paused && l.halted.is_none() && l.buffered() < self.batching.records as usize)
            .map(|l| l.lane.clone())
            .collect();
        for lane in ready {
            self.log.resume(&lane);
            if let Some(state) = self.lanes.get_mut(&lane) {
                state.paused = false;
            }
        }
        let recheck: Vec<Lane> = self
            .lanes
            .values()
            .filter(|l| l.halted.as_ref().is_some_and(|(_, at)| at.elapsed() > HALT_RECHECK))
            .map(|l| l.lane.clone())
            .collect();
        recheck.iter().for_each(|lane| self.reopen(lane));
        if self.ticks.is_multiple_of(10) && !self.lanes.is_empty() {
            let attempts = self.attempts.clone();
            self.jobs.spawn(async move {
                Done::Requests(attempts.store.unpark_requests().await.unwrap_or_default())
            });
            self.lanes.values_mut().for_each(|l| l.seen = l.cursor);
            let watermarks = self.log.watermarks(self.lanes.keys().cloned().collect());
            self.jobs.spawn(async move { Done::Lag(watermarks.await.unwrap_or_default()) });
        }
    }

    pub(super) fn mirror(&mut self) {
        let moved: Vec<(Lane, i64)> = self
            .lanes
            .values_mut()
            .filter(|l| l.cursor > l.committed && l.verify.is_none() && l.halted.is_none() && l.cursor > 0)
            .map(|l| {
                l.committed = l.cursor;
                (l.lane.clone(), l.cursor)
            })
            .collect();
        if !moved.is_empty() {
            self.log.commit(&moved);
        }
    }

    pub(super) fn report_lag(&mut self, watermarks: &[(Lane, i64, i64)]) {
        let shorter = |(lane, _, high): &(Lane, i64, i64)| {
            self.lanes.get(lane).is_some_and(|s| s.halted.is_none() && s.verify.is_none() && s.seen > *high)
        };
        if watermarks.iter().any(shorter) {
            // The client does not tell of a topic made again, and would go on in it where its offset exists.
            tracing::warn!("a lane is shorter than it was: every lane is compared with the log");
            let lanes: Vec<Lane> = self.lanes.keys().cloned().collect();
            return lanes.iter().for_each(|lane| self.reopen(lane));
        }
        for (lane, _, high) in watermarks {
            // Nothing left to stumble over.
            let idle = |s: &LaneState| s.halted.is_none() && s.verify.is_none() && s.cursor >= *high;
            if self.lanes.get(lane).is_some_and(idle) {
                self.recovered(lane);
            }
        }
        let now = self.attempts.clock.now_ms();
        for (lane, _, high) in watermarks {
            // Before its cursor is read, the whole log would seem to be behind.
            let Some(state) = self.lanes.get(lane).filter(|state| state.open) else { continue };
            let lag = (high - state.cursor).max(0);
            let seconds = match state.oldest_timestamp() {
                Some(at) if lag > 0 => (now - at).max(0) as f64 / 1_000.0,
                _ => 0.0,
            };
            set_lag(lane, lag, seconds);
        }
    }
}

/// What of a lane is in the log and not decided: records, and the age of the oldest.
pub(super) fn set_lag(lane: &Lane, records: i64, seconds: f64) {
    let labels = [("topic", lane.topic.clone()), ("partition", lane.partition.to_string())];
    metrics::gauge!("event_lane_lag_records", &labels).set(records as f64);
    metrics::gauge!("event_lane_lag_seconds", &labels).set(seconds);
}
