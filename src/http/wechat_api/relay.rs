//! The relay: a call as it came, with the access token put in, and WeChat's answer as it comes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::WeChatApi;
use super::error::Error;
use super::path::{RelayPath, query_for_wechat};
use crate::http::Shared;
use crate::http::bodies::Bodies;
use crate::http::body::{AnswerBody, Relayed};
use crate::http::v1::problem;
use crate::net::connections::{Activity, Phase};
use crate::operations::failure::Failure;
use crate::session::App;
use crate::wechat::call::{Answered, Body, Call};
use crate::wechat::streamed::Streamed;

/// A body of this length is kept, so that the call can be made again when the token was dead.
const KEPT: usize = 1024 * 1024;

/// Headers that are between two ends of a connection. RFC 9110, 7.6.1.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that are between the caller, its proxies and this server; and `accept-encoding`, since an
/// answer is looked at.
const NOT_FOR_WECHAT: [&str; 14] = [
    "host",
    "content-length",
    "expect",
    "authorization",
    "x-access-key",
    "cookie",
    "forwarded",
    "x-real-ip",
    "via",
    "remote-user",
    "accept-encoding",
    "referer",
    "origin",
    "x-original-uri",
];

/// Relays a call.
pub async fn answer(
    shared: &Shared,
    api: &WeChatApi,
    activity: &Activity,
    (app, path): (&Arc<App>, &RelayPath),
    (head, body): (&Parts, Incoming),
) -> Result<Response<AnswerBody>, Error> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        let problem = "CONNECT and TRACE are not relayed";
        return Err(problem::Error::Http(StatusCode::METHOD_NOT_ALLOWED, problem).into());
    }
    let place = api.place()?;
    let Taken { body, memory: _memory } = take(&shared.bodies, body, api.max_body).await?;
    activity.begin(Phase::Answering);
    let streamed = match &body {
        Body::Streamed(streamed) => Some(streamed.clone()),
        Body::Kept(_) => None,
    };
    let call = Call {
        method: head.method.clone(),
        path: &path.with_slash(),
        query: &query_for_wechat(head.uri.query().unwrap_or_default()),
        headers: headers_for_wechat(&head.headers),
        body,
    };
    let answered = shared.operations.wechat().relay(app, call).await;
    if streamed.is_some_and(|streamed| streamed.is_too_long()) {
        return Err(Error::TooLong);
    }
    Ok(response(answered.map_err(Failure::from)?, place))
}

/// A body for WeChat, and the memory that it takes.
struct Taken {
    body: Body,
    memory: Option<OwnedSemaphorePermit>,
}

/// Takes a body: all of it if it is short, or its start.
async fn take(bodies: &Bodies, mut body: Incoming, max: usize) -> Result<Taken, Error> {
    // What the head announced.
    if body.size_hint().lower() > max as u64 {
        return Err(Error::TooLong);
    }
    let (mut start, mut memory) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::NoBody("the body broke off"))?;
        let Ok(piece) = frame.into_data() else { continue };
        let length = start.len() + piece.len();
        if length > max {
            return Err(Error::TooLong);
        }
        let room = bodies.take(&mut memory, length);
        room.ok_or(Error::NoBody("too many long bodies at once; see `limits.long_bodies`"))?;
        start.extend_from_slice(&piece);
        if length > KEPT {
            let streamed = Streamed::new(start.freeze(), body, max - length);
            return Ok(Taken { body: Body::Streamed(streamed), memory });
        }
    }
    Ok(Taken { body: Body::Kept(start.freeze()), memory })
}

/// Tells whether a header ends with this connection.
fn is_hop_by_hop(name: &HeaderName, headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        value.to_str().is_ok_and(|names| {
            names.split(',').any(|other| other.trim().eq_ignore_ascii_case(name.as_str()))
        })
    };
    HOP_BY_HOP.contains(&name.as_str()) || headers.get_all(CONNECTION).iter().any(named)
}

fn headers_for_wechat(headers: &HeaderMap) -> HeaderMap {
    let is_for_wechat = |name: &HeaderName| {
        let text = name.as_str();
        let is_of_proxies = text.starts_with("x-forwarded-") || text.starts_with("x-wx-");
        !is_of_proxies && !NOT_FOR_WECHAT.contains(&text) && !is_hop_by_hop(name, headers)
    };
    let kept = headers.iter().filter(|(name, _)| is_for_wechat(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// WeChat's answer as ours.
fn response(answered: Answered, place: Option<OwnedSemaphorePermit>) -> Response<AnswerBody> {
    let Answered { head, start, rest } = answered;
    let is_whole = rest.is_none();
    let body = match rest {
        None => Full::from(start).into(),
        Some(rest) => {
            let start = Some(start).filter(|start: &Bytes| !start.is_empty());
            AnswerBody::Relayed(Relayed { start, rest, place })
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    for (name, value) in &head.headers {
        // hyper counts what is whole.
        let is_counted = is_whole && *name == CONTENT_LENGTH && !value.is_empty();
        if !is_hop_by_hop(name, &head.headers) && !is_counted {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
