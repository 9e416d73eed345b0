//! The protocol endpoint: `POST /mina_auth/`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, FORWARDED, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::access_key::AccessKey;
use super::address::Peer;
use super::bodies::{Bodies, Unread};
use super::connections::{Activity, Phase};
use super::express;
use super::listener::{Handler, plain};
use super::refusals::{Refusal, Refusals};
use crate::clock;
use crate::operations::Operations;
use crate::protocol::{self, Call, Failure, Interface, Success};
use crate::session::{App, Lifetime};
use crate::store::Store as _;
use crate::telemetry::{RequestLog, Served};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mina-auth\"");

/// The protocol endpoint.
pub struct MinaAuth {
    pub operations: Arc<Operations>,
    pub bodies: Bodies,
    /// `server.initdata`
    pub initdata: bool,
    /// What an app set by `initdata` gets.
    pub default_lifetime: Lifetime,
    /// `server.access_key`
    pub access_key: Option<AccessKey>,
    pub refusals: Arc<Refusals>,
}

/// The protocol endpoint on one listener thread.
pub struct Public {
    pub endpoint: Arc<MinaAuth>,
    pub log: RequestLog,
    /// For the express lane.
    pub date: express::Date,
}

impl Handler for Public {
    type Body = Full<Bytes>;

    /// Answers a request to the public listener, and logs it.
    async fn answer(
        &self,
        peer: Peer,
        activity: &Activity,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let endpoint = &self.endpoint;
        let (head, body) = request.into_parts();
        let Some(path_appid) = appid_of(head.uri.path()) else {
            return plain(StatusCode::NOT_FOUND, "not found; the protocol is at /mina_auth/\n");
        };
        if endpoint.access_key.as_ref().is_some_and(|key| !key.is_in(&head.uri, &head.headers)) {
            endpoint.refusals.count(Refusal::AccessKey, peer);
            return without_key();
        }
        let body = match endpoint.bodies.read(body).await {
            Ok(body) => body,
            Err(unread) => return without_body(unread),
        };
        activity.begin(Phase::Answering);
        let local = || is_local(peer, &head.headers);
        let (outcome, _) = self.exchange(path_appid, local, &body.bytes).await;
        let mut response = Response::new(protocol::answered(&outcome).into());
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        response
    }

    async fn express<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: &mut S,
        peer: Peer,
        activity: &Activity,
    ) -> Option<BytesMut> {
        express::serve(self, stream, peer, activity).await
    }
}

impl Public {
    /// Does what a body asks for, and logs it; tells when that was done. `local` tells whether the
    /// caller is on this machine.
    pub async fn exchange(
        &self,
        path_appid: &str,
        local: impl Fn() -> bool,
        body: &[u8],
    ) -> (Result<Success, Failure>, SystemTime) {
        let mut asked = Asked { started: clock::wall(), interface: None, app: None };
        let outcome = match protocol::parse(body) {
            Ok(request) => {
                asked.interface = Some(request.call.interface());
                self.endpoint.call(request, path_appid, local, &mut asked).await
            }
            Err((interface, failure)) => {
                asked.interface = interface;
                Err(failure)
            }
        };
        let at = clock::wall();
        asked.log(&self.log, &outcome, at);
        (outcome, at)
    }
}

impl MinaAuth {
    async fn call(
        &self,
        request: protocol::Request<'_>,
        path_appid: &str,
        local: impl Fn() -> bool,
        asked: &mut Asked,
    ) -> Result<Success, Failure> {
        let now = clock::seconds(asked.started);
        let path_appid = Some(path_appid).filter(|appid| !appid.is_empty());
        let appid = request.appid.as_deref().or(path_appid);
        match request.call {
            Call::Auth { id, skey } => {
                let checked = match self.operations.check_known(&id, &skey, appid, now) {
                    Some(known) => Ok(known),
                    None => self.operations.check(&id, &skey, appid, now).await,
                };
                checked.map(Success::Checked).inspect_err(|_| asked.app = self.app_meant(appid))
            }
            Call::Login { code, data } => {
                let app = self.operations.app(appid).await?;
                asked.app = Some(Arc::clone(&app));
                self.operations.login(app, &code, data, now).await.map(Success::LoggedIn)
            }
            Call::Decrypt { id, skey, data } => {
                asked.app = self.app_meant(appid);
                let opened = self.operations.decrypt(&id, &skey, &data, appid, now).await;
                opened.map(Success::Decrypted)
            }
            Call::InitData { appid, secret } => {
                self.set_app(&appid, &secret, local()).await.map(|()| Success::AppSet)
            }
        }
    }

    /// The app that a request means, as far as it is known without asking; for the log.
    fn app_meant(&self, appid: Option<&str>) -> Option<Arc<App>> {
        self.operations.store().apps().find(appid).map(Arc::clone)
    }

    /// `initdata`: sets an app for a caller on this machine, if that is allowed at all.
    async fn set_app(&self, appid: &str, secret: &str, local: bool) -> Result<(), Failure> {
        if !self.initdata {
            return Err(Failure::InitRefused("`server.initdata` is off"));
        }
        if !local {
            return Err(Failure::InitRefused("only from this machine"));
        }
        let store = self.operations.store();
        let apps = store.apps();
        let known = apps.find(Some(appid));
        let app = App {
            appid: appid.into(),
            secret: secret.to_owned().into(),
            lifetime: known.map_or(self.default_lifetime, |app| app.lifetime),
            is_default: known.is_some_and(|app| app.is_default),
        };
        store.put_app(&app).await.map_err(|error| Failure::Storage(error.into()))
    }
}

/// The app in the path, empty when it names none; `None` when the path is not the endpoint's.
#[must_use]
pub fn appid_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/mina_auth")?;
    let appid = match rest.strip_prefix('/') {
        Some(appid) => appid.strip_suffix('/').unwrap_or(appid),
        None if rest.is_empty() => rest,
        None => return None,
    };
    (!appid.contains('/')).then_some(appid)
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
    let mut response = plain(status, text);
    // What is left of the body is not read.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
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
    fn log(&self, log: &RequestLog, outcome: &Result<Success, Failure>, at: SystemTime) {
        let app = match outcome {
            Ok(Success::Checked(known)) => Some(known.app()),
            _ => self.app.as_deref(),
        };
        log.request(&Served {
            at,
            // Zero when the clock was set back meanwhile.
            took: at.duration_since(self.started).unwrap_or_default(),
            interface: self.interface,
            app: app.map(|app| app.appid.as_str()),
            failure: outcome.as_ref().err(),
        });
    }
}

/// Tells whether the caller is on this machine, and no proxy is speaking for another one.
fn is_local(peer: Peer, headers: &HeaderMap) -> bool {
    peer.is_local() && !headers.contains_key(FORWARDED) && !headers.contains_key(X_FORWARDED_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_may_name_an_app() {
        assert_eq!(appid_of("/mina_auth"), Some(""));
        assert_eq!(appid_of("/mina_auth/"), Some(""));
        assert_eq!(appid_of("/mina_auth/wx1"), Some("wx1"));
        assert_eq!(appid_of("/mina_auth/wx1/"), Some("wx1"));
        assert_eq!([appid_of("/"), appid_of("/mina_authx"), appid_of("/mina_auth/a/b")], [None; 3]);
    }
}
