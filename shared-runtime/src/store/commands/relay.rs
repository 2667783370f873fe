//! What the relay asks of the store.

use std::collections::BTreeMap;

use shared_domain::{EventId, Lifecycle, Millis};

use crate::store::error_class::StoreError;
use crate::store::rows::{EventRow, LiveLimits, OutboxRow};
use crate::store::{Store, in_transaction, on_connection};

impl Store {
    /// Takes or keeps the relay's lease until `until`. False while another relay holds it.
    pub async fn hold_relay_lease(
        &self,
        holder: &[u8; 16],
        now: Millis,
        until: Millis,
    ) -> Result<bool, StoreError> {
        on_connection!(self, |q, conn| q::outbox::hold_lease(conn, holder, now, until).await)
    }

    /// Scheduled events whose end has come.
    pub async fn ended_events(&self, now: Millis) -> Result<Vec<EventRow>, StoreError> {
        on_connection!(self, |q, conn| q::events::ended(conn, now).await)
    }

    /// Gives a row its earliest moment, unless it has one.
    pub async fn hold_back(&self, row: &OutboxRow, not_before: Millis) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| {
            q::outbox::hold_back(conn, row.event_id, row.ordinal, row.lane, not_before).await
        })
    }

    /// Events behind `after` with rows that may be published now, by id.
    pub async fn events_to_publish(
        &self,
        now: Millis,
        after: EventId,
        limit: usize,
    ) -> Result<Vec<EventId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_connection!(self, |q, conn| q::outbox::events_to_publish(conn, now, after, limit).await)
    }

    /// An event's rows that are not published, in the order of its commands; the first few hundred.
    pub async fn unpublished(&self, event: EventId) -> Result<Vec<OutboxRow>, StoreError> {
        on_connection!(self, |q, conn| q::outbox::unpublished(conn, event).await)
    }

    /// Live limits of every scheduled event that is not closed.
    pub async fn live_limits(&self) -> Result<Vec<LiveLimits>, StoreError> {
        on_connection!(self, |q, conn| q::events::live_limits(conn).await)
    }

    /// Notes the broker's acknowledgement of a row.
    pub async fn mark_published(&self, row: &OutboxRow, now: Millis) -> Result<(), StoreError> {
        on_connection!(self, |q, conn| {
            q::outbox::mark_published(conn, row.event_id, row.ordinal, row.lane, now).await
        })
    }

    /// Carries what the lanes did over into the outbox.
    pub async fn settle_outbox(&self, now: Millis) -> Result<usize, StoreError> {
        in_transaction!(self, |q, tx| q::outbox::settle(tx, now).await)
    }

    /// When the oldest command that is not settled was given.
    pub async fn oldest_unsettled(&self) -> Result<Option<Millis>, StoreError> {
        on_connection!(self, |q, conn| q::outbox::oldest_unsettled(conn).await)
    }

    /// Closing events with their number of lanes and how many of these have applied a `Closed`.
    pub async fn closing_events(&self) -> Result<Vec<(EventId, i32, i64)>, StoreError> {
        on_connection!(self, |q, conn| q::events::closing(conn).await)
    }

    /// `Closed` records that their lanes have not applied: event, topic, lane, published when (ms).
    pub async fn closes_awaited(&self) -> Result<Vec<(EventId, String, i32, Millis)>, StoreError> {
        on_connection!(self, |q, conn| q::outbox::closes_awaited(conn).await)
    }

    /// Winners and points of every event that may still pay, or ended after `ended_after`.
    pub async fn reward_totals(
        &self,
        ended_after: Millis,
    ) -> Result<BTreeMap<EventId, (i64, i64)>, StoreError> {
        let lanes = on_connection!(self, |q, conn| q::events::lane_totals(conn, ended_after).await)?;
        let mut totals: BTreeMap<EventId, (i64, i64)> = BTreeMap::new();
        for (event, wins, paid) in lanes {
            let total = totals.entry(event).or_default();
            *total = (total.0 + wins, total.1.saturating_add(paid));
        }
        let ids: Vec<EventId> = totals.keys().copied().collect();
        for block in ids.chunks(1_000) {
            for drawn in on_connection!(self, |q, conn| q::desk::drawn(conn, block).await)? {
                totals.insert(drawn.event_id, (drawn.won, drawn.paid));
            }
        }
        Ok(totals)
    }

    /// Every lane has applied `Closed`: the event is closed. False when somebody else was faster.
    pub async fn finish_close(&self, event: EventId, now: Millis) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| {
            if q::events::lock(tx, event).await?.is_none() {
                return Ok::<_, StoreError>(false);
            }
            q::events::set_lifecycle(tx, event, Lifecycle::Closing, Lifecycle::Closed, now).await
        })
    }
}
