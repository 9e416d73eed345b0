//! Sessions of another database.

use rusqlite::{Connection, OptionalExtension as _};

use super::events::announce;
use super::rows::{delete, insert, put_user, stored_user};
use crate::secrets::Keys;
use crate::session::Session;
use crate::store::import::{self, Imported};

/// How much memory the tables may take while sessions are imported, in KiB. The ids are random:
/// without it nearly every session would mean pages that are written and read again.
const CACHE_KIB: i64 = 128 * 1024;

/// Writes sessions, those that are to be written.
pub fn import(
    connection: &Connection,
    keys: &Keys,
    sessions: &[Session],
) -> rusqlite::Result<Vec<Imported>> {
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    sessions.iter().map(|session| import_one(connection, keys, session)).collect()
}

/// Writes one session, if it is to be written.
fn import_one(
    connection: &Connection,
    keys: &Keys,
    session: &Session,
) -> rusqlite::Result<Imported> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT create_time FROM mina_session WHERE uuid = ?")?
        .query_row([session.id.as_str()], |row| row.get(0))
        .optional()?;
    let owner = [session.appid.as_str(), session.open_id.as_str()];
    let (row, user) = stored_user(connection, keys, owner)?.unzip();
    // A user who is not known here has no sessions here.
    let logins = row.map_or(Ok(Vec::new()), |row| logins_of(connection, row))?;
    let imported = Imported::decide(session, known, user.is_some(), &logins);
    let row = if imported.brings_user(session, &logins) {
        Some(put_user(connection, keys, row, owner, &import::user(session, user))?)
    } else {
        row
    };
    if imported == Imported::Renewed {
        delete(connection, &session.id)?;
        announce(connection, Some(&session.id))?;
    }
    if let (Imported::Renewed | Imported::Added, Some(row)) = (imported, row) {
        let times = [session.created, session.last_visit];
        insert(connection, &session.id, &session.skey.hashed(), row, times)?;
    }
    Ok(imported)
}

/// When a user logged in, session by session.
fn logins_of(connection: &Connection, user: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT create_time FROM mina_session WHERE user = ?")?
        .query_map([user], |row| row.get(0))?
        .collect()
}
