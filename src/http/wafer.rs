//! The Wafer session protocol: `POST /mina_auth/`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::bodies::Unread;
use super::{Public, Shared, closing};
use crate::clock;
use crate::net::address::Peer;
use crate::net::connections::{Activity, Phase};
use crate::net::lane::{Reply, Sent};
use crate::net::listener::plain;
use crate::operations::failure::Failure;
use crate::operations::outcome::Kind;
use crate::operations::{Operations, to_the_end};
use crate::session::{App, AppId, Lifetime};
use crate::store::Store as _;
use crate::telemetry::requests::{RequestLog, Served};
use crate::wafer::answer::{CHECKED_END, CHECKED_START, Success, answered};
use crate::wafer::codes::CallError;
use crate::wafer::request::{self, Call, Interface};

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mina-auth\"");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// How every answer begins.
const START: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n";

/// The settings of this surface.
pub struct Wafer {
    pub initdata: InitData,
    /// What an app set by `initdata` gets.
    pub default_lifetime: Lifetime,
}

/// Who may set apps by `initdata`. Where somebody connects from proves nothing: a proxy on this
/// machine brings the whole internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitData {
    /// `server.initdata = false`
    Nobody,
    /// Who comes by a Unix socket, whose file says who may.
    UnixSockets,
    /// Whoever comes this far: all have shown the access key or a client certificate.
    Everybody,
}

impl InitData {
    /// Lets a caller set an app.
    ///
    /// # Errors
    ///
    /// Why this one may not.
    fn admits(self, peer: Peer) -> Result<(), &'static str> {
        match (self, peer) {
            (Self::Nobody, _) => Err("`server.initdata` is off"),
            (Self::UnixSockets, Peer::Ip(_)) => {
                Err("only by a Unix socket, or with a `server.access_key` or client certificates")
            }
            (Self::UnixSockets, Peer::Unix) | (Self::Everybody, _) => Ok(()),
        }
    }
}

/// What follows the endpoint's place in a path; `None` when the path leads elsewhere.
#[must_use]
pub fn rest_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/mina_auth")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The app that the rest of the path names, if it names one. `index.php` is what the PHP server
/// had there.
///
/// # Errors
///
/// What to say where that is no appid.
pub fn appid<'a>(rest: &'a str, operations: &Operations) -> Result<Option<&'a str>, &'static str> {
    let named = rest.strip_suffix('/').unwrap_or(rest);
    if named.is_empty() || named == "index.php" {
        return Ok(None);
    }
    // An operator may have given an app another name.
    if AppId::is_like(named) || operations.store().apps().find(Some(named)).is_some() {
        return Ok(Some(named));
    }
    Err("not found; the protocol is at /mina_auth/ and at /mina_auth/APPID, and what follows \
         /mina_auth/ here is no appid\n")
}

/// Answers a request that the express lane did not take.
pub async fn answer(
    public: &Public,
    peer: Peer,
    activity: &Activity,
    appid: Option<&str>,
    (head, body): (&Parts, Incoming),
) -> Response<Full<Bytes>> {
    if !public.shared.lets_in(peer, head) {
        return without_key();
    }
    let body = match public.shared.bodies.read(body).await {
        Ok(body) => body,
        Err(unread) => return without_body(unread),
    };
    activity.begin(Phase::Answering);
    let (outcome, _) = exchange(public, peer, appid, &body.bytes).await;
    let mut response = Response::new(answered(&outcome).into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Answers a call in the express lane.
pub async fn answer_in_lane(
    public: &Public,
    peer: Peer,
    appid: Option<&str>,
    body: &[u8],
    mut reply: Reply<'_>,
) -> Sent {
    let (outcome, at) = exchange(public, peer, appid, body).await;
    reply.start(START);
    match &outcome {
        Ok(Success::Checked(known)) => {
            reply.end(at, &known.profile_between(CHECKED_START, CHECKED_END))
        }
        outcome => reply.end(at, &[&answered(outcome)]),
    }
}

/// Does what a body asks for, and logs it; tells when that was done.
async fn exchange(
    public: &Public,
    peer: Peer,
    appid: Option<&str>,
    body: &[u8],
) -> (Result<Success, CallError>, SystemTime) {
    let mut asked = Asked { started: clock::wall(), interface: None, app: None };
    let outcome = match request::parse(body) {
        Ok(request) => {
            asked.interface = Some(request.call.interface());
            public.shared.call_wafer(request, peer, appid, &mut asked).await
        }
        Err((interface, error)) => {
            asked.interface = interface;
            Err(error)
        }
    };
    let at = clock::wall();
    asked.log(&public.log, &outcome, at);
    (outcome, at)
}

impl Shared {
    async fn call_wafer(
        &self,
        request: request::Request<'_>,
        peer: Peer,
        path_appid: Option<&str>,
        asked: &mut Asked,
    ) -> Result<Success, CallError> {
        let now = clock::seconds(asked.started);
        let appid = request.appid.as_deref().or(path_appid);
        match request.call {
            Call::Auth { id, skey } => {
                let checked = match self.operations.check_known(&id, &skey, appid, now) {
                    Some(known) => Ok(known),
                    None => self.operations.check(&id, &skey, appid, now).await,
                };
                let checked = checked.inspect_err(|_| asked.app = self.app_meant(appid))?;
                Ok(Success::Checked(checked))
            }
            Call::Login { code, data } => {
                let app = self.operations.app(appid).await?;
                asked.app = Some(Arc::clone(&app));
                Ok(Success::LoggedIn(
                    self.operations.login(app, &code, data, Kind::Shared, now).await?,
                ))
            }
            Call::Decrypt { id, skey, data } => {
                asked.app = self.app_meant(appid);
                let opened = self.operations.decrypt(&id, &skey, &data, appid, now).await?;
                Ok(Success::Decrypted(opened))
            }
            Call::InitData { appid, secret } => {
                self.wafer.initdata.admits(peer).map_err(CallError::InitRefused)?;
                self.set_app(&appid, &secret).await?;
                Ok(Success::AppSet)
            }
        }
    }

    /// `initdata`: sets an app.
    async fn set_app(&self, appid: &str, secret: &str) -> Result<(), Failure> {
        let apps = self.operations.store().apps();
        let known = apps.find(Some(appid));
        let app = App {
            appid: appid.into(),
            secret: secret.to_owned().into(),
            lifetime: known.map_or(self.wafer.default_lifetime, |app| app.lifetime),
            is_default: known.is_some_and(|app| app.is_default),
        };
        let operations = Arc::clone(&self.operations);
        let put = to_the_end(async move { operations.store().put_app(&app).await }).await;
        put.map_err(|error| Failure::Storage(error.into()))
    }
}

fn without_body(unread: Unread) -> Response<Full<Bytes>> {
    let (status, text) = match unread {
        Unread::TooLong => {
            (StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than `server.max_body`\n")
        }
        Unread::NoMemory => {
            (StatusCode::SERVICE_UNAVAILABLE, "too many long bodies; see `limits.long_bodies`\n")
        }
    };
    // What is left of the body is not read.
    closing(plain(status, text))
}

fn without_key() -> Response<Full<Bytes>> {
    let text = "this server wants its `server.access_key`, as the password of HTTP Basic or as \
                ?key= in the URL\n";
    let mut response = plain(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// What the log wants to know of a request.
struct Asked {
    started: SystemTime,
    interface: Option<Interface>,
    app: Option<Arc<App>>,
}

impl Asked {
    fn log(&self, log: &RequestLog, outcome: &Result<Success, CallError>, at: SystemTime) {
        let app = match outcome {
            Ok(Success::Checked(known)) => Some(known.app()),
            _ => self.app.as_deref(),
        };
        log.request(Served {
            at,
            // Zero when the clock was set back meanwhile.
            took: at.duration_since(self.started).unwrap_or_default(),
            interface: self.interface.map_or("", Interface::name),
            app: app.map(|app| app.appid.as_str()),
            failure: outcome.as_ref().err().map(CallError::told),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_has_a_rest() {
        let rests = ["/mina_auth", "/mina_auth/", "/mina_auth/wx1", "/mina_auth/a/b"].map(rest_of);
        assert_eq!(rests, [Some(""), Some(""), Some("wx1"), Some("a/b")]);
        assert_eq!(["/", "/mina_authx", "/v1"].map(rest_of), [None; 3]);
    }
}
