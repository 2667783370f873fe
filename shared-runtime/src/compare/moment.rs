//! One moment of a live database: what a comparison begins with.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared_domain::{EventDefinition, EventId};

use super::difference::{Difference, Witness};
use crate::store::Store;
use crate::store::error_class::StoreError;
use crate::store::reading::{Reading, ScheduledEvent, Standing};
use crate::store::rows::{LaneRow, StockRow};
use crate::worker::apply::definition_of;

/// One moment of a live database. All but `store` is of one snapshot.
pub struct Moment {
    /// The database itself.
    pub store: Store,
    /// Further rows of the moment.
    pub live: Reading,
    /// Lanes, cursors, missions, what is parked.
    pub standing: Standing,
    /// Every option of every event.
    pub stock: Vec<StockRow>,
    /// Every event that was scheduled.
    pub events: Vec<ScheduledEvent>,
    /// What they were scheduled as.
    pub definitions: BTreeMap<EventId, Arc<EventDefinition>>,
    /// Events whose definition is not there, or cannot be read.
    pub undefined: Vec<Difference>,
}

impl Moment {
    /// Takes one now.
    pub async fn of(store: &Store) -> Result<Self, StoreError> {
        let mut live = store.reading().await?;
        let standing = live.standing().await?;
        let stock = live.stock().await?;
        let events = live.scheduled_events().await?;
        let (mut definitions, mut undefined) = (BTreeMap::new(), Vec::new());
        let mut fault = |event, found: String| {
            let readable = "what it was scheduled as".to_owned();
            undefined.push(Difference::of_event(event, "events.scheduled", found, readable, Witness::Rows));
        };
        for event in &events {
            match definition_of(event.event_id, &event.scheduled) {
                Ok(definition) => drop(definitions.insert(event.event_id, Arc::new(definition))),
                Err(error) => fault(event.event_id, format!("unreadable ({})", error.message)),
            }
        }
        let known = |id: EventId| events.iter().any(|event| event.event_id == id);
        let mut without: Vec<EventId> =
            standing.lanes.iter().filter(|row| row.is_scheduled).map(|row| row.event_id).collect();
        without.retain(|id| !known(*id));
        without.dedup();
        for event in without {
            fault(event, "missing".to_owned());
        }
        Ok(Self { store: store.clone(), live, standing, stock, events, definitions, undefined })
    }

    /// Whether an event was scheduled.
    pub fn knows(&self, event: EventId) -> bool {
        self.events.iter().any(|known| known.event_id == event)
    }

    /// Lanes of events that were scheduled; of `one` alone, if it is named.
    pub fn lanes(&self, one: Option<EventId>) -> impl Iterator<Item = &LaneRow> {
        let wanted = move |row: &&LaneRow| row.is_scheduled && one.is_none_or(|one| one == row.event_id);
        self.standing.lanes.iter().filter(wanted)
    }

    /// An event's options in a lane.
    pub fn stock_of(&self, event: EventId, lane: i32) -> Vec<StockRow> {
        self.stock.iter().filter(|row| (row.event_id, row.lane) == (event, lane)).cloned().collect()
    }
}
