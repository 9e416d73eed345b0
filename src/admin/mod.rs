//! The admin listener: what watches and operates the server, behind a token.

pub mod access;
pub mod api;
pub mod console;
pub mod health;
pub mod metrics;
mod problem;
pub mod rates;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use self::access::Access;
use self::problem::Refused;
use crate::clock;
use crate::net::address::Peer;
use crate::net::connections::{Activity, Phase};
use crate::net::listener::Handler;

/// What may be asked without the token: balancers have none.
const HEALTH: &str = "/health/";

/// An app with all its settings is far shorter.
const LONGEST_BODY: usize = 64 * 1024;

/// The admin listener's handler.
pub struct Admin(TowerToHyperService<Router>);

impl Admin {
    /// Serves these routes; all but the health checks want the token, where there is one.
    #[must_use]
    pub fn new(routes: Router, access: Arc<Access>) -> Self {
        let guard = from_fn_with_state(access, want_token);
        Self(TowerToHyperService::new(routes.layer(guard)))
    }
}

impl Handler for Admin {
    type Body = Body;

    /// Answers a request, which is given as long as its body is.
    async fn answer(
        &self,
        peer: Peer,
        activity: &Activity,
        mut request: hyper::Request<Incoming>,
    ) -> Response {
        // For the log: who changed something.
        request.extensions_mut().insert(peer);
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LONGEST_BODY).collect().await else {
            let detail = "the body is longer than 64 KiB";
            return Refused::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
        };
        // From here on it is us whom the client waits for.
        activity.begin(Phase::Answering);
        let request = Request::from_parts(head, Body::from(body.to_bytes()));
        let Ok(response) = self.0.call(request).await;
        response
    }
}

async fn want_token(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_open = !access.is_on() || path.starts_with(HEALTH) || console::is_open(request.uri());
    if is_open || access.is_shown(request.headers(), clock::now()) {
        return next.run(request).await;
    }
    if console::is_visit(&request) {
        return console::to_login();
    }
    let detail = "this wants `Authorization: Bearer TOKEN`, with the `admin.token`";
    let mut response = Refused::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
