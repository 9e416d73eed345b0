//! Visits of sessions that left memory.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::session::{SessionId, Visit};

/// A visit that waits to be written, found by its session's id.
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
