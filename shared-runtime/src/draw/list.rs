//! The frozen list, streamed in (lane, seq) order: the next blocks are read while this one is used.

use std::collections::VecDeque;

use shared_domain::draw::Entrant;
use shared_domain::{EntryId, EventId};
use tokio::task::JoinHandle;

use crate::store::Store;
use crate::store::draw::DrawLane;
use crate::store::error_class::StoreError;

/// Places of a lane a query.
const BLOCK: i64 = 20_000;
/// Blocks that are read at the same time, so that the database and this process both have something to do.
const AHEAD: usize = 2;

/// Without missions nobody has more than one chance.
const WEIGHT: u16 = 1;

/// Places of a lane: behind the first, up to the second.
type Range = (i32, i64, i64);

/// A walk through a raffle's entrants.
pub struct Entrants {
    store: Store,
    event: EventId,
    ranges: VecDeque<Range>,
    reading: VecDeque<JoinHandle<Result<Vec<Entrant>, StoreError>>>,
}

/// Begins a walk. It means something once no lane can get another entrant: when all of them are closed.
pub fn entrants(store: &Store, event: EventId, lanes: &[DrawLane]) -> Entrants {
    let taking_part = lanes.iter().filter(|lane| lane.pending > 0);
    let ranges = taking_part.flat_map(|lane| blocks(lane.lane, lane.last_seq)).collect();
    let mut walk = Entrants { store: store.clone(), event, ranges, reading: VecDeque::new() };
    (0..AHEAD).for_each(|_| walk.read_on());
    walk
}

/// A lane in blocks. Where a block ends is known before it is read, so a place need not be read with every entrant.
fn blocks(lane: i32, last: i64) -> impl Iterator<Item = Range> {
    (0..last).step_by(BLOCK as usize).map(move |from| (lane, from, (from + BLOCK).min(last)))
}

impl Entrants {
    /// The next entrants, in order; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Entrant>>, StoreError> {
        while let Some(reading) = self.reading.pop_front() {
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
        self.reading.push_back(tokio::spawn(async move {
            let ids = store.entrants_between(event, lane, from, to).await?;
            ids.into_iter().map(entrant).collect()
        }));
    }
}

fn entrant(id: EntryId) -> Result<Entrant, StoreError> {
    Entrant::new(id, WEIGHT).map_err(|_| StoreError::fatal("event_entry: bad weight"))
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
