//! Apps, users and sessions in the tables, read and written.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use secrecy::{ExposeSecret as _, SecretString};

use super::events::{self, announce};
use crate::session::{
    App, AppId, Lifetime, Login, Session, SessionId, SignedIn, Skey, User, Visit,
};
use crate::store::{Expiry, Purged, Selection, Whose};

/// How many sessions one slice of a purge looks at.
const PURGE_SLICE: i64 = 5_000;

const SESSION: &str = "SELECT s.uuid, s.skey, s.appid, s.open_id, s.create_time, v.time, \
     u.union_id, u.session_key, u.previous_session_key, u.user_info, s.id \
     FROM cSessionInfo s JOIN mina_visit v ON v.session = s.id \
     JOIN mina_user u ON u.appid = s.appid AND u.open_id = s.open_id";

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: text(row, 0)?.into(),
        skey: text(row, 1)?.into(),
        appid: text(row, 2)?.into(),
        open_id: text(row, 3)?.into(),
        created: row.get(4)?,
        last_visit: row.get(5)?,
        user: read_user(row, 6)?,
        row: row.get(10)?,
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

/// The session with this id.
pub fn find(connection: &Connection, id: &SessionId) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(&format!("{SESSION} WHERE s.uuid = ?"))?
        .query_row([id.as_str()], read_session)
        .optional()
}

/// The user's row.
pub fn stored_user(
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

/// Writes the user's row.
pub fn put_user(
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

/// Writes a login: the user, and the user's sessions.
pub fn sign_in(connection: &Connection, login: &Login) -> rusqlite::Result<SignedIn> {
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
    let renewed = sessions.first().filter(|_| kept.renews).map(|(_, id)| id);
    // A renewed session gets a new row, so that late visits of the old login miss it.
    let stays = usize::from(renewed.is_some())..kept.stored;
    for (at, (row, id)) in sessions.iter().enumerate() {
        if !stays.contains(&at) {
            connection.prepare_cached("DELETE FROM cSessionInfo WHERE id = ?")?.execute([row])?;
        }
        announce(connection, Some(id))?;
    }
    let id = renewed.unwrap_or(&login.new_id);
    insert(connection, id, &login.skey, owner, [login.now; 2])?;
    Ok(SignedIn {
        id: id.clone(),
        is_new: renewed.is_none(),
        profile: user.profile,
        touched: sessions.into_iter().map(|(_, id)| id).collect(),
    })
}

/// Adds a session; `times` are those of the login and of the last visit.
pub fn insert(
    connection: &Connection,
    id: &SessionId,
    skey: &Skey,
    [appid, open_id]: [&str; 2],
    [created, last_visit]: [i64; 2],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO cSessionInfo (uuid, skey, create_time, appid, open_id) \
             VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![id.as_str(), skey.as_str(), created, appid, open_id])?;
    connection
        .prepare_cached("INSERT INTO mina_visit (session, time) VALUES (?, ?)")?
        .execute([connection.last_insert_rowid(), last_visit])
        .map(drop)
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

/// The selected sessions, newest login first.
pub fn list(
    connection: &Connection,
    selection: &Selection,
    limit: u32,
) -> rusqlite::Result<Vec<Session>> {
    let (condition, [first, second]) = condition(selection);
    connection
        .prepare_cached(&format!(
            "{SESSION} WHERE {condition} ORDER BY s.create_time DESC, s.uuid LIMIT ?3"
        ))?
        .query_map(params![first, second, limit], read_session)?
        .collect()
}

/// Moves last visits forward. In the order of the rows, neighbours share a page.
pub fn touch(connection: &Connection, mut visits: Vec<Visit>) -> rusqlite::Result<()> {
    visits.sort_unstable_by_key(|visit| visit.row);
    let mut touch = connection
        .prepare_cached("UPDATE mina_visit SET time = ?2 WHERE session = ?1 AND time < ?2")?;
    for visit in visits {
        touch.execute([visit.row, visit.time])?;
    }
    Ok(())
}

/// Ends the selected sessions.
pub fn revoke(connection: &Connection, selection: &Selection) -> rusqlite::Result<Vec<SessionId>> {
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

/// All apps, by appid.
pub fn apps(connection: &Connection) -> rusqlite::Result<Vec<App>> {
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
}

/// Adds an app or replaces the one with its appid.
pub fn put_app(connection: &Connection, app: &App) -> rusqlite::Result<()> {
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

/// Removes an app with all that is its.
pub fn remove_app(connection: &Connection, appid: &AppId) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM cAppinfo WHERE appid = ?", [appid.as_str()])?;
    connection.execute("DELETE FROM cSessionInfo WHERE appid = ?", [appid.as_str()])?;
    connection.execute("DELETE FROM mina_user WHERE appid = ?", [appid.as_str()])?;
    announce(connection, None)?;
    Ok(removed > 0)
}

/// Looks at one slice and deletes what has expired.
pub fn purge(connection: &Connection, expiry: &[Expiry], cursor: i64) -> rusqlite::Result<Purged> {
    let slice: Vec<(i64, String, String, i64, i64)> = connection
        .prepare_cached(
            "SELECT s.id, s.uuid, s.appid, s.create_time, v.time FROM cSessionInfo s \
             JOIN mina_visit v ON v.session = s.id WHERE s.id > ? ORDER BY s.id LIMIT ?",
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
        events::prune(connection)?;
    }
    Ok(Purged { removed, next })
}
