//! Calls of WeChat's API with the access token of an app.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::header::HeaderMap;
use hyper::http;
use reqwest::Response;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::answer::{self, Hidden};
use super::client::{Client, DEADLINE};
use super::error::{ExchangeError, WeChatError};
use super::hosts::Request;
use super::token::Token;
use crate::json::Value;
use crate::session::App;

pub use super::hosts::Body;

/// How much of an answer is looked at: what says that a token is dead is shorter.
const LOOKED_AT: usize = 4096;

/// What stands in the place of an access token.
const NO_TOKEN: &str = "[access_token]";

/// Why a call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// There is no access token, so nothing was called.
    #[error("there is no access token: {0}")]
    NoToken(ExchangeError),
    #[error(transparent)]
    Failed(ExchangeError),
}

/// A call as somebody else makes it, to be relayed.
#[derive(Debug)]
pub struct Call<'a> {
    pub method: Method,
    /// As a URL has it, with the slash in front.
    pub path: &'a str,
    /// As a URL has it.
    pub query: &'a str,
    pub headers: HeaderMap,
    pub body: Body,
}

/// WeChat's answer to a call that is relayed.
#[derive(Debug)]
pub struct Answered {
    pub head: http::response::Parts,
    /// What was read of the body.
    pub start: Bytes,
    /// The rest of it, if there is any.
    pub rest: Option<reqwest::Body>,
}

impl Client {
    /// Relays a call. One whose token is dead is made once more with a new one, if its body was
    /// kept.
    ///
    /// # Errors
    ///
    /// [`CallError`], which holds no secret.
    pub async fn relay(&self, app: &Arc<App>, call: Call<'_>) -> Result<Answered, CallError> {
        let Call { method, path, query, headers, body } = call;
        let is_kept = matches!(body, Body::Kept(_));
        let mut request =
            Request { method, path, token: None, parameters: &[], query, headers, body };
        let token = self.token(app).await.map_err(CallError::NoToken)?;
        let answered = self.relay_with(app, &mut request, &token).await?;
        if !is_kept || !answered.is_of_dead_token() {
            return Ok(answered);
        }
        match self.token_after(app, token.text.expose_secret()).await {
            Ok(renewed) if !renewed.is(token.text.expose_secret()) => {
                self.relay_with(app, &mut request, &renewed).await
            }
            // What WeChat says of it is the best that there is.
            _ => Ok(answered),
        }
    }

    async fn relay_with(
        &self,
        app: &App,
        request: &mut Request<'_>,
        token: &Token,
    ) -> Result<Answered, CallError> {
        request.token = Some(token.text.clone());
        let started = Instant::now();
        let answered = match self.hosts.relay(request).await {
            Ok(response) => Answered::begin(response).await,
            Err(error) => Err(error),
        };
        let error = match &answered {
            Ok(answered) => answered.error().map(ExchangeError::Refused),
            Err(error) => Some(error.clone()),
        };
        self.count("relay", app, started, error.as_ref());
        let mut answered = answered.map_err(CallError::Failed)?;
        answered.hide(token.text.expose_secret());
        Ok(answered)
    }

    /// Calls an API and reads the answer. A call whose token is dead was not made, and is made once
    /// more with a new one; it is never made twice.
    ///
    /// # Errors
    ///
    /// [`CallError`], which holds nothing that is hidden, and no secret.
    pub(super) async fn ask_api<T>(
        &self,
        api: &'static str,
        app: &Arc<App>,
        mut request: Request<'_>,
        hidden: &[Hidden<'_>],
        read: impl Fn(&Value<'_>) -> Result<T, ExchangeError>,
    ) -> Result<T, CallError> {
        let mut token = self.token(app).await.map_err(CallError::NoToken)?;
        let mut is_first = true;
        loop {
            request.token = Some(token.text.clone());
            let started = Instant::now();
            let answer = self.hosts.ask(&request, started + DEADLINE).await;
            let outcome = answer.and_then(|answer| {
                let hidden = [hidden, &[(token.text.expose_secret(), NO_TOKEN)]].concat();
                read(&answer::read(&answer, &hidden)?)
            });
            self.count(api, app, started, outcome.as_ref().err());
            let is_dead =
                |error: &ExchangeError| error.wechat().is_some_and(WeChatError::is_dead_token);
            if !is_first || !outcome.as_ref().is_err_and(is_dead) {
                return outcome.map_err(CallError::Failed);
            }
            let renewed = self.token_after(app, token.text.expose_secret()).await;
            let renewed = renewed.map_err(CallError::NoToken)?;
            if renewed.is(token.text.expose_secret()) {
                return outcome.map_err(CallError::Failed);
            }
            (token, is_first) = (renewed, false);
        }
    }
}

impl Answered {
    /// Reads the start of an answer: all of it where it may be an error.
    async fn begin(mut response: Response) -> Result<Self, ExchangeError> {
        let mut start = BytesMut::new();
        let mut is_whole = false;
        while start.len() <= LOOKED_AT && is_json_so_far(&start) {
            let piece = response.chunk().await;
            let broke_off = |_| ExchangeError::Unanswered("the answer broke off".into());
            let Some(piece) = piece.map_err(broke_off)? else {
                is_whole = true;
                break;
            };
            start.extend_from_slice(&piece);
        }
        let (head, rest) = http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(Self { head, start: start.freeze(), rest: (!is_whole).then_some(rest) })
    }

    /// What WeChat says is wrong, where all that it says is short JSON.
    fn error(&self) -> Option<WeChatError> {
        if self.rest.is_some() || self.start.is_empty() {
            return None;
        }
        match answer::read(&self.start, &[]) {
            Err(ExchangeError::Refused(error) | ExchangeError::Code(error)) => Some(error),
            _ => None,
        }
    }

    fn is_of_dead_token(&self) -> bool {
        self.error().is_some_and(|error| error.is_dead_token())
    }

    /// Takes a token out of the headers, and out of the body where that is short.
    fn hide(&mut self, token: &str) {
        let has_token =
            |bytes: &[u8]| bytes.windows(token.len()).any(|window| window == token.as_bytes());
        let headers = std::mem::take(&mut self.head.headers);
        let mut named = None;
        for (name, value) in headers {
            named = name.or(named);
            if let Some(name) = named.clone().filter(|_| !has_token(value.as_bytes())) {
                self.head.headers.append(name, value);
            }
        }
        if self.rest.is_none() && has_token(&self.start) {
            let text = String::from_utf8_lossy(&self.start).replace(token, NO_TOKEN);
            self.start = text.into();
        }
    }
}

/// Tells whether these bytes may be the start of an object.
fn is_json_so_far(start: &[u8]) -> bool {
    start.trim_ascii_start().first().is_none_or(|byte| matches!(byte, b'{' | 0xef))
}
