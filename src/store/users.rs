//! Users as an operator sees them.

use serde_json::Value;

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

impl Account {
    /// The profile; as text where it is no JSON, which a database may hold.
    #[must_use]
    pub fn profile(&self) -> Value {
        let profile = serde_json::from_str(&self.profile);
        profile.unwrap_or_else(|_| Value::String(self.profile.clone()))
    }
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

impl Users {
    /// The apps to look at, in order, each with the user of it after whom the others come. An index
    /// serves each of these, and of all apps at once it serves none.
    pub fn by_app<'a>(
        &'a self,
        apps: impl Iterator<Item = &'a AppId>,
    ) -> impl Iterator<Item = (&'a AppId, Option<&'a OpenId>)> {
        let is_meant = |app: &&AppId| self.appid.as_ref().is_none_or(|wanted| wanted == *app);
        apps.filter(is_meant).filter_map(|app| match &self.after {
            Some((after, _)) if after > app => None,
            Some((after, open_id)) if after == app => Some((app, Some(open_id))),
            _ => Some((app, None)),
        })
    }
}

/// What there was of a user who was erased.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether the user was known, with or without a session.
    pub was_known: bool,
    /// The sessions that ended with it.
    pub sessions: Vec<SessionId>,
}
