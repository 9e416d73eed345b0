//! What the public listener serves: a file for each surface, and what they share.
//!
//! A surface turns the bytes of a request into a call of an operation, and the outcome into bytes.
//! It decides nothing.

pub mod access_key;
pub mod bodies;
pub mod wafer;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use self::access_key::AccessKey;
use self::bodies::{Bodies, Unread};
use self::wafer::Wafer;
use crate::net::address::Peer;
use crate::net::connections::{Activity, Phase};
use crate::net::lane::{self, Date, Express, Head, Reply, Sent};
use crate::net::listener::{Handler, plain};
use crate::net::refusals::Refusals;
use crate::operations::Operations;
use crate::telemetry::requests::RequestLog;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mina-auth\"");

/// Why a request was refused that carries no access key.
const NO_KEY: &str = "requests were refused: without the `server.access_key`";

/// What all threads of the public listener share.
pub struct Shared {
    pub operations: Arc<Operations>,
    pub bodies: Bodies,
    /// `server.access_key`
    pub access_key: Option<AccessKey>,
    pub refusals: Arc<Refusals>,
    pub wafer: Wafer,
}

/// What one thread of the public listener serves.
pub struct Public {
    shared: Arc<Shared>,
    log: RequestLog,
    date: Date,
}

impl Public {
    /// Serves what is shared, and logs the requests there.
    #[must_use]
    pub fn new(shared: Arc<Shared>, log: RequestLog) -> Self {
        Self { shared, log, date: Date::default() }
    }

    /// The surface that a path leads to.
    fn surface<'a>(&self, path: &'a str) -> Result<Surface<'a>, &'static str> {
        match wafer::rest_of(path) {
            Some(rest) => wafer::appid(rest, &self.shared.operations).map(Surface::Wafer),
            None => Err("not found; the protocol is at /mina_auth/\n"),
        }
    }
}

/// A surface, with what the path says to it.
#[derive(Debug, Clone, Copy)]
pub enum Surface<'a> {
    /// The Wafer protocol, and the app in the path.
    Wafer(Option<&'a str>),
}

impl Handler for Public {
    type Body = Full<Bytes>;

    async fn answer(
        &self,
        peer: Peer,
        activity: &Activity,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let surface = match self.surface(head.uri.path()) {
            Ok(surface) => surface,
            Err(text) => return plain(StatusCode::NOT_FOUND, text),
        };
        let Shared { access_key, bodies, refusals, .. } = &*self.shared;
        if access_key.as_ref().is_some_and(|key| !key.is_in(&head.uri, &head.headers)) {
            refusals.count(NO_KEY, peer);
            return without_key();
        }
        let body = match bodies.read(body).await {
            Ok(body) => body,
            Err(unread) => return without_body(unread),
        };
        activity.begin(Phase::Answering);
        match surface {
            Surface::Wafer(appid) => wafer::answer(self, peer, appid, &body.bytes).await,
        }
    }

    async fn express<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: &mut S,
        peer: Peer,
        activity: &Activity,
    ) -> Option<BytesMut> {
        lane::serve(self, &self.date, stream, peer, activity).await
    }

    async fn beside(&self) {
        self.log.keep_writing().await;
    }

    async fn finished(&self) {
        self.shared.operations.finished().await;
    }
}

impl Express for Public {
    type Request<'a> = Surface<'a>;

    fn longest_body(&self) -> usize {
        self.shared.bodies.max.min(bodies::SHORT)
    }

    /// Who has no key, and who asks for what is not there, is told so by the other way.
    fn read<'a>(&self, head: &Head<'_, 'a>) -> Option<Surface<'a>> {
        if self.shared.access_key.as_ref().is_some_and(|key| !key.is_in_head(head)) {
            return None;
        }
        match self.surface(head.path).ok()? {
            surface @ Surface::Wafer(_) => (head.method == "POST").then_some(surface),
        }
    }

    async fn answer<'a>(
        &'a self,
        peer: Peer,
        surface: Surface<'a>,
        body: &'a [u8],
        reply: Reply<'a>,
    ) -> Sent {
        match surface {
            Surface::Wafer(appid) => wafer::answer_in_lane(self, peer, appid, body, reply).await,
        }
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
