//! Log in, log out, choose a language.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::page::{self, Page, Place};
use super::words::{self, Language};
use super::{Console, to_login};
use crate::{clock, random};

/// How long somebody waits who does not have the token.
const PAUSE: Duration = Duration::from_millis(500);

/// A year, in seconds.
const KEEP_LANGUAGE: u32 = 365 * 86_400;

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    page: Page,
    is_wrong: bool,
}

#[derive(Deserialize)]
pub struct Shown {
    token: String,
}

/// The token of a link that logs in, `/?token=…`, as `mina-auth dev` prints it.
pub fn link_token(uri: &Uri) -> Option<String> {
    let query = uri.query().filter(|_| uri.path() == "/")?;
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    percent_decode_str(token).decode_utf8().ok().map(Into::into)
}

pub async fn show(language: HeaderMap) -> Response {
    ask(&language, false)
}

fn ask(headers: &HeaderMap, is_wrong: bool) -> Response {
    let page = Page::of_stranger(Language::of(headers));
    let status = if is_wrong { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page::show_with(status, &Login { page, is_wrong })
}

pub async fn log_in(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(shown): Form<Shown>,
) -> Response {
    enter(&console, &headers, &shown.token).await
}

/// Lets somebody in who shows the token, and takes it out of the address bar.
pub async fn enter(console: &Console, headers: &HeaderMap, token: &str) -> Response {
    if let Some(cookie) = console.access.log_in(token, random::bytes(), clock::now()) {
        return ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response();
    }
    tokio::time::sleep(PAUSE).await;
    ask(headers, true)
}

pub async fn log_out(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    ([(SET_COOKIE, console.access.log_out(&headers))], to_login()).into_response()
}

#[derive(Deserialize)]
pub struct Choice {
    language: String,
    /// The page to go back to.
    to: String,
}

pub async fn choose_language(Form(Choice { language, to }): Form<Choice>) -> Response {
    // A path of ours: `//` would be another server.
    let is_ours = to.starts_with('/') && !to.starts_with("//") && !to.contains(['\\', '\r', '\n']);
    let to = if is_ours { to.as_str() } else { "/" };
    let Some(language) = Language::named(&language) else {
        return Redirect::to(to).into_response();
    };
    let (name, value) = (words::COOKIE, language.name());
    let cookie = format!("{name}={value}; Path=/; Max-Age={KEEP_LANGUAGE}; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_carries_the_token() {
        let token = |uri: &'static str| link_token(&Uri::from_static(uri));
        assert_eq!(token("/?a=b&token=a%2Bb"), Some("a+b".to_owned()));
        assert_eq!(token("/apps?token=a"), None);
        assert_eq!(token("/"), None);
    }
}
