//! Where apps, users and sessions are kept.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use self::import::Imported;
use self::mysql::MysqlUrl;
use self::stats::{Census, Counted, Range, Stat, Step};
use self::users::{Account, Erased, Users};
use crate::session::{
    App, AppId, Lifetime, Login, OpenId, Session, SessionId, SignedIn, StoredSkey, User, Visit,
};

pub mod cached;
pub mod import;
pub mod memory;
pub mod metered;
pub mod mysql;
pub mod sqlite;
pub mod stats;
pub mod users;

#[cfg(test)]
mod contract;

/// A store of apps, users and sessions.
///
/// Implementations pass every case of `contract` and hold no policy: the caller decides what has
/// expired and passes the instant. Times are seconds since the epoch. Every write is durable on
/// return, as far as the backend can be.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// All apps, by appid.
    async fn apps(&self) -> Result<Vec<App>, StoreError>;

    /// Adds an app or replaces the one with its appid. A default app is the only default.
    async fn put_app(&self, app: &App) -> Result<(), StoreError>;

    /// Removes an app with its users and sessions; tells whether it was there.
    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError>;

    /// The session with this id, valid or not.
    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Writes a login: the user, and the user's sessions as [`Login::fates`] says.
    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError>;

    /// Replaces a user's session_key, unless it is no longer the old one; tells whether it was. The
    /// old one becomes the one before the newest.
    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError>;

    /// Moves last visits forward, never back, where the skey is still the same.
    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError>;

    /// The selected sessions, newest login first, at most `limit` of them.
    async fn sessions(&self, selection: &Selection, limit: u32)
    -> Result<Vec<Session>, StoreError>;

    /// The selected sessions with an id after this one, in the order of their ids, at most `limit` of
    /// them.
    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError>;

    /// Ends the selected sessions and returns their ids.
    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError>;

    /// The users that are meant, in the order of appid and openid, at most `limit` of them.
    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Erases a user: the profile, the keys and the sessions.
    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError>;

    /// Looks at one bounded slice of the sessions, the one after `after` (`""`: the first), and
    /// deletes those that have expired.
    async fn purge(&self, expiry: &[Expiry], after: &str) -> Result<Purged, StoreError>;

    /// Writes sessions of another database, in the order of their logins, as
    /// [`Imported::decide`] says; again, if need be.
    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError>;

    /// Encrypts one bounded slice of the secrets anew, the one after `after` (`""`: the first):
    /// those that are plain or under another key than the one that writes.
    async fn reseal(&self, after: &str) -> Result<Resealed, StoreError>;

    /// Adds what a node counted to the rows of its minute and of its hour; what was added before
    /// changes nothing.
    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError>;

    /// The rows of a range, in order of their start, at most `limit` of them.
    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError>;

    /// Counts each app's users, and those of them who were seen at this instant or later.
    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError>;

    /// Raises the rows of the day that began at this instant to what was counted.
    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError>;

    /// Deletes the rows of a step that start before an instant.
    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError>;

    /// What changed since the last call, by whichever process.
    async fn changes(&self) -> Result<Changes, StoreError>;
}

/// A session_key that WeChat replaced.
#[derive(Debug, Clone)]
pub struct ReplacedKey {
    pub appid: AppId,
    pub open_id: OpenId,
    pub old: SecretString,
    pub new: SecretString,
}

impl ReplacedKey {
    /// The user with the new key; `None` when the old one is another already.
    #[must_use]
    pub fn user(&self, stored: User) -> Option<User> {
        let is_old = stored.session_key.expose_secret() == self.old.expose_secret();
        is_old.then(|| User {
            session_key: self.new.clone(),
            previous_session_key: Some(self.old.clone()),
            ..stored
        })
    }
}

/// Which sessions are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Only those of this app.
    pub appid: Option<AppId>,
    pub whose: Whose,
}

/// Whose sessions are meant; see [`Selection`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Everyone,
    User(OpenId),
    Session(SessionId),
    /// The session of this id as long as it has this skey: not what a later login made of it.
    Login(SessionId, StoredSkey),
}

/// Before which instants an app's sessions have expired.
#[derive(Debug, Clone)]
pub struct Expiry {
    pub appid: AppId,
    pub created_before: i64,
    pub visited_before: i64,
}

impl Expiry {
    /// The expiry of an app's sessions at `now`.
    #[must_use]
    pub fn at(now: i64, appid: AppId, lifetime: Lifetime) -> Self {
        Self {
            appid,
            created_before: now + 1 - lifetime.too_old_from(0),
            visited_before: now + 1 - lifetime.unused_from(0),
        }
    }

    /// Tells whether a session of the app has expired.
    #[must_use]
    pub fn holds(&self, appid: &AppId, created: i64, last_visit: i64) -> bool {
        self.appid == *appid && self.is_past(created, last_visit)
    }

    /// Tells whether a session would have expired if it were one of the app's.
    #[must_use]
    pub fn is_past(&self, created: i64, last_visit: i64) -> bool {
        created < self.created_before || last_visit < self.visited_before
    }
}

/// What one call of [`Store::purge`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    pub removed: u64,
    /// After what the next slice begins, in the backend's own terms; `None` after the last one.
    pub next: Option<String>,
}

/// What one call of [`Store::reseal`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// How many secrets were encrypted anew.
    pub changed: u64,
    /// After what the next slice begins; `None` after the last one.
    pub next: Option<String>,
}

/// What changed in a store; see [`Store::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    These(Vec<Change>),
    /// The feed has a gap: anything may have changed.
    Anything,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Session(SessionId),
    Apps,
}

/// A question that a store could not answer, or a write that it did not do.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct StoreError {
    /// What was being done.
    doing: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    pub(crate) fn new(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { doing, source: source.into() }
    }
}

/// `storage.url`: which backend, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum StorageUrl {
    /// `memory:`
    Memory,
    /// `sqlite:PATH`
    Sqlite(std::path::PathBuf),
    /// `mysql://USER:PASSWORD@HOST:PORT/DATABASE`
    Mysql(MysqlUrl),
}

impl std::str::FromStr for StorageUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("mysql", _)) => url.parse().map(Self::Mysql),
            _ => Err("expected `memory:`, `sqlite:PATH` or `mysql://…`".into()),
        }
    }
}

impl TryFrom<String> for StorageUrl {
    type Error = String;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        url.parse()
    }
}

impl From<StorageUrl> for String {
    fn from(url: StorageUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Mysql(url) => url.fmt(f),
        }
    }
}

/// Which store, and how it is used; the settings of `[storage]`.
#[derive(Debug, Clone)]
pub enum Settings {
    Memory,
    Sqlite(sqlite::Settings),
    Mysql(mysql::Settings),
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`storage.url` is `memory:`, and only the server itself has that store")]
    ServerOnly,
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    #[error(transparent)]
    Mysql(#[from] Box<mysql::OpenError>),
}

impl From<mysql::OpenError> for OpenError {
    fn from(error: mysql::OpenError) -> Self {
        Self::Mysql(Box::new(error))
    }
}

/// Who opens a store, and so what may be made of one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// The server: it creates what is absent, and has the memory to itself.
    Server,
    /// A command that may create the database.
    Creating,
    /// A command that needs a database.
    Using,
}

/// Opens a store, its schema up to date.
///
/// # Errors
///
/// [`OpenError`] says what is wrong and what would be right.
pub async fn open(settings: &Settings, opener: Opener) -> Result<Arc<dyn Store>, OpenError> {
    let create = opener != Opener::Using;
    match settings {
        Settings::Memory if opener == Opener::Server => Ok(Arc::new(memory::Memory::default())),
        Settings::Memory => Err(OpenError::ServerOnly),
        Settings::Sqlite(settings) => Ok(Arc::new(sqlite::Sqlite::open(settings, create)?)),
        Settings::Mysql(settings) => {
            let serves = opener == Opener::Server;
            let settings = mysql::Settings { serves, ..settings.clone() };
            Ok(Arc::new(mysql::Mysql::open(&settings, create).await?))
        }
    }
}
