//! The admin API, `/api/v1`: apps, users, sessions, numbers. JSON, and problems as errors.

mod apps;
mod sessions;
mod stats;
mod status;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Refused;
use crate::operations::Operations;

/// How many rows a page has unless the caller says so, and at the most.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1000;

/// Who may use the API, and from where.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether there is an `admin.token`: without one the API is off.
    pub has_token: bool,
    /// `admin.hosts`: the names that the listener goes by.
    pub hosts: Vec<String>,
}

/// The routes below `/api`.
pub fn router(operations: Arc<Operations>, access: Access) -> Router {
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
    Router::new().nest("/api/v1", v1.layer(from_fn_with_state(Arc::new(access), guard)))
}

/// Keeps out whoever is not meant, though they have the token: pages of another origin, whose
/// requests a browser sends.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if let Err(problem) = access.admits(request.method(), request.headers()) {
        return problem.into_response();
    }
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

impl Access {
    fn admits(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        // What is no text names nobody whom we know.
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !self.has_token {
            let detail = "the admin API is off; set `admin.token`";
            return Err(Refused::new(StatusCode::NOT_FOUND, detail));
        }
        // A name that somebody else makes point here is how a page gets past the same origin.
        let host = text("host");
        if !host.is_none_or(|host| self.knows(host)) {
            let detail = "the Host header names another server; see `admin.hosts`";
            return Err(Refused::new(StatusCode::FORBIDDEN, detail));
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let is_ours =
            |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
        let is_foreign = match text("sec-fetch-site") {
            Some(site) => !matches!(site, "same-origin" | "none"),
            None => text("origin").is_some_and(|origin| !is_ours(origin)),
        };
        if is_foreign {
            let detail = "a page of another origin may change nothing here";
            return Err(Refused::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    /// Tells whether a Host header names this server. An address is no name.
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address =
            name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// What stands in the path of a URL.
struct Named<T>(T);

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
struct Asked<T>(T);

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
struct Page<T> {
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn access() -> Access {
        Access { has_token: true, hosts: vec!["admin.example.com".into()] }
    }

    #[test]
    fn a_name_that_is_not_ours_is_another_server() {
        let ours =
            ["127.0.0.1:8081", "[::1]:8081", "[::1]", "localhost", "LOCALHOST:1", "10.0.0.7"];
        let named = ["admin.example.com", "Admin.Example.com:8081"];
        for host in ours.into_iter().chain(named) {
            assert!(access().knows(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "", "localhost.x"]
        {
            assert!(!access().knows(host), "{host}");
        }
    }

    #[test]
    fn pages_of_another_origin_change_nothing() {
        let admits = |method, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                (name.parse().expect("a name"), value)
            });
            access().admits(&method, &headers.collect()).is_ok()
        };
        let host = ("host", "127.0.0.1:8081");
        let foreign = ("origin", "http://evil.example");
        assert!(admits(Method::PUT, &[host]));
        assert!(admits(Method::PUT, &[host, ("origin", "http://127.0.0.1:8081")]));
        assert!(admits(Method::PUT, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(admits(Method::GET, &[host, foreign]));
        assert!(
            !admits(Method::GET, &[("host", "\u{e9}vil.example")]),
            "no text is no name of ours"
        );
        assert!(!admits(Method::PUT, &[host, foreign]));
        assert!(!admits(Method::DELETE, &[host, ("origin", "null")]));
        assert!(!admits(Method::POST, &[host, ("sec-fetch-site", "same-site")]));
        assert!(!admits(Method::PUT, &[host, ("origin", "http://127.0.0.1:8082")]));
    }
}
