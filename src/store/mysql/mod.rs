//! MySQL and MariaDB, on the Wafer server's own two tables.
//!
//! The original columns compare without case and trailing spaces, so every question asks twice:
//! once as the index has it, once byte for byte. Datetimes are in the zone of the server that
//! wrote them first. A user's own row, in a table of ours, is the lock under which the user's
//! sessions change.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};

use self::events::Place;
use self::pool::{Failure, Mode, Pool, Work};
use self::schema::{Found, Php, Tables};
use super::import::Imported;
use super::stats::{Census, Counted, Range, Stat, Step};
use super::users::{Account, Erased, Users};
use super::{Change, Changes, Expiry, Purged, ReplacedKey, Resealed, Selection, Store, StoreError};
use crate::secrets::Keys;
use crate::session::{App, AppId, Login, OpenId, Session, SessionId, SignedIn, StoredSkey, Visit};

mod apps;
mod error;
mod events;
mod import;
mod pool;
mod reseal;
mod rows;
mod schema;
mod sign_in;
mod source;
mod statement;
mod stats;
mod time_zone;
mod url;
mod users;

#[cfg(test)]
mod tests;

pub use self::error::OpenError;
pub use self::source::{Skip, Source};
pub use self::time_zone::TimeZone;
pub use self::url::MysqlUrl;

/// How a database is used; the settings of `[storage]`.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: MysqlUrl,
    pub keys: Keys,
    /// The zone of the datetimes; `None`: as the database remembers it.
    pub time_zone: Option<TimeZone>,
    /// The app of the PHP server's sessions; `None`: the only one.
    pub legacy_appid: Option<AppId>,
    /// Whether the PHP server may be running on the same tables.
    pub shared_with_php: bool,
    /// Whether a database that was shared may stop being so, for good.
    pub leave_php: bool,
    /// Whether this process will serve, and so write sessions.
    pub serves: bool,
    pub max_connections: usize,
    pub timeout: Duration,
}

/// A store in a MySQL or MariaDB database.
#[derive(Debug)]
pub struct Mysql {
    inner: Arc<Inner>,
    logins: mpsc::UnboundedSender<sign_in::Waiting>,
    /// How far the change feed was read; `None`: the place is lost.
    place: Mutex<Option<Place>>,
    /// The runtime that drives the connections, whichever one asks.
    home: Handle,
}

/// What the work on a database is done with.
#[derive(Debug)]
struct Inner {
    pool: Pool,
    context: Context,
}

/// What the work on a database knows.
#[derive(Debug)]
struct Context {
    tables: Tables,
    keys: Keys,
    time_zone: TimeZone,
    shared_with_php: bool,
    /// How long `user_info` may be.
    user_info_length: usize,
    legacy_appid: RwLock<Option<AppId>>,
}

impl Context {
    /// The app of sessions that name none.
    fn legacy_appid(&self) -> Option<AppId> {
        self.legacy_appid.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn legacy_text(&self) -> String {
        self.legacy_appid().map_or_else(String::new, |appid| appid.as_str().to_owned())
    }

    /// What is to stand in the column of the skey, which the PHP server compares as text.
    fn skey_text(&self, skey: &StoredSkey) -> String {
        let hashed = (!self.shared_with_php).then(|| skey.hashed());
        hashed.as_ref().unwrap_or(skey).text().into_owned()
    }

    fn set_legacy_appid(&self, appid: Option<AppId>) {
        *self.legacy_appid.write().unwrap_or_else(PoisonError::into_inner) = appid;
    }

    /// Takes the only app for that of the sessions that name none, unless one is known.
    fn learn_apps(&self, apps: &[App]) {
        if let [only] = apps
            && self.legacy_appid().is_none()
        {
            self.set_legacy_appid(Some(only.appid.clone()));
        }
    }
}

impl Inner {
    async fn run<I: Sync, T>(
        &self,
        mode: Mode,
        input: &I,
        work: Work<Context, I, T>,
    ) -> Result<T, Failure> {
        self.pool.run(mode, &self.context, input, work).await
    }
}

impl Mysql {
    /// Connects to the database and brings its schema up to date. The runtime that this is called
    /// on must last as long as the store.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong and what would be right.
    pub async fn open(settings: &Settings, create: bool) -> Result<Self, OpenError> {
        let pool = pool(settings)?;
        let mut connection = connect(&pool, settings).await?;
        if !create {
            let found = Found::read(&mut connection).await;
            if found.map_err(|source| OpenError::database(settings, source))?.is_empty() {
                return Err(OpenError::Absent { url: settings.url.clone() });
            }
        }
        let (tables, remembered) = schema::migrate(&mut connection, settings).await?;
        let length = schema::user_info_length(&mut connection, tables).await;
        let user_info_length = length.map_err(|source| OpenError::database(settings, source))?;
        // The connection held the lock of the migration: it goes, and the lock with it.
        let _ = connection.close().await;
        let shared_with_php = remembered.php == Some(Php::Shared);
        let context = Context {
            tables,
            keys: settings.keys.clone(),
            time_zone: remembered.time_zone.unwrap_or(TimeZone::UTC),
            shared_with_php,
            user_info_length,
            legacy_appid: RwLock::new(remembered.legacy_appid),
        };
        if settings.serves && settings.keys.writes().is_none() {
            tracing::warn!(
                "AppSecrets and session_keys are stored plain: set `secrets.keys` or \
                 `secrets.key_file`"
            );
        }
        let inner = Arc::new(Inner { pool, context });
        let (logins, queue) = mpsc::unbounded_channel();
        tokio::spawn(sign_in::write_logins(Arc::clone(&inner), queue));
        Ok(Self { inner, logins, place: Mutex::default(), home: Handle::current() })
    }

    /// The SQL that [`Mysql::open`] would run on this database.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says why the database cannot be looked at.
    pub async fn pending_migrations(settings: &Settings) -> Result<Vec<String>, OpenError> {
        let mut connection = connect(&pool(settings)?, settings).await?;
        schema::pending(&mut connection, settings).await
    }

    /// Does work on the runtime that drives the connections.
    async fn run<I: Send + Sync + 'static, T: Send + 'static>(
        &self,
        doing: &'static str,
        mode: Mode,
        input: I,
        work: Work<Context, I, T>,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let task = self.home.spawn(async move { inner.run(mode, &input, work).await });
        let outcome = task.await.unwrap_or(Err(Failure::Ending));
        outcome.map_err(|source| StoreError::new(doing, source))
    }

    /// Reads the change feed; `None`: anything may have changed.
    async fn read_feed(
        &self,
        place: &mut Option<Place>,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let doing = "reading the change feed";
        if let Some(mut known) = place.take() {
            let reading = self.run(doing, Mode::Plain, (Some(known.next()),), events::read).await?;
            if let Some(changes) = known.advance(reading) {
                *place = Some(known);
                return Ok(Some(changes));
            }
        }
        let reading = self.run(doing, Mode::Plain, (None,), events::read).await?;
        *place = Some(Place::begin(reading));
        Ok(None)
    }
}

fn pool(settings: &Settings) -> Result<Pool, OpenError> {
    let options = settings.url.options().map_err(OpenError::Url)?;
    Ok(Pool::new(options, settings.max_connections, settings.timeout))
}

async fn connect(
    pool: &Pool,
    settings: &Settings,
) -> Result<sqlx::mysql::MySqlConnection, OpenError> {
    pool.connect().await.map_err(|failure| OpenError::connect(settings, failure))
}

#[async_trait]
impl Store for Mysql {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.run("reading the apps", Mode::Plain, (), apps::apps).await
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        let doing = "writing an app";
        let others = |apps: Vec<App>| apps.iter().any(|other| other.appid != app.appid);
        if self.inner.context.shared_with_php && others(self.apps().await?) {
            let problem = "the database is shared with the PHP server, which knows one app only";
            return Err(StoreError::new(doing, problem));
        }
        self.run(doing, Mode::Transaction, app.clone(), apps::put_app).await
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        let context = &self.inner.context;
        let removed =
            self.run("removing an app", Mode::Transaction, appid.clone(), apps::remove_app).await?;
        if context.legacy_appid().as_ref() == Some(appid) {
            context.set_legacy_appid(None);
        }
        Ok(removed)
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.run("reading a session", Mode::Plain, id.clone(), rows::find).await
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        let doing = "writing a login";
        let (answer, outcome) = oneshot::channel();
        let ending = || StoreError::new(doing, Failure::Ending);
        self.logins.send((login, answer)).map_err(|_| ending())?;
        let outcome = outcome.await.map_err(|_| ending())?;
        outcome.map_err(|source| StoreError::new(doing, source))
    }

    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError> {
        let doing = "replacing a session_key";
        self.run(doing, Mode::Transaction, replaced, sign_in::replace_session_key).await
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        let visits: Arc<[Visit]> = visits.into();
        self.run("writing last visits", Mode::Plain, visits, rows::touch).await
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let input = (selection.clone(), limit);
        self.run("listing sessions", Mode::Plain, input, rows::list).await
    }

    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let input = (selection.clone(), after.clone(), limit);
        self.run("listing sessions", Mode::Plain, input, rows::list_after).await
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        let selection = selection.clone();
        self.run("revoking sessions", Mode::Transaction, selection, rows::revoke).await
    }

    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError> {
        let input = (which.clone(), limit);
        self.run("listing users", Mode::Plain, input, users::list).await
    }

    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError> {
        let owner = (appid.clone(), open_id.clone());
        self.run("erasing a user", Mode::Transaction, owner, users::erase).await
    }

    async fn purge(&self, expiry: &[Expiry], after: &str) -> Result<Purged, StoreError> {
        let doing = "purging sessions";
        let input = (expiry.to_vec(), after.parse().unwrap_or(0));
        let (expired, next) = self.run(doing, Mode::Plain, input, rows::expired).await?;
        let mut removed = 0;
        for chunk in expired.chunks(statement::CHUNK) {
            let input = (expiry.to_vec(), chunk.to_vec());
            removed += self.run(doing, Mode::Transaction, input, rows::delete_expired).await?;
        }
        if next.is_none() {
            self.run("pruning the change feed", Mode::Plain, (), events::prune).await?;
        }
        Ok(Purged { removed, next: next.map(|row| row.to_string()) })
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        let doing = "importing sessions";
        let mut imported = Vec::with_capacity(sessions.len());
        for chunk in sessions.chunks(import::TRANSACTION) {
            let chunk: Arc<[Session]> = chunk.into();
            imported.extend(self.run(doing, Mode::Transaction, chunk, import::import).await?);
        }
        Ok(imported)
    }

    async fn reseal(&self, after: &str) -> Result<Resealed, StoreError> {
        let slice = reseal::Slice::read(after);
        self.run("encrypting secrets", Mode::Transaction, slice, reseal::reseal).await
    }

    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError> {
        self.run("adding stats", Mode::Transaction, counted, stats::add).await
    }

    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError> {
        self.run("reading stats", Mode::Plain, (range, limit), stats::read).await
    }

    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError> {
        self.run("counting users", Mode::Plain, since, stats::census).await
    }

    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError> {
        let input = (day, census);
        self.run("keeping the number of users", Mode::Plain, input, stats::keep_census).await
    }

    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError> {
        self.run("pruning stats", Mode::Plain, (step, before), stats::prune).await
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        // After a failure the place is lost, and the next call reports a gap.
        let changes = self.read_feed(&mut *self.place.lock().await).await?;
        let Some(mut changes) = changes else { return Ok(Changes::Anything) };
        if self.inner.context.shared_with_php {
            // The PHP server writes no events, and an operator of it may change the app.
            changes.push(Change::Apps);
        }
        Ok(Changes::These(changes))
    }
}
