//! Sessions and apps in the original tables, read and written.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::schema::on_sessions;
use super::statement::{CHUNK, Statement, repeated};
use super::{Context, events};
use crate::json::Value;
use crate::secrets::{Keys, Place, SealError};
use crate::session::{AppId, Session, SessionId, StoredSkey, User, Visit, profile};
use crate::store::{Expiry, Selection, Whose};
use crate::wechat::open_data;

/// How many sessions one slice of a purge looks at.
const PURGE_SLICE: i64 = 5_000;

/// `$before`, the name of the table of sessions, `$after`: a SELECT of whole sessions.
macro_rules! select_sessions {
    ($tables:expr, $after:expr) => {
        on_sessions!(
            $tables,
            "SELECT CAST(s.id AS SIGNED), s.uuid, s.skey, s.appid, s.open_id, \
             TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', s.create_time), \
             TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', s.last_visit_time), \
             s.session_key, s.user_info, s.mina_skey, \
             u.union_id, u.session_key, u.previous_session_key, u.user_info FROM ",
            concat!(
                " s LEFT JOIN mina_user u ON u.appid = COALESCE(NULLIF(s.appid, ''), ?) \
                 AND u.open_id = s.open_id ",
                $after
            )
        )
    };
}

pub(super) use select_sessions;

/// A row of the table of sessions, with what the user's own row says.
#[derive(Debug)]
pub struct Stored {
    pub row: i64,
    pub session: Session,
    /// Whether the PHP server wrote the row, or wrote it last.
    pub by_php: bool,
}

impl Stored {
    pub fn read(row: &MySqlRow, context: &Context) -> sqlx::Result<Self> {
        let text = |at: usize| {
            Ok::<String, sqlx::Error>(row.try_get::<Option<_>, _>(at)?.unwrap_or_default())
        };
        let time = |at: usize| {
            let local = row.try_get::<Option<i64>, _>(at)?.unwrap_or_default();
            Ok::<i64, sqlx::Error>(context.time_zone.instant(local))
        };
        let (id, skey, open_id) = (text(1)?, text(2)?, text(4)?);
        let appid = Some(text(3)?).filter(|appid| !appid.is_empty()).map(AppId::from);
        let appid = appid.or_else(|| context.legacy_appid()).unwrap_or_else(|| "".into());
        let written: Option<String> = row.try_get(9)?;
        let by_php = written.is_none_or(|written| written != skey);
        let own = read_user(row, 10, &context.keys, [appid.as_str(), &open_id])?;
        let user = match own {
            Some(own) if !by_php => own,
            own => {
                let session_key = context.keys.open(&text(7)?, Place::LegacySessionKey(&id));
                legacy_user(&open_id, session_key.map_err(unopened)?, &text(8)?, own)
            }
        };
        let session = Session {
            id: id.into(),
            skey: StoredSkey::read(&skey),
            appid,
            open_id: open_id.into(),
            created: time(5)?,
            last_visit: time(6)?,
            row: 0,
            user,
        };
        Ok(Self { row: row.try_get(0)?, session, by_php })
    }
}

/// Reads `union_id, session_key, previous_session_key, user_info` of the user's own row from
/// column `at` on. A row that was only made to be locked has no profile yet.
pub fn read_user(
    row: &MySqlRow,
    at: usize,
    keys: &Keys,
    owner: [&str; 2],
) -> sqlx::Result<Option<User>> {
    let profile: Option<String> = row.try_get(at + 3)?;
    let Some(profile) = profile.filter(|profile| !profile.is_empty()) else { return Ok(None) };
    let (session_key, previous): (String, Option<String>) =
        (row.try_get(at + 1)?, row.try_get(at + 2)?);
    let session_key = keys.open(&session_key, Place::SessionKey(owner));
    let previous = previous.map(|text| keys.open(&text, Place::PreviousSessionKey(owner)));
    Ok(Some(User {
        union_id: row.try_get(at)?,
        session_key: session_key.map_err(unopened)?,
        previous_session_key: previous.transpose().map_err(unopened)?,
        profile,
    }))
}

/// A secret that cannot be opened, as an error of the query that read it.
pub fn unopened(error: SealError) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// What is to stand for a user in `session_key` and `previous_session_key`.
pub fn sealed(user: &User, keys: &Keys, owner: [&str; 2]) -> (String, Option<String>) {
    let previous = user.previous_session_key.as_ref();
    (
        keys.seal(user.session_key.expose_secret(), Place::SessionKey(owner)),
        previous.map(|key| keys.seal(key.expose_secret(), Place::PreviousSessionKey(owner))),
    )
}

/// The user of a row that the PHP server wrote: what it says, and what was known before.
fn legacy_user(
    open_id: &str,
    session_key: SecretString,
    user_info: &str,
    known: Option<User>,
) -> User {
    let profile = decode_user_info(user_info);
    let (union_id, previous) = match known {
        None => (None, None),
        Some(user) if user.session_key.expose_secret() == session_key.expose_secret() => {
            (user.union_id, user.previous_session_key)
        }
        Some(user) => (user.union_id, Some(user.session_key)),
    };
    let profile = profile.unwrap_or_else(|| profile::minimal(open_id));
    User {
        profile: profile::with_identity(profile, open_id, union_id.as_deref()),
        union_id,
        session_key,
        previous_session_key: previous,
    }
}

/// `user_info` as the PHP server writes it: base64 of a JSON object. Some forks write the object
/// itself. One that was cut short is none.
fn decode_user_info(text: &str) -> Option<String> {
    let decoded = if text.starts_with('{') {
        text.as_bytes().to_owned()
    } else {
        open_data::decode_base64(text)
    };
    Value::parse(&decoded).ok().filter(|value| value.is_object())?;
    String::from_utf8(decoded).ok()
}

/// What the PHP server's columns of a row are to hold.
#[derive(Debug, Default)]
pub struct PhpColumns {
    pub session_key: String,
    pub user_info: String,
}

impl PhpColumns {
    /// What the PHP server would have written; nothing, once it cannot be used any more: the
    /// user's own row has it.
    pub fn of(user: &User, open_id: &str, context: &Context) -> Self {
        if !context.shared_with_php {
            return Self::default();
        }
        let fits = |text: &String| text.len() <= context.user_info_length;
        let whole = BASE64_STANDARD.encode(&user.profile);
        let user_info = Some(whole).filter(fits).unwrap_or_else(|| {
            let minimal = profile::minimal(open_id);
            BASE64_STANDARD.encode(profile::with_identity(
                minimal,
                open_id,
                user.union_id.as_deref(),
            ))
        });
        Self { session_key: user.session_key.expose_secret().to_owned(), user_info }
    }
}

/// The two appids under which an app's sessions stand: its own, and '' when it is the app that
/// the PHP server knew.
pub fn appids(appid: &AppId, context: &Context) -> [String; 2] {
    let own = appid.as_str().to_owned();
    if context.legacy_appid().as_ref() == Some(appid) {
        [own, String::new()]
    } else {
        [own.clone(), own]
    }
}

pub fn find<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    id: &'a SessionId,
) -> BoxFuture<'a, sqlx::Result<Option<Session>>> {
    Box::pin(async move {
        let found = sqlx::query(select_sessions!(
            context.tables,
            "WHERE s.uuid = ? AND CAST(s.uuid AS BINARY) = ? ORDER BY s.id DESC LIMIT 1"
        ))
        .bind(context.legacy_text())
        .bind(id.as_str())
        .bind(id.as_str().as_bytes())
        .fetch_optional(connection)
        .await?;
        found.map(|row| Ok(Stored::read(&row, context)?.session)).transpose()
    })
}

/// Binds a selection's values; the conditions below have them in this order.
fn bind_selection<'q>(
    query: Statement<'q>,
    selection: &'q Selection,
    context: &Context,
) -> Statement<'q> {
    let query = match &selection.whose {
        Whose::Everyone => query,
        Whose::User(open_id) => query.bind(open_id.as_str()).bind(open_id.as_str().as_bytes()),
        Whose::Session(id) => query.bind(id.as_str()).bind(id.as_str().as_bytes()),
        Whose::Login(id, skey) => {
            let (id, skey) = (id.as_str(), skey.text());
            let bytes = skey.as_bytes().to_owned();
            query.bind(id).bind(skey.into_owned()).bind(id.as_bytes()).bind(bytes)
        }
    };
    let [own, legacy] = match &selection.appid {
        Some(appid) => appids(appid, context),
        None => Default::default(),
    };
    query.bind(selection.appid.is_none()).bind(own).bind(legacy)
}

/// The condition of a selection, between two literals.
macro_rules! selected {
    ($selection:expr, $statement:ident, $context:expr, $before:expr, $after:expr) => {
        match &$selection.whose {
            Whose::Everyone => {
                $statement!($context.tables, concat!($before, "(? OR s.appid IN (?, ?))", $after))
            }
            Whose::User(_) => $statement!(
                $context.tables,
                concat!(
                    $before,
                    "s.open_id = ? AND CAST(s.open_id AS BINARY) = ? AND (? OR s.appid IN (?, ?))",
                    $after
                )
            ),
            Whose::Session(_) => $statement!(
                $context.tables,
                concat!(
                    $before,
                    "s.uuid = ? AND CAST(s.uuid AS BINARY) = ? AND (? OR s.appid IN (?, ?))",
                    $after
                )
            ),
            Whose::Login(..) => $statement!(
                $context.tables,
                concat!(
                    $before,
                    "s.uuid = ? AND s.skey = ? AND CAST(s.uuid AS BINARY) = ? \
                     AND CAST(s.skey AS BINARY) = ? AND (? OR s.appid IN (?, ?))",
                    $after
                )
            ),
        }
    };
}

pub fn list<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (selection, limit): &'a (Selection, u32),
) -> BoxFuture<'a, sqlx::Result<Vec<Session>>> {
    Box::pin(async move {
        let sql = selected!(
            selection,
            select_sessions,
            context,
            "WHERE ",
            " ORDER BY s.create_time DESC, s.uuid LIMIT ?"
        );
        let query = sqlx::query(sql).bind(context.legacy_text());
        let rows =
            bind_selection(query, selection, context).bind(limit).fetch_all(connection).await?;
        rows.iter().map(|row| Ok(Stored::read(row, context)?.session)).collect()
    })
}

/// The selected sessions after an id, in the order of ids.
pub fn list_after<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (selection, after, limit): &'a (Selection, SessionId, u32),
) -> BoxFuture<'a, sqlx::Result<Vec<Session>>> {
    Box::pin(async move {
        let sql = selected!(
            selection,
            select_sessions,
            context,
            "WHERE s.uuid > ? AND ",
            " ORDER BY s.uuid LIMIT ?"
        );
        let query = sqlx::query(sql).bind(context.legacy_text()).bind(after.as_str());
        let rows =
            bind_selection(query, selection, context).bind(limit).fetch_all(connection).await?;
        rows.iter().map(|row| Ok(Stored::read(row, context)?.session)).collect()
    })
}

macro_rules! select_locked {
    ($tables:expr, $after:expr) => {
        on_sessions!(
            $tables,
            "SELECT CAST(s.id AS SIGNED), s.uuid FROM ",
            concat!(" s WHERE ", $after)
        )
    };
}

pub fn revoke<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    selection: &'a Selection,
) -> BoxFuture<'a, sqlx::Result<Vec<SessionId>>> {
    Box::pin(async move {
        let sql = selected!(selection, select_locked, context, "", " FOR UPDATE");
        let rows = bind_selection(sqlx::query(sql), selection, context)
            .fetch_all(&mut *connection)
            .await?;
        let rows: Vec<(i64, SessionId)> = rows.iter().map(row_and_id).collect::<Result<_, _>>()?;
        delete(connection, context, &rows).await?;
        Ok(rows.into_iter().map(|(_, id)| id).collect())
    })
}

/// A row's number and the id of its session.
pub fn row_and_id(row: &MySqlRow) -> sqlx::Result<(i64, SessionId)> {
    Ok((row.try_get(0)?, row.try_get::<String, _>(1)?.into()))
}

/// Deletes rows of the table of sessions and tells the other nodes.
pub async fn delete(
    connection: &mut MySqlConnection,
    context: &Context,
    rows: &[(i64, SessionId)],
) -> sqlx::Result<()> {
    for chunk in rows.chunks(CHUNK) {
        let before = on_sessions!(context.tables, "DELETE FROM ", " WHERE id IN (");
        let mut query = repeated(before, "?", ", ", chunk.len(), ")");
        for (row, _) in chunk {
            query = query.bind(row);
        }
        query.execute(&mut *connection).await?;
    }
    events::announce(connection, rows.iter().map(|(_, id)| id)).await
}

/// Writes visits, those of one second in one statement. A row whose skey is another one by now,
/// or whose visit is later, stays as it is.
pub fn touch<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    visits: &'a Arc<[Visit]>,
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        let mut visits: Vec<&Visit> = visits.iter().collect();
        visits.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.id.cmp(&b.id)));
        let seconds = visits.chunk_by(|a, b| a.time == b.time);
        for chunk in seconds.flat_map(|second| second.chunks(CHUNK)) {
            let before = on_sessions!(
                context.tables,
                "UPDATE ",
                " SET last_visit_time = TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND \
                 WHERE last_visit_time < TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND AND ("
            );
            let one =
                "(uuid = ? AND skey = ? AND CAST(uuid AS BINARY) = ? AND CAST(skey AS BINARY) = ?)";
            let time = context.time_zone.local(chunk[0].time);
            let mut query = repeated(before, one, " OR ", chunk.len(), ")").bind(time).bind(time);
            for Visit { id, skey, .. } in chunk {
                let skey = skey.text().into_owned();
                query = query.bind(id.as_str()).bind(skey.clone());
                query = query.bind(id.as_str().as_bytes()).bind(skey.into_bytes());
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    })
}

/// A row as a purge looks at it.
struct Aged {
    row: i64,
    id: SessionId,
    expired: bool,
}

fn read_aged(row: &MySqlRow, expiry: &[Expiry], context: &Context) -> sqlx::Result<Aged> {
    let appid: String = row.try_get(2)?;
    let appid = Some(AppId::from(appid)).filter(|appid| !appid.as_str().is_empty());
    let appid = appid.or_else(|| context.legacy_appid());
    let time = |at: usize| {
        let local = row.try_get::<Option<i64>, _>(at)?.unwrap_or_default();
        Ok::<i64, sqlx::Error>(context.time_zone.instant(local))
    };
    let (created, last_visit) = (time(3)?, time(4)?);
    let expired = appid
        .is_some_and(|appid| expiry.iter().any(|expiry| expiry.holds(&appid, created, last_visit)));
    Ok(Aged { row: row.try_get(0)?, id: row.try_get::<String, _>(1)?.into(), expired })
}

macro_rules! select_aged {
    ($tables:expr, $after:expr) => {
        on_sessions!(
            $tables,
            "SELECT CAST(id AS SIGNED), uuid, appid, \
             TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', create_time), \
             TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', last_visit_time) FROM ",
            $after
        )
    };
}

/// The rows of a slice that seem to have expired, and where the next slice begins.
pub fn expired<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (expiry, cursor): &'a (Vec<Expiry>, i64),
) -> BoxFuture<'a, sqlx::Result<(Vec<i64>, Option<i64>)>> {
    Box::pin(async move {
        let rows = sqlx::query(select_aged!(context.tables, " WHERE id > ? ORDER BY id LIMIT ?"))
            .bind(cursor)
            .bind(PURGE_SLICE)
            .fetch_all(connection)
            .await?;
        let rows: Vec<Aged> =
            rows.iter().map(|row| read_aged(row, expiry, context)).collect::<Result<_, _>>()?;
        let next = rows.get(usize::try_from(PURGE_SLICE - 1).unwrap_or(0)).map(|last| last.row);
        Ok((rows.into_iter().filter(|aged| aged.expired).map(|aged| aged.row).collect(), next))
    })
}

/// Deletes the rows that have expired indeed: a visit may have been written meanwhile.
pub fn delete_expired<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (expiry, rows): &'a (Vec<Expiry>, Vec<i64>),
) -> BoxFuture<'a, sqlx::Result<u64>> {
    Box::pin(async move {
        let before = select_aged!(context.tables, " WHERE id IN (");
        let mut query = repeated(before, "?", ", ", rows.len(), ") FOR UPDATE");
        for row in rows {
            query = query.bind(row);
        }
        let rows = query.fetch_all(&mut *connection).await?;
        let aged = rows.iter().map(|row| read_aged(row, expiry, context));
        let gone: Vec<(i64, SessionId)> = aged
            .filter(|aged| aged.as_ref().map_or(true, |aged| aged.expired))
            .map(|aged| aged.map(|aged| (aged.row, aged.id)))
            .collect::<Result<_, _>>()?;
        delete(connection, context, &gone).await?;
        Ok(gone.len() as u64)
    })
}
