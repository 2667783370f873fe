//! A raffle's list in one statement a lane, for a reader who waits for nobody: a connection is his until he is through.
//! Found by the lane alone, a row takes the server three quarters of what it takes found by a range of places.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures::TryStreamExt;
use shared_domain::EventId;
use shared_domain::draw::Entrant;
use tokio::sync::mpsc;

use super::Conn;
use super::draw::{entrant, takes_part};
use super::mission;
use crate::store::error_class::StoreError;
use crate::store::rows::EntryIdColumn;
use crate::store::schema::event_entry as e;

/// Sends a lane's entrants in order, so many at a time.
pub async fn stream_entrants(
    conn: &mut Conn,
    event: EventId,
    lane: i32,
    block: usize,
    to: &mpsc::Sender<Result<Vec<Entrant>, StoreError>>,
) -> Result<(), StoreError> {
    let weights = mission::weights(conn, event).await?;
    let rows =
        e::table.filter(e::event_id.eq(event)).filter(e::lane.eq(lane)).filter(takes_part()).order(e::seq);
    let mut blocks = Blocks { to, size: block, next: Vec::with_capacity(block) };
    if weights.is_empty() {
        let mut rows = rows.select(e::entry_id).load_stream::<EntryIdColumn>(conn).await?;
        while let Some(id) = rows.try_next().await? {
            blocks.push(entrant(&weights, id, 0)?).await;
        }
    } else {
        let rows = rows.select((e::entry_id, e::missions));
        let mut rows = rows.load_stream::<(EntryIdColumn, i64)>(conn).await?;
        while let Some((id, missions)) = rows.try_next().await? {
            blocks.push(entrant(&weights, id, missions)?).await;
        }
    }
    if !blocks.next.is_empty() {
        drop(to.send(Ok(blocks.next)).await);
    }
    Ok(())
}

struct Blocks<'s> {
    to: &'s mpsc::Sender<Result<Vec<Entrant>, StoreError>>,
    size: usize,
    next: Vec<Entrant>,
}

impl Blocks<'_> {
    /// To the end even if nobody listens any more: a query that has begun is never dropped.
    async fn push(&mut self, entrant: Entrant) {
        self.next.push(entrant);
        if self.next.len() == self.size {
            let full = std::mem::replace(&mut self.next, Vec::with_capacity(self.size));
            drop(self.to.send(Ok(full)).await);
        }
    }
}
