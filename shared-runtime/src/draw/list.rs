//! The frozen list, streamed in (lane, seq) order: the next block is read while this one is used.

use std::collections::VecDeque;

use shared_domain::draw::Entrant;
use shared_domain::{EntryId, EventId};
use tokio::task::JoinHandle;

use crate::store::Store;
use crate::store::draw::DrawLane;
use crate::store::error_class::StoreError;

/// Entrants a query. Two blocks are in memory.
const BLOCK: i64 = 20_000;

/// Without missions nobody has more than one chance.
const WEIGHT: u16 = 1;

type Block = (Vec<Entrant>, Option<(i32, i64)>);

/// A walk through a raffle's entrants.
pub struct Entrants {
    store: Store,
    event: EventId,
    lanes: VecDeque<i32>,
    next: Option<JoinHandle<Result<Block, StoreError>>>,
}

/// Begins a walk. It means something once no lane can get another entrant: when all of them are closed.
pub fn entrants(store: &Store, event: EventId, lanes: &[DrawLane]) -> Entrants {
    let lanes = lanes.iter().filter(|lane| lane.pending > 0).map(|lane| lane.lane).collect();
    let mut walk = Entrants { store: store.clone(), event, lanes, next: None };
    walk.read_on(None);
    walk
}

impl Entrants {
    /// The next block, in order; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Entrant>>, StoreError> {
        let Some(reading) = self.next.take() else { return Ok(None) };
        let block = reading.await.map_err(|died| StoreError::fatal(format!("a query died: {died}")))?;
        let (block, at) = block?;
        self.read_on(at);
        Ok(Some(block))
    }

    /// In a task of its own: a query that has begun is never dropped.
    fn read_on(&mut self, at: Option<(i32, i64)>) {
        let Some((lane, after)) = at.or_else(|| self.lanes.pop_front().map(|lane| (lane, 0))) else { return };
        let (store, event) = (self.store.clone(), self.event);
        self.next = Some(tokio::spawn(async move {
            let rows = store.entrants_behind(event, lane, after, BLOCK).await?;
            let full = rows.len() as i64 == BLOCK;
            let at = rows.last().filter(|_| full).map(|(seq, _)| (lane, *seq));
            Ok((rows.iter().map(|(_, id)| entrant(id)).collect::<Result<_, _>>()?, at))
        }));
    }
}

fn entrant(id: &[u8]) -> Result<Entrant, StoreError> {
    let bad = || StoreError::fatal("event_entry: bad entry id");
    Entrant::new(EntryId::from_slice(id).ok_or_else(bad)?, WEIGHT).map_err(|_| bad())
}
