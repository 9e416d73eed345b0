//! Apps: list, show, set, remove, ask WeChat.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::{Named, Page};
use crate::admin::problem::Refused;
use crate::net::address::Peer;
use crate::operations::{Operations, to_the_end};
use crate::session::{App, AppId, Lifetime};
use crate::store::Store;

/// An app as it is shown: its secret never is.
#[derive(Debug, Serialize)]
pub struct Shown {
    appid: String,
    /// Days.
    login_duration: u32,
    /// Seconds.
    session_duration: u32,
    default: bool,
}

impl From<&App> for Shown {
    fn from(app: &App) -> Self {
        Self {
            appid: app.appid.as_str().to_owned(),
            login_duration: app.lifetime.login_days,
            session_duration: app.lifetime.idle_seconds,
            default: app.is_default,
        }
    }
}

/// What an app is set to; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    secret: Option<String>,
    login_duration: Option<u32>,
    session_duration: Option<u32>,
    default: Option<bool>,
    /// Whether WeChat is asked about the secret before it is kept.
    #[serde(default)]
    check: bool,
}

/// The columns of the Wafer server's table hold no more.
pub const LONGEST: u32 = i32::MAX.unsigned_abs();

const WANTED: &str = "the body is to be a JSON object of `secret` (text), `login_duration` (days), \
                      `session_duration` (seconds), `default` and `check` (true or false)";

async fn find(operations: &Operations, appid: &str) -> Result<Option<App>, Refused> {
    let apps = Store::apps(operations.store()).await?;
    Ok(apps.into_iter().find(|app| app.appid.as_str() == appid))
}

async fn known(operations: &Operations, appid: &str) -> Result<App, Refused> {
    find(operations, appid).await?.ok_or_else(|| Refused::not_found("there is no such app"))
}

pub async fn list(State(operations): State<Arc<Operations>>) -> Result<Json<Page<Shown>>, Refused> {
    let apps = Store::apps(operations.store()).await?;
    Ok(Json(Page { items: apps.iter().map(Shown::from).collect(), next: None }))
}

pub async fn show(
    State(operations): State<Arc<Operations>>,
    Named(appid): Named<String>,
) -> Result<Json<Shown>, Refused> {
    Ok(Json(Shown::from(&known(&operations, &appid).await?)))
}

pub async fn put(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Named(appid): Named<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Shown>), Refused> {
    // serde reads an array as well. What it says of an error may repeat the secret.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let wanted: Option<Wanted> = serde_json::from_slice(&body).ok().filter(|_| is_object);
    let wanted = wanted.ok_or_else(|| Refused::bad_request(WANTED))?;
    if !AppId::is_like(&appid) {
        return Err(Refused::bad_request("an appid is `wx` and 16 hex digits"));
    }
    if [wanted.login_duration, wanted.session_duration].iter().flatten().any(|&n| n > LONGEST) {
        return Err(Refused::bad_request("a duration is 2147483647 at the most"));
    }
    if wanted.check {
        let (app, _) = wanted.applied_to(&appid, find(&operations, &appid).await?)?;
        let checked = operations.wechat().check_secret(&app).await;
        checked.map_err(|problem| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, problem))?;
    }
    to_the_end(async move {
        // Read now: WeChat takes its time, and somebody else may have changed the app meanwhile.
        let (app, is_new) = wanted.applied_to(&appid, find(&operations, &appid).await?)?;
        operations.store().put_app(&app).await?;
        let new_secret = wanted.secret().is_some();
        info!(audit = true, address = %peer, app = %app.appid, new_secret, "an app was set");
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Json(Shown::from(&app))))
    })
    .await
}

impl Wanted {
    fn secret(&self) -> Option<&str> {
        self.secret.as_deref().map(str::trim).filter(|secret| !secret.is_empty())
    }

    /// The app as it is wanted, and whether it is a new one.
    fn applied_to(&self, appid: &str, stored: Option<App>) -> Result<(App, bool), Refused> {
        let lifetime = stored.as_ref().map_or(Lifetime::default(), |app| app.lifetime);
        let is_default = stored.as_ref().is_some_and(|app| app.is_default);
        let is_new = stored.is_none();
        let secret = match (self.secret(), stored) {
            (Some(secret), _) => secret.into(),
            (None, Some(app)) => app.secret,
            (None, None) => return Err(Refused::bad_request("a new app wants its `secret`")),
        };
        let lifetime = Lifetime {
            login_days: self.login_duration.unwrap_or(lifetime.login_days),
            idle_seconds: self.session_duration.unwrap_or(lifetime.idle_seconds),
        };
        let is_default = self.default.unwrap_or(is_default);
        Ok((App { appid: appid.into(), secret, lifetime, is_default }, is_new))
    }
}

pub async fn remove(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Named(appid): Named<String>,
) -> Result<StatusCode, Refused> {
    to_the_end(async move {
        if !operations.store().remove_app(&appid.as_str().into()).await? {
            return Err(Refused::not_found("there is no such app"));
        }
        info!(audit = true, address = %peer, app = appid, "an app was removed, with its users and sessions");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Asks WeChat whether it takes the appid and the secret.
pub async fn check(
    State(operations): State<Arc<Operations>>,
    Named(appid): Named<String>,
) -> Result<Json<Value>, Refused> {
    let app = known(&operations, &appid).await?;
    Ok(Json(match operations.wechat().check_secret(&app).await {
        Ok(()) => json!({ "accepted": true }),
        Err(problem) => json!({ "accepted": false, "problem": problem }),
    }))
}
