//! The console: pages about the server, for people. Made here, in two languages; a script is
//! wanted for nothing but to see numbers move.

mod apps;
mod chart;
mod history;
mod live;
mod login;
mod overview;
mod page;
mod phone;
mod settings;
mod users;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

pub use self::history::History;
pub use self::phone::Phone;
pub use self::settings::{Origin, Setting};
use self::words::Language;
use super::access::Access;
use super::problem::Refused;
use crate::operations::Operations;
use crate::telemetry::tally::Tallies;

const LOGIN: &str = "/login";
const LANGUAGE: &str = "/language";
const STYLE: &str = "/style.css";
const SCRIPT: &str = "/refresh.js";
const ICON: &str = "/favicon.svg";

/// What goes with every page: nothing is loaded from elsewhere, no script stands in a page, and no
/// page of another origin may frame one.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         object-src 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not none at all: a form of our own says where it comes from.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What the pages are made from.
pub struct Console {
    pub operations: Arc<Operations>,
    pub access: Arc<Access>,
    pub tallies: Tallies,
    pub history: Arc<History>,
    pub settings: Vec<Setting>,
    /// A phone to play, in `dev`.
    pub phone: Option<Phone>,
}

/// The pages.
pub fn router(console: Console) -> Router {
    let console = Arc::new(console);
    let mut routes = Router::new()
        .route("/", get(overview::show))
        .route("/apps", get(apps::list).post(apps::add))
        .route("/apps/{appid}", get(apps::show).post(apps::change))
        .route("/apps/{appid}/check", post(apps::check))
        .route("/apps/{appid}/remove", post(apps::remove))
        .route("/users", get(users::list))
        .route("/users/{appid}/{openid}", get(users::show))
        .route("/users/{appid}/{openid}/end", post(users::end))
        .route("/users/{appid}/{openid}/erase", post(users::erase))
        .route("/live", get(live::show))
        .route("/settings", get(settings::show))
        .route(LOGIN, get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route(LANGUAGE, post(login::choose_language))
        .route(STYLE, get(async || asset("text/css", include_str!("assets/style.css"))))
        .route(ICON, get(async || asset("image/svg+xml", include_str!("assets/favicon.svg"))))
        .route(SCRIPT, get(async || asset("text/javascript", include_str!("assets/refresh.js"))));
    if console.phone.is_some() {
        routes = routes.route("/phone", get(phone::show).post(phone::act));
    }
    let guard = from_fn_with_state(Arc::clone(&console), guard);
    routes.fallback(page::not_found).with_state(console).layer(guard)
}

/// Tells whether this may be had without the token: what logs somebody in.
#[must_use]
pub fn is_open(uri: &Uri) -> bool {
    [LOGIN, LANGUAGE, STYLE, SCRIPT, ICON].contains(&uri.path()) || login::link_token(uri).is_some()
}

/// Tells whether it is a person who asks, with a browser.
#[must_use]
pub fn is_visit(request: &Request) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    is_read && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Sends somebody to the page that asks for the token.
#[must_use]
pub fn to_login() -> Response {
    Redirect::to(LOGIN).into_response()
}

async fn guard(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let access = &console.access;
    let language = Language::of(request.headers());
    let mut response = if let Err(refused) = access.admits(request.method(), request.headers()) {
        refused.into_response()
    } else if access.is_on() || [STYLE, SCRIPT, ICON].contains(&request.uri().path()) {
        next.run(request).await
    } else if request.uri().path() == "/" {
        page::off(language)
    } else {
        let detail = "the console and the admin API are off; set `admin.token`";
        Refused::new(StatusCode::NOT_FOUND, detail).into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What pages need: the same until the program is another one.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("max-age=300")),
    ];
    (headers, text).into_response()
}
