//! The embedded database.
//!
//! One thread owns the one connection that writes. Writes that are waiting together are committed
//! together, in one transaction and one fsync, and each is answered after its commit with its own
//! outcome. Reads go to a few connections of their own, which WAL lets run beside the writer.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Semaphore, oneshot};

use super::import::Imported;
use super::{Change, Changes, Expiry, Purged, Selection, Store, StoreError, Whose};
use crate::session::{App, AppId, Lifetime, Login, Session, SessionId, SignedIn, User, Visit};

mod import;

/// The schema, step by step; `PRAGMA user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_init.sql")];

/// How many writes share one transaction at the most.
const MAX_BATCH: usize = 1024;

/// How many reads run at once.
const READERS: usize = 4;

/// How many sessions one slice of a purge looks at.
const PURGE_SLICE: i64 = 5_000;

/// How long the change feed is kept. A reader that was away longer forgets everything.
const FEED_SECONDS: i64 = 3_600;

/// Another process may hold the write lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no database at `{}`; `mina-auth serve` and `mina-auth app add` create one", .0.display())]
    Absent(PathBuf),
    #[error("cannot write the database `{}`", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot use the database `{}`: {problem}", path.display())]
    Database { path: PathBuf, problem: String },
    #[error(
        "the database `{}` was written by a newer mina-auth (schema {found}, this one knows {}); install that version or restore a backup",
        path.display(), MIGRATIONS.len()
    )]
    Newer { path: PathBuf, found: usize },
}

/// A store in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    writer: mpsc::Sender<Write>,
    readers: Arc<Readers>,
    feed: Mutex<Feed>,
}

/// How far the change feed was read.
#[derive(Debug, Default)]
struct Feed {
    data_version: i64,
    last_event: i64,
}

impl Sqlite {
    /// Opens the database and brings its schema up to date; creates it when `create` is set.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and what is wrong with it.
    pub fn open(path: &Path, create: bool) -> Result<Self, OpenError> {
        let connection = connect(path, create)?;
        migrate(&connection, path)?;
        let (writer, queue) = mpsc::channel();
        let thread = std::thread::Builder::new().name("sqlite-writer".into());
        thread
            .spawn(move || write_batches(&connection, &queue))
            .map_err(|source| OpenError::File { path: path.into(), source })?;
        let readers =
            Readers { path: path.into(), idle: Mutex::default(), permits: Semaphore::new(READERS) };
        Ok(Self { writer, readers: Arc::new(readers), feed: Mutex::default() })
    }

    /// The SQL that [`Sqlite::open`] would run on this database.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and what is wrong with it.
    pub fn pending_migrations(path: &Path) -> Result<&'static [&'static str], OpenError> {
        if !path.exists() {
            return Ok(MIGRATIONS);
        }
        let connection = connect(path, false)?;
        Ok(&MIGRATIONS[schema_version(&connection, path)?..])
    }

    /// Runs `work` in the next transaction and returns its outcome once that is on disk.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let write: Write = Box::new(move |connection| {
            let done = connection.and_then(|connection| work(connection).map_err(Arc::new));
            let failed = done.is_err();
            let finish: Finish = Box::new(move |committed| {
                // Nobody waits for the answer when the caller has gone.
                let _ = answer.send(committed.and(done));
            });
            (failed, finish)
        });
        let stopped = || StoreError::new(doing, "the database writer has stopped");
        self.writer.send(write).map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?.map_err(|source| StoreError::new(doing, source))
    }

    /// Runs `work` on a connection that only reads.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let permit = self.readers.permits.acquire().await;
        let task = tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let outcome = work(&connection)?;
            readers.put_back(connection);
            Ok(outcome)
        });
        let outcome: Result<rusqlite::Result<T>, _> = task.await;
        drop(permit);
        outcome
            .map_err(|source| StoreError::new(doing, source))?
            .map_err(|source| StoreError::new(doing, source))
    }
}

/// A write: runs in a transaction, or learns why there is none; tells whether it failed.
type Write = Box<dyn FnOnce(Result<&Connection, Arc<rusqlite::Error>>) -> (bool, Finish) + Send>;

/// Answers a write, once its transaction was committed or not.
type Finish = Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>;

/// The writer's thread: ends with the store.
fn write_batches(connection: &Connection, queue: &mpsc::Receiver<Write>) {
    while let Ok(first) = queue.recv() {
        let batch = std::iter::once(first).chain(queue.try_iter().take(MAX_BATCH - 1));
        let mut finishes = Vec::new();
        let mut committed = connection.execute_batch("BEGIN IMMEDIATE").map_err(Arc::new);
        for write in batch {
            let finish = match &committed {
                Ok(()) => within_savepoint(connection, write),
                Err(error) => write(Err(Arc::clone(error))).1,
            };
            finishes.push(finish);
        }
        if committed.is_ok() {
            committed = connection.execute_batch("COMMIT").map_err(|error| {
                // A failed COMMIT can leave the transaction open.
                let _ = connection.execute_batch("ROLLBACK");
                Arc::new(error)
            });
        }
        for finish in finishes {
            finish(committed.clone());
        }
    }
}

/// Runs one write so that its failure undoes nothing of the others.
fn within_savepoint(connection: &Connection, write: Write) -> Finish {
    let savepoint =
        |sql| connection.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(Arc::new);
    if let Err(error) = savepoint("SAVEPOINT one") {
        return write(Err(error)).1;
    }
    let (failed, finish) = write(Ok(connection));
    if failed {
        // Without the savepoint the batch's COMMIT fails too, and every write is told so.
        let _ = savepoint("ROLLBACK TO one");
    }
    let _ = savepoint("RELEASE one");
    finish
}

/// Connections that only read.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(
            || {
                configured(Connection::open_with_flags(
                    &self.path,
                    OpenFlags::SQLITE_OPEN_READ_ONLY,
                )?)
            },
            Ok,
        )
    }

    fn put_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn configured(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

// SQLite's errors say the same again as their own cause.
fn unusable(path: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Database { path: path.into(), problem: error.to_string() }
}

/// Opens the connection that writes.
fn connect(path: &Path, create: bool) -> Result<Connection, OpenError> {
    if !create && !path.exists() {
        return Err(OpenError::Absent(path.into()));
    }
    // The file holds secrets: it is made for its owner only.
    std::fs::OpenOptions::new()
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError::File { path: path.into(), source })?;
    let open = || {
        let connection =
            configured(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)?;
        // FULL: a commit is on disk before it returns, also through a power cut.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        Ok(connection)
    };
    open().map_err(|error| unusable(path, &error))
}

fn schema_version(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(|error| unusable(path, &error))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > MIGRATIONS.len() {
        return Err(OpenError::Newer { path: path.into(), found });
    }
    Ok(found)
}

fn migrate(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let run = |sql: &str| connection.execute_batch(sql).map_err(|error| unusable(path, &error));
    // Taken before the version is read: another process may be migrating at this moment.
    run("BEGIN IMMEDIATE")?;
    for step in &MIGRATIONS[schema_version(connection, path)?..] {
        run(step)?;
    }
    run(&format!("PRAGMA user_version = {}; COMMIT", MIGRATIONS.len()))
}

const SESSION: &str = "SELECT s.uuid, s.skey, s.appid, s.open_id, s.create_time, s.last_visit_time, \
     u.union_id, u.session_key, u.previous_session_key, u.user_info \
     FROM cSessionInfo s JOIN mina_user u ON u.appid = s.appid AND u.open_id = s.open_id";

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: text(row, 0)?.into(),
        skey: text(row, 1)?.into(),
        appid: text(row, 2)?.into(),
        open_id: text(row, 3)?.into(),
        created: row.get(4)?,
        last_visit: row.get(5)?,
        user: read_user(row, 6)?,
    })
}

/// Reads `union_id, session_key, previous_session_key, user_info` from column `at` on.
fn read_user(row: &Row<'_>, at: usize) -> rusqlite::Result<User> {
    Ok(User {
        union_id: row.get(at)?,
        session_key: text(row, at + 1)?.into(),
        previous_session_key: row.get::<_, Option<String>>(at + 2)?.map(Into::into),
        profile: row.get(at + 3)?,
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get(column)
}

/// Tells the other processes to forget a session, or the apps.
fn announce(connection: &Connection, session: Option<&SessionId>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO mina_event (session) VALUES (?)")?
        .execute([session.map(SessionId::as_str)])
        .map(drop)
}

/// The user's row.
fn stored_user(
    connection: &Connection,
    appid: &str,
    open_id: &str,
) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(
            "SELECT union_id, session_key, previous_session_key, user_info \
             FROM mina_user WHERE appid = ? AND open_id = ?",
        )?
        .query_row([appid, open_id], |row| read_user(row, 0))
        .optional()
}

fn put_user(
    connection: &Connection,
    appid: &str,
    open_id: &str,
    user: &User,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO mina_user \
             (appid, open_id, union_id, session_key, previous_session_key, user_info) \
             VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (appid, open_id) DO UPDATE SET union_id = excluded.union_id, \
             session_key = excluded.session_key, \
             previous_session_key = excluded.previous_session_key, \
             user_info = excluded.user_info",
        )?
        .execute(params![
            appid,
            open_id,
            user.union_id,
            user.session_key.expose_secret(),
            user.previous_session_key.as_ref().map(SecretString::expose_secret),
            user.profile,
        ])
        .map(drop)
}

fn sign_in(connection: &Connection, login: &Login) -> rusqlite::Result<SignedIn> {
    let owner = [login.appid.as_str(), login.open_id.as_str()];
    let user = login.user(stored_user(connection, owner[0], owner[1])?);
    put_user(connection, owner[0], owner[1], &user)?;
    let sessions: Vec<(i64, SessionId)> = connection
        .prepare_cached(
            "SELECT id, uuid FROM cSessionInfo WHERE appid = ? AND open_id = ? \
             ORDER BY create_time DESC, id DESC",
        )?
        .query_map(owner, |row| Ok((row.get(0)?, text(row, 1)?.into())))?
        .collect::<Result<_, _>>()?;
    let kept = login.keeps(sessions.len());
    for (row, _) in &sessions[kept.stored..] {
        connection.prepare_cached("DELETE FROM cSessionInfo WHERE id = ?")?.execute([row])?;
    }
    for (_, id) in &sessions {
        announce(connection, Some(id))?;
    }
    let renewed = sessions.first().filter(|_| kept.renews);
    if let Some((row, _)) = renewed {
        connection
            .prepare_cached(
                "UPDATE cSessionInfo SET skey = ?, create_time = ?, last_visit_time = ? WHERE id = ?",
            )?
            .execute(params![login.skey.as_str(), login.now, login.now, row])?;
    } else {
        connection
            .prepare_cached(
                "INSERT INTO cSessionInfo \
                 (uuid, skey, create_time, last_visit_time, appid, open_id) \
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                login.new_id.as_str(),
                login.skey.as_str(),
                login.now,
                login.now,
                owner[0],
                owner[1],
            ])?;
    }
    Ok(SignedIn {
        id: renewed.map_or(&login.new_id, |(_, id)| id).clone(),
        is_new: renewed.is_none(),
        profile: user.profile,
        touched: sessions.into_iter().map(|(_, id)| id).collect(),
    })
}

/// The ids of the selected sessions as a condition and its parameters.
fn condition(selection: &Selection) -> (&'static str, [Option<String>; 2]) {
    let appid = selection.appid.as_ref().map(|appid| appid.as_str().to_owned());
    match &selection.whose {
        Whose::Everyone => ("(?1 IS NULL OR s.appid = ?1) AND ?2 IS NULL", [appid, None]),
        Whose::User(open_id) => (
            "(?1 IS NULL OR s.appid = ?1) AND s.open_id = ?2",
            [appid, Some(open_id.as_str().into())],
        ),
        Whose::Session(id) => {
            ("(?1 IS NULL OR s.appid = ?1) AND s.uuid = ?2", [appid, Some(id.as_str().into())])
        }
    }
}

fn revoke(connection: &Connection, selection: &Selection) -> rusqlite::Result<Vec<SessionId>> {
    let (condition, parameters) = condition(selection);
    let sql = format!("DELETE FROM cSessionInfo AS s WHERE {condition} RETURNING uuid");
    let ids: Vec<SessionId> = connection
        .prepare_cached(&sql)?
        .query_map(parameters, |row| Ok(text(row, 0)?.into()))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        announce(connection, Some(id))?;
    }
    Ok(ids)
}

fn put_app(connection: &Connection, app: &App) -> rusqlite::Result<()> {
    if app.is_default {
        connection.execute("UPDATE cAppinfo SET is_default = 0", [])?;
    }
    connection.execute(
        "INSERT INTO cAppinfo (appid, secret, login_duration, session_duration, is_default) \
         VALUES (?, ?, ?, ?, ?) ON CONFLICT (appid) DO UPDATE SET secret = excluded.secret, \
         login_duration = excluded.login_duration, \
         session_duration = excluded.session_duration, is_default = excluded.is_default",
        params![
            app.appid.as_str(),
            app.secret.expose_secret(),
            app.lifetime.login_days,
            app.lifetime.idle_seconds,
            app.is_default,
        ],
    )?;
    announce(connection, None)
}

fn remove_app(connection: &Connection, appid: &AppId) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM cAppinfo WHERE appid = ?", [appid.as_str()])?;
    connection.execute("DELETE FROM cSessionInfo WHERE appid = ?", [appid.as_str()])?;
    connection.execute("DELETE FROM mina_user WHERE appid = ?", [appid.as_str()])?;
    announce(connection, None)?;
    Ok(removed > 0)
}

fn purge(connection: &Connection, expiry: &[Expiry], cursor: i64) -> rusqlite::Result<Purged> {
    let slice: Vec<(i64, String, String, i64, i64)> = connection
        .prepare_cached(
            "SELECT id, uuid, appid, create_time, last_visit_time FROM cSessionInfo \
             WHERE id > ? ORDER BY id LIMIT ?",
        )?
        .query_map([cursor, PURGE_SLICE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?
        .collect::<Result<_, _>>()?;
    let next = slice.get(usize::try_from(PURGE_SLICE - 1).unwrap_or(0)).map(|row| row.0);
    let mut removed = 0;
    for (row, uuid, appid, created, last_visit) in slice {
        let appid = AppId::from(appid);
        if expiry.iter().any(|expiry| expiry.holds(&appid, created, last_visit)) {
            connection.prepare_cached("DELETE FROM cSessionInfo WHERE id = ?")?.execute([row])?;
            announce(connection, Some(&uuid.into()))?;
            removed += 1;
        }
    }
    if next.is_none() {
        connection
            .execute("DELETE FROM mina_event WHERE time < unixepoch() - ?", [FEED_SECONDS])?;
    }
    Ok(Purged { removed, next })
}

/// What stands in the change feed after `feed`, and where it ends now.
///
/// Only other processes' commits change `data_version` on the connection that writes. SQLite
/// hands out event ids in the order of the commits and without gaps, so a missing one was pruned.
fn changes(connection: &Connection, feed: &Feed) -> rusqlite::Result<(Changes, Feed)> {
    let data_version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
    let last_event = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'mina_event'", [], |row| {
            row.get(0)
        })
        .optional()?
        .unwrap_or(0);
    let now = Feed { data_version, last_event };
    if now.data_version == feed.data_version {
        return Ok((Changes::These(Vec::new()), now));
    }
    let changes: Vec<Change> = connection
        .prepare_cached("SELECT session FROM mina_event WHERE id > ?")?
        .query_map([feed.last_event], |row| {
            let session: Option<String> = row.get(0)?;
            Ok(session.map_or(Change::Apps, |id| Change::Session(id.into())))
        })?
        .collect::<Result<_, _>>()?;
    let complete = i64::try_from(changes.len()) == Ok(last_event - feed.last_event);
    Ok((if complete { Changes::These(changes) } else { Changes::Anything }, now))
}

#[async_trait]
impl Store for Sqlite {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.read("reading the apps", |connection| {
            connection
                .prepare_cached(
                    "SELECT appid, secret, login_duration, session_duration, is_default \
                     FROM cAppinfo ORDER BY appid",
                )?
                .query_map([], |row| {
                    Ok(App {
                        appid: text(row, 0)?.into(),
                        secret: text(row, 1)?.into(),
                        lifetime: Lifetime { login_days: row.get(2)?, idle_seconds: row.get(3)? },
                        is_default: row.get(4)?,
                    })
                })?
                .collect()
        })
        .await
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        let app = app.clone();
        self.write("writing an app", move |connection| put_app(connection, &app)).await
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        let appid = appid.clone();
        self.write("removing an app", move |connection| remove_app(connection, &appid)).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let id = id.clone();
        self.read("reading a session", move |connection| {
            connection
                .prepare_cached(&format!("{SESSION} WHERE s.uuid = ?"))?
                .query_row([id.as_str()], read_session)
                .optional()
        })
        .await
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        self.write("writing a login", move |connection| sign_in(connection, &login)).await
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        self.write("writing last visits", move |connection| {
            let mut touch = connection.prepare_cached(
                "UPDATE cSessionInfo SET last_visit_time = ?3 \
                 WHERE uuid = ?1 AND skey = ?2 AND last_visit_time < ?3",
            )?;
            for visit in visits {
                touch.execute(params![visit.id.as_str(), visit.skey.as_str(), visit.time])?;
            }
            Ok(())
        })
        .await
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let (condition, [first, second]) = condition(selection);
        self.read("listing sessions", move |connection| {
            connection
                .prepare_cached(&format!(
                    "{SESSION} WHERE {condition} ORDER BY s.create_time DESC, s.uuid LIMIT ?3"
                ))?
                .query_map(params![first, second, limit], read_session)?
                .collect()
        })
        .await
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        let selection = selection.clone();
        self.write("revoking sessions", move |connection| revoke(connection, &selection)).await
    }

    async fn purge(&self, expiry: &[Expiry], cursor: i64) -> Result<Purged, StoreError> {
        let expiry = expiry.to_vec();
        self.write("purging sessions", move |connection| purge(connection, &expiry, cursor)).await
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        self.write("importing sessions", move |connection| {
            sessions.iter().map(|session| import::import(connection, session)).collect()
        })
        .await
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        let feed = std::mem::take(&mut *self.feed.lock().unwrap_or_else(PoisonError::into_inner));
        let read =
            self.write("reading the change feed", move |connection| changes(connection, &feed));
        // After a failure the place is lost, and the next call reports a gap.
        let (changes, feed) = read.await?;
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = feed;
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;

    fn open() -> (Arc<Sqlite>, TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = Sqlite::open(&directory.path().join("x.db"), true).expect("the store opens");
        (Arc::new(store), directory)
    }

    crate::store::contract::store_tests!(super::open());

    #[tokio::test]
    async fn commits_reach_the_disk() {
        let (store, _directory) = open();
        let pragma = |name: &'static str| {
            store.write("asking", move |c| {
                c.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            })
        };
        assert_eq!(pragma("journal_mode").await.expect("it answers"), "wal".to_owned().into());
        // 2: FULL
        assert_eq!(pragma("synchronous").await.expect("it answers"), 2.into());
    }

    #[tokio::test]
    async fn a_failed_write_does_not_fail_its_batch() {
        let (store, _directory) = open();
        let insert = |value: Option<&'static str>| {
            store.write("inserting", move |c| {
                c.execute(
                    "INSERT INTO cAppinfo (appid, secret) VALUES ('x' || random(), 'x')",
                    [],
                )?;
                c.execute("INSERT INTO cAppinfo (appid, secret) VALUES (?, 'x')", [value])
            })
        };
        let (a, bad, b) = tokio::join!(insert(Some("a")), insert(None), insert(Some("b")));
        assert!(a.is_ok() && bad.is_err() && b.is_ok());
        assert_eq!(store.apps().await.expect("apps can be read").len(), 4);
    }

    #[tokio::test]
    async fn another_process_is_heard_through_the_feed() {
        let (store, directory) = open();
        let other = Sqlite::open(&directory.path().join("x.db"), false).expect("it opens again");
        store.changes().await.expect("the feed can be read");
        let announced = other.write("telling", |c| {
            announce(c, Some(&"s1".into()))?;
            announce(c, None)
        });
        announced.await.expect("it is written");
        let changes = store.changes().await.expect("the feed can be read");
        assert_eq!(changes, Changes::These(vec![Change::Session("s1".into()), Change::Apps]));
        assert_eq!(store.changes().await.expect("it is read"), Changes::These(Vec::new()));
        let pruned = other.write("pruning", |c| {
            announce(c, None)?;
            c.execute("DELETE FROM mina_event", [])
        });
        pruned.await.expect("it is written");
        assert_eq!(store.changes().await.expect("it is read"), Changes::Anything);
    }

    #[test]
    fn a_newer_schema_is_left_alone() {
        let (store, directory) = open();
        drop(store);
        let path = directory.path().join("x.db");
        let connection = Connection::open(&path).expect("it opens");
        connection.execute_batch("PRAGMA user_version = 99").expect("it is set");
        let error = Sqlite::open(&path, true).expect_err("it is refused");
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("x.db");
        std::fs::write(&path, "no database at all, but long enough to be looked at")
            .expect("it is written");
        let error = Sqlite::open(&path, true).expect_err("it is refused");
        let text = crate::causes::with_causes(&error);
        assert!(text.contains("not a database"), "{text}");
    }
}
