//! Users: find, show, end their sessions, erase.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tracing::info;

use super::Console;
use super::page::{self, Page, Place, failed};
use crate::admin::api::sessions::SHOWN_OF_A_USER;
use crate::admin::api::{self, Named};
use crate::admin::problem::Refused;
use crate::clock;
use crate::net::address::Peer;
use crate::operations::{Operations, to_the_end};
use crate::session::{self, AppId, OpenId, Session, SessionId};
use crate::store::users::{Account, Users};
use crate::store::{Selection, Store as _, Whose};

/// How many users a page has.
const PAGE: u32 = 50;

#[derive(Deserialize)]
pub struct Which {
    find: Option<String>,
    appid: Option<String>,
    openid: Option<String>,
    done: Option<String>,
}

/// A user in a list.
struct Found {
    appid: String,
    openid: String,
    unionid: String,
    nickname: String,
    path: String,
}

impl From<&Account> for Found {
    fn from(account: &Account) -> Self {
        let (appid, openid) = (account.appid.as_str(), account.open_id.as_str());
        let profile = account.profile();
        Self {
            appid: appid.to_owned(),
            openid: openid.to_owned(),
            unionid: account.union_id.clone().unwrap_or_default(),
            nickname: profile["nickName"].as_str().unwrap_or_default().to_owned(),
            path: path(appid, openid),
        }
    }
}

#[derive(Template)]
#[template(path = "users.html")]
struct List {
    page: Page,
    find: String,
    users: Vec<Found>,
    next: Option<String>,
    is_first: bool,
    done: Option<&'static str>,
}

/// A session of a user.
struct Shown {
    id: String,
    created: String,
    last_visit: String,
    state: &'static str,
    is_valid: bool,
}

#[derive(Template)]
#[template(path = "user.html")]
struct OneUser {
    page: Page,
    user: Found,
    profile: Vec<(String, String)>,
    sessions: Vec<Shown>,
    done: Option<&'static str>,
}

/// The page of a user.
fn path(appid: &str, openid: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("/users/{}/{}", encoded(appid), encoded(openid))
}

pub async fn list(
    State(console): State<Arc<Console>>,
    page: Page,
    Query(which): Query<Which>,
) -> Response {
    let find = which.find.as_deref().unwrap_or_default().trim().to_owned();
    let after = which.appid.zip(which.openid);
    let is_first = after.is_none();
    let users = if find.is_empty() {
        after_user(&console.operations, after).await
    } else {
        found(&console.operations, &find).await
    };
    let mut users = match users {
        Ok(users) => users,
        Err(refused) => return failed(page, &refused),
    };
    // One more than a page was asked for: it tells whether there is a next one.
    let has_next = users.len() > PAGE as usize;
    users.truncate(PAGE as usize);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let next = users.last().filter(|_| has_next).map(|last| {
        let (appid, openid) = (encoded(last.appid.as_str()), encoded(last.open_id.as_str()));
        format!("/users?appid={appid}&openid={openid}")
    });
    let done = (which.done.as_deref() == Some("erased")).then_some(page.t.erased);
    let users = users.iter().map(Found::from).collect();
    page::show(&List { page, find, users, next, is_first, done })
}

async fn after_user(
    operations: &Operations,
    after: Option<(String, String)>,
) -> Result<Vec<Account>, Refused> {
    let after = after.map(|(appid, openid)| (appid.into(), openid.into()));
    let which = Users { after, ..Users::default() };
    Ok(operations.store().users(&which, PAGE + 1).await?)
}

/// The users with this openid or unionid, or whose session has this id.
async fn found(operations: &Operations, find: &str) -> Result<Vec<Account>, Refused> {
    let store = operations.store();
    let by_openid = Users { open_id: Some(find.into()), ..Users::default() };
    let by_unionid = Users { union_id: Some(find.to_owned()), ..Users::default() };
    for which in [by_openid, by_unionid] {
        let users = store.users(&which, PAGE).await?;
        if !users.is_empty() {
            return Ok(users);
        }
    }
    // Of a token only what stands before the point is the id.
    let id = find.split('.').next().unwrap_or_default();
    let Some(session) = store.session(&SessionId::from(id)).await? else { return Ok(Vec::new()) };
    Ok(account(operations, &session.appid, &session.open_id).await?.into_iter().collect())
}

async fn account(
    operations: &Operations,
    appid: &AppId,
    open_id: &OpenId,
) -> Result<Option<Account>, Refused> {
    let which =
        Users { appid: Some(appid.clone()), open_id: Some(open_id.clone()), ..Users::default() };
    Ok(operations.store().users(&which, 1).await?.pop())
}

pub async fn show(
    State(console): State<Arc<Console>>,
    page: Page,
    Named((appid, openid)): Named<(String, String)>,
    Query(which): Query<Which>,
) -> Response {
    let done = (which.done.as_deref() == Some("ended")).then_some(page.t.ended);
    match one(&console.operations, &page, (&appid.into(), &openid.into())).await {
        Ok((account, sessions)) => {
            let profile = members(&account.profile());
            let user = Found::from(&account);
            page::show(&OneUser { page, user, profile, sessions, done })
        }
        Err(refused) => failed(page, &refused),
    }
}

async fn one(
    operations: &Operations,
    page: &Page,
    (appid, open_id): (&AppId, &OpenId),
) -> Result<(Account, Vec<Shown>), Refused> {
    let account = account(operations, appid, open_id).await?;
    let account = account.ok_or_else(|| Refused::not_found("there is no such user"))?;
    let store = operations.store();
    let selection = Selection { appid: Some(appid.clone()), whose: Whose::User(open_id.clone()) };
    let sessions = store.sessions(&selection, SHOWN_OF_A_USER).await?;
    let apps = store.apps();
    let shown = |session: &Session| {
        let app = apps.find(Some(session.appid.as_str()));
        let state = session::state(session, app.map(Arc::as_ref), clock::now());
        Shown {
            id: session.id.as_str().to_owned(),
            created: page.time(session.created),
            last_visit: page.time(session.last_visit),
            is_valid: state == "valid",
            state: match state {
                "valid" => page.t.valid,
                "expired" => page.t.expired,
                _ => page.t.app_removed,
            },
        }
    };
    Ok((account, sessions.iter().map(shown).collect()))
}

/// A profile as rows; what is no object is one.
fn members(profile: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match profile {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        }
        other => vec![(String::new(), text(other))],
    }
}

/// Which session is to end; without one, all of the user's.
#[derive(Deserialize)]
pub struct Ended {
    session: Option<String>,
}

pub async fn end(
    State(console): State<Arc<Console>>,
    peer: Extension<Peer>,
    page: Page,
    Named((appid, openid)): Named<(String, String)>,
    Form(Ended { session }): Form<Ended>,
) -> Response {
    let back = format!("{}?done=ended", path(&appid, &openid));
    let operations = Arc::clone(&console.operations);
    let ended = match session {
        Some(id) => api::sessions::end(State(operations), peer, Named(id)).await.map(drop),
        None => end_all(operations, peer.0, appid, openid).await,
    };
    match ended {
        Ok(()) => Redirect::to(&back).into_response(),
        Err(refused) => failed(page, &refused),
    }
}

async fn end_all(
    operations: Arc<Operations>,
    peer: Peer,
    appid: String,
    openid: String,
) -> Result<(), Refused> {
    to_the_end(async move {
        let whose = Whose::User(openid.as_str().into());
        let selection = Selection { appid: Some(appid.as_str().into()), whose };
        let sessions = operations.store().revoke(&selection).await?.len();
        info!(audit = true, address = %peer, app = appid, openid, sessions, "a user's sessions were ended");
        Ok(())
    })
    .await
}

pub async fn erase(
    State(console): State<Arc<Console>>,
    peer: Extension<Peer>,
    page: Page,
    named: Named<(String, String)>,
) -> Response {
    match api::users::erase(State(Arc::clone(&console.operations)), peer, named).await {
        Ok(_) => Redirect::to("/users?done=erased").into_response(),
        Err(refused) => failed(page, &refused),
    }
}
