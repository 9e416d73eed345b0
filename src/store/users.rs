//! Users as an operator sees them.

use crate::session::{AppId, OpenId, SessionId};

/// A user of an app. The keys are not an operator's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub appid: AppId,
    pub open_id: OpenId,
    pub union_id: Option<String>,
    /// `user_info` on the wire: a JSON object as WeChat wrote it.
    pub profile: String,
}

/// Which users are meant: those to whom all of it applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    pub appid: Option<AppId>,
    pub open_id: Option<OpenId>,
    pub union_id: Option<String>,
    /// Those that come after this one in the order of appid and openid.
    pub after: Option<(AppId, OpenId)>,
}

/// What there was of a user who was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether the user was known, with or without a session.
    pub was_known: bool,
    /// The sessions that ended with it.
    pub sessions: Vec<SessionId>,
}
