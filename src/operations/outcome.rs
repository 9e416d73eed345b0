//! What goes into operations and comes out of them, beside what the store has.

use std::borrow::Cow;

use crate::session::{AppId, OpenId, SessionId, Skey};

/// Open data as a phone sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<'a> {
    pub encrypted: Cow<'a, str>,
    /// Absent for the old algorithm.
    pub iv: Option<Cow<'a, str>>,
}

/// What kind of session a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's one session, or one of a few: what the Wafer protocol has.
    Shared,
    /// One of the device's own.
    Device,
}

/// A new or renewed session.
#[derive(Debug)]
pub struct LoggedIn {
    pub id: SessionId,
    pub skey: Skey,
    pub is_new: bool,
    pub appid: AppId,
    pub open_id: OpenId,
    pub union_id: Option<String>,
    /// A JSON object's text.
    pub profile: String,
    /// Seconds.
    pub duration: u64,
}
