//! Sessions: list, end.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Asked, Named, Page, limit};
use crate::admin::problem::Refused;
use crate::clock;
use crate::net::address::Peer;
use crate::operations::{Operations, to_the_end};
use crate::session::{self, Session, SessionId};
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
        Self {
            id: session.id.as_str().to_owned(),
            appid: session.appid.as_str().to_owned(),
            openid: session.open_id.as_str().to_owned(),
            created_at: clock::rfc3339(session.created),
            last_visit_at: clock::rfc3339(session.last_visit),
            state: session::state(session, app.map(Arc::as_ref), clock::now()),
        }
    }
}

/// In the order of their ids.
pub async fn list(
    State(operations): State<Arc<Operations>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Page<Shown>>, Refused> {
    let limit = limit(which.limit)?;
    let store = operations.store();
    let whose = match &which.openid {
        Some(openid) => Whose::User(openid.as_str().into()),
        None => Whose::Everyone,
    };
    let selection = Selection { appid: which.appid.as_deref().map(Into::into), whose };
    let after = SessionId::from(which.after.as_deref().unwrap_or_default());
    let sessions = store.sessions_after(&selection, &after, limit + 1).await?;
    let apps = store.apps();
    let shown = sessions.iter().map(|session| Shown::of(session, &apps)).collect();
    Ok(Json(Page::new(shown, limit, |session| session.id.clone())))
}

pub async fn end(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Result<StatusCode, Refused> {
    to_the_end(async move {
        let selection = Selection { appid: None, whose: Whose::Session(id.as_str().into()) };
        if operations.store().revoke(&selection).await?.is_empty() {
            return Err(Refused::not_found("there is no such session"));
        }
        info!(audit = true, address = %peer, session = id, "a session was ended");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
