//! The keys of the database's secrets.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::schema::{OpenError, unusable};
use crate::secrets::{Keys, file};

/// The keys to use: those given, or else those in the file beside the database, which is made as
/// long as nothing is encrypted. Keys that lack one of those in use are refused.
pub fn of_database(
    connection: &Connection,
    path: &Path,
    given: Option<&Keys>,
) -> Result<Keys, OpenError> {
    let failed = |error| unusable(path, &error);
    // Another process may be opening a fresh database at this moment: one of them makes the file.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let in_use = names(connection).map_err(failed)?;
    let keys = match given {
        Some(keys) => keys.clone(),
        None => beside(path, in_use.first())?,
    };
    if let Some(key) = keys.missing(&in_use) {
        let (key, origin) = (key.to_owned(), keys.origin().to_owned());
        return Err(OpenError::OtherKeys { path: path.into(), key, origin });
    }
    let writes = keys.writes();
    connection
        .execute("INSERT OR IGNORE INTO mina_key (id) SELECT ?1 WHERE ?1 IS NOT NULL", [writes])
        .and_then(|_| connection.execute_batch("COMMIT"))
        .map_err(failed)?;
    Ok(keys)
}

/// The names of the keys in use.
fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT id FROM mina_key ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The keys in the file beside the database.
fn beside(path: &Path, in_use: Option<&String>) -> Result<Keys, OpenError> {
    let mut key_file = path.as_os_str().to_owned();
    key_file.push(".key");
    let key_file = PathBuf::from(key_file);
    match (key_file.try_exists(), in_use) {
        (Ok(false), None) => Ok(file::make(&key_file)?),
        (Ok(false), Some(key)) => {
            let key = key.clone();
            Err(OpenError::NoKeyFile { path: path.into(), key_file, key })
        }
        _ => Ok(file::read(&key_file)?),
    }
}

/// Forgets the keys that nothing is encrypted under any more.
pub fn forget_others(connection: &Connection, keys: &Keys) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM mina_key WHERE id <> ?", [keys.writes()]).map(drop)
}
