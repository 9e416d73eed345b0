//! The file and its schema.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::secrets::file::FileError;

/// The schema, step by step; `PRAGMA user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_stat.sql"),
];

/// What a connection that reads keeps of the database, KiB: the upper pages of its trees.
const READER_CACHE: i64 = 512;

/// Another process may hold the write lock this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no database at `{}`; `mina-auth serve` and `mina-auth app add` create one", .0.display())]
    Absent(PathBuf),
    #[error(
        "the database `{}` is on a network file system ({name}), where SQLite loses sessions: put it on a local disk, or use a MySQL database; docs/operations.md says how to override this",
        path.display()
    )]
    Network { path: PathBuf, name: &'static str },
    #[error("cannot write the database `{}`", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot use the database `{}`: {problem}", path.display())]
    Database { path: PathBuf, problem: String },
    #[error(transparent)]
    KeyFile(#[from] FileError),
    #[error(
        "the key file `{}` is missing: the secrets in the database `{}` are encrypted under its key {key}; put it back, or name a file with that key in `secrets.key_file`",
        key_file.display(), path.display()
    )]
    NoKeyFile { path: PathBuf, key_file: PathBuf, key: String },
    #[error(
        "the secrets in the database `{}` are encrypted under the key {key}, which {origin} does not have",
        path.display()
    )]
    OtherKeys { path: PathBuf, key: String, origin: String },
    #[error(
        "the database `{}` was written by a newer mina-auth (schema {found}, this one knows {}); install that version or restore a backup",
        path.display(), MIGRATIONS.len()
    )]
    Newer { path: PathBuf, found: usize },
}

/// Opens a connection, for one thread at a time.
fn open_file(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens a connection that reads, files and all: SQLite would open them with the first read.
pub fn connect_to_read(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let connection = open_file(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT count(*) FROM cAppinfo", [], |_| Ok(()))?;
        // In KiB. The system has the pages as well, and what these are read for is cached by us.
        connection.pragma_update(None, "cache_size", -READER_CACHE)?;
        Ok(connection)
    };
    open().map_err(|error| unusable(path, &error))
}

// SQLite's errors say the same again as their own cause.
pub fn unusable(path: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Database { path: path.into(), problem: error.to_string() }
}

/// Opens the connection that writes.
pub fn connect(path: &Path, create: bool) -> Result<Connection, OpenError> {
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
        let connection = open_file(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // FULL: a commit is on disk before it returns, also through a power cut.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        Ok(connection)
    };
    open().map_err(|error| unusable(path, &error))
}

/// How many steps of the schema were taken.
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

/// Brings the schema up to date, one process at a time.
pub fn migrate(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let run = |sql: &str| connection.execute_batch(sql).map_err(|error| unusable(path, &error));
    // Taken before the version is read: another process may be migrating at this moment.
    run("BEGIN IMMEDIATE")?;
    for step in &MIGRATIONS[schema_version(connection, path)?..] {
        run(step)?;
    }
    run(&format!("PRAGMA user_version = {}; COMMIT", MIGRATIONS.len()))
}

/// The SQL that [`migrate`] would run.
pub fn pending(path: &Path) -> Result<&'static [&'static str], OpenError> {
    if !path.exists() {
        return Ok(MIGRATIONS);
    }
    let connection = connect(path, false)?;
    Ok(&MIGRATIONS[schema_version(&connection, path)?..])
}
