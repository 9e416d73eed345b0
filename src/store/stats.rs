//! What requests came to, minute by minute: kept beside the sessions, for those who have nothing
//! else to keep it in.

use super::{Store, StoreError};
use crate::session::AppId;

/// For how long rows of a step are kept, in seconds.
const KEEP: [(Step, i64); 3] =
    [(Step::Minute, 30 * 86_400), (Step::Hour, 400 * 86_400), (Step::Day, 400 * 86_400)];

/// The span of time that a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Minute,
    Hour,
    /// A day of the server's time zone: [`Census`].
    Day,
}

impl Step {
    /// Those that requests are counted in.
    pub const OF_REQUESTS: [Self; 2] = [Self::Minute, Self::Hour];

    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The start of the span that an instant is in; of a day in UTC.
    #[must_use]
    pub const fn start(self, at: i64) -> i64 {
        at - at.rem_euclid(self.seconds())
    }
}

/// How often an interface answered a code for an app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// `None`: it is not known.
    pub appid: Option<AppId>,
    pub interface: String,
    pub code: u32,
    pub count: u64,
}

impl Count {
    /// The app as it is stored.
    #[must_use]
    pub fn appid_text(&self) -> &str {
        self.appid.as_ref().map_or("", AppId::as_str)
    }

    /// Tells whether they count the same.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |count: &Self| (count.code, count.appid.clone());
        self.interface == other.interface && of(self) == of(other)
    }

    /// What was stored.
    #[must_use]
    pub fn stored(appid: &str, interface: String, code: u32, count: u64) -> Self {
        let appid = (!appid.is_empty()).then(|| appid.into());
        Self { appid, interface, code, count }
    }
}

/// What a node counted in a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Names the process; the counts of a node and a minute are added once.
    pub node: String,
    /// When the minute began.
    pub minute: i64,
    pub counts: Vec<Count>,
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub step: Step,
    /// Rows that start at this instant or later.
    pub from: i64,
    /// Rows that start before this one.
    pub to: i64,
    /// Only those of this app.
    pub appid: Option<AppId>,
}

/// What all nodes counted in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub start: i64,
    pub count: Count,
}

/// The users of an app on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    pub appid: AppId,
    pub users: u64,
    /// Those of them who were seen that day.
    pub active: u64,
}

impl Census {
    pub const USERS: &str = "users";
    pub const ACTIVE: &str = "active";

    /// As it stands in the rows of a day, in order.
    #[must_use]
    pub fn counts(&self) -> [Count; 2] {
        [(Self::ACTIVE, self.active), (Self::USERS, self.users)].map(|(interface, count)| Count {
            appid: Some(self.appid.clone()),
            interface: interface.to_owned(),
            code: 0,
            count,
        })
    }
}

/// Deletes the rows that have been kept for long enough.
///
/// # Errors
///
/// When the store cannot be written.
pub async fn prune(store: &dyn Store, now: i64) -> Result<(), StoreError> {
    for (step, kept) in KEEP {
        store.prune_stats(step, now - kept).await?;
    }
    Ok(())
}
