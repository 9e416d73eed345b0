//! Sessions of another database, into this one: a few statements for many sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::Row as _;
use sqlx::mysql::MySqlConnection;

use super::rows::{self, PhpColumns, Stored, read_user, sealed, select_sessions};
use super::schema::on_sessions;
use super::sign_in::put_session;
use super::statement::{CHUNK, repeated};
use super::{Context, events};
use crate::session::{AppId, OpenId, Session, SessionId, User};
use crate::store::import::{self, Imported};

/// How many sessions one transaction writes. It holds their users' locks.
pub const TRANSACTION: usize = 1_000;

/// A user: appid and openid.
type Owner = (AppId, OpenId);

pub fn import<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    incoming: &'a Arc<[Session]>,
) -> BoxFuture<'a, sqlx::Result<Vec<Imported>>> {
    Box::pin(async move {
        let mut order: Vec<usize> = (0..incoming.len()).collect();
        // Every node takes the users' locks in the same order; a user's sessions keep theirs.
        order.sort_by_cached_key(|at| (owner(&incoming[*at]), *at));
        let mut imported = vec![Imported::Known; incoming.len()];
        for chunk in order.chunks(CHUNK) {
            let sessions: Vec<&Session> = chunk.iter().map(|at| &incoming[*at]).collect();
            let mut there = There::read(connection, context, &sessions).await?;
            for at in chunk {
                imported[*at] = there.add(&incoming[*at]);
            }
            there.write(connection, context).await?;
        }
        Ok(imported)
    })
}

fn owner(session: &Session) -> Owner {
    (session.appid.clone(), session.open_id.clone())
}

/// What is here of the users of some sessions, and what is to become of it.
#[derive(Default)]
struct There<'a> {
    users: BTreeMap<Owner, Known<'a>>,
    /// The ids that are taken, by whomever.
    taken: BTreeSet<SessionId>,
}

/// A user, locked.
#[derive(Default)]
struct Known<'a> {
    user: Option<User>,
    /// Whether the user is to be written.
    changed: bool,
    sessions: Vec<Here<'a>>,
}

/// A session of a user.
struct Here<'a> {
    id: SessionId,
    created: i64,
    /// `None`: it has no row yet.
    row: Option<i64>,
    /// What is to be written over it.
    new: Option<&'a Session>,
}

impl<'a> There<'a> {
    /// Locks the users of the sessions and reads what is known of them.
    async fn read(
        connection: &mut MySqlConnection,
        context: &Context,
        incoming: &[&'a Session],
    ) -> sqlx::Result<Self> {
        let mut this = Self::default();
        for session in incoming {
            this.users.entry(owner(session)).or_default();
        }
        this.read_users(connection, context).await?;
        this.read_sessions(connection, context).await?;
        this.taken = taken(connection, context, incoming).await?;
        Ok(this)
    }

    async fn read_users(
        &mut self,
        connection: &mut MySqlConnection,
        context: &Context,
    ) -> sqlx::Result<()> {
        // Made or not, each row is locked from here on.
        let mut query = repeated(
            "INSERT INTO mina_user (appid, open_id, session_key, user_info) VALUES ",
            "(?, ?, '', '')",
            ", ",
            self.users.len(),
            " ON DUPLICATE KEY UPDATE session_key = mina_user.session_key",
        );
        for (appid, open_id) in self.users.keys() {
            query = query.bind(appid.as_str().as_bytes()).bind(open_id.as_str().as_bytes());
        }
        query.execute(&mut *connection).await?;
        let mut query = repeated(
            "SELECT union_id, session_key, previous_session_key, user_info, appid, open_id \
             FROM mina_user WHERE ",
            "(appid = ? AND open_id = ?)",
            " OR ",
            self.users.len(),
            " FOR UPDATE",
        );
        for (appid, open_id) in self.users.keys() {
            query = query.bind(appid.as_str().as_bytes()).bind(open_id.as_str().as_bytes());
        }
        for row in query.fetch_all(connection).await? {
            let text = |at| Ok::<_, sqlx::Error>(String::from_utf8(row.try_get(at)?));
            let (Ok(appid), Ok(open_id)) = (text(4)?, text(5)?) else { continue };
            let user = read_user(&row, 0, &context.keys, [&appid, &open_id])?;
            if let Some(known) = self.users.get_mut(&(appid.into(), open_id.into())) {
                known.user = user;
            }
        }
        Ok(())
    }

    async fn read_sessions(
        &mut self,
        connection: &mut MySqlConnection,
        context: &Context,
    ) -> sqlx::Result<()> {
        let before = select_sessions!(context.tables, "WHERE ");
        let one = "(s.open_id = ? AND CAST(s.open_id AS BINARY) = ? AND s.appid IN (?, ?))";
        let mut query = repeated(before, one, " OR ", self.users.len(), " FOR UPDATE");
        query = query.bind(context.legacy_text());
        for (appid, open_id) in self.users.keys() {
            let [own, legacy] = rows::appids(appid, context);
            let open_id = open_id.as_str();
            query = query.bind(open_id).bind(open_id.as_bytes()).bind(own).bind(legacy);
        }
        for row in query.fetch_all(connection).await? {
            let Stored { row, session, .. } = Stored::read(&row, context)?;
            if let Some(known) = self.users.get_mut(&owner(&session)) {
                let created = session.created;
                known.sessions.push(Here { id: session.id, created, row: Some(row), new: None });
            }
        }
        Ok(())
    }

    /// Decides about a session, and notes what is to be written.
    fn add(&mut self, session: &'a Session) -> Imported {
        let known = self.users.entry(owner(session)).or_default();
        let logins: Vec<i64> = known.sessions.iter().map(|here| here.created).collect();
        let here = known.sessions.iter_mut().find(|here| here.id == session.id);
        let created = match &here {
            Some(here) => Some(here.created),
            // An id of another user's: it stays with that one.
            None => self.taken.contains(&session.id).then_some(i64::MAX),
        };
        let is_known = known.user.is_some() || !logins.is_empty();
        let imported = Imported::decide(session, created, is_known, &logins);
        if imported.brings_user(session, &logins) {
            known.user = Some(import::user(session, known.user.take()));
            known.changed = true;
        }
        match (imported, here) {
            (Imported::Renewed, Some(here)) => {
                (here.created, here.new) = (session.created, Some(session));
            }
            (Imported::Added, _) => {
                let (id, created) = (session.id.clone(), session.created);
                self.taken.insert(id.clone());
                known.sessions.push(Here { id, created, row: None, new: Some(session) });
            }
            _ => {}
        }
        imported
    }

    async fn write(self, connection: &mut MySqlConnection, context: &Context) -> sqlx::Result<()> {
        let changed = self.users.iter().filter(|(_, known)| known.changed);
        let users: Vec<(&Owner, &User)> =
            changed.filter_map(|(owner, known)| Some((owner, known.user.as_ref()?))).collect();
        put_users(connection, context, &users).await?;
        let sessions = self.users.values().flat_map(|known| &known.sessions);
        let (mut added, mut renewed) = (Vec::new(), Vec::new());
        for here in sessions {
            match (here.new, here.row) {
                (Some(session), Some(row)) => {
                    put_session(connection, context, session, Some(row)).await?;
                    renewed.push(&here.id);
                }
                (Some(session), None) => added.push(session),
                (None, _) => {}
            }
        }
        insert_sessions(connection, context, &added).await?;
        events::announce(connection, renewed.into_iter()).await
    }
}

/// The ids of the sessions that there are here, byte for byte.
async fn taken(
    connection: &mut MySqlConnection,
    context: &Context,
    incoming: &[&Session],
) -> sqlx::Result<BTreeSet<SessionId>> {
    let before = on_sessions!(context.tables, "SELECT uuid FROM ", " WHERE uuid IN (");
    let mut query = repeated(before, "?", ", ", incoming.len(), ")");
    for session in incoming {
        query = query.bind(session.id.as_str());
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get::<String, _>(0)?.into())).collect()
}

/// Writes users whose rows are there.
async fn put_users(
    connection: &mut MySqlConnection,
    context: &Context,
    users: &[(&Owner, &User)],
) -> sqlx::Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let mut query = repeated(
        "INSERT INTO mina_user \
         (appid, open_id, union_id, session_key, previous_session_key, user_info) VALUES ",
        "(?, ?, ?, ?, ?, ?)",
        ", ",
        users.len(),
        " ON DUPLICATE KEY UPDATE union_id = VALUES(union_id), \
         session_key = VALUES(session_key), \
         previous_session_key = VALUES(previous_session_key), user_info = VALUES(user_info)",
    );
    for ((appid, open_id), user) in users {
        let owner = [appid.as_str(), open_id.as_str()];
        let (session_key, previous) = sealed(user, &context.keys, owner);
        query = query.bind(owner[0].as_bytes()).bind(owner[1].as_bytes());
        query = query.bind(user.union_id.as_deref()).bind(session_key).bind(previous);
        query = query.bind(&*user.profile);
    }
    query.execute(connection).await.map(drop)
}

async fn insert_sessions(
    connection: &mut MySqlConnection,
    context: &Context,
    sessions: &[&Session],
) -> sqlx::Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let before = on_sessions!(
        context.tables,
        "INSERT INTO ",
        " (uuid, skey, mina_skey, create_time, last_visit_time, appid, open_id, session_key, \
         user_info) VALUES "
    );
    let one = "(?, ?, ?, TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, \
               TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND, ?, ?, ?, ?)";
    let mut query = repeated(before, one, ", ", sessions.len(), "");
    for session in sessions {
        let php = PhpColumns::of(&session.user, session.open_id.as_str(), context);
        let (skey, open_id) = (context.skey_text(&session.skey), session.open_id.as_str());
        query = query.bind(session.id.as_str()).bind(skey.clone()).bind(skey);
        query = query.bind(context.time_zone.local(session.created));
        query = query.bind(context.time_zone.local(session.last_visit));
        query = query.bind(session.appid.as_str()).bind(open_id);
        query = query.bind(php.session_key).bind(php.user_info);
    }
    query.execute(connection).await.map(drop)
}
