//! Secrets that are to be under the key that writes.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::mysql::MySqlConnection;

use super::Context;
use super::rows::unopened;
use super::schema::{forget_other_keys, on_apps, on_sessions};
use crate::secrets::Place;
use crate::store::Resealed;

/// How many users or sessions one slice looks at. Logins of these users wait as long.
const SLICE: u32 = 200;

/// A slice, in the text that callers hand back.
#[derive(Debug, Serialize, Deserialize)]
pub enum Slice {
    Apps,
    /// Those after this appid and openid.
    Users(String, String),
    /// Those after this row.
    Sessions(i64),
}

impl Slice {
    /// The slice that a text means; the first one, when it is empty.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Self::Apps)
    }

    fn text(&self) -> sqlx::Result<String> {
        serde_json::to_string(self).map_err(|error| sqlx::Error::Encode(error.into()))
    }
}

pub fn reseal<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    slice: &'a Slice,
) -> BoxFuture<'a, sqlx::Result<Resealed>> {
    Box::pin(async move {
        let (changed, next) = match slice {
            Slice::Apps => reseal_apps(&mut *connection, context).await?,
            Slice::Users(appid, open_id) => {
                reseal_users(&mut *connection, context, [appid, open_id]).await?
            }
            Slice::Sessions(row) => reseal_sessions(&mut *connection, context, *row).await?,
        };
        if next.is_none()
            && let Some(writes) = context.keys.writes()
        {
            forget_other_keys(connection, writes).await?;
        }
        Ok(Resealed { changed, next: next.map(|slice| slice.text()).transpose()? })
    })
}

/// The PHP server, if it is beside, needs its AppSecret plain.
async fn reseal_apps(
    connection: &mut MySqlConnection,
    context: &Context,
) -> sqlx::Result<(u64, Option<Slice>)> {
    let next = Some(Slice::Users(String::new(), String::new()));
    if context.shared_with_php {
        return Ok((0, next));
    }
    let sql = on_apps!(context.tables, "SELECT appid, secret FROM ", " FOR UPDATE");
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await?;
    let mut changed = 0;
    for row in rows {
        let (appid, secret): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let secret = secret.unwrap_or_default();
        let resealed = context.keys.reseal(&secret, Place::AppSecret(&appid));
        if let Some(secret) = resealed.map_err(unopened)? {
            let sql = on_apps!(context.tables, "UPDATE ", " SET secret = ? WHERE appid = ?");
            sqlx::query(sql).bind(secret).bind(appid).execute(&mut *connection).await?;
            changed += 1;
        }
    }
    Ok((changed, next))
}

/// Goes through the users after this one, in the order in which logins lock them.
async fn reseal_users(
    connection: &mut MySqlConnection,
    context: &Context,
    [appid, open_id]: [&str; 2],
) -> sqlx::Result<(u64, Option<Slice>)> {
    let rows = sqlx::query(
        "SELECT appid, open_id, session_key, previous_session_key FROM mina_user \
         WHERE appid > ? OR (appid = ? AND open_id > ?) ORDER BY appid, open_id LIMIT ? FOR UPDATE",
    )
    .bind(appid.as_bytes())
    .bind(appid.as_bytes())
    .bind(open_id.as_bytes())
    .bind(SLICE)
    .fetch_all(&mut *connection)
    .await?;
    let is_last = rows.len() < SLICE as usize;
    let (mut changed, mut last) = (0, None);
    for row in rows {
        let text = |at| {
            let bytes = row.try_get::<Vec<u8>, _>(at)?;
            String::from_utf8(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
        };
        let (appid, open_id) = (text(0)?, text(1)?);
        let owner = [&*appid, &*open_id];
        let (session_key, previous): (String, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
        let session_key = context.keys.reseal(&session_key, Place::SessionKey(owner));
        let session_key = session_key.map_err(unopened)?;
        let previous =
            previous.map(|text| context.keys.reseal(&text, Place::PreviousSessionKey(owner)));
        let previous = previous.transpose().map_err(unopened)?.flatten();
        let count = u64::from(session_key.is_some()) + u64::from(previous.is_some());
        if count > 0 {
            sqlx::query(
                "UPDATE mina_user SET session_key = COALESCE(?, session_key), \
                 previous_session_key = COALESCE(?, previous_session_key) \
                 WHERE appid = ? AND open_id = ?",
            )
            .bind(session_key)
            .bind(previous)
            .bind(appid.as_bytes())
            .bind(open_id.as_bytes())
            .execute(&mut *connection)
            .await?;
            changed += count;
        }
        last = Some(Slice::Users(appid, open_id));
    }
    Ok(match last {
        Some(last) if !is_last => (changed, Some(last)),
        // What the PHP server left behind follows, once it is gone.
        _ => (changed, (!context.shared_with_php).then_some(Slice::Sessions(0))),
    })
}

/// Goes through the column that the PHP server kept its keys in: what it wrote is encrypted, what
/// was written for it goes.
async fn reseal_sessions(
    connection: &mut MySqlConnection,
    context: &Context,
    after: i64,
) -> sqlx::Result<(u64, Option<Slice>)> {
    let sql = on_sessions!(
        context.tables,
        "SELECT CAST(id AS SIGNED), uuid, session_key, \
         CAST(COALESCE(CAST(skey AS BINARY) = CAST(mina_skey AS BINARY), 0) AS SIGNED) FROM ",
        " WHERE id > ? ORDER BY id LIMIT ?"
    );
    let rows = sqlx::query(sql).bind(after).bind(SLICE).fetch_all(&mut *connection).await?;
    let is_last = rows.len() < SLICE as usize;
    let (mut changed, mut last) = (0, None);
    for row in rows {
        let number: i64 = row.try_get(0)?;
        last = Some(number);
        let (id, stored): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let by_php = row.try_get::<i64, _>(3)? == 0;
        let new = if by_php {
            context.keys.reseal(&stored, Place::LegacySessionKey(&id)).map_err(unopened)?
        } else {
            (!stored.is_empty()).then(String::new)
        };
        if let Some(new) = new {
            // Unless a login has written the row since.
            let sql = on_sessions!(
                context.tables,
                "UPDATE ",
                " SET session_key = ? WHERE id = ? AND CAST(session_key AS BINARY) = ?"
            );
            let query = sqlx::query(sql).bind(new).bind(number).bind(stored.into_bytes());
            query.execute(&mut *connection).await?;
            changed += 1;
        }
    }
    Ok((changed, last.filter(|_| !is_last).map(Slice::Sessions)))
}
