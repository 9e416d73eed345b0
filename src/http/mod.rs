//! What the public listener serves: a file for each surface, and what they share.
//!
//! A surface turns the bytes of a request into a call of an operation, and the outcome into bytes.
//! It decides nothing.

pub mod access_key;
pub mod bodies;
pub mod body;
pub mod credential;
pub mod v1;
pub mod wafer;
pub mod wechat_api;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use self::access_key::AccessKey;
use self::bodies::Bodies;
use self::body::AnswerBody;
use self::v1::{Check, Endpoint, V1};
use self::wafer::Wafer;
use self::wechat_api::WeChatApi;
use crate::net::address::Peer;
use crate::net::connections::Activity;
use crate::net::lane::{self, Date, Express, Head, Reply, Sent};
use crate::net::listener::{Handler, plain};
use crate::net::refusals::{Reason, Refusals};
use crate::operations::Operations;
use crate::session::App;
use crate::telemetry::requests::RequestLog;

/// Why a request was refused that carries no access key.
const NO_KEY: Reason =
    Reason { label: "access_key", text: "requests were refused: without the `server.access_key`" };

/// What all threads of the public listener share.
pub struct Shared {
    pub operations: Arc<Operations>,
    pub bodies: Bodies,
    /// `server.access_key`
    pub access_key: Option<AccessKey>,
    pub refusals: Arc<Refusals>,
    pub wafer: Wafer,
    /// `None` when `api.enabled` is off.
    pub v1: Option<V1>,
    /// `None` when there is no `wechat_api.key`.
    pub wechat_api: Option<WeChatApi>,
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
        if let Some(rest) = wafer::rest_of(path) {
            return wafer::appid(rest, &self.shared.operations).map(Surface::Wafer);
        }
        match (v1::rest_of(path), self.shared.v1) {
            (Some(rest), Some(_)) => Ok(match wechat_api::rest_of(rest) {
                Some(rest) => Surface::WeChat(rest),
                None => Surface::V1(Endpoint::at(rest)),
            }),
            (Some(_), None) => Err("not found; `api.enabled` is off\n"),
            (None, _) => {
                Err("not found; the plain API is at /v1, the Wafer protocol at /mina_auth/\n")
            }
        }
    }
}

/// A surface, with what the path says to it.
#[derive(Debug, Clone, Copy)]
pub enum Surface<'a> {
    /// The Wafer protocol, and the app in the path.
    Wafer(Option<&'a str>),
    /// The plain API, and what is called; `None` when there is nothing of that name.
    V1(Option<Endpoint>),
    /// WeChat's API, and what follows its place in the path.
    WeChat(&'a str),
}

/// A request for the express lane.
#[derive(Debug, Clone, Copy)]
pub enum Ordinary<'a> {
    Wafer(Option<&'a str>),
    V1(Check<'a>),
}

impl Shared {
    /// The app that a request means, as far as it is known without asking; for the log.
    fn app_meant(&self, appid: Option<&str>) -> Option<Arc<App>> {
        self.operations.store().apps().find(appid).map(Arc::clone)
    }

    /// Tells whether a request carries the access key, if one is wanted; counts those that do not.
    fn lets_in(&self, peer: Peer, head: &Parts) -> bool {
        let key = self.access_key.as_ref();
        let is_in = key.is_none_or(|key| key.is_in(&head.uri, &head.headers));
        if !is_in {
            self.refusals.count(NO_KEY, peer);
        }
        is_in
    }
}

impl Handler for Public {
    type Body = AnswerBody;

    async fn answer(
        &self,
        peer: Peer,
        activity: &Activity,
        request: Request<Incoming>,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        match self.surface(head.uri.path()) {
            Ok(Surface::Wafer(appid)) => {
                let answer = wafer::answer(self, peer, activity, appid, (&head, body)).await;
                answer.map(AnswerBody::Whole)
            }
            Ok(Surface::V1(endpoint)) => {
                let answer = v1::answer(self, peer, activity, endpoint, (&head, body)).await;
                answer.map(AnswerBody::Whole)
            }
            Ok(Surface::WeChat(rest)) => {
                wechat_api::answer(self, peer, activity, rest, (&head, body)).await
            }
            Err(text) => plain(StatusCode::NOT_FOUND, text),
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
    type Request<'a> = Ordinary<'a>;

    fn longest_body(&self) -> usize {
        self.shared.bodies.max.min(bodies::SHORT)
    }

    /// Who has no key, and who asks for what is not there, is told so by the other way.
    fn read<'a>(&self, head: &Head<'_, 'a>) -> Option<Ordinary<'a>> {
        if self.shared.access_key.as_ref().is_some_and(|key| !key.is_in_head(head)) {
            return None;
        }
        match self.surface(head.path).ok()? {
            Surface::Wafer(appid) => (head.method == "POST").then_some(Ordinary::Wafer(appid)),
            Surface::V1(endpoint) => Check::read(endpoint?, head).map(Ordinary::V1),
            Surface::WeChat(_) => None,
        }
    }

    async fn answer<'a>(
        &'a self,
        peer: Peer,
        request: Ordinary<'a>,
        body: &'a [u8],
        reply: Reply<'a>,
    ) -> Sent {
        match request {
            Ordinary::Wafer(appid) => wafer::answer_in_lane(self, peer, appid, body, reply).await,
            Ordinary::V1(check) => check.answer(self, reply).await,
        }
    }
}

/// Makes an answer the last one of its connection.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
