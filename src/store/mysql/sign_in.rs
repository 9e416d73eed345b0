//! Logins, those that wait together in one transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::mysql::MySqlConnection;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::pool::{Failure, Mode};
use super::rows::{self, PhpColumns, Stored, read_user, sealed};
use super::schema::on_sessions;
use super::{Context, Inner, events};
use crate::session::{AppId, Fate, Login, Session, SignedIn, StoredSkey, User};
use crate::store::ReplacedKey;

/// How many logins share one transaction at the most.
const MAX_BATCH: usize = 100;

/// How many transactions of logins run at once: one may wait for a lock.
const WRITERS: usize = 4;

/// A login that waits, and who waits for it.
pub type Waiting = (Login, oneshot::Sender<Result<SignedIn, Arc<Failure>>>);

/// Writes logins as they come, until nobody can bring any more.
pub async fn write_logins(inner: Arc<Inner>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let writers = Arc::new(Semaphore::new(WRITERS));
    // The permit comes first: what arrives until a transaction may begin goes into it.
    while let Ok(writer) = Arc::clone(&writers).acquire_owned().await {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            write_batch(&inner, batch).await;
            drop(writer);
        });
    }
}

async fn write_batch(inner: &Inner, mut batch: Vec<Waiting>) {
    // Every node takes the users' locks in the same order.
    batch.sort_by(|(a, _), (b, _)| (&a.appid, &a.open_id).cmp(&(&b.appid, &b.open_id)));
    let (logins, waiting): (Vec<Login>, Vec<_>) = batch.into_iter().unzip();
    match inner.run(Mode::Transaction, &logins, sign_in_all).await {
        Ok(outcomes) => {
            for (answer, outcome) in waiting.into_iter().zip(outcomes) {
                // Nobody waits for the answer when the caller has gone.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(failure) if failure.is_of_statement() && logins.len() > 1 => {
            // One of them is at fault: each has its own transaction and its own outcome now.
            for (answer, login) in waiting.into_iter().zip(logins) {
                let outcome = inner.run(Mode::Transaction, &vec![login], sign_in_all).await;
                let outcome = outcome.and_then(|mut one| one.pop().ok_or(Failure::Ending));
                let _ = answer.send(outcome.map_err(Arc::new));
            }
        }
        Err(failure) => {
            let failure = Arc::new(failure);
            for answer in waiting {
                let _ = answer.send(Err(Arc::clone(&failure)));
            }
        }
    }
}

fn sign_in_all<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    logins: &'a Vec<Login>,
) -> BoxFuture<'a, sqlx::Result<Vec<SignedIn>>> {
    Box::pin(async move {
        let mut outcomes = Vec::with_capacity(logins.len());
        for login in logins {
            outcomes.push(sign_in(connection, context, login).await?);
        }
        Ok(outcomes)
    })
}

async fn sign_in(
    connection: &mut MySqlConnection,
    context: &Context,
    login: &Login,
) -> sqlx::Result<SignedIn> {
    let owner = [login.appid.as_str(), login.open_id.as_str()];
    let own = lock_user(connection, context, owner).await?;
    let stored = sessions(connection, context, &login.appid, login.open_id.as_str()).await?;
    let newest = stored.first();
    let known = match (own, newest) {
        // The PHP server wrote last: it has the newer profile and key.
        (_, Some(newest)) if newest.by_php => Some(newest.session.user.clone()),
        (own, _) => own,
    };
    let user = login.user(known);
    put_user(connection, context, owner, &user).await?;
    let (mut gone, mut kept, mut renewed) = (Vec::new(), Vec::new(), None);
    let fates = login.fates(stored.iter().map(|stored| &stored.session.id));
    for (stored, fate) in stored.iter().zip(fates) {
        match fate {
            Fate::Stays => kept.push(&stored.session.id),
            Fate::Renewed => {
                kept.push(&stored.session.id);
                renewed = Some(stored);
            }
            Fate::Ends => gone.push((stored.row, stored.session.id.clone())),
        }
    }
    rows::delete(connection, context, &gone).await?;
    events::announce(connection, kept.into_iter()).await?;
    write_session(connection, context, login, &user, renewed).await?;
    Ok(SignedIn {
        id: renewed.map_or(&login.new_id, |renewed| &renewed.session.id).clone(),
        is_new: renewed.is_none(),
        union_id: user.union_id,
        profile: user.profile,
        touched: stored.into_iter().map(|stored| stored.session.id).collect(),
    })
}

/// Replaces a user's session_key, if it is still the old one.
pub fn replace_session_key<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    replaced: &'a ReplacedKey,
) -> BoxFuture<'a, sqlx::Result<bool>> {
    Box::pin(async move {
        let owner = [replaced.appid.as_str(), replaced.open_id.as_str()];
        let own = lock_user(&mut *connection, context, owner).await?;
        let stored = sessions(&mut *connection, context, &replaced.appid, owner[1]).await?;
        let known = match stored.first() {
            // The PHP server wrote last: it has the newer key.
            Some(newest) if newest.by_php => Some(newest.session.user.clone()),
            _ => own,
        };
        let Some(user) = known.and_then(|known| replaced.user(known)) else { return Ok(false) };
        put_user(&mut *connection, context, owner, &user).await?;
        for Stored { row, session, .. } in &stored {
            let session = Session { user: user.clone(), ..session.clone() };
            put_session(&mut *connection, context, &session, Some(*row)).await?;
        }
        events::announce(connection, stored.iter().map(|stored| &stored.session.id)).await?;
        Ok(true)
    })
}

/// Locks the user's row, which is made when it is absent, and reads it.
pub async fn lock_user(
    connection: &mut MySqlConnection,
    context: &Context,
    owner: [&str; 2],
) -> sqlx::Result<Option<User>> {
    let [appid, open_id] = owner.map(str::as_bytes);
    // Never decided by a count of affected rows: the row is looked for, made and looked for.
    for makes in [true, false] {
        let row = sqlx::query(
            "SELECT union_id, session_key, previous_session_key, user_info FROM mina_user \
             WHERE appid = ? AND open_id = ? FOR UPDATE",
        )
        .bind(appid)
        .bind(open_id)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            return read_user(&row, 0, &context.keys, owner);
        }
        if makes {
            sqlx::query(
                "INSERT INTO mina_user (appid, open_id, session_key, user_info) \
                 VALUES (?, ?, '', '') ON DUPLICATE KEY UPDATE session_key = session_key",
            )
            .bind(appid)
            .bind(open_id)
            .execute(&mut *connection)
            .await?;
            // Made or not, it is locked from here on; if another login made it, it may be filled.
        }
    }
    Ok(None)
}

/// Writes a user whose row is there.
async fn put_user(
    connection: &mut MySqlConnection,
    context: &Context,
    owner: [&str; 2],
    user: &User,
) -> sqlx::Result<()> {
    let (session_key, previous) = sealed(user, &context.keys, owner);
    let [appid, open_id] = owner.map(str::as_bytes);
    sqlx::query(
        "UPDATE mina_user SET union_id = ?, session_key = ?, previous_session_key = ?, \
         user_info = ? WHERE appid = ? AND open_id = ?",
    )
    .bind(user.union_id.as_deref())
    .bind(session_key)
    .bind(previous)
    .bind(&user.profile)
    .bind(appid)
    .bind(open_id)
    .execute(connection)
    .await
    .map(drop)
}

/// The user's sessions, newest login first, locked.
pub async fn sessions(
    connection: &mut MySqlConnection,
    context: &Context,
    appid: &AppId,
    open_id: &str,
) -> sqlx::Result<Vec<Stored>> {
    let sql = rows::select_sessions!(
        context.tables,
        "WHERE s.open_id = ? AND CAST(s.open_id AS BINARY) = ? AND s.appid IN (?, ?) \
         ORDER BY s.create_time DESC, s.id DESC FOR UPDATE"
    );
    let [own, legacy] = rows::appids(appid, context);
    let rows = sqlx::query(sql)
        .bind(context.legacy_text())
        .bind(open_id)
        .bind(open_id.as_bytes())
        .bind(own)
        .bind(legacy)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Stored::read(row, context)).collect()
}

/// Writes the session of a login: the renewed row, or a new one.
async fn write_session(
    connection: &mut MySqlConnection,
    context: &Context,
    login: &Login,
    user: &User,
    renewed: Option<&Stored>,
) -> sqlx::Result<()> {
    let session = Session {
        id: login.new_id.clone(),
        skey: StoredSkey::Plain(login.skey.as_str().into()),
        appid: login.appid.clone(),
        open_id: login.open_id.clone(),
        created: login.now,
        last_visit: login.now,
        row: 0,
        user: user.clone(),
    };
    put_session(connection, context, &session, renewed.map(|renewed| renewed.row)).await
}

/// Writes a session into a row that there is, or into a new one.
pub async fn put_session(
    connection: &mut MySqlConnection,
    context: &Context,
    session: &Session,
    row: Option<i64>,
) -> sqlx::Result<()> {
    let php = PhpColumns::of(&session.user, session.open_id.as_str(), context);
    let created = context.time_zone.local(session.created);
    let last_visit = context.time_zone.local(session.last_visit);
    let skey = &context.skey_text(&session.skey);
    let appid = session.appid.as_str();
    if let Some(row) = row {
        let sql = on_sessions!(
            context.tables,
            "UPDATE ",
            " SET skey = ?, mina_skey = ?, \
             create_time = TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, \
             last_visit_time = TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, \
             appid = ?, session_key = ?, user_info = ? WHERE id = ?"
        );
        let query = sqlx::query(sql).bind(skey).bind(skey).bind(created).bind(last_visit);
        let query = query.bind(appid).bind(php.session_key).bind(php.user_info).bind(row);
        return query.execute(connection).await.map(drop);
    }
    let sql = on_sessions!(
        context.tables,
        "INSERT INTO ",
        " (uuid, skey, mina_skey, create_time, last_visit_time, appid, open_id, session_key, \
         user_info) VALUES (?, ?, ?, TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, \
         TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, ?, ?, ?, ?)"
    );
    let query = sqlx::query(sql).bind(session.id.as_str()).bind(skey).bind(skey);
    let query = query.bind(created).bind(last_visit).bind(appid).bind(session.open_id.as_str());
    query.bind(php.session_key).bind(php.user_info).execute(connection).await.map(drop)
}
