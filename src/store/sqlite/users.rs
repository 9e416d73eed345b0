//! Users, listed and erased.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::events::announce;
use super::rows;
use crate::secrets::Keys;
use crate::session::{AppId, OpenId, SessionId};
use crate::store::ReplacedKey;
use crate::store::users::{Account, Erased, Users};

/// The users that are meant, in the order of appid and openid.
pub fn list(connection: &Connection, which: &Users, limit: u32) -> rusqlite::Result<Vec<Account>> {
    let apps: Vec<AppId> = connection
        .prepare_cached("SELECT appid FROM cAppinfo ORDER BY appid")?
        .query_map([], |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect::<Result<_, _>>()?;
    let Users { open_id, union_id, .. } = which;
    // The plus keeps the index of users from being taken where that of unionids is the better one.
    let condition = match (open_id, union_id) {
        (Some(_), _) => "appid = ?1 AND open_id = ?2 AND (?3 IS NULL OR union_id = ?3)",
        (None, Some(_)) => "+appid = ?1 AND ?2 IS NULL AND union_id = ?3",
        (None, None) => "appid = ?1 AND ?2 IS NULL AND ?3 IS NULL",
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT appid, open_id, union_id, user_info FROM mina_user \
         WHERE {condition} AND open_id > ?4 ORDER BY open_id LIMIT ?5"
    ))?;
    let mut users = Vec::new();
    for (appid, after) in which.by_app(apps.iter()) {
        let found = u32::try_from(users.len()).unwrap_or(limit);
        let left = limit.saturating_sub(found);
        let open_id = open_id.as_ref().map(OpenId::as_str);
        let after = after.map_or("", OpenId::as_str);
        let found = statement.query_map(
            params![appid.as_str(), open_id, union_id, after, left],
            |row| {
                let [appid, open_id]: [String; 2] = [row.get(0)?, row.get(1)?];
                Ok(Account {
                    appid: appid.into(),
                    open_id: open_id.into(),
                    union_id: row.get(2)?,
                    profile: row.get(3)?,
                })
            },
        )?;
        for user in found {
            users.push(user?);
        }
    }
    Ok(users)
}

/// Erases a user with its sessions.
pub fn erase(connection: &Connection, appid: &AppId, open_id: &OpenId) -> rusqlite::Result<Erased> {
    let user: Option<i64> = connection
        .prepare_cached("SELECT id FROM mina_user WHERE appid = ? AND open_id = ?")?
        .query_row([appid.as_str(), open_id.as_str()], |row| row.get(0))
        .optional()?;
    let Some(user) = user else { return Ok(Erased::default()) };
    let sessions: Vec<SessionId> = rows::sessions_of(connection, user)?;
    for id in &sessions {
        rows::delete(connection, id)?;
        announce(connection, Some(id))?;
    }
    connection.prepare_cached("DELETE FROM mina_user WHERE id = ?")?.execute([user])?;
    Ok(Erased { was_known: true, sessions })
}

/// Replaces a user's session_key, if it is still the old one.
pub fn replace_session_key(
    connection: &Connection,
    keys: &Keys,
    replaced: &ReplacedKey,
) -> rusqlite::Result<bool> {
    let owner = [replaced.appid.as_str(), replaced.open_id.as_str()];
    let Some((row, stored)) = rows::stored_user(connection, keys, owner)? else {
        return Ok(false);
    };
    let Some(user) = replaced.user(stored) else { return Ok(false) };
    rows::put_user(connection, keys, Some(row), owner, &user)?;
    for id in rows::sessions_of(connection, row)? {
        announce(connection, Some(&id))?;
    }
    Ok(true)
}
