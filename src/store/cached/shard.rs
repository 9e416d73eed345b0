//! A part of the memory, behind a lock of its own.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use indexmap::{Equivalent, IndexSet};

use super::known::Known;

/// How many entries an eviction looks at before it takes one that was visited.
const LOOKS: usize = 8;

/// An entry of a shard, found by its id.
#[derive(Debug)]
pub(super) struct Entry(pub(super) Arc<Known>);

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ById(self.0.id()).hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for Entry {}

#[derive(Hash)]
struct ById<'a>(&'a str);

impl Equivalent<Entry> for ById<'_> {
    fn equivalent(&self, entry: &Entry) -> bool {
        self.0 == entry.0.id()
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) entries: IndexSet<Entry>,
    pub(super) bytes: usize,
    /// Reads in flight that may fill the cache, by a number of their own.
    pub(super) fills: HashMap<u64, Fill>,
    pub(super) last_fill: u64,
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
        self.entries.get(&ById(id)).map(|entry| &entry.0)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<Known>> {
        let Entry(known) = self.entries.swap_take(&ById(id))?;
        self.bytes -= known.bytes();
        Some(known)
    }

    pub(super) fn insert(&mut self, known: Arc<Known>) {
        self.bytes += known.bytes();
        known.kept.store(true, Ordering::SeqCst);
        self.entries.insert(Entry(known));
    }

    /// Removes an entry: the next one that was not visited since the hand last passed it.
    pub(super) fn evict(&mut self) -> Option<Arc<Known>> {
        let len = self.entries.len();
        for _ in 0..LOOKS.min(len) {
            self.hand = (self.hand + 1) % len;
            if !self.entries[self.hand].0.visited.swap(false, Ordering::Relaxed) {
                break;
            }
        }
        // The newest entry takes its place, where the hand comes last.
        let Entry(known) = self.entries.swap_remove_index(self.hand)?;
        self.bytes -= known.bytes();
        Some(known)
    }

    pub(super) fn mark_fills(&mut self, of: impl Fn(&str) -> bool) {
        for fill in self.fills.values_mut() {
            fill.marked |= of(&fill.id);
        }
    }
}
