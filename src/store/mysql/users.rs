//! Users, listed and erased.

use futures_util::future::BoxFuture;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::Context;
use super::rows::{appids, delete, row_and_id};
use super::schema::on_sessions;
use super::sign_in::lock_user;
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
        let Users { open_id, union_id, .. } = which;
        let apps = super::apps::read_apps(&mut *connection, context, true).await?;
        let mut users = Vec::new();
        for (app, from) in which.by_app(apps.iter().map(|app| &app.appid)) {
            let left = (*limit as usize).saturating_sub(users.len());
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
            let rows = query
                .bind(u32::try_from(left).unwrap_or(*limit))
                .fetch_all(&mut *connection)
                .await?;
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
        let owner = [appid.as_str(), open_id.as_str()];
        let known = lock_user(&mut *connection, context, owner).await?;
        let [own, legacy] = appids(appid, context);
        let rows = sqlx::query(on_sessions!(
            context.tables,
            "SELECT CAST(id AS SIGNED), uuid FROM ",
            " WHERE open_id = ? AND appid IN (?, ?) AND CAST(open_id AS BINARY) = ? FOR UPDATE"
        ));
        let rows = rows.bind(open_id.as_str()).bind(own).bind(legacy).bind(owner[1].as_bytes());
        let rows = rows.fetch_all(&mut *connection).await?;
        let rows: Vec<(i64, SessionId)> = rows.iter().map(row_and_id).collect::<Result<_, _>>()?;
        delete(connection, context, &rows).await?;
        sqlx::query("DELETE FROM mina_user WHERE appid = ? AND open_id = ?")
            .bind(owner[0].as_bytes())
            .bind(owner[1].as_bytes())
            .execute(&mut *connection)
            .await?;
        let was_known = known.is_some() || !rows.is_empty();
        Ok(Erased { was_known, sessions: rows.into_iter().map(|(_, id)| id).collect() })
    })
}
