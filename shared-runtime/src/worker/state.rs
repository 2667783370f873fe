//! What a worker says of itself while it runs.

use std::collections::{BTreeMap, BTreeSet};

use shared_proto::Lane;

/// Told through a watch channel, whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// Its group has told it its lanes.
    pub joined: bool,
    /// Its lanes whose cursor is not read yet.
    pub opening: BTreeSet<Lane>,
    /// Its lanes that stand still, and why.
    pub halted: BTreeMap<Lane, String>,
}

impl WorkerState {
    /// Whether it reads every lane that it was given, or says why not.
    pub fn is_at_work(&self) -> bool {
        self.joined && self.opening.is_empty()
    }
}
