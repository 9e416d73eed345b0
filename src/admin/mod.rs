//! The admin listener: what watches and operates the server, behind a token.

pub mod api;
pub mod health;
pub mod metrics;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use self::problem::Refused;
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
    pub fn new(routes: Router, token: SecretString) -> Self {
        let guard = from_fn_with_state(Arc::new(token), want_token);
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

async fn want_token(
    State(token): State<Arc<SecretString>>,
    request: Request,
    next: Next,
) -> Response {
    let token = token.expose_secret();
    let is_open = token.is_empty() || request.uri().path().starts_with(HEALTH);
    if is_open || offered(&request).is_some_and(|other| token.as_bytes().ct_eq(other).into()) {
        return next.run(request).await;
    }
    let detail = "this wants `Authorization: Bearer TOKEN`, with the `admin.token`";
    let mut response = Refused::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn offered(request: &Request) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
