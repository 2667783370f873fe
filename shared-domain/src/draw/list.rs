//! The frozen list: who takes part, in which order, with which weight.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{Digest, EntryId, EventId};

/// The largest weight: 1 and what missions add.
pub const WEIGHT_MAX: u16 = 1_000;

/// First line of the public list (text/csv).
pub const ENTRANTS_HEADER: &str = "entry_id,weight";

/// One entrant of a frozen list, with a weight of 1 to [`WEIGHT_MAX`]. `Display` gives its line of the public list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entrant {
    entry_id: EntryId,
    weight: u16,
}

/// What is wrong with an entrant or its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntrantError {
    /// A weight outside its bounds.
    #[error("the weight must be between 1 and {WEIGHT_MAX}")]
    Weight,
    /// Not `entry_id,weight`.
    #[error("must be `entry_id,weight`: a UUID and a number")]
    Line,
}

impl Entrant {
    /// An entrant. Errors: the weight is 0 or above [`WEIGHT_MAX`].
    pub fn new(entry_id: EntryId, weight: u16) -> Result<Self, EntrantError> {
        if (1..=WEIGHT_MAX).contains(&weight) {
            Ok(Self { entry_id, weight })
        } else {
            Err(EntrantError::Weight)
        }
    }

    /// From a line of the public list, without its end.
    pub fn parse(line: &str) -> Result<Self, EntrantError> {
        let (id, weight) = line.split_once(',').ok_or(EntrantError::Line)?;
        let id = EntryId::parse(id).ok_or(EntrantError::Line)?;
        if weight.is_empty() || !weight.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EntrantError::Line);
        }
        Self::new(id, weight.parse().map_err(|_| EntrantError::Weight)?)
    }

    /// The entry.
    pub fn entry_id(&self) -> &EntryId {
        &self.entry_id
    }

    /// How many chances it has.
    pub fn weight(&self) -> u16 {
        self.weight
    }
}

impl fmt::Display for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.entry_id, self.weight)
    }
}

/// The list did not have the length that its digest began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list has {seen} entrants instead of {expected}")]
pub struct ListError {
    /// n.
    pub expected: u64,
    /// How many came.
    pub seen: u64,
}

/// `list_digest = SHA-256("list/v1" | event | n | (entry id, weight)...)`, streamed in constant memory. n comes first, so
/// count before; under the freeze the count cannot change.
#[derive(Debug, Clone)]
pub struct ListDigest {
    hash: Sha256,
    expected: u64,
    seen: u64,
}

impl ListDigest {
    /// For a list of `n` entrants.
    pub fn new(event: EventId, n: u64) -> Self {
        let hash = Sha256::new().chain_update(b"list/v1").chain_update(event.to_be_bytes());
        Self { hash: hash.chain_update(n.to_be_bytes()), expected: n, seen: 0 }
    }

    /// The next entrant in (lane, seq) order.
    pub fn push(&mut self, entrant: &Entrant) {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(entrant.entry_id.as_bytes());
        bytes[16..].copy_from_slice(&entrant.weight.to_be_bytes());
        self.hash.update(bytes);
        self.seen += 1;
    }

    /// The digest. Errors: more or fewer than n came.
    pub fn finish(self) -> Result<Digest, ListError> {
        if self.seen == self.expected {
            Ok(self.hash.finalize().into())
        } else {
            Err(ListError { expected: self.expected, seen: self.seen })
        }
    }
}
