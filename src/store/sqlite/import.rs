//! Sessions of another database.

use rusqlite::{Connection, OptionalExtension as _};

use super::events::announce;
use super::rows::{insert, put_user, stored_user};
use crate::session::Session;
use crate::store::import::{self, Imported};

/// How much memory the tables may take while sessions are imported, in KiB. The ids are random:
/// without it nearly every session would mean pages that are written and read again.
const CACHE_KIB: i64 = 128 * 1024;

/// Writes sessions, those that are to be written.
pub fn import(connection: &Connection, sessions: &[Session]) -> rusqlite::Result<Vec<Imported>> {
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    sessions.iter().map(|session| import_one(connection, session)).collect()
}

/// Writes one session, if it is to be written.
fn import_one(connection: &Connection, session: &Session) -> rusqlite::Result<Imported> {
    let known: Option<(i64, i64)> = connection
        .prepare_cached("SELECT id, create_time FROM cSessionInfo WHERE uuid = ?")?
        .query_row([session.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (appid, open_id) = (session.appid.as_str(), session.open_id.as_str());
    let user = stored_user(connection, appid, open_id)?;
    // A user who is not known here has no sessions here.
    let logins: Vec<i64> = if user.is_some() {
        connection
            .prepare_cached("SELECT create_time FROM cSessionInfo WHERE appid = ? AND open_id = ?")?
            .query_map([appid, open_id], |row| row.get(0))?
            .collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    let created = known.map(|(_, created)| created);
    let imported = Imported::decide(session, created, user.is_some(), &logins);
    if imported.brings_user(session, &logins) {
        put_user(connection, appid, open_id, &import::user(session, user))?;
    }
    if let (Imported::Renewed, Some((row, _))) = (imported, known) {
        connection.prepare_cached("DELETE FROM cSessionInfo WHERE id = ?")?.execute([row])?;
        announce(connection, Some(&session.id))?;
    }
    if matches!(imported, Imported::Renewed | Imported::Added) {
        let times = [session.created, session.last_visit];
        insert(connection, &session.id, &session.skey, [appid, open_id], times)?;
    }
    Ok(imported)
}
