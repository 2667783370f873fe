//! The frozen list, streamed in (lane, seq) order: the next block is read while this one is used.

use std::collections::VecDeque;

use shared_domain::EventId;
use shared_domain::draw::Entrant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::store::Store;
use crate::store::draw::DrawLane;
use crate::store::error_class::StoreError;

/// Places of a lane a query, or entrants at a time. Two blocks are in memory, or three.
const BLOCK: i64 = 20_000;

/// Places of a lane: behind the first, up to the second.
type Range = (i32, i64, i64);

/// The whole list for a reader who waits for nobody, from one query a lane where the database can stream one.
pub struct WholeList(Source);

enum Source {
    Stream(mpsc::Receiver<Result<Vec<Entrant>, StoreError>>),
    Blocks(Entrants),
}

/// Begins to read the whole list. As with [`entrants`], all lanes must be closed.
pub fn whole_list(store: &Store, event: EventId, lanes: &[DrawLane]) -> WholeList {
    let taking_part = lanes.iter().filter(|lane| lane.pending > 0).map(|lane| lane.lane).collect();
    let stream = store.stream_entrants(event, taking_part, BLOCK as usize).map(Source::Stream);
    WholeList(stream.unwrap_or_else(|| Source::Blocks(entrants(store, event, lanes))))
}

impl WholeList {
    /// The next entrants, in order; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Entrant>>, StoreError> {
        match &mut self.0 {
            Source::Blocks(walk) => walk.next().await,
            Source::Stream(blocks) => {
                let died = || StoreError::fatal("a query died");
                let block = blocks.recv().await.ok_or_else(died)??;
                // The end is said: a list that only breaks off is none.
                Ok(Some(block).filter(|block| !block.is_empty()))
            }
        }
    }
}

/// A walk through a raffle's entrants in queries of their own, so that no connection waits for a slow reader.
pub struct Entrants {
    store: Store,
    event: EventId,
    ranges: VecDeque<Range>,
    next: Option<JoinHandle<Result<Vec<Entrant>, StoreError>>>,
}

/// Begins a walk. It means something once no lane can get another entrant: when all of them are closed.
pub fn entrants(store: &Store, event: EventId, lanes: &[DrawLane]) -> Entrants {
    let taking_part = lanes.iter().filter(|lane| lane.pending > 0);
    let ranges = taking_part.flat_map(|lane| blocks(lane.lane, lane.last_seq)).collect();
    let mut walk = Entrants { store: store.clone(), event, ranges, next: None };
    walk.read_on();
    walk
}

/// A lane in blocks. Where a block ends is known before it is read, so a place need not be read with every entrant.
fn blocks(lane: i32, last: i64) -> impl Iterator<Item = Range> {
    (0..last).step_by(BLOCK as usize).map(move |from| (lane, from, (from + BLOCK).min(last)))
}

impl Entrants {
    /// The next entrants, in order; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Entrant>>, StoreError> {
        while let Some(reading) = self.next.take() {
            let block =
                reading.await.map_err(|died| StoreError::fatal(format!("a query died: {died}")))??;
            self.read_on();
            // A block of rejections has nobody.
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// In a task of its own: a query that has begun is never dropped.
    fn read_on(&mut self) {
        let Some((lane, from, to)) = self.ranges.pop_front() else { return };
        let (store, event) = (self.store.clone(), self.event);
        self.next = Some(tokio::spawn(async move { store.entrants_between(event, lane, from, to).await }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_meet_and_end_at_the_last_place() {
        assert_eq!(blocks(3, 0).count(), 0);
        assert_eq!(blocks(3, 1).collect::<Vec<_>>(), [(3, 0, 1)]);
        assert_eq!(blocks(3, BLOCK).collect::<Vec<_>>(), [(3, 0, BLOCK)]);
        assert_eq!(
            blocks(3, 2 * BLOCK + 1).collect::<Vec<_>>(),
            [(3, 0, BLOCK), (3, BLOCK, 2 * BLOCK), (3, 2 * BLOCK, 2 * BLOCK + 1)]
        );
    }
}
