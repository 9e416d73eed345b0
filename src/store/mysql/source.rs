//! A Wafer database that is only read, whether this program has upgraded it or not.

use std::sync::RwLock;

use futures_util::TryStreamExt as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::apps;
use super::rows::{Stored, select_sessions};
use super::schema::{Found, Remembered, on_sessions};
use super::{Context, OpenError, Settings, connect, pool};
use crate::session::{App, Session};

/// Why a row is no session that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Its id, skey or openid is empty.
    Empty,
    /// It names no app, and there is not just one.
    NoApp,
    /// It is too old, or unused for too long.
    Expired,
}

/// A database to read sessions from, in the order of their logins.
#[derive(Debug)]
pub struct Source {
    connection: MySqlConnection,
    context: Context,
    upgraded: bool,
    apps: Vec<App>,
}

impl Source {
    /// Connects; nothing is changed in the database.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong and what would be right.
    pub async fn open(settings: &Settings) -> Result<Self, OpenError> {
        let failed = |source: sqlx::Error| OpenError::database(settings, source);
        let mut connection = connect(&pool(settings)?, settings).await?;
        let found = Found::read(&mut connection).await.map_err(failed)?;
        if found.is_empty() {
            return Err(OpenError::Absent { url: settings.url.clone() });
        }
        let remembered = Remembered::read(&mut connection, &found).await.map_err(failed)?;
        let upgraded = found.is_upgraded();
        let context = Context {
            tables: found.tables,
            keys: settings.keys.clone(),
            time_zone: remembered.zone(settings)?,
            shared_with_php: false,
            user_info_length: 0,
            legacy_appid: RwLock::new(settings.legacy_appid.clone().or(remembered.legacy_appid)),
        };
        let apps = apps::read_apps(&mut connection, &context, upgraded).await.map_err(failed)?;
        Ok(Self { connection, context, upgraded, apps })
    }

    /// The apps.
    #[must_use]
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// How many sessions there are.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn count(&mut self) -> sqlx::Result<u64> {
        let sql = on_sessions!(self.context.tables, "SELECT COUNT(*) FROM ", "");
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Reads all sessions and hands them on, or says why one is skipped; `on_row` returns `false`
    /// to end the reading.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn read(
        mut self,
        now: i64,
        mut on_row: impl AsyncFnMut(Result<Session, Skip>) -> bool,
    ) -> sqlx::Result<()> {
        let sql = if self.upgraded {
            select_sessions!(self.context.tables, "ORDER BY s.create_time, s.id")
        } else {
            on_sessions!(
                self.context.tables,
                "SELECT id, uuid, skey, '', open_id, \
                 TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', create_time), \
                 TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', last_visit_time), session_key, \
                 user_info, NULL, NULL, NULL, NULL, NULL, ? FROM ",
                " ORDER BY create_time, id"
            )
        };
        let query = sqlx::query(sql).bind(self.context.legacy_text());
        let mut stream = query.fetch(&mut self.connection);
        while let Some(row) = stream.try_next().await? {
            if !on_row(usable(&row, &self.context, &self.apps, now)?).await {
                break;
            }
        }
        Ok(())
    }
}

fn usable(
    row: &MySqlRow,
    context: &Context,
    apps: &[App],
    now: i64,
) -> sqlx::Result<Result<Session, Skip>> {
    let Stored { session, .. } = Stored::read(row, context)?;
    let parts = [session.id.as_str(), &session.skey.text(), session.open_id.as_str()];
    if parts.iter().any(|part| part.is_empty()) {
        return Ok(Err(Skip::Empty));
    }
    let Some(app) = apps.iter().find(|app| app.appid == session.appid) else {
        return Ok(Err(Skip::NoApp));
    };
    let expired = app.lifetime.expired(session.created, session.last_visit, now);
    Ok(if expired.is_some() { Err(Skip::Expired) } else { Ok(session) })
}
