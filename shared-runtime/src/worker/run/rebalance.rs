//! Lanes that come and go: a new one starts at the database's cursor (DESIGN section 5, "Assignment").

use std::time::Duration;

use shared_proto::Lane;

use super::halts::clear_gauges;
use super::upkeep::set_lag;
use super::{BETWEEN_TRIES, Done, Worker};
use crate::log::producer::Producer;
use crate::log::reader::LaneLog;
use crate::store::rows::ProgressRow;
use crate::worker::attempt::Attempts;
use crate::worker::cursor::{Halt, Start, check_cursor};
use crate::worker::lane_store::LaneStore;

/// Why a lane did not open.
pub(super) enum OpenError {
    Halt(Halt),
    Later(String),
}

impl<L: LaneLog, S: LaneStore, P: Producer> Worker<L, S, P> {
    /// Reads the cursors of new lanes, off the loop.
    pub(super) fn open(&mut self, lanes: Vec<Lane>) {
        metrics::counter!("event_rebalances_total", "kind" => "assigned").increment(1);
        self.epoch += 1;
        self.log.accept();
        tracing::info!(lanes = lanes.len(), "lanes assigned");
        for lane in lanes {
            self.lanes.insert(lane.clone(), self.fresh(&lane));
            if let Some(guard) = &self.backlog {
                self.readers.insert(lane.clone(), guard.reader(&lane));
            }
            self.spawn_open(lane, Duration::ZERO);
        }
    }

    pub(super) fn reopen(&mut self, lane: &Lane) {
        let Some(old) = self.lanes.remove(lane) else { return };
        old.cancel.cancel();
        self.log.pause(lane);
        self.epoch += 1;
        let mut state = self.fresh(lane);
        state.halted = old.halted;
        state.recovering = old.recovering;
        state.park = old.park;
        // Or each look at a halted lane would let another hundred pass the brake.
        state.dead_run = old.dead_run;
        self.lanes.insert(lane.clone(), state);
        self.spawn_open(lane.clone(), Duration::ZERO);
    }

    fn spawn_open(&mut self, lane: Lane, after: Duration) {
        let Some(state) = self.lanes.get(&lane) else { return };
        let epoch = state.epoch;
        let watermarks = self.log.watermarks(vec![lane.clone()]);
        let (attempts, log_id, adopt) = (self.attempts.clone(), self.log_id.clone(), self.adopt);
        self.jobs.spawn(async move {
            tokio::time::sleep(after).await;
            let result = open_lane(&attempts, &log_id, &lane, watermarks, adopt).await;
            Done::Opened { epoch, lane, result }
        });
    }

    pub(super) async fn revoke(&mut self, lanes: Vec<Lane>, lost: bool) {
        let kind = if lost { "lost" } else { "revoked" };
        metrics::counter!("event_rebalances_total", "kind" => kind).increment(1);
        // To begin another lane now could be taken for the answer to this.
        let mut opened = Vec::new();
        if !lost {
            // Let what is in flight commit, so that the next owner starts behind it. The fence would hold without.
            let until = tokio::time::Instant::now() + Duration::from_secs(5);
            while lanes.iter().any(|l| self.lanes.get(l).is_some_and(|s| s.busy_since.is_some())) {
                match tokio::time::timeout_at(until, self.jobs.join_next()).await {
                    Ok(Some(Ok(done @ Done::Opened { .. }))) => opened.push(done),
                    Ok(Some(done)) => self.done(done),
                    _ => break,
                }
            }
            self.mirror();
        }
        let mut ours = Vec::new();
        for lane in lanes {
            if let Some(state) = self.lanes.remove(&lane) {
                state.cancel.cancel();
                ours.push(lane.clone());
            }
            self.readers.remove(&lane);
            clear_gauges(&lane);
            // Or it would lag for as long as this process lives, whoever decides it now.
            set_lag(&lane, 0, 0.0);
        }
        self.log.stop(&ours);
        tracing::info!(lanes = ours.len(), lost, "lanes revoked");
        opened.into_iter().for_each(|done| self.done(Ok(done)));
    }

    pub(super) fn opened(&mut self, lane: Lane, result: Result<(Start, i64), OpenError>) {
        let Some(state) = self.lanes.get_mut(&lane) else { return };
        let start = match result {
            Ok((start, _high)) => start,
            Err(OpenError::Halt(halt)) => return self.halt(&lane, halt),
            Err(OpenError::Later(why)) => {
                tracing::warn!(%lane, why, "the lane cannot be opened yet");
                return self.spawn_open(lane, BETWEEN_TRIES);
            }
        };
        // The alarm stays up until the lane has moved: what stopped it may be met again behind the cursor.
        if let Some((halt, _)) = state.halted.take() {
            state.recovering = Some(halt);
        }
        let from = match start {
            Start::Fresh(at) | Start::At(at) => {
                state.cursor = at;
                at
            }
            Start::VerifyFrom { cursor, hash } => {
                state.cursor = cursor;
                state.verify = Some(hash);
                cursor - 1
            }
        };
        state.paused = false;
        state.open = true;
        if let Some(reader) = self.readers.get(&lane) {
            reader.advance(state.cursor);
        }
        tracing::debug!(%lane, cursor = state.cursor, "lane opened");
        self.log.read_from(&lane, from);
    }
}

async fn open_lane<S: LaneStore, P: Producer>(
    attempts: &Attempts<S, P>,
    log_id: &str,
    lane: &Lane,
    watermarks: impl Future<Output = Result<Vec<(Lane, i64, i64)>, String>>,
    adopt: bool,
) -> Result<(Start, i64), OpenError> {
    let later = |e: crate::store::error_class::StoreError| OpenError::Later(e.to_string());
    let (_, low, high) = watermarks
        .await
        .map_err(OpenError::Later)?
        .pop()
        .ok_or_else(|| OpenError::Later("no watermarks".to_owned()))?;
    let rows = attempts.store.progress_of(lane).await.map_err(later)?;
    let start = check_cursor(&rows, log_id, lane, low, high, adopt).map_err(OpenError::Halt)?;
    if let Start::Fresh(at) = start {
        let row = ProgressRow {
            log_id: log_id.to_owned(),
            topic: lane.topic.clone(),
            partition_id: lane.partition,
            next_offset: at,
            last_hash: None,
            updated_at: attempts.clock.now_ms(),
        };
        // Another worker may have made it in between: then the row is read again.
        attempts.store.insert_progress(&row).await.map_err(later)?;
    }
    Ok((start, high))
}
