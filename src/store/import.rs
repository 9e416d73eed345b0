//! What becomes of a session that comes from another database.

use crate::session::{Session, User};

/// What became of an imported session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was not here.
    Added,
    /// It was here, and its user logged in there since.
    Renewed,
    /// It is here already, as it is there or newer.
    Known,
    /// Its user has logged in here since, or was logged out here: it stays away.
    Superseded,
}

impl Imported {
    /// Decides about a session. `known` is when the session with its id here was made, if there is
    /// one, `user` whether its user is known here, and `logins` when the user's sessions here were
    /// made.
    #[must_use]
    pub fn decide(session: &Session, known: Option<i64>, user: bool, logins: &[i64]) -> Self {
        match known {
            Some(created) if created < session.created => Self::Renewed,
            Some(_) => Self::Known,
            // Sessions come in the order of their logins: older ones of the user came with them.
            None if !user || logins.iter().any(|login| *login <= session.created) => Self::Added,
            None => Self::Superseded,
        }
    }

    /// Tells whether the session's user is to be written too: nobody logged in here later.
    #[must_use]
    pub fn brings_user(self, session: &Session, logins: &[i64]) -> bool {
        matches!(self, Self::Added | Self::Renewed)
            && logins.iter().all(|login| *login <= session.created)
    }
}

/// The user of an imported session beside what was known here: an id across apps stays.
#[must_use]
pub(super) fn user(session: &Session, known: Option<User>) -> User {
    let union_id = session.user.union_id.clone().or_else(|| known.and_then(|user| user.union_id));
    User { union_id, ..session.user.clone() }
}
