//! What this gateway accepted lately, so that a double click is told from a first one.

use std::hash::{DefaultHasher, Hash, Hasher};

use quick_cache::sync::Cache;
use shared_domain::{Contact, EntryId, Millis};

/// Entries remembered: some 20 MiB.
const CAPACITY: usize = 200_000;

/// An accepted entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recent {
    /// Partition.
    pub lane: i32,
    /// Offset of its record.
    pub offset: i64,
    /// Gateway clock.
    pub accepted_at: Millis,
    /// Of the Idempotency-Key and what the request asked for.
    pub request: RequestHash,
}

/// What tells a repeat from another request under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHash {
    key: Option<u64>,
    body: u64,
}

impl RequestHash {
    /// Of a key, the options that were asked for, by index, and the contact.
    pub(crate) fn new(key: Option<&str>, options: &[u32], contact: Option<&Contact>) -> Self {
        Self { key: key.map(hash), body: hash(&(options, contact)) }
    }

    /// Whether `later` uses this request's key for something else.
    pub(crate) fn is_reused_by(&self, later: &Self) -> bool {
        self.key.is_some() && self.key == later.key && self.body != later.body
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The memory; the oldest fall out.
#[derive(Debug)]
pub(crate) struct RecentEntries(Cache<EntryId, Recent>);

impl Default for RecentEntries {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl RecentEntries {
    pub(crate) fn get(&self, entry: EntryId) -> Option<Recent> {
        self.0.get(&entry)
    }

    /// Remembers an entry. A repeat keeps the first place: the second record changes nothing.
    pub(crate) fn remember(&self, entry: EntryId, recent: Recent) {
        if self.0.get(&entry).is_none() {
            self.0.insert(entry, recent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_reused_only_by_another_body() {
        let of = |key, options: &[u32]| RequestHash::new(key, options, None);
        assert!(of(Some("k"), &[0]).is_reused_by(&of(Some("k"), &[1])));
        assert!(!of(Some("k"), &[0]).is_reused_by(&of(Some("k"), &[0])));
        assert!(!of(Some("k"), &[0]).is_reused_by(&of(Some("l"), &[1])));
        assert!(!of(None, &[0]).is_reused_by(&of(None, &[1])));
        let contact = Contact { phone_number: None, email: Some("a@b.c".to_owned()), address: None };
        let with = RequestHash::new(Some("k"), &[0], Some(&contact));
        assert!(of(Some("k"), &[0]).is_reused_by(&with) && !with.is_reused_by(&with));
    }
}
