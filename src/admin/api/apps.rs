//! Apps: list, show, set, remove, ask WeChat.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::info;

use super::Page;
use super::problem::Problem;
use crate::net::address::Peer;
use crate::operations::Operations;
use crate::session::{App, AppId, Lifetime};
use crate::store::Store;
use crate::wechat::secret_check;

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

const WANTED: &str = "the body is to be a JSON object of `secret` (text), `login_duration` (days), \
                      `session_duration` (seconds), `default` and `check` (true or false)";

async fn find(operations: &Operations, appid: &str) -> Result<Option<App>, Problem> {
    let apps = Store::apps(operations.store()).await?;
    Ok(apps.into_iter().find(|app| app.appid.as_str() == appid))
}

async fn known(operations: &Operations, appid: &str) -> Result<App, Problem> {
    find(operations, appid).await?.ok_or_else(|| Problem::not_found("there is no such app"))
}

pub async fn list(State(operations): State<Arc<Operations>>) -> Result<Json<Page<Shown>>, Problem> {
    let apps = Store::apps(operations.store()).await?;
    Ok(Json(Page { items: apps.iter().map(Shown::from).collect(), next: None }))
}

pub async fn show(
    State(operations): State<Arc<Operations>>,
    Path(appid): Path<String>,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(Shown::from(&known(&operations, &appid).await?)))
}

pub async fn put(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Path(appid): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    // What serde says may repeat the secret.
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|_| Problem::bad_request(WANTED))?;
    if !AppId::is_like(&appid) {
        return Err(Problem::bad_request("an appid is `wx` and 16 hex digits"));
    }
    let stored = find(&operations, &appid).await?;
    let secret = wanted.secret.as_deref().map(str::trim).filter(|secret| !secret.is_empty());
    let lifetime = stored.as_ref().map_or(Lifetime::default(), |app| app.lifetime);
    let app = App {
        appid: appid.as_str().into(),
        secret: match (secret, &stored) {
            (Some(secret), _) => secret.into(),
            (None, Some(app)) => app.secret.clone(),
            (None, None) => return Err(Problem::bad_request("a new app wants its `secret`")),
        },
        lifetime: Lifetime {
            login_days: wanted.login_duration.unwrap_or(lifetime.login_days),
            idle_seconds: wanted.session_duration.unwrap_or(lifetime.idle_seconds),
        },
        is_default: wanted.default.unwrap_or(stored.as_ref().is_some_and(|app| app.is_default)),
    };
    if wanted.check
        && let Err(problem) = secret_check::ask(operations.wechat(), &app).await
    {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, problem));
    }
    operations.store().put_app(&app).await?;
    info!(audit = true, address = %peer, app = %app.appid, new_secret = secret.is_some(), "an app was set");
    let status = if stored.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Shown::from(&app))))
}

pub async fn remove(
    State(operations): State<Arc<Operations>>,
    Extension(peer): Extension<Peer>,
    Path(appid): Path<String>,
) -> Result<StatusCode, Problem> {
    if !operations.store().remove_app(&appid.as_str().into()).await? {
        return Err(Problem::not_found("there is no such app"));
    }
    info!(audit = true, address = %peer, app = appid, "an app was removed, with its users and sessions");
    Ok(StatusCode::NO_CONTENT)
}

/// Asks WeChat whether it takes the appid and the secret.
pub async fn check(
    State(operations): State<Arc<Operations>>,
    Path(appid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let app = known(&operations, &appid).await?;
    Ok(Json(match secret_check::ask(operations.wechat(), &app).await {
        Ok(()) => json!({ "accepted": true }),
        Err(problem) => json!({ "accepted": false, "problem": problem }),
    }))
}
