//! What completed missions earned, on its way to the log (DESIGN section 9). At least once: a record that is met twice
//! changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use shared_proto::{EVENT_ID, Lane};
use shared_runtime::log::producer::{Producer, ToProduce};
use shared_runtime::store::error_class::StoreError;
use shared_runtime::store::rows::EarnedRow;
use shared_runtime::traces::Publishing;

use super::{EventError, Inner};

/// Rows on their way at once.
const BLOCK: i64 = 1_000;

/// At most one task publishes.
#[derive(Debug, Default)]
pub(super) struct Earned(AtomicBool);

struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<P: Producer> Inner<P> {
    /// Publishes what is there, oldest first; a lane that does not answer keeps the others waiting for one time-out.
    pub(super) async fn publish_earned(&self) {
        if self.earned.0.swap(true, Ordering::AcqRel) {
            return;
        }
        let _busy = Busy(&self.earned.0);
        if let Err(error) = self.publish_blocks().await {
            metrics::counter!("event_outbox_errors_total").increment(1);
            tracing::warn!(%error, "what missions earned waits");
        }
    }

    async fn publish_blocks(&self) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let rows = self.store.earned(after, BLOCK).await?;
            // Past the lease another relay may be at work; both would write the same, but for nothing.
            if rows.is_empty() || self.clock.now_ms() >= self.lease_until.load(Ordering::Acquire) {
                return Ok(());
            }
            after = rows.last().map_or(after, |row| row.outbox_id);
            let acks = futures::future::join_all(rows.iter().map(|row| self.produce_earned(row))).await;
            let mut published = Vec::with_capacity(rows.len());
            let mut refused = None;
            for (row, ack) in rows.iter().zip(acks) {
                match ack {
                    Ok(()) => published.push(row.outbox_id),
                    Err(error) => refused = Some((row.event_id, error)),
                }
            }
            self.store.mark_earned_published(&published, self.clock.now_ms()).await?;
            metrics::counter!("event_outbox_published_total", "kind" => "EARNED")
                .increment(published.len() as u64);
            if let Some((event, error)) = refused {
                metrics::counter!("event_outbox_errors_total").increment(1);
                tracing::warn!(event_id = event, %error, "what missions earned waits");
            }
        }
    }

    async fn produce_earned(&self, row: &EarnedRow) -> Result<(), EventError> {
        let lane = Lane::new(row.topic.clone(), row.lane);
        let key = row.event_id.to_string();
        let headers = [(EVENT_ID, &*key)];
        let publishing = Publishing::root(&lane);
        let headers = publishing.headers(&headers);
        let record = ToProduce { lane: &lane, key: key.as_bytes(), value: &row.record, headers: &headers };
        let produced = publishing.ended(self.producer.produce(record).await);
        produced.map(drop).map_err(|error| EventError::Produce(row.outbox_id, error))
    }
}
