//! What goes into operations and comes out of them, beside what the store has.

use std::borrow::Cow;

use crate::session::{SessionId, Skey};

/// Open data as a phone sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<'a> {
    pub encrypted: Cow<'a, str>,
    /// Absent for the old algorithm.
    pub iv: Option<Cow<'a, str>>,
}

/// A new or renewed session.
#[derive(Debug)]
pub struct LoggedIn {
    pub id: SessionId,
    pub skey: Skey,
    pub is_new: bool,
    /// A JSON object's text.
    pub profile: String,
    /// Seconds.
    pub duration: u64,
}
