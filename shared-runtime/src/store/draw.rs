//! Draws in the store: what carries them on, and what they show.

use shared_domain::draw::{Entrant, Trust};
use shared_domain::{Digest, EventId, Millis};
use tokio::sync::mpsc;

use super::error_class::StoreError;
use super::pool::Pool;
use super::rows::{DisqualifiedRow, DrawResultRow, DrawRow};
use super::{Store, in_transaction, mysql, on_connection, sqlite};

/// One lane of a raffle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawLane {
    /// Partition.
    pub lane: i32,
    /// Its last place.
    pub last_seq: i64,
    /// Entries that take part.
    pub pending: i64,
    /// It has applied `Closed`.
    pub closed: bool,
    /// Records of the event wait there.
    pub parked: bool,
}

/// The list at the moment of freezing.
#[derive(Debug, Clone, Copy)]
pub struct Frozen {
    /// n.
    pub entrants: i64,
    /// Over the list.
    pub list_digest: Digest,
    /// Whether a named beacon counts.
    pub trust: Trust,
    /// ms.
    pub at: Millis,
}

/// What a draw came to.
#[derive(Debug, Clone, Copy)]
pub struct Decided {
    /// Winners and alternates that must be stored.
    pub places: i64,
    /// Winners among them.
    pub winners: i64,
    /// Points that they get together.
    pub paid: i64,
    /// ms.
    pub at: Millis,
}

/// A block of places of a lane.
#[derive(Debug, Clone, Copy)]
pub struct LoserRange {
    /// How far the draw's row said it was: lane, place.
    pub was: (i32, i64),
    /// Partition.
    pub lane: i32,
    /// Behind this place,
    pub from: i64,
    /// up to this one.
    pub to: i64,
}

/// A draw with all that its public record shows now.
#[derive(Debug, Clone)]
pub struct DrawParts {
    /// The draw.
    pub row: DrawRow,
    /// Winners and alternates; empty until PUBLISHED.
    pub results: Vec<DrawResultRow>,
    /// The history; likewise.
    pub disqualified: Vec<DisqualifiedRow>,
}

impl Store {
    /// An event's draw; `None` where it is no raffle or not scheduled.
    pub async fn draw(&self, event: EventId) -> Result<Option<DrawRow>, StoreError> {
        on_connection!(self, |q, conn| q::draw::get(conn, event).await)
    }

    /// Events whose draw has further to go.
    pub async fn draws_due(&self) -> Result<Vec<EventId>, StoreError> {
        on_connection!(self, |q, conn| q::draw::due(conn).await)
    }

    /// The lanes of a raffle, in the order of its list.
    pub async fn draw_lanes(&self, event: EventId) -> Result<Vec<DrawLane>, StoreError> {
        on_connection!(self, |q, conn| q::draw::lanes(conn, event).await)
    }

    /// Whether a record of the event waits for an operator.
    pub async fn is_parked(&self, event: EventId) -> Result<bool, StoreError> {
        on_connection!(self, |q, conn| q::draw::is_parked(conn, event).await)
    }

    /// Entrants of one lane behind a place and up to another, in order.
    pub async fn entrants_between(
        &self,
        event: EventId,
        lane: i32,
        from: i64,
        to: i64,
    ) -> Result<Vec<Entrant>, StoreError> {
        on_connection!(self, |q, conn| q::draw::entrants(conn, event, lane, from, to).await)
    }

    /// All entrants of these lanes, in order and in blocks, an empty one at the end: one statement a lane, and a connection
    /// until the last of them. `None` on SQLite, which would hold the whole answer in memory.
    pub fn stream_entrants(
        &self,
        event: EventId,
        lanes: Vec<i32>,
        block: usize,
    ) -> Option<mpsc::Receiver<Result<Vec<Entrant>, StoreError>>> {
        let Pool::Mysql(pool) = &self.pool else { return None };
        let (pool, (to, blocks)) = (pool.clone(), mpsc::channel(1));
        tokio::spawn(async move {
            let read = async {
                let mut conn = pool.get().await?;
                for lane in lanes {
                    mysql::stream_entrants(&mut conn, event, lane, block, &to).await?;
                }
                Ok::<_, StoreError>(())
            };
            drop(to.send(read.await.map(|()| Vec::new())).await);
        });
        Some(blocks)
    }

    /// SCHEDULED to FROZEN. False where it is not closed, parked, or further already.
    pub async fn freeze_draw(&self, event: EventId, frozen: &Frozen) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| q::draw_steps::freeze(tx, event, frozen).await)
    }

    /// Stores the next winners and alternates. False where `from` is not how far they are stored.
    pub async fn store_draw_results(
        &self,
        event: EventId,
        from: i64,
        block: &[DrawResultRow],
    ) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| { q::draw_steps::store_results(tx, event, from, block.to_vec()).await })
    }

    /// FROZEN to DECIDED. False where places are missing, or it is further already.
    pub async fn decide_draw(&self, event: EventId, decided: &Decided) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| q::draw_steps::decide(tx, event, decided).await)
    }

    /// Gives the next drawn entries their outcome. False where `from` is not how far this is.
    pub async fn apply_draw_places(
        &self,
        event: EventId,
        from: i64,
        limit: i64,
        now: Millis,
    ) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| q::draw_steps::apply_places(tx, event, from, limit, now).await)
    }

    /// Gives the other entries of a range theirs. False where `range.was` is not how far this is.
    pub async fn apply_draw_losers(
        &self,
        event: EventId,
        range: &LoserRange,
        now: Millis,
    ) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| q::draw_steps::apply_losers(tx, event, range, now).await)
    }

    /// DECIDED to PUBLISHED. False where places are not applied, or it is published already.
    pub async fn publish_draw(
        &self,
        event: EventId,
        seed: &[u8; 32],
        now: Millis,
    ) -> Result<bool, StoreError> {
        in_transaction!(self, |q, tx| q::draw_steps::publish(tx, event, seed, now).await)
    }

    /// A draw with what its public record shows, from one snapshot. `None`: no raffle, not scheduled, or deleted.
    pub async fn draw_parts(&self, event: EventId) -> Result<Option<DrawParts>, StoreError> {
        use diesel_async::AsyncConnection as _;
        match &self.pool {
            Pool::Mysql(pool) => {
                let mut conn = pool.get().await?;
                mysql::repeatable_read(&mut conn).await?;
                conn.transaction(async |tx| mysql::draw::parts(tx, event).await).await
            }
            Pool::Sqlite(pool) => {
                let mut conn = pool.get().await?;
                conn.transaction(async |tx| sqlite::draw::parts(tx, event).await).await
            }
        }
    }

    /// Alternates of these events, by the number that they were drawn with, who wait no more.
    pub async fn alternates_gone(&self, events: &[EventId]) -> Result<Vec<(EventId, i64)>, StoreError> {
        on_connection!(self, |q, conn| q::draw::alternates_gone(conn, events).await)
    }
}
