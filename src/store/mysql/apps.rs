//! Apps in the original table, read and written.

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::rows::{appids, unopened};
use super::schema::{on_apps, on_sessions};
use super::{Context, events};
use crate::secrets::{Keys, Place};
use crate::session::{App, AppId, Lifetime};

pub fn apps<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    (): &'a (),
) -> BoxFuture<'a, sqlx::Result<Vec<App>>> {
    Box::pin(read_apps(connection, context, true))
}

/// Reads the apps; `upgraded` tells whether the table has the columns of this program.
pub async fn read_apps(
    connection: &mut MySqlConnection,
    context: &Context,
    upgraded: bool,
) -> sqlx::Result<Vec<App>> {
    let tables = context.tables;
    let sql = if upgraded {
        on_apps!(
            tables,
            "SELECT appid, secret, CAST(login_duration AS SIGNED), \
             CAST(session_duration AS SIGNED), CAST(is_default AS SIGNED) FROM ",
            ""
        )
    } else {
        on_apps!(
            tables,
            "SELECT appid, secret, CAST(login_duration AS SIGNED), \
             CAST(session_duration AS SIGNED), CAST(0 AS SIGNED) FROM ",
            ""
        )
    };
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    let mut apps = rows.iter().map(|row| read_app(row, context)).collect::<Result<Vec<_>, _>>()?;
    apps.sort_by(|a, b| a.appid.cmp(&b.appid));
    context.learn_apps(&apps);
    Ok(apps)
}

fn read_app(row: &MySqlRow, context: &Context) -> sqlx::Result<App> {
    let default = Lifetime::default();
    let number = |at: usize, default: u32| {
        let number = row.try_get::<Option<i64>, _>(at)?;
        let number = number.and_then(|number| u32::try_from(number).ok());
        Ok::<u32, sqlx::Error>(number.unwrap_or(default))
    };
    let appid: String = row.try_get(0)?;
    let secret = row.try_get::<Option<String>, _>(1)?.unwrap_or_default();
    Ok(App {
        secret: context.keys.open(&secret, Place::AppSecret(&appid)).map_err(unopened)?,
        appid: appid.into(),
        lifetime: Lifetime {
            login_days: number(2, default.login_days)?,
            idle_seconds: number(3, default.idle_seconds)?,
        },
        is_default: row.try_get::<i64, _>(4)? != 0,
    })
}

pub fn put_app<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    app: &'a App,
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        if app.is_default {
            let sql = on_apps!(context.tables, "UPDATE ", " SET is_default = 0");
            sqlx::query(sql).execute(&mut *connection).await?;
        }
        // The PHP server, if it is beside, reads the AppSecret.
        let keys = if context.shared_with_php { &Keys::none() } else { &context.keys };
        let secret = keys.seal(app.secret.expose_secret(), Place::AppSecret(app.appid.as_str()));
        let sql = on_apps!(
            context.tables,
            "INSERT INTO ",
            " (appid, secret, login_duration, session_duration, is_default) \
             VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE appid = VALUES(appid), \
             secret = VALUES(secret), login_duration = VALUES(login_duration), \
             session_duration = VALUES(session_duration), is_default = VALUES(is_default)"
        );
        sqlx::query(sql)
            .bind(app.appid.as_str())
            .bind(secret)
            .bind(app.lifetime.login_days)
            .bind(app.lifetime.idle_seconds)
            .bind(app.is_default)
            .execute(&mut *connection)
            .await?;
        events::announce_apps(connection).await
    })
}

pub fn remove_app<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    appid: &'a AppId,
) -> BoxFuture<'a, sqlx::Result<bool>> {
    Box::pin(async move {
        let there = sqlx::query(on_apps!(
            context.tables,
            "SELECT 1 FROM ",
            " WHERE appid = ? AND CAST(appid AS BINARY) = ? FOR UPDATE"
        ));
        let there = there.bind(appid.as_str()).bind(appid.as_str().as_bytes());
        let there = there.fetch_optional(&mut *connection).await?.is_some();
        if there {
            sqlx::query(on_apps!(context.tables, "DELETE FROM ", " WHERE appid = ?"))
                .bind(appid.as_str())
                .execute(&mut *connection)
                .await?;
        }
        let [own, legacy] = appids(appid, context);
        sqlx::query(on_sessions!(context.tables, "DELETE FROM ", " WHERE appid IN (?, ?)"))
            .bind(own)
            .bind(legacy)
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM mina_user WHERE appid = ?")
            .bind(appid.as_str().as_bytes())
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM mina_setting WHERE name = 'legacy_appid' AND value = ?")
            .bind(appid.as_str())
            .execute(&mut *connection)
            .await?;
        events::announce_apps(connection).await?;
        Ok(there)
    })
}
