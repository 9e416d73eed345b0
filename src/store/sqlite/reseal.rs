//! Secrets that are to be under the key that writes.

use rusqlite::{Connection, params};

use super::keys;
use super::rows::unopened;
use crate::secrets::{Keys, Place};
use crate::store::Resealed;

/// How many users one slice looks at. Logins wait as long.
const SLICE: u32 = 500;

/// Encrypts a slice anew. The transaction that it runs in is the only one that writes.
pub fn reseal(connection: &Connection, keys: &Keys, after: &str) -> rusqlite::Result<Resealed> {
    let mut changed = 0;
    if after.is_empty() {
        changed += reseal_apps(connection, keys)?;
    }
    let users = users_after(connection, after.parse().unwrap_or(0))?;
    for user in &users {
        changed += user.reseal(connection, keys)?;
    }
    let next = users.get(SLICE as usize - 1).map(|last| last.row.to_string());
    if next.is_none() {
        keys::forget_others(connection, keys)?;
    }
    Ok(Resealed { changed, next })
}

fn reseal_apps(connection: &Connection, keys: &Keys) -> rusqlite::Result<u64> {
    let apps: Vec<(String, String)> = connection
        .prepare("SELECT appid, secret FROM cAppinfo")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut changed = 0;
    for (appid, secret) in apps {
        if let Some(secret) = keys.reseal(&secret, Place::AppSecret(&appid)).map_err(unopened)? {
            let sql = "UPDATE cAppinfo SET secret = ? WHERE appid = ?";
            connection.execute(sql, [&secret, &appid])?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// A user's row, as far as it is secret.
struct User {
    row: i64,
    appid: String,
    open_id: String,
    session_key: String,
    previous: Option<String>,
}

fn users_after(connection: &Connection, row: i64) -> rusqlite::Result<Vec<User>> {
    connection
        .prepare_cached(
            "SELECT id, appid, open_id, session_key, previous_session_key FROM mina_user \
             WHERE id > ? ORDER BY id LIMIT ?",
        )?
        .query_map(params![row, SLICE], |row| {
            Ok(User {
                row: row.get(0)?,
                appid: row.get(1)?,
                open_id: row.get(2)?,
                session_key: row.get(3)?,
                previous: row.get(4)?,
            })
        })?
        .collect()
}

impl User {
    fn reseal(&self, connection: &Connection, keys: &Keys) -> rusqlite::Result<u64> {
        let owner = [&*self.appid, &*self.open_id];
        let session_key = keys.reseal(&self.session_key, Place::SessionKey(owner));
        let session_key = session_key.map_err(unopened)?;
        let previous = self.previous.as_deref();
        let previous = previous.map(|text| keys.reseal(text, Place::PreviousSessionKey(owner)));
        let previous = previous.transpose().map_err(unopened)?.flatten();
        let changed = u64::from(session_key.is_some()) + u64::from(previous.is_some());
        if changed > 0 {
            connection
                .prepare_cached(
                    "UPDATE mina_user SET session_key = coalesce(?, session_key), \
                     previous_session_key = coalesce(?, previous_session_key) WHERE id = ?",
                )?
                .execute(params![session_key, previous, self.row])?;
        }
        Ok(changed)
    }
}
