//! Apps, users and sessions in the tables, read and written.

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use secrecy::{ExposeSecret as _, SecretString};

use super::events::{self, announce};
use crate::secrets::{Keys, Place, SealError};
use crate::session::{
    App, AppId, Fate, Lifetime, Login, Session, SessionId, SignedIn, StoredSkey, User, Visit,
};
use crate::store::{Expiry, Purged, Selection, Whose};

/// How many sessions one slice of a purge looks at.
const PURGE_SLICE: u32 = 5_000;

const SESSION: &str = "SELECT s.uuid, s.skey, u.appid, u.open_id, s.create_time, v.time, \
     u.union_id, u.session_key, u.previous_session_key, u.user_info, s.login \
     FROM mina_session s JOIN mina_visit v ON v.login = s.login JOIN mina_user u ON u.id = s.user";

fn read_session(row: &Row<'_>, keys: &Keys) -> rusqlite::Result<Session> {
    let owner = [text(row, 2)?, text(row, 3)?];
    let user = read_user(row, 6, keys, [&owner[0], &owner[1]])?;
    let [appid, open_id] = owner;
    Ok(Session {
        id: text(row, 0)?.into(),
        skey: StoredSkey::read(row.get_ref(1)?.as_str()?),
        appid: appid.into(),
        open_id: open_id.into(),
        created: row.get(4)?,
        last_visit: row.get(5)?,
        user,
        row: row.get(10)?,
    })
}

/// Reads `union_id, session_key, previous_session_key, user_info` from column `at` on.
fn read_user(row: &Row<'_>, at: usize, keys: &Keys, owner: [&str; 2]) -> rusqlite::Result<User> {
    let previous = row.get_ref(at + 2)?.as_str_or_null()?;
    let previous = previous.map(|text| keys.open(text, Place::PreviousSessionKey(owner)));
    Ok(User {
        union_id: row.get(at)?,
        session_key: keys
            .open(row.get_ref(at + 1)?.as_str()?, Place::SessionKey(owner))
            .map_err(unopened)?,
        previous_session_key: previous.transpose().map_err(unopened)?,
        profile: row.get(at + 3)?,
    })
}

/// A secret that cannot be opened, as an error of the query that read it.
pub fn unopened(error: SealError) -> rusqlite::Error {
    FromSqlError::other(error).into()
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    row.get(column)
}

/// The session with this id.
pub fn find(
    connection: &Connection,
    keys: &Keys,
    id: &SessionId,
) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(&format!("{SESSION} WHERE s.uuid = ?"))?
        .query_row([id.as_str()], |row| read_session(row, keys))
        .optional()
}

/// A user's row: its number, and what it holds.
pub type Stored = (i64, User);

/// The user's row.
pub fn stored_user(
    connection: &Connection,
    keys: &Keys,
    [appid, open_id]: [&str; 2],
) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(
            "SELECT id, union_id, session_key, previous_session_key, user_info \
             FROM mina_user WHERE open_id = ? AND appid = ?",
        )?
        .query_row([open_id, appid], |row| {
            Ok((row.get(0)?, read_user(row, 1, keys, [appid, open_id])?))
        })
        .optional()
}

/// Writes a user, into the row of this number or into a new one, and returns the number.
pub fn put_user(
    connection: &Connection,
    keys: &Keys,
    row: Option<i64>,
    [appid, open_id]: [&str; 2],
    user: &User,
) -> rusqlite::Result<i64> {
    let owner = [appid, open_id];
    let previous = user.previous_session_key.as_ref().map(SecretString::expose_secret);
    connection
        .prepare_cached(
            "INSERT INTO mina_user \
             (id, appid, open_id, union_id, session_key, previous_session_key, user_info) \
             VALUES (?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET union_id = excluded.union_id, \
             session_key = excluded.session_key, \
             previous_session_key = excluded.previous_session_key, \
             user_info = excluded.user_info",
        )?
        .execute(params![
            row,
            appid,
            open_id,
            user.union_id,
            keys.seal(user.session_key.expose_secret(), Place::SessionKey(owner)),
            previous.map(|previous| keys.seal(previous, Place::PreviousSessionKey(owner))),
            user.profile,
        ])?;
    Ok(row.unwrap_or_else(|| connection.last_insert_rowid()))
}

/// Writes a login: the user, and the user's sessions.
pub fn sign_in(connection: &Connection, keys: &Keys, login: &Login) -> rusqlite::Result<SignedIn> {
    let owner = [login.appid.as_str(), login.open_id.as_str()];
    let (row, stored) = stored_user(connection, keys, owner)?.unzip();
    let user = login.user(stored);
    // A user who was not known has no sessions.
    let sessions = row.map_or(Ok(Vec::new()), |row| sessions_of(connection, row))?;
    let row = put_user(connection, keys, row, owner, &user)?;
    let mut renewed = None;
    for (id, fate) in sessions.iter().zip(login.fates(&sessions)) {
        // A renewed session gets a new row, so that late visits of the old login miss it.
        if fate != Fate::Stays {
            delete(connection, id)?;
        }
        if fate == Fate::Renewed {
            renewed = Some(id);
        }
        announce(connection, Some(id))?;
    }
    let id = renewed.unwrap_or(&login.new_id);
    insert(connection, id, &login.skey.stored(), row, [login.now; 2])?;
    Ok(SignedIn {
        id: id.clone(),
        is_new: renewed.is_none(),
        union_id: user.union_id,
        profile: user.profile,
        touched: sessions,
    })
}

/// The ids of a user's sessions, newest login first.
pub fn sessions_of(connection: &Connection, user: i64) -> rusqlite::Result<Vec<SessionId>> {
    connection
        .prepare_cached(
            "SELECT uuid FROM mina_session WHERE user = ? ORDER BY create_time DESC, login DESC",
        )?
        .query_map([user], |row| Ok(text(row, 0)?.into()))?
        .collect()
}

/// Adds a session of a user; `times` are those of the login and of the last visit.
pub fn insert(
    connection: &Connection,
    id: &SessionId,
    skey: &StoredSkey,
    user: i64,
    [created, last_visit]: [i64; 2],
) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO mina_visit (time) VALUES (?)")?.execute([last_visit])?;
    let login = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO mina_session (uuid, skey, create_time, user, login) \
             VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![id.as_str(), skey.text(), created, user, login])
        .map(drop)
}

/// Removes a session; its visit goes with it.
pub fn delete(connection: &Connection, id: &SessionId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM mina_session WHERE uuid = ?")?
        .execute([id.as_str()])
        .map(drop)
}

/// The selected sessions as a condition on `s` and its parameters.
fn condition(selection: &Selection) -> (&'static str, [Option<String>; 3]) {
    let appid = selection.appid.as_ref().map(|appid| appid.as_str().to_owned());
    match &selection.whose {
        Whose::Everyone => (
            "(?1 IS NULL OR EXISTS (SELECT 1 FROM mina_user WHERE id = s.user AND appid = ?1)) \
             AND ?2 IS NULL AND ?3 IS NULL",
            [appid, None, None],
        ),
        Whose::User(open_id) if appid.is_some() => (
            "s.user IN (SELECT id FROM mina_user WHERE appid = ?1 AND open_id = ?2) AND ?3 IS NULL",
            [appid, Some(open_id.as_str().into()), None],
        ),
        // The index of users begins with the app: from one app to the next it is a step, and all
        // users would be looked at otherwise.
        Whose::User(open_id) => (
            "s.user IN (WITH RECURSIVE apps (appid) AS (SELECT min(appid) FROM mina_user UNION ALL \
             SELECT (SELECT min(appid) FROM mina_user u WHERE u.appid > apps.appid) FROM apps \
             WHERE apps.appid IS NOT NULL) \
             SELECT u.id FROM apps JOIN mina_user u ON u.appid = apps.appid AND u.open_id = ?2) \
             AND ?1 IS NULL AND ?3 IS NULL",
            [None, Some(open_id.as_str().into()), None],
        ),
        Whose::Session(id) => (
            "s.uuid = ?2 AND ?3 IS NULL AND \
             (?1 IS NULL OR EXISTS (SELECT 1 FROM mina_user WHERE id = s.user AND appid = ?1))",
            [appid, Some(id.as_str().into()), None],
        ),
        Whose::Login(id, skey) => (
            "s.uuid = ?2 AND s.skey = ?3 AND \
             (?1 IS NULL OR EXISTS (SELECT 1 FROM mina_user WHERE id = s.user AND appid = ?1))",
            [appid, Some(id.as_str().into()), Some(skey.text().into_owned())],
        ),
    }
}

/// The selected sessions, newest login first.
pub fn list(
    connection: &Connection,
    keys: &Keys,
    selection: &Selection,
    limit: u32,
) -> rusqlite::Result<Vec<Session>> {
    let (condition, [first, second, third]) = condition(selection);
    connection
        .prepare_cached(&format!(
            "{SESSION} WHERE {condition} ORDER BY s.create_time DESC, s.uuid LIMIT ?4"
        ))?
        .query_map(params![first, second, third, limit], |row| read_session(row, keys))?
        .collect()
}

/// The selected sessions after an id, in the order of ids.
pub fn list_after(
    connection: &Connection,
    keys: &Keys,
    selection: &Selection,
    after: &SessionId,
    limit: u32,
) -> rusqlite::Result<Vec<Session>> {
    let (condition, [first, second, third]) = condition(selection);
    connection
        .prepare_cached(&format!(
            "{SESSION} WHERE {condition} AND s.uuid > ?4 ORDER BY s.uuid LIMIT ?5"
        ))?
        .query_map(params![first, second, third, after.as_str(), limit], |row| {
            read_session(row, keys)
        })?
        .collect()
}

/// Moves last visits forward.
pub fn touch(connection: &Connection, visits: &[Visit]) -> rusqlite::Result<()> {
    let mut touch = connection
        .prepare_cached("UPDATE mina_visit SET time = ?2 WHERE login = ?1 AND time < ?2")?;
    for visit in visits {
        touch.execute([visit.row, visit.time])?;
    }
    Ok(())
}

/// Ends the selected sessions.
pub fn revoke(connection: &Connection, selection: &Selection) -> rusqlite::Result<Vec<SessionId>> {
    let (condition, parameters) = condition(selection);
    let sql = format!("DELETE FROM mina_session AS s WHERE {condition} RETURNING uuid");
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
pub fn apps(connection: &Connection, keys: &Keys) -> rusqlite::Result<Vec<App>> {
    connection
        .prepare_cached(
            "SELECT appid, secret, login_duration, session_duration, is_default \
             FROM cAppinfo ORDER BY appid",
        )?
        .query_map([], |row| {
            let appid = text(row, 0)?;
            let secret = keys.open(&text(row, 1)?, Place::AppSecret(&appid));
            Ok(App {
                appid: appid.into(),
                secret: secret.map_err(unopened)?,
                lifetime: Lifetime { login_days: row.get(2)?, idle_seconds: row.get(3)? },
                is_default: row.get(4)?,
            })
        })?
        .collect()
}

/// Adds an app or replaces the one with its appid.
pub fn put_app(connection: &Connection, keys: &Keys, app: &App) -> rusqlite::Result<()> {
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
            keys.seal(app.secret.expose_secret(), Place::AppSecret(app.appid.as_str())),
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
    connection.execute(
        "DELETE FROM mina_session WHERE user IN (SELECT id FROM mina_user WHERE appid = ?)",
        [appid.as_str()],
    )?;
    connection.execute("DELETE FROM mina_user WHERE appid = ?", [appid.as_str()])?;
    announce(connection, None)?;
    Ok(removed > 0)
}

/// Looks at the slice of sessions after an id and deletes what has expired.
pub fn purge(connection: &Connection, expiry: &[Expiry], after: &str) -> rusqlite::Result<Purged> {
    let slice: Vec<(String, i64, i64, i64)> = connection
        .prepare_cached(
            "SELECT s.uuid, s.create_time, v.time, s.user FROM mina_session s \
             JOIN mina_visit v ON v.login = s.login WHERE s.uuid > ? ORDER BY s.uuid LIMIT ?",
        )?
        .query_map(params![after, PURGE_SLICE], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let is_last = slice.len() < PURGE_SLICE as usize;
    let next = slice.last().filter(|_| !is_last).map(|(uuid, ..)| uuid.clone());
    let mut removed = 0;
    for (uuid, created, last_visit, user) in slice {
        // Whose it is matters only for one that some app would call expired.
        let expired = |expiry: &Expiry| expiry.is_past(created, last_visit);
        if !expiry.iter().any(expired) {
            continue;
        }
        let appid: AppId = connection
            .prepare_cached("SELECT appid FROM mina_user WHERE id = ?")?
            .query_row([user], |row| Ok(text(row, 0)?.into()))?;
        if expiry.iter().any(|expiry| expiry.holds(&appid, created, last_visit)) {
            let id = uuid.into();
            delete(connection, &id)?;
            announce(connection, Some(&id))?;
            removed += 1;
        }
    }
    if is_last {
        events::prune(connection)?;
    }
    Ok(Purged { removed, next })
}
