//! Sessions: list, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::problem::Problem;
use super::{Asked, Page, limit, time};
use crate::clock;
use crate::net::address::Peer;
use crate::operations::Operations;
use crate::session::{AppId, Session, SessionId};
use crate::store::cached::Apps;
use crate::store::{Selection, Store as _, Whose};

/// How many sessions of one user are shown.
pub const SHOWN_OF_A_USER: u32 = 1000;

/// What sessions are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    appid: Option<String>,
    openid: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A session as it is shown: no key is.
#[derive(Debug, Serialize)]
pub struct Shown {
    id: String,
    appid: String,
    openid: String,
    created_at: String,
    last_visit_at: String,
    /// `valid`, `expired`, or `app removed`.
    state: &'static str,
}

impl Shown {
    pub fn of(session: &Session, apps: &Apps) -> Self {
        let app = apps.find(Some(session.appid.as_str()));
        let over = app.map(|app| {
            app.lifetime.expired(session.created, session.last_visit, clock::now()).is_some()
        });
        Self {
            id: session.id.as_str().to_owned(),
            appid: session.appid.as_str().to_owned(),
            openid: session.open_id.as_str().to_owned(),
            created_at: time(session.created),
            last_visit_at: time(session.last_visit),
            state: match over {
                None => "app removed",
                Some(true) => "expired",
                Some(false) => "valid",
            },
        }
    }
}

/// Those of a user, newest login first, or all of them in the order of their ids.
pub async fn list(
    State(operations): State<Arc<Operations>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Page<Shown>>, Problem> {
    let limit = limit(which.limit)?;
    let store = operations.store();
    let appid = which.appid.as_deref().map(AppId::from);
    let sessions = if let Some(openid) = &which.openid {
        let selection = Selection { appid, whose: Whose::User(openid.as_str().into()) };
        let mut sessions = store.sessions(&selection, SHOWN_OF_A_USER).await?;
        if let Some(after) = &which.after {
            let at = sessions.iter().position(|session| session.id.as_str() == after);
            sessions.drain(..at.map_or(0, |at| at + 1));
        }
        sessions
    } else {
        let after = SessionId::from(which.after.as_deref().unwrap_or_default());
        store.sessions_after(appid.as_ref(), &after, limit + 1).await?
    };
    let apps = store.apps();
    let shown = sessions.iter().map(|session| Shown::of(session, &apps)).collect();
    Ok(Json(Page::new(shown, limit, |session| session.id.clone())))
}

pub async fn end(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let selection = Selection { appid: None, whose: Whose::Session(id.as_str().into()) };
    if operations.store().revoke(&selection).await?.is_empty() {
        return Err(Problem::not_found("there is no such session"));
    }
    info!(audit = true, address = %peer, session = id, "a session was ended");
    Ok(StatusCode::NO_CONTENT)
}
