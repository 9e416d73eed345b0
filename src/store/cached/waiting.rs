//! Visits that wait to be written.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

use indexmap::IndexSet;

use super::known::Known;
use crate::session::{SessionId, Visit};

/// The visit of a session that left memory, found by the session's id.
#[derive(Debug)]
pub(super) struct Waiting(pub(super) Visit);

impl Borrow<SessionId> for Waiting {
    fn borrow(&self) -> &SessionId {
        &self.0.id
    }
}

impl Hash for Waiting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Waiting {}

/// A session in memory whose visit is due.
pub(super) type Due = Weak<Known>;

/// Visits on their way to the store, sorted by row: neighbours in the store share a page, and each
/// page is written once.
pub(super) struct Sorted {
    left: IndexSet<Waiting>,
    due: Vec<Due>,
    /// How many of them are in a batch.
    left_taken: usize,
    due_taken: usize,
    /// How many due ones were in a batch before the last.
    due_written: usize,
}

/// Visits to be written together.
pub(super) struct Batch {
    pub(super) visits: Vec<Visit>,
    /// Those of sessions in memory, with the time that is to be written.
    pub(super) held: Vec<(Arc<Known>, i64)>,
}

impl Sorted {
    pub(super) fn new(mut left: IndexSet<Waiting>, mut due: Vec<Due>) -> Self {
        left.sort_unstable_by(|Waiting(a), Waiting(b)| a.row.cmp(&b.row));
        due.sort_by_cached_key(|due| due.upgrade().map_or(i64::MIN, |known| known.row));
        Self { left, due, left_taken: 0, due_taken: 0, due_written: 0 }
    }

    /// The next visits, at most `limit`, once the last ones are written; none at the end.
    pub(super) fn next_batch(&mut self, limit: usize) -> Batch {
        self.due_written = self.due_taken;
        let mut batch = Batch { visits: Vec::new(), held: Vec::new() };
        while batch.visits.len() < limit {
            let due = self.due.get(self.due_taken).map(Weak::upgrade);
            // The visit of one that has left memory is among the others.
            let row = due.as_ref().map(|known| known.as_ref().map_or(i64::MIN, |known| known.row));
            let comes_first = |Waiting(visit): &&Waiting| row.is_none_or(|row| visit.row <= row);
            if let Some(Waiting(visit)) = self.left.get_index(self.left_taken).filter(comes_first) {
                batch.visits.push(visit.clone());
                self.left_taken += 1;
            } else if let Some(due) = due {
                // No more than a batch is kept from leaving.
                if let Some(known) = due {
                    let visit = known.visit();
                    batch.held.push((known, visit.time));
                    batch.visits.push(visit);
                }
                self.due_taken += 1;
            } else {
                break;
            }
        }
        batch
    }

    /// What may not be written when the last batch failed; to write a visit again does no harm.
    pub(super) fn not_written(mut self) -> (IndexSet<Waiting>, Vec<Due>) {
        self.due.drain(..self.due_written);
        (self.left, self.due)
    }
}
