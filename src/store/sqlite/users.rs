//! Users, listed and erased.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::events::announce;
use super::rows;
use crate::session::{AppId, OpenId, SessionId};
use crate::store::users::{Account, Erased, Users};

/// The users that are meant, in the order of appid and openid.
pub fn list(connection: &Connection, which: &Users, limit: u32) -> rusqlite::Result<Vec<Account>> {
    let Users { appid, open_id, union_id, after } = which;
    let (after_app, after_user) =
        after.as_ref().map_or(("", ""), |(a, o)| (a.as_str(), o.as_str()));
    // Each condition only where it is wanted, so that an index serves it. There are few apps.
    let all = "appid IN (SELECT appid FROM cAppinfo)";
    let appids = if appid.is_some() { "appid = ?1" } else { all };
    let open_ids = if open_id.is_some() { "open_id = ?2" } else { "?2 IS NULL" };
    let union_ids = if union_id.is_some() { "union_id = ?3" } else { "?3 IS NULL" };
    connection
        .prepare_cached(&format!(
            "SELECT appid, open_id, union_id, user_info FROM mina_user \
             WHERE {appids} AND ?1 IS ?1 AND {open_ids} AND {union_ids} \
             AND (appid > ?4 OR appid = ?4 AND open_id > ?5) ORDER BY appid, open_id LIMIT ?6"
        ))?
        .query_map(
            params![
                appid.as_ref().map(AppId::as_str),
                open_id.as_ref().map(OpenId::as_str),
                union_id,
                after_app,
                after_user,
                limit
            ],
            |row| {
                let [appid, open_id]: [String; 2] = [row.get(0)?, row.get(1)?];
                Ok(Account {
                    appid: appid.into(),
                    open_id: open_id.into(),
                    union_id: row.get(2)?,
                    profile: row.get(3)?,
                })
            },
        )?
        .collect()
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
