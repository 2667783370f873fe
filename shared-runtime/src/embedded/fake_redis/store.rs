//! The data: sixteen databases over sharded maps, strings and sorted sets, with expiry.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use crate::clock::SharedClock;

/// Databases a client may SELECT, as in Redis' default configuration.
pub(super) const DATABASES: usize = 16;
const SHARDS: usize = 16;

/// A sorted set's score, ordered like Redis orders it (no NaN, no negative zero).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score(pub(super) f64);

impl Score {
    pub(super) fn new(value: f64) -> Self {
        // Adding zero turns -0.0 into 0.0, which `total_cmp` would tell apart.
        Self(value + 0.0)
    }
}

impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Members by score, then by bytes.
#[derive(Debug, Default)]
pub(super) struct SortedSet {
    scores: HashMap<Bytes, Score>,
    order: BTreeSet<(Score, Bytes)>,
}

impl SortedSet {
    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn score(&self, member: &Bytes) -> Option<f64> {
        self.scores.get(member).map(|score| score.0)
    }

    pub(super) fn insert(&mut self, member: &Bytes, value: f64) {
        let score = Score::new(value);
        if let Some(old) = self.scores.insert(member.clone(), score) {
            self.order.remove(&(old, member.clone()));
        }
        self.order.insert((score, member.clone()));
    }

    pub(super) fn remove(&mut self, member: &Bytes) -> bool {
        match self.scores.remove(member) {
            Some(score) => self.order.remove(&(score, member.clone())),
            None => false,
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, f64)> {
        self.order.iter().map(|(score, member)| (member, score.0))
    }
}

/// What a key holds.
#[derive(Debug)]
pub(super) enum Data {
    Text(Bytes),
    Sorted(SortedSet),
}

/// A key's value and, in milliseconds since 1970, the moment it dies.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) data: Data,
    pub(super) expires_at: Option<i64>,
}

impl Entry {
    fn dead(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

type Shard = HashMap<Bytes, Entry>;

/// All databases.
///
/// A command on one key takes the gate shared and its shard's lock; one that must see several keys at one moment
/// (MGET, EXEC, FLUSHALL...) takes the gate alone. That is decided by the dispatcher, not here.
pub(super) struct Store {
    pub(super) gate: RwLock<()>,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    clock: SharedClock,
    swept: AtomicUsize,
}

impl Store {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self {
            gate: RwLock::new(()),
            shards: (0..DATABASES * SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            clock,
            swept: AtomicUsize::new(0),
        }
    }

    /// A view of one database at this moment.
    pub(super) fn database(&self, index: usize) -> Database<'_> {
        Database { store: self, index, now: self.clock.now_ms() }
    }

    /// Drops dead keys in a bounded part of the shards; repeated calls reach all of them.
    pub(super) fn sweep(&self) {
        let now = self.clock.now_ms();
        let start = self.swept.fetch_add(SHARDS, Atomic::Relaxed);
        for step in 0..SHARDS {
            lock(&self.shards[(start + step) % self.shards.len()]).retain(|_, entry| !entry.dead(now));
        }
    }

    fn shard(&self, index: usize, key: &Bytes) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index * SHARDS + shard])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A shard holds no half-made state between statements, so a panic elsewhere does not spoil it.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One database at one moment.
#[derive(Clone, Copy)]
pub(super) struct Database<'a> {
    store: &'a Store,
    index: usize,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

impl Database<'_> {
    /// Reads a key.
    pub(super) fn read<T>(&self, key: &Bytes, f: impl FnOnce(Option<&Entry>) -> T) -> T {
        let shard = self.store.shard(self.index, key);
        f(shard.get(key).filter(|entry| !entry.dead(self.now)))
    }

    /// Changes a key: what `f` leaves is stored; `None` and an empty sorted set delete it.
    pub(super) fn update<T>(&self, key: &Bytes, f: impl FnOnce(&mut Option<Entry>) -> T) -> T {
        let mut shard = self.store.shard(self.index, key);
        let mut slot = shard.remove(key).filter(|entry| !entry.dead(self.now));
        let answer = f(&mut slot);
        if let Some(entry) = slot {
            let empty = matches!(&entry.data, Data::Sorted(set) if set.len() == 0);
            if !empty && !entry.dead(self.now) {
                shard.insert(key.clone(), entry);
            }
        }
        answer
    }

    /// Deletes every key of this database.
    pub(super) fn flush(&self) {
        for shard in self.shards() {
            lock(shard).clear();
        }
    }

    /// Deletes every key of every database.
    pub(super) fn flush_all(&self) {
        for shard in &self.store.shards {
            lock(shard).clear();
        }
    }

    /// All living keys, in no order.
    pub(super) fn keys(&self) -> Vec<Bytes> {
        let mut keys = Vec::new();
        for shard in self.shards() {
            keys.extend(lock(shard).iter().filter(|(_, e)| !e.dead(self.now)).map(|(k, _)| k.clone()));
        }
        keys
    }

    fn shards(&self) -> &[Mutex<Shard>] {
        &self.store.shards[self.index * SHARDS..(self.index + 1) * SHARDS]
    }
}
