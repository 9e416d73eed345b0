//! The admin API, `/api/v1`: apps, users, sessions, numbers. JSON, and problems as errors.

pub(super) mod apps;
pub(super) mod sessions;
mod stats;
mod status;
pub(super) mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::access::Access;
use super::problem::Refused;
use crate::operations::Operations;

/// How many rows a page has unless the caller says so, and at the most.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1000;

/// The routes below `/api`.
pub fn router(operations: Arc<Operations>, access: Arc<Access>) -> Router {
    let v1 = Router::new()
        .route("/apps", get(apps::list))
        .route("/apps/{appid}", get(apps::show).put(apps::put).delete(apps::remove))
        .route("/apps/{appid}/check", post(apps::check))
        .route("/users", get(users::list))
        .route("/users/{appid}/{openid}", get(users::show).delete(users::erase))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/stats", get(stats::list))
        .route("/status", get(status::show))
        .fallback(async || Refused::new(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .with_state(operations);
    Router::new().nest("/api/v1", v1.layer(from_fn_with_state(access, guard)))
}

/// Keeps out whoever is not meant, though they may have the token.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !access.is_on() {
        let detail = "the admin API is off; set `admin.token`";
        return Refused::new(StatusCode::NOT_FOUND, detail).into_response();
    }
    if let Err(problem) = access.admits(request.method(), request.headers()) {
        return problem.into_response();
    }
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// What stands in the path of a URL.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named
            .map(|Path(named)| Self(named))
            .map_err(|error| Refused::bad_request(error.body_text()))
    }
}

/// What stands in the query of a URL. What is not known there is refused: it would be ignored.
pub(super) struct Asked<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Refused::bad_request(error.body_text())),
        }
    }
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// What `after` is to be for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of rows of which one more than `limit` was asked for.
    fn new(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let is_last = rows.len() <= limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().map(cursor).filter(|_| !is_last);
        Self { items: rows, next }
    }
}

/// How long a page is to be.
fn limit(asked: Option<u32>) -> Result<u32, Refused> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=LONGEST_PAGE => Ok(limit),
        _ => Err(Refused::bad_request("`limit` is a number from 1 to 1000")),
    }
}
