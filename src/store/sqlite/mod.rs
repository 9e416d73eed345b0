//! The embedded database.
//!
//! One thread owns the one connection that writes (`writer`): what waits together is committed
//! together. Reads go to a few connections of their own (`readers`), which WAL lets run beside.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;

use self::events::Feed;
use self::readers::Readers;
use self::writer::Writer;
use super::import::Imported;
use super::stats::{Census, Counted, Range, Stat, Step};
use super::users::{Account, Erased, Users};
use super::{Changes, Expiry, Purged, ReplacedKey, Resealed, Selection, Store, StoreError};
use crate::secrets::Keys;
use crate::session::{App, AppId, Login, OpenId, Session, SessionId, SignedIn, Visit};

mod events;
mod file_system;
mod import;
mod keys;
mod readers;
mod reseal;
mod rows;
mod schema;
mod stats;
mod users;
mod writer;

pub use self::file_system::{Room, room};
pub use self::schema::OpenError;

/// Which database, and how it is used.
#[derive(Debug, Clone)]
pub struct Settings {
    pub path: PathBuf,
    /// The keys of its secrets; `None`: those in the file beside it.
    pub keys: Option<Keys>,
    /// Whether it may be on a network file system.
    pub on_network: bool,
}

/// A store in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    keys: Keys,
    /// Before the writer: whoever is last moves the log into the database, and readers cannot.
    readers: Readers,
    writer: Writer,
    /// How far the change feed was read.
    feed: Mutex<Feed>,
}

impl Sqlite {
    /// Opens the database and brings its schema up to date; creates it when `create` is set.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and what is wrong with it.
    pub fn open(settings: &Settings, create: bool) -> Result<Self, OpenError> {
        let Settings { path, keys, on_network } = settings;
        if let Some(name) = file_system::network_name(path).filter(|_| !on_network) {
            return Err(OpenError::Network { path: path.into(), name });
        }
        let connection = schema::connect(path, create)?;
        schema::migrate(&connection, path)?;
        let keys = keys::of_database(&connection, path, keys.as_ref())?;
        let writer = Writer::start(connection)
            .map_err(|source| OpenError::File { path: path.into(), source })?;
        let readers = Readers::start(path)?;
        Ok(Self { keys, readers, writer, feed: Mutex::default() })
    }

    /// The SQL that [`Sqlite::open`] would run on this database.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and what is wrong with it.
    pub fn pending_migrations(path: &Path) -> Result<&'static [&'static str], OpenError> {
        schema::pending(path)
    }

    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(doing, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(doing, work).await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        let keys = self.keys.clone();
        self.read("reading the apps", move |connection| rows::apps(connection, &keys)).await
    }

    async fn put_app(&self, app: &App) -> Result<(), StoreError> {
        let (keys, app) = (self.keys.clone(), app.clone());
        self.write("writing an app", move |connection| rows::put_app(connection, &keys, &app)).await
    }

    async fn remove_app(&self, appid: &AppId) -> Result<bool, StoreError> {
        let appid = appid.clone();
        self.write("removing an app", move |connection| rows::remove_app(connection, &appid)).await
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let (keys, id) = (self.keys.clone(), id.clone());
        self.read("reading a session", move |connection| rows::find(connection, &keys, &id)).await
    }

    async fn sign_in(&self, login: Login) -> Result<SignedIn, StoreError> {
        let keys = self.keys.clone();
        self.write("writing a login", move |connection| rows::sign_in(connection, &keys, &login))
            .await
    }

    async fn replace_session_key(&self, replaced: ReplacedKey) -> Result<bool, StoreError> {
        let keys = self.keys.clone();
        let replace =
            move |connection: &Connection| users::replace_session_key(connection, &keys, &replaced);
        self.write("replacing a session_key", replace).await
    }

    async fn touch(&self, visits: Vec<Visit>) -> Result<(), StoreError> {
        self.write("writing last visits", move |connection| rows::touch(connection, &visits)).await
    }

    async fn sessions(
        &self,
        selection: &Selection,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let (keys, selection) = (self.keys.clone(), selection.clone());
        let list = move |connection: &Connection| rows::list(connection, &keys, &selection, limit);
        self.read("listing sessions", list).await
    }

    async fn sessions_after(
        &self,
        selection: &Selection,
        after: &SessionId,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let (keys, selection, after) = (self.keys.clone(), selection.clone(), after.clone());
        let list = move |connection: &Connection| {
            rows::list_after(connection, &keys, &selection, &after, limit)
        };
        self.read("listing sessions", list).await
    }

    async fn revoke(&self, selection: &Selection) -> Result<Vec<SessionId>, StoreError> {
        let selection = selection.clone();
        self.write("revoking sessions", move |connection| rows::revoke(connection, &selection))
            .await
    }

    async fn users(&self, which: &Users, limit: u32) -> Result<Vec<Account>, StoreError> {
        let which = which.clone();
        self.read("listing users", move |connection| users::list(connection, &which, limit)).await
    }

    async fn erase(&self, appid: &AppId, open_id: &OpenId) -> Result<Erased, StoreError> {
        let (appid, open_id) = (appid.clone(), open_id.clone());
        let erase = move |connection: &Connection| users::erase(connection, &appid, &open_id);
        self.write("erasing a user", erase).await
    }

    async fn purge(&self, expiry: &[Expiry], after: &str) -> Result<Purged, StoreError> {
        let (expiry, after) = (expiry.to_vec(), after.to_owned());
        self.write("purging sessions", move |connection| rows::purge(connection, &expiry, &after))
            .await
    }

    async fn import(&self, sessions: Vec<Session>) -> Result<Vec<Imported>, StoreError> {
        let keys = self.keys.clone();
        let import = move |connection: &Connection| import::import(connection, &keys, &sessions);
        self.write("importing sessions", import).await
    }

    async fn reseal(&self, after: &str) -> Result<Resealed, StoreError> {
        let (keys, after) = (self.keys.clone(), after.to_owned());
        let reseal = move |connection: &Connection| reseal::reseal(connection, &keys, &after);
        self.write("encrypting secrets", reseal).await
    }

    async fn add_stats(&self, counted: Counted) -> Result<(), StoreError> {
        self.write("adding stats", move |connection| stats::add(connection, &counted)).await
    }

    async fn stats(&self, range: Range, limit: u32) -> Result<Vec<Stat>, StoreError> {
        self.read("reading stats", move |connection| stats::read(connection, &range, limit)).await
    }

    async fn census(&self, since: i64) -> Result<Vec<Census>, StoreError> {
        self.read("counting users", move |connection| stats::census(connection, since)).await
    }

    async fn keep_census(&self, day: i64, census: Vec<Census>) -> Result<(), StoreError> {
        let keep = move |connection: &Connection| stats::keep_census(connection, day, &census);
        self.write("keeping the number of users", keep).await
    }

    async fn prune_stats(&self, step: Step, before: i64) -> Result<(), StoreError> {
        self.write("pruning stats", move |connection| stats::prune(connection, step, before)).await
    }

    async fn changes(&self) -> Result<Changes, StoreError> {
        let feed = std::mem::take(&mut *self.feed.lock().unwrap_or_else(PoisonError::into_inner));
        let read = self
            .write("reading the change feed", move |connection| events::read(connection, &feed));
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
    use crate::store::Change;

    fn settings(directory: &TempDir) -> Settings {
        Settings { path: directory.path().join("x.db"), keys: None, on_network: false }
    }

    fn open() -> (Arc<Sqlite>, TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let store = Sqlite::open(&settings(&directory), true).expect("the store opens");
        (Arc::new(store), directory)
    }

    crate::store::contract::store_tests!(super::open());

    #[tokio::test]
    async fn secrets_move_to_the_first_key() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let open = async |keys| {
            let settings = Settings { keys: Some(keys), ..settings(&directory) };
            let opened = Sqlite::open(&settings, true).map_err(|error| error.to_string());
            opened.map(|store| Arc::new(store) as Arc<dyn Store>)
        };
        crate::store::contract::secrets_move_to_the_first_key(open).await;
    }

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
    async fn a_failed_write_leaves_nothing_behind() {
        let (store, _directory) = open();
        let failing = store.write("inserting", |c| {
            c.execute("INSERT INTO cAppinfo (appid, secret) VALUES ('a', 'x')", [])?;
            c.execute("INSERT INTO cAppinfo (appid, secret) VALUES (NULL, 'x')", [])
        });
        failing.await.expect_err("an app without an id is refused");
        let next = store.write("inserting", |c| {
            c.execute("INSERT INTO cAppinfo (appid, secret) VALUES ('b', 'x')", [])
        });
        next.await.expect("it is written");
        let apps = store.apps().await.expect("apps can be read");
        assert_eq!(apps.iter().map(|app| app.appid.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn many_reads_at_once_each_see_what_was_written_before() {
        let (store, _directory) = open();
        for written in 1..=20 {
            let insert = store.write("inserting", |c| {
                c.execute("INSERT INTO cAppinfo (appid, secret) VALUES (random(), 'x')", [])
            });
            insert.await.expect("it is written");
            let reads = (0..100).map(|_| store.apps());
            for apps in futures_util::future::join_all(reads).await {
                assert_eq!(apps.expect("apps can be read").len(), written);
            }
        }
    }

    #[tokio::test]
    async fn long_reads_hold_up_no_other() {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
        let (store, _directory) = open();
        // One thread is left for the others.
        for (count, one_by_one) in [(1, true), (3, true), (3, false)] {
            let mut long = Vec::new();
            for _ in 0..count {
                let (begun, begins) = tokio::sync::oneshot::channel();
                let (go_on, waits) = std::sync::mpsc::channel();
                let store = Arc::clone(&store);
                let read = async move {
                    let read = move |_: &Connection| {
                        // Nobody waits for it when all are to begin at once.
                        let _ = begun.send(());
                        Ok(waits.recv_timeout(PATIENCE).is_ok())
                    };
                    store.read("waiting", read).await.expect("it is read")
                };
                long.push((tokio::spawn(read), go_on));
                tokio::task::yield_now().await;
                if one_by_one {
                    begins.await.expect("it begins");
                }
            }
            store.apps().await.expect("apps can be read");
            for (read, go_on) in long {
                go_on.send(()).expect("it waits");
                assert!(read.await.expect("it ends"), "the other one was held up");
            }
        }
    }

    #[tokio::test]
    async fn another_process_is_heard_through_the_feed() {
        let (store, directory) = open();
        let other = Sqlite::open(&settings(&directory), false).expect("it opens again");
        store.changes().await.expect("the feed can be read");
        let announced = other.write("telling", |c| {
            events::announce(c, Some(&"s1".into()))?;
            events::announce(c, None)
        });
        announced.await.expect("it is written");
        let changes = store.changes().await.expect("the feed can be read");
        assert_eq!(changes, Changes::These(vec![Change::Session("s1".into()), Change::Apps]));
        assert_eq!(store.changes().await.expect("it is read"), Changes::These(Vec::new()));
        let pruned = other.write("pruning", |c| {
            events::announce(c, None)?;
            c.execute("DELETE FROM mina_event", [])
        });
        pruned.await.expect("it is written");
        assert_eq!(store.changes().await.expect("it is read"), Changes::Anything);
    }

    #[tokio::test]
    async fn sessions_can_be_looked_at_under_the_names_of_the_original() {
        let (store, _directory) = open();
        let login = Login {
            appid: "wx1".into(),
            open_id: "o1".into(),
            union_id: None,
            session_key: "k".into(),
            profile: Some(r#"{"openId":"o1"}"#.into()),
            new_id: "id1".into(),
            skey: "s1".into(),
            now: 7,
            per_user: 1,
        };
        store.sign_in(login).await.expect("the login is written");
        let columns = "uuid, create_time, last_visit_time, open_id, user_info";
        let sql = format!("SELECT concat_ws(' ', {columns}) FROM cSessionInfo");
        let row = store.read("looking", move |c| c.query_row(&sql, [], |row| row.get(0)));
        let row: String = row.await.expect("the view can be read");
        assert_eq!(row, r#"id1 7 7 o1 {"openId":"o1"}"#);
    }

    #[test]
    fn a_newer_schema_is_left_alone() {
        let (store, directory) = open();
        drop(store);
        let settings = settings(&directory);
        let connection = Connection::open(&settings.path).expect("it opens");
        connection.execute_batch("PRAGMA user_version = 99").expect("it is set");
        let error = Sqlite::open(&settings, true).expect_err("it is refused");
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let settings = settings(&directory);
        std::fs::write(&settings.path, "no database at all, but long enough to be looked at")
            .expect("it is written");
        let error = Sqlite::open(&settings, true).expect_err("it is refused");
        let text = crate::causes::with_causes(&error);
        assert!(text.contains("not a database"), "{text}");
    }
}
