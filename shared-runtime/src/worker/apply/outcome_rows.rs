//! What a batch leaves behind besides its entries: rows of the event, stock, lane, approvals and commands.

use std::collections::HashSet;

use shared_domain::{Approval, CommandOutcome, EventId, Fold, LaneState, LogEntry};
use shared_proto::v1::{self, log_record::Kind};

use super::{ApplyError, Work};
use crate::store::lane_tx::LaneTx;
use crate::store::rows::{ApprovalRow, CommandAppliedRow, CommandStatus, LaneRow, StockRow};

impl Work<'_> {
    pub(super) async fn write_scheduled<T: LaneTx>(
        &mut self,
        tx: &mut T,
        records: &[&LogEntry],
        fold: &Fold,
        now: i64,
    ) -> Result<(), ApplyError> {
        let lane = self.batch.lane.partition;
        for id in &fold.decisions.scheduled {
            let Some(event) = fold.events.get(id) else { continue };
            // The row of the state right behind `Scheduled`; what came after it in this batch is written as updates.
            let mut row = LaneRow::new(
                *id,
                lane,
                &LaneState::new(event.definition.approval.clone()),
                &self.batch.log_id,
            );
            if let Some(placeholder) = self.rows.get(id) {
                row.parked_offset = placeholder.parked_offset;
                row.parked_since = placeholder.parked_since;
                row.parked_reason.clone_from(&placeholder.parked_reason);
                row.unpark_requested = placeholder.unpark_requested;
            }
            let stock = event
                .definition
                .options
                .iter()
                .zip(0i16..)
                .map(|((name, granted), option_index)| StockRow {
                    event_id: *id,
                    lane,
                    option_index,
                    option_name: name.as_str().to_owned(),
                    granted: *granted,
                    stock_count: *granted,
                })
                .collect();
            let record = records
                .iter()
                .find_map(|r| match &r.kind {
                    Kind::Scheduled(s) if r.event_id == *id => Some(scheduled_bytes(*id, s)),
                    _ => None,
                })
                .unwrap_or_default();
            tx.insert_scheduled(*id, &event.definition, &record, &row, stock, now).await?;
            self.rows.insert(*id, row);
        }
        Ok(())
    }

    pub(super) async fn write_stock<T: LaneTx>(&self, tx: &mut T, fold: &Fold) -> Result<(), ApplyError> {
        let lane = self.batch.lane.partition;
        let changed = |event_id| ApplyError::ChangedOutsideTheLog { table: "event_stock", event_id };
        for ((event, option), add) in &fold.decisions.added {
            if !tx.add_stock(*event, lane, *option, *add).await? {
                return Err(changed(*event));
            }
        }
        for ((event, option), won) in &fold.decisions.won {
            if !tx.take_stock(*event, lane, *option, *won).await? {
                return Err(changed(*event));
            }
        }
        Ok(())
    }

    pub(super) async fn write_lanes<T: LaneTx>(&mut self, tx: &mut T, fold: &Fold) -> Result<(), ApplyError> {
        for (id, event) in &fold.events {
            let Some(row) = self.rows.get_mut(id) else { continue };
            let unchanged = self.events.get(id).is_some_and(|old| old.lane == event.lane);
            if unchanged && !self.dirty.contains(id) {
                continue;
            }
            let old_seq = row.seq;
            row.set_state(&event.lane, &self.batch.log_id);
            if !tx.update_lane(row, old_seq).await? {
                return Err(ApplyError::ChangedOutsideTheLog { table: "event_lane", event_id: *id });
            }
        }
        // A placeholder whose parked records are all gone has no state to write.
        for id in &self.dirty {
            if let Some(row) = self.rows.get(id).filter(|_| !fold.events.contains_key(id)) {
                tx.update_lane(row, row.seq).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn write_approvals<T: LaneTx>(&self, tx: &mut T, fold: &Fold) -> Result<(), ApplyError> {
        let lane = self.batch.lane.partition;
        let row = |(&(event_id, from_seq), approval): (&(EventId, i64), &Approval)| ApprovalRow {
            event_id,
            lane,
            from_seq,
            review_number: approval.review_number().to_owned(),
            approved_from: approval.period().starts_at(),
            approved_until: approval.period().ends_at(),
        };
        let rows: Vec<ApprovalRow> = fold.decisions.approvals.iter().map(row).collect();
        if !rows.is_empty() {
            tx.put_approvals(rows).await?;
        }
        Ok(())
    }

    pub(super) async fn write_commands<T: LaneTx>(
        &self,
        tx: &mut T,
        fold: &Fold,
        now: i64,
    ) -> Result<u64, ApplyError> {
        let lane = self.batch.lane.partition;
        let mut not_parked: HashSet<[u8; 16]> = HashSet::new();
        for (event, offset, command) in &fold.decisions.given_up {
            if !tx.give_up(*event, lane, *offset).await? {
                not_parked.insert(*command);
            }
        }
        let rows: Vec<CommandAppliedRow> = fold
            .decisions
            .commands
            .iter()
            .map(|c| {
                let refused = match c.outcome {
                    CommandOutcome::Refused(reason) => Some(reason),
                    CommandOutcome::Applied if not_parked.contains(&c.command_id) => Some("NOT_PARKED"),
                    CommandOutcome::Applied => None,
                };
                CommandAppliedRow {
                    command_id: c.command_id.to_vec(),
                    lane,
                    event_id: c.event_id,
                    log_offset: c.offset,
                    status: if refused.is_some() { CommandStatus::Rejected } else { CommandStatus::Applied }
                        .code(),
                    reason: refused.map(str::to_owned),
                    applied_at: now,
                }
            })
            .collect();
        let count = rows.len() as u64;
        if count > 0 {
            tx.insert_commands(rows).await?;
        }
        Ok(count)
    }
}

fn scheduled_bytes(event: EventId, scheduled: &v1::Scheduled) -> Vec<u8> {
    shared_proto::encode(event, Kind::Scheduled(scheduled.clone()))
}
