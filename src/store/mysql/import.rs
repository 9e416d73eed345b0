//! Sessions of another database, into this one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::Row as _;
use sqlx::mysql::MySqlConnection;

use super::schema::on_sessions;
use super::sign_in::{lock_user, put_session, put_user, sessions};
use super::{Context, events};
use crate::session::Session;
use crate::store::import::{self, Imported};

pub fn import<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    incoming: &'a Arc<[Session]>,
) -> BoxFuture<'a, sqlx::Result<Vec<Imported>>> {
    Box::pin(async move {
        let mut order: Vec<usize> = (0..incoming.len()).collect();
        // Every node takes the users' locks in the same order; a user's sessions keep theirs.
        order.sort_by_key(|at| (&incoming[*at].appid, &incoming[*at].open_id, *at));
        let mut imported = vec![Imported::Known; incoming.len()];
        for at in order {
            imported[at] = import_one(connection, context, &incoming[at]).await?;
        }
        Ok(imported)
    })
}

async fn import_one(
    connection: &mut MySqlConnection,
    context: &Context,
    session: &Session,
) -> sqlx::Result<Imported> {
    let open_id = session.open_id.as_str();
    let user = lock_user(connection, &session.appid, open_id).await?;
    let stored = sessions(connection, context, &session.appid, open_id).await?;
    let logins: Vec<i64> = stored.iter().map(|stored| stored.session.created).collect();
    let known = stored.iter().find(|stored| stored.session.id == session.id);
    let created = match known {
        Some(known) => Some(known.session.created),
        // An id of another user's: it stays with that one.
        None => exists(connection, context, session).await?.then_some(i64::MAX),
    };
    let is_known = user.is_some() || !stored.is_empty();
    let imported = Imported::decide(session, created, is_known, &logins);
    if imported.brings_user(session, &logins) {
        let user = import::user(session, user);
        put_user(connection, &session.appid, open_id, &user).await?;
    }
    if matches!(imported, Imported::Added | Imported::Renewed) {
        put_session(connection, context, session, known.map(|known| known.row)).await?;
    }
    if imported == Imported::Renewed {
        events::announce(connection, std::iter::once(&session.id)).await?;
    }
    Ok(imported)
}

async fn exists(
    connection: &mut MySqlConnection,
    context: &Context,
    session: &Session,
) -> sqlx::Result<bool> {
    let sql = on_sessions!(
        context.tables,
        "SELECT COUNT(*) FROM ",
        " WHERE uuid = ? AND CAST(uuid AS BINARY) = ?"
    );
    let id = session.id.as_str();
    let row = sqlx::query(sql).bind(id).bind(id.as_bytes()).fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}
