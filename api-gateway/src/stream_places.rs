//! How many result streams may be open: in this process, and of one member.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use shared_domain::{EntryId, MemberId};
use shared_runtime::http::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seconds after which who was refused may try again; until then there is the entry itself to poll.
const RETRY_AFTER: u32 = 2;

/// Whose stream it is. A receipt does not name its member, and an entry has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Member(MemberId),
    Entry(EntryId),
}

/// The streams that are open.
#[derive(Debug)]
pub(crate) struct StreamPlaces {
    free: Arc<Semaphore>,
    of_member: usize,
    owners: Mutex<HashMap<Owner, usize>>,
    open: Gauge,
}

/// One stream's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<StreamPlaces>,
    owner: Owner,
    _permit: OwnedSemaphorePermit,
}

impl StreamPlaces {
    pub(crate) fn new(all: usize, of_member: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)));
        let open = metrics::gauge!("event_open_streams");
        Arc::new(Self { free, of_member, owners: Mutex::default(), open })
    }

    /// Room for one more, whoever it is. Errors: 503.
    pub(crate) fn room(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.free)
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable("too many open streams").with_retry_after(RETRY_AFTER))
    }

    /// The owner's place in that room. Errors: 429 when they have too many.
    pub(crate) fn take(self: &Arc<Self>, room: OwnedSemaphorePermit, owner: Owner) -> Result<Place, Problem> {
        let mut owners = self.lock();
        let open = owners.entry(owner).or_default();
        if *open >= self.of_member {
            return Err(Problem::try_again(RETRY_AFTER));
        }
        *open += 1;
        self.open.increment(1);
        Ok(Place { places: Arc::clone(self), owner, _permit: room })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        // Whole at every moment.
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut owners = self.places.lock();
        if let Some(open) = owners.get_mut(&self.owner) {
            *open -= 1;
            if *open == 0 {
                owners.remove(&self.owner);
            }
        }
        self.places.open.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_come_back() {
        let places = StreamPlaces::new(3, 2);
        let take = |owner| places.take(places.room()?, owner);
        let (one, other) = (Owner::Member(1), Owner::Entry(EntryId::from_bytes([1; 16])));
        let first = take(one).unwrap();
        let second = take(one).unwrap();
        let refused = take(one).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), ("TRY_AGAIN", Some(2)));
        let third = take(other).unwrap();
        let refused = take(other).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), ("UNAVAILABLE", Some(2)));
        drop(first);
        let again = take(one).unwrap();
        drop((second, third, again));
        assert!(places.lock().is_empty());
        assert_eq!(places.free.available_permits(), 3);
    }
}
