//! A part of the memory, behind a lock of its own.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::known::Known;

/// How many entries an eviction looks at before it takes one that was visited.
const LOOKS: usize = 8;

/// The entries stand in a row, for the clock to go round, and a table has their places.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) entries: Vec<Arc<Known>>,
    places: HashTable<u32>,
    /// Seeded at random. Nobody can choose the ids of sessions that are in memory.
    hasher: DefaultHashBuilder,
    /// What the entries take, without the row and the table.
    entry_bytes: usize,
    /// Reads in flight that may fill the cache, by a number of their own.
    pub(super) fills: HashMap<u64, Fill>,
    pub(super) last_fill: u64,
    /// How often a session was wanted that is here, and one that is not.
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// The entry that an eviction looked at last, as on a clock.
    hand: usize,
}

#[derive(Debug)]
pub(super) struct Fill {
    pub(super) id: Box<str>,
    pub(super) marked: bool,
}

impl Shard {
    pub(super) fn get(&self, id: &str) -> Option<&Arc<Known>> {
        let place = self.places.find(self.hasher.hash_one(id), |place| self.id_at(*place) == id)?;
        self.entries.get(*place as usize)
    }

    /// What all of it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        let row = self.entries.capacity() * size_of::<Arc<Known>>();
        self.entry_bytes + row + self.places.allocation_size()
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<Known>> {
        let hash = self.hasher.hash_one(id);
        let place = *self.places.find(hash, |place| self.id_at(*place) == id)?;
        Some(self.remove_at(place as usize))
    }

    pub(super) fn insert(&mut self, known: Arc<Known>) {
        self.entry_bytes += known.bytes();
        known.kept.store(true, Ordering::SeqCst);
        let Self { entries, places, hasher, .. } = self;
        let place = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let hash = hasher.hash_one(known.id());
        entries.push(known);
        let hash_of = |place: &u32| hasher.hash_one(entries[*place as usize].id());
        places.insert_unique(hash, place, hash_of);
    }

    /// Removes an entry: the next one that was not visited since the hand last passed it.
    pub(super) fn evict(&mut self) -> Option<Arc<Known>> {
        let len = self.entries.len();
        for _ in 0..LOOKS.min(len) {
            self.hand = (self.hand + 1) % len;
            if !self.entries[self.hand].visited.swap(false, Ordering::Relaxed) {
                break;
            }
        }
        (self.hand < len).then(|| self.remove_at(self.hand))
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) -> Vec<Arc<Known>> {
        self.entry_bytes = 0;
        self.places = HashTable::new();
        std::mem::take(&mut self.entries)
    }

    pub(super) fn mark_fills(&mut self, of: impl Fn(&str) -> bool) {
        for fill in self.fills.values_mut() {
            fill.marked |= of(&fill.id);
        }
    }

    fn id_at(&self, place: u32) -> &str {
        self.entries[place as usize].id()
    }

    /// Removes the entry at a place, which the newest takes: there the hand comes last.
    fn remove_at(&mut self, place: usize) -> Arc<Known> {
        let last = self.entries.len() - 1;
        self.forget_place(place);
        if place != last {
            self.forget_place(last);
            let hash = self.hasher.hash_one(self.entries[last].id());
            let Self { entries, places, hasher, .. } = self;
            let hash_of = |place: &u32| hasher.hash_one(entries[*place as usize].id());
            places.insert_unique(hash, u32::try_from(place).unwrap_or(u32::MAX), hash_of);
        }
        let known = self.entries.swap_remove(place);
        self.entry_bytes -= known.bytes();
        known
    }

    fn forget_place(&mut self, place: usize) {
        let hash = self.hasher.hash_one(self.entries[place].id());
        if let Ok(entry) = self.places.find_entry(hash, |other| *other as usize == place) {
            entry.remove();
        }
    }
}
