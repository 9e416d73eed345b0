//! Users: find, show, erase.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;

use super::sessions::{self, SHOWN_OF_A_USER};
use super::{Asked, Named, Page, limit};
use crate::admin::problem::Refused;
use crate::net::address::Peer;
use crate::operations::{Operations, to_the_end};
use crate::session::OpenId;
use crate::store::users::{Account, Users};
use crate::store::{Selection, Store as _, Whose};

/// What users are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    appid: Option<String>,
    openid: Option<String>,
    unionid: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct Shown {
    appid: String,
    openid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unionid: Option<String>,
    profile: Value,
}

impl From<Account> for Shown {
    fn from(account: Account) -> Self {
        Self {
            appid: account.appid.as_str().to_owned(),
            openid: account.open_id.as_str().to_owned(),
            profile: account.profile(),
            unionid: account.union_id,
        }
    }
}

/// A user with the sessions.
#[derive(Debug, Serialize)]
pub struct Whole {
    #[serde(flatten)]
    user: Shown,
    sessions: Vec<sessions::Shown>,
}

pub async fn list(
    State(operations): State<Arc<Operations>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Page<Shown>>, Refused> {
    let limit = limit(which.limit)?;
    let after = which.after.as_deref().filter(|after| !after.is_empty());
    let after = match after.map(|after| after.split_once('.')) {
        None => None,
        Some(Some((appid, openid))) => Some((appid.into(), openid.into())),
        Some(None) => return Err(Refused::bad_request("`after` is the `next` of a page")),
    };
    let users = Users {
        appid: which.appid.as_deref().map(Into::into),
        open_id: which.openid.as_deref().map(OpenId::from),
        union_id: which.unionid,
        after,
    };
    let users = operations.store().users(&users, limit + 1).await?;
    let users = users.into_iter().map(Shown::from).collect();
    Ok(Json(Page::new(users, limit, |user| format!("{}.{}", user.appid, user.openid))))
}

pub async fn show(
    State(operations): State<Arc<Operations>>,
    Named((appid, openid)): Named<(String, String)>,
) -> Result<Json<Whole>, Refused> {
    let store = operations.store();
    let which = Users {
        appid: Some(appid.as_str().into()),
        open_id: Some(openid.as_str().into()),
        ..Users::default()
    };
    let user = store.users(&which, 1).await?.pop();
    let user = user.ok_or_else(|| Refused::not_found("there is no such user"))?;
    let whose = Whose::User(openid.as_str().into());
    let selection = Selection { appid: Some(appid.as_str().into()), whose };
    let sessions = store.sessions(&selection, SHOWN_OF_A_USER).await?;
    let apps = store.apps();
    let sessions = sessions.iter().map(|session| sessions::Shown::of(session, &apps)).collect();
    Ok(Json(Whole { user: user.into(), sessions }))
}

/// Erases the profile, the keys and the sessions.
pub async fn erase(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Named((appid, openid)): Named<(String, String)>,
) -> Result<StatusCode, Refused> {
    to_the_end(async move {
        let (app, user) = (appid.as_str().into(), openid.as_str().into());
        let erased = operations.store().erase(&app, &user).await?;
        if !erased.was_known {
            return Err(Refused::not_found("there is no such user"));
        }
        // Not who: the log is kept, and the user is to be forgotten.
        let sessions = erased.sessions.len();
        info!(audit = true, address = %peer, app = appid, sessions, "a user was erased");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
