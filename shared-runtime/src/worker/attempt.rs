//! One attempt at a batch, off the loop: dead letters, the transaction with its retries, the unknown COMMIT.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared_domain::EventId;
use shared_proto::{DLT_OFFSET, DLT_PARTITION, DLT_REASON, DLT_TOPIC, Lane, dead_letter_name};
use tokio_util::sync::CancellationToken;

use super::apply::{Applied, ApplyError};
use super::batch::{LaneBatch, LaneMemory};
use super::lane_store::LaneStore;
use crate::clock::{SharedClock, SharedRandom};
use crate::log::producer::{Producer, ToProduce};
use crate::store::error_class::{ErrorClass, StoreError};
use crate::store::lane_tx::CursorMove;
use crate::traces::BatchSpan;

/// A record that goes to the dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Offset it was read from.
    pub offset: i64,
    /// Its bytes.
    pub bytes: Bytes,
    /// Why.
    pub reason: String,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempted {
    /// Committed.
    Done(Applied),
    /// It was committed before, by an attempt whose answer got lost.
    DoneBefore,
    /// Somebody else moved the cursor.
    FenceLost,
    /// A record of this batch cannot be written or decided. The event and offset are known for the latter.
    Failing {
        /// Event and offset, where they are known.
        record: Option<(EventId, i64)>,
        /// Why.
        why: String,
    },
    /// A row was changed outside the log.
    ChangedOutsideTheLog(String),
    /// The rewards of an event cannot be computed with the decision key at hand.
    KeyRefused(String),
    /// The database refuses for good.
    Refused(String),
    /// The lane was taken away in between.
    Cancelled,
}

impl Attempted {
    /// For tools.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "committed",
            Self::DoneBefore => "found_committed",
            Self::FenceLost => "fence_lost",
            Self::Failing { .. } => "failing",
            Self::ChangedOutsideTheLog(_) => "changed_outside_the_log",
            Self::KeyRefused(_) => "key_refused",
            Self::Refused(_) => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the batch is in the database.
    pub(crate) fn is_committed(&self) -> bool {
        matches!(self, Self::Done(_) | Self::DoneBefore)
    }
}

/// What attempts need.
pub struct Attempts<S, P> {
    /// Store.
    pub store: S,
    /// For dead letters.
    pub producer: Arc<P>,
    /// Clock.
    pub clock: SharedClock,
    /// For jitter.
    pub random: SharedRandom,
    /// False where a log is decided again: its dead letters are where they belong since the first time.
    pub keeps_dead_letters: bool,
}

impl<S: LaneStore, P: Producer> Attempts<S, P> {
    /// Applies a batch, retrying what is transient until `cancel`.
    pub async fn batch(
        &self,
        batch: &LaneBatch,
        dead: &[DeadLetter],
        memory: &LaneMemory,
        cancel: &CancellationToken,
        span: &BatchSpan,
    ) -> Attempted {
        // Acknowledged before the cursor passes them: a crash doubles a dead letter, never loses one.
        for letter in dead {
            if !self.dead_letter(&batch.lane, letter, cancel).await {
                return Attempted::Cancelled;
            }
        }
        let mut tries = 0u32;
        loop {
            if cancel.is_cancelled() {
                return Attempted::Cancelled;
            }
            let transaction = span.transaction(self.store.system());
            let outcome = self.store.apply(batch, memory, self.clock.now_ms()).await;
            transaction.ended(outcome.as_ref().err().map(ApplyError::name));
            match outcome {
                Ok(applied) => {
                    memory.remember_entries(applied.entries.iter().copied());
                    for (event, definition) in &applied.definitions {
                        memory.remember_definition(*event, definition.clone());
                    }
                    return Attempted::Done(applied);
                }
                Err(ApplyError::Fenced) => match self.cursor(batch).await {
                    Ok(Some(cursor)) if cursor == batch.to => return Attempted::DoneBefore,
                    Ok(_) => {
                        metrics::counter!("event_fences_lost_total", "topic" => batch.lane.topic.clone())
                            .increment(1);
                        return Attempted::FenceLost;
                    }
                    Err(error) => tries = self.wait(tries, &error, cancel).await,
                },
                Err(ApplyError::Undecidable(error)) => {
                    let record = Some((error.event_id, error.offset));
                    return Attempted::Failing { record, why: error.why };
                }
                Err(error @ ApplyError::ChangedOutsideTheLog { .. }) => {
                    return Attempted::ChangedOutsideTheLog(error.to_string());
                }
                Err(error @ ApplyError::RewardKey { .. }) => return Attempted::KeyRefused(error.to_string()),
                Err(ApplyError::Store(error)) if error.class.is_retried(tries) => {
                    tries = self.wait(tries, &error, cancel).await;
                }
                Err(ApplyError::Store(error)) if error.class == ErrorClass::Data => {
                    return Attempted::Failing { record: None, why: error.message };
                }
                Err(ApplyError::Store(error)) => return Attempted::Refused(error.message),
            }
        }
    }

    /// Decides an event's parked records, block by block, until none is left or one fails.
    pub async fn unpark(
        &self,
        batch: &LaneBatch,
        event: EventId,
        memory: &LaneMemory,
        cancel: &CancellationToken,
    ) -> Attempted {
        const BLOCK: i64 = 500;
        let mut total = Applied::default();
        let mut tries = 0;
        while !cancel.is_cancelled() {
            let now = self.clock.now_ms();
            let cursor = CursorMove {
                log_id: &batch.log_id,
                lane: &batch.lane,
                from: batch.from,
                to: batch.from,
                last_hash: None,
                now,
            };
            match self.store.unpark(&cursor, batch, event, BLOCK, memory).await {
                Ok(unparked) => {
                    memory.remember_entries(unparked.applied.entries.iter().copied());
                    for (sum, n) in total.decided.iter_mut().zip(unparked.applied.decided) {
                        *sum += n;
                    }
                    if !unparked.more {
                        return Attempted::Done(total);
                    }
                }
                Err(ApplyError::Fenced) => return Attempted::FenceLost,
                Err(error @ ApplyError::RewardKey { .. }) => return Attempted::KeyRefused(error.to_string()),
                Err(ApplyError::Store(error)) if error.class.is_retried(tries) => {
                    tries = self.wait(tries, &error, cancel).await;
                }
                Err(error) => {
                    let why = error.to_string();
                    if let Err(error) = self.store.refuse_unpark(event, batch.lane.partition, &why).await {
                        tracing::warn!(%error, event, "the unpark request stays, and will be tried again");
                    }
                    return Attempted::Failing { record: None, why };
                }
            }
        }
        Attempted::Cancelled
    }

    async fn cursor(&self, batch: &LaneBatch) -> Result<Option<i64>, StoreError> {
        let rows = self.store.progress_of(&batch.lane).await?;
        Ok(rows.iter().find(|r| r.log_id == *batch.log_id).map(|r| r.next_offset))
    }

    /// Backoff with jitter; gives the number of tries.
    async fn wait(&self, tries: u32, error: &StoreError, cancel: &CancellationToken) -> u32 {
        let class = format!("{:?}", error.class).to_lowercase();
        metrics::counter!("event_batch_retries_total", "class" => class).increment(1);
        if tries == 0 {
            tracing::warn!(%error, "the batch will be tried again");
        }
        let ceiling = 50u64 << tries.min(5);
        let ms = ceiling / 2 + self.random.below(ceiling / 2 + 1);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
        }
        tries.saturating_add(1)
    }

    /// Sends a record to the lane's dead letters and waits for the ack. False when cancelled.
    pub async fn dead_letter(&self, lane: &Lane, letter: &DeadLetter, cancel: &CancellationToken) -> bool {
        if !self.keeps_dead_letters {
            return true;
        }
        let target = Lane::new(dead_letter_name(&lane.topic), lane.partition);
        let (partition, offset) = (lane.partition.to_string(), letter.offset.to_string());
        let headers = [
            (DLT_TOPIC, lane.topic.as_str()),
            (DLT_PARTITION, partition.as_str()),
            (DLT_OFFSET, offset.as_str()),
            (DLT_REASON, letter.reason.as_str()),
        ];
        while !cancel.is_cancelled() {
            let record =
                ToProduce { lane: &target, key: offset.as_bytes(), value: &letter.bytes, headers: &headers };
            match self.producer.produce(record).await {
                Ok(_) => {
                    metrics::counter!("event_dead_letters_total", "topic" => lane.topic.clone()).increment(1);
                    return true;
                }
                Err(error) => {
                    tracing::warn!(%error, %lane, offset = letter.offset, "a dead letter was not acknowledged");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        false
    }
}
