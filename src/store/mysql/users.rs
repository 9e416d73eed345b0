//! Users, listed and erased.

use futures_util::future::BoxFuture;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::Context;
use super::rows::{appids, delete, row_and_id};
use super::schema::on_sessions;
use crate::session::{AppId, OpenId, SessionId};
use crate::store::users::{Account, Erased, Users};

/// The users that are meant, in the order of appid and openid. Who logged in by the PHP server
/// alone has no row of their own yet.
pub fn list<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (which, limit): &'a (Users, u32),
) -> BoxFuture<'a, sqlx::Result<Vec<Account>>> {
    Box::pin(async move {
        let Users { appid, open_id, union_id, after } = which;
        let known = super::apps::read_apps(&mut *connection, context, true).await?;
        let mut users = Vec::new();
        // App by app: the first part of the key is given then, and an index serves the rest.
        let known = known.iter().map(|app| &app.appid);
        for app in known.filter(|app| appid.as_ref().is_none_or(|wanted| wanted == *app)) {
            let from = match after {
                Some((after, _)) if after > app => continue,
                Some((after, open_id)) if after == app => Some(open_id),
                _ => None,
            };
            let wanted = u32::try_from(users.len()).map_or(0, |there| limit.saturating_sub(there));
            if wanted == 0 {
                break;
            }
            // A row that was only made to be locked has no profile yet.
            let mut sql = "SELECT appid, open_id, union_id, user_info FROM mina_user \
                           WHERE appid = ? AND user_info <> ''"
                .to_owned();
            let conditions = [
                (" AND open_id = ?", open_id.is_some()),
                (" AND union_id = ?", union_id.is_some()),
                (" AND open_id > ?", from.is_some()),
            ];
            sql.extend(
                conditions.iter().filter(|(_, is_wanted)| *is_wanted).map(|(text, _)| *text),
            );
            sql.push_str(" ORDER BY open_id LIMIT ?");
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(app.as_str().as_bytes());
            if let Some(open_id) = open_id {
                query = query.bind(open_id.as_str().as_bytes());
            }
            if let Some(union_id) = union_id {
                query = query.bind(union_id);
            }
            if let Some(from) = from {
                query = query.bind(from.as_str().as_bytes());
            }
            let rows = query.bind(wanted).fetch_all(&mut *connection).await?;
            for row in &rows {
                users.push(read(row)?);
            }
        }
        Ok(users)
    })
}

fn read(row: &MySqlRow) -> sqlx::Result<Account> {
    let text = |at: usize| {
        row.try_get::<Vec<u8>, _>(at).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Account {
        appid: text(0)?.into(),
        open_id: text(1)?.into(),
        union_id: row.try_get(2)?,
        profile: row.try_get(3)?,
    })
}

/// Erases a user with its sessions, those that the PHP server made too.
pub fn erase<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (appid, open_id): &'a (AppId, OpenId),
) -> BoxFuture<'a, sqlx::Result<Erased>> {
    Box::pin(async move {
        // The lock of a login is taken first, so that none comes in between.
        let owner = (appid.as_str().as_bytes(), open_id.as_str().as_bytes());
        let there = sqlx::query(
            "SELECT user_info FROM mina_user WHERE appid = ? AND open_id = ? FOR UPDATE",
        );
        let there = there.bind(owner.0).bind(owner.1).fetch_optional(&mut *connection).await?;
        let [own, legacy] = appids(appid, context);
        let rows = sqlx::query(on_sessions!(
            context.tables,
            "SELECT CAST(id AS SIGNED), uuid FROM ",
            " WHERE open_id = ? AND appid IN (?, ?) AND CAST(open_id AS BINARY) = ? FOR UPDATE"
        ));
        let rows = rows.bind(open_id.as_str()).bind(own).bind(legacy).bind(owner.1);
        let rows = rows.fetch_all(&mut *connection).await?;
        let rows: Vec<(i64, SessionId)> = rows.iter().map(row_and_id).collect::<Result<_, _>>()?;
        delete(connection, context, &rows).await?;
        sqlx::query("DELETE FROM mina_user WHERE appid = ? AND open_id = ?")
            .bind(owner.0)
            .bind(owner.1)
            .execute(&mut *connection)
            .await?;
        let was_known = there.is_some() || !rows.is_empty();
        Ok(Erased { was_known, sessions: rows.into_iter().map(|(_, id)| id).collect() })
    })
}
