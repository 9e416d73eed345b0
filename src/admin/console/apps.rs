//! Apps: list, add, change, ask WeChat, remove.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::body::Bytes;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::Console;
use super::history::day_starts;
use super::page::{self, Page, Place, failed, grouped};
use crate::admin::api::apps::LONGEST;
use crate::admin::api::{self, Named};
use crate::admin::problem::Refused;
use crate::clock;
use crate::net::address::Peer;
use crate::operations::Operations;
use crate::session::{App, AppId, Lifetime};
use crate::store::Store;
use crate::store::stats::Census;

/// An app, and who is there.
struct Shown {
    app: App,
    users: String,
    active: String,
}

/// What stands in the form of an app.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Wanted {
    appid: String,
    #[serde(deserialize_with = "secret")]
    secret: SecretString,
    login_duration: String,
    session_duration: String,
    default: Option<String>,
    check: Option<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(Into::into)
}

impl From<&App> for Wanted {
    fn from(app: &App) -> Self {
        Self {
            appid: app.appid.as_str().to_owned(),
            secret: SecretString::default(),
            login_duration: app.lifetime.login_days.to_string(),
            session_duration: app.lifetime.idle_seconds.to_string(),
            default: app.is_default.then(String::new),
            check: Some(String::new()),
        }
    }
}

impl Wanted {
    /// A new app before anything is said of it.
    fn new() -> Self {
        let lifetime = Lifetime::default();
        Self {
            login_duration: lifetime.login_days.to_string(),
            session_duration: lifetime.idle_seconds.to_string(),
            check: Some(String::new()),
            ..Self::default()
        }
    }

    /// The body of the API's PUT.
    fn body(&self, page: &Page, is_new: bool) -> Result<Bytes, String> {
        if !AppId::is_like(self.appid.trim()) {
            return Err(page.t.bad_appid.to_owned());
        }
        let secret = self.secret.expose_secret().trim();
        if is_new && secret.is_empty() {
            return Err(page.t.no_secret.to_owned());
        }
        let duration = |text: &str| match text.trim().parse() {
            Ok(duration @ 0..=LONGEST) => Ok(duration),
            _ => Err(page.t.bad_duration.to_owned()),
        };
        let body = json!({
            "secret": secret,
            "login_duration": duration(&self.login_duration)?,
            "session_duration": duration(&self.session_duration)?,
            "default": self.default.is_some(),
            // A secret that stays is not asked about.
            "check": self.check.is_some() && !secret.is_empty(),
        });
        Ok(body.to_string().into())
    }
}

#[derive(Deserialize)]
pub struct Said {
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "apps.html")]
struct Apps {
    page: Page,
    list: Vec<Shown>,
    wanted: Wanted,
    done: Option<&'static str>,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "app.html")]
struct OneApp {
    page: Page,
    app: Shown,
    wanted: Wanted,
    done: Option<&'static str>,
    problem: Option<String>,
}

async fn all(console: &Console, page: &Page) -> Result<Vec<Shown>, Refused> {
    let apps = Store::apps(console.operations.store()).await?;
    let now = clock::now();
    let census = console.history.census(now, day_starts(&page.zone, now, 1)[0]).await;
    let of = |app: App| {
        let find = |census: &Vec<Census>| {
            let found = census.iter().find(|census| census.appid == app.appid);
            found.map_or((0, 0), |census| (census.users, census.active))
        };
        let counted = census.as_ref().map(find);
        let shown = |count: fn((u64, u64)) -> u64| {
            counted.map_or_else(|| "–".to_owned(), |counted| grouped(count(counted)))
        };
        Shown { users: shown(|(users, _)| users), active: shown(|(_, active)| active), app }
    };
    Ok(apps.into_iter().map(of).collect())
}

async fn known(console: &Console, page: &Page, appid: &str) -> Result<Shown, Refused> {
    let mut apps = all(console, page).await?.into_iter();
    let found = apps.find(|shown| shown.app.appid.as_str() == appid);
    found.ok_or_else(|| Refused::not_found("there is no such app"))
}

pub async fn list(
    State(console): State<Arc<Console>>,
    page: Page,
    Query(said): Query<Said>,
) -> Response {
    let done = (said.done.as_deref() == Some("removed")).then_some(page.t.app_removed);
    show_list(&console, page, Wanted::new(), done, None).await
}

async fn show_list(
    console: &Console,
    page: Page,
    wanted: Wanted,
    done: Option<&'static str>,
    problem: Option<String>,
) -> Response {
    match all(console, &page).await {
        Ok(list) => page::show(&Apps { page, list, wanted, done, problem }),
        Err(refused) => failed(page, &refused),
    }
}

/// Sets an app by the API's own call; an error is a sentence for the form.
async fn set(
    operations: &Arc<Operations>,
    peer: Peer,
    wanted: &Wanted,
    body: Result<Bytes, String>,
) -> Result<(), String> {
    let body = body?;
    let appid = Named(wanted.appid.trim().to_owned());
    let put = api::apps::put(State(Arc::clone(operations)), Extension(peer), appid, body).await;
    put.map(drop).map_err(|refused| refused.detail().to_owned())
}

pub async fn add(
    State(console): State<Arc<Console>>,
    Extension(peer): Extension<Peer>,
    page: Page,
    Form(wanted): Form<Wanted>,
) -> Response {
    let body = wanted.body(&page, true);
    match set(&console.operations, peer, &wanted, body).await {
        Ok(()) => {
            Redirect::to(&format!("{}?done=added", path(wanted.appid.trim()))).into_response()
        }
        Err(problem) => show_list(&console, page, wanted, None, Some(problem)).await,
    }
}

pub async fn show(
    State(console): State<Arc<Console>>,
    page: Page,
    Named(appid): Named<String>,
    Query(said): Query<Said>,
) -> Response {
    let done = match said.done.as_deref() {
        Some("added") => Some(page.t.added),
        Some("changed") => Some(page.t.changed),
        Some("accepted") => Some(page.t.accepted),
        _ => None,
    };
    show_one(&console, page, &appid, None, done, None).await
}

async fn show_one(
    console: &Console,
    page: Page,
    appid: &str,
    wanted: Option<Wanted>,
    done: Option<&'static str>,
    problem: Option<String>,
) -> Response {
    match known(console, &page, appid).await {
        Ok(app) => {
            let wanted = wanted.unwrap_or_else(|| Wanted::from(&app.app));
            page::show(&OneApp { page, app, wanted, done, problem })
        }
        Err(refused) => failed(page, &refused),
    }
}

pub async fn change(
    State(console): State<Arc<Console>>,
    Extension(peer): Extension<Peer>,
    page: Page,
    Named(appid): Named<String>,
    Form(wanted): Form<Wanted>,
) -> Response {
    let wanted = Wanted { appid: appid.clone(), ..wanted };
    if let Err(refused) = known(&console, &page, &appid).await {
        return failed(page, &refused);
    }
    let body = wanted.body(&page, false);
    match set(&console.operations, peer, &wanted, body).await {
        Ok(()) => Redirect::to(&format!("{}?done=changed", path(&appid))).into_response(),
        Err(problem) => {
            let problem = format!("{} {problem}", page.t.not_saved);
            show_one(&console, page, &appid, Some(wanted), None, Some(problem)).await
        }
    }
}

pub async fn check(
    State(console): State<Arc<Console>>,
    page: Page,
    Named(appid): Named<String>,
) -> Response {
    let app = match known(&console, &page, &appid).await {
        Ok(shown) => shown.app,
        Err(refused) => return failed(page, &refused),
    };
    match console.operations.wechat().check_secret(&app).await {
        Ok(()) => Redirect::to(&format!("{}?done=accepted", path(&appid))).into_response(),
        Err(problem) => {
            let problem = format!("{} {problem}", page.t.not_accepted);
            show_one(&console, page, &appid, None, None, Some(problem)).await
        }
    }
}

pub async fn remove(
    State(console): State<Arc<Console>>,
    peer: Extension<Peer>,
    page: Page,
    appid: Named<String>,
) -> Response {
    match api::apps::remove(State(Arc::clone(&console.operations)), peer, appid).await {
        Ok(_) => Redirect::to("/apps?done=removed").into_response(),
        Err(refused) => failed(page, &refused),
    }
}

/// The page of an app.
fn path(appid: &str) -> String {
    format!("/apps/{}", utf8_percent_encode(appid, NON_ALPHANUMERIC))
}
