//! Parked events that an operator wants decided (DESIGN section 5, "Poison").

use std::time::Instant;

use shared_domain::EventId;
use shared_proto::Lane;

use super::{Done, Worker};
use crate::log::producer::Producer;
use crate::log::reader::LaneLog;
use crate::worker::attempt::Attempted;
use crate::worker::cursor::Halt;
use crate::worker::lane_store::LaneStore;

impl<L: LaneLog, S: LaneStore, P: Producer> Worker<L, S, P> {
    pub(super) fn unpark(&mut self, requests: Vec<(EventId, i32, Option<String>)>) {
        for (event, partition, topic) in requests {
            let state = self.lanes.values_mut().find(|l| {
                l.lane.partition == partition
                    && topic.as_ref().is_none_or(|t| *t == l.lane.topic)
                    && l.busy_since.is_none()
                    && l.halted.is_none()
                    && l.verify.is_none()
            });
            let Some(state) = state else { continue };
            state.busy_since = Some(Instant::now());
            let batch = state.at_cursor(&self.log_id);
            let (attempts, memory, cancel) =
                (self.attempts.clone(), state.memory.clone(), state.cancel.clone());
            let (epoch, lane) = (state.epoch, state.lane.clone());
            self.jobs.spawn(async move {
                let outcome = attempts.unpark(&batch, event, &memory, &cancel).await;
                Done::Unparked { epoch, lane, event, outcome }
            });
        }
    }

    pub(super) fn unparked(&mut self, lane: &Lane, event: EventId, outcome: Attempted) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        state.put_back();
        match outcome {
            Attempted::Done(_) => tracing::info!(event, %lane, "event unparked"),
            Attempted::FenceLost => self.reopen(lane),
            Attempted::KeyRefused(what) => self.halt(lane, Halt::DecisionKey(what)),
            other => tracing::error!(event, %lane, ?other, "the event stays parked"),
        }
    }
}
