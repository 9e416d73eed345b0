//! WeChat's hosts: the one place that sends HTTP to WeChat.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use reqwest::{Proxy, Response, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};
use zeroize::Zeroizing;

use super::answer::is_page;
use super::breaker::{Breaker, Leave, Turn};
use super::error::ExchangeError;
use super::streamed::Streamed;
use crate::causes::with_causes;

/// How long a host may take to accept a connection before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// WeChat's answers are a few hundred bytes.
const USUAL_ANSWER: usize = 2 * 1024;
const MAX_ANSWER: usize = 64 * 1024;

/// How much longer than `wechat.timeout` a call that is relayed may take: what it does is not known.
const RELAYED: u32 = 6;

/// How to reach WeChat.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hosts to try, in order; the next one when one cannot be reached.
    pub base_urls: Vec<Url>,
    /// How long one attempt may take.
    pub timeout: Duration,
    pub proxy: Option<Url>,
}

/// A request to WeChat.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: Method,
    /// As a URL has it.
    pub path: &'a str,
    /// The access token.
    pub token: Option<SecretString>,
    /// Parameters, as they are.
    pub parameters: &'a [(&'a str, &'a str)],
    /// More of them, as a URL has them.
    pub query: &'a str,
    pub headers: HeaderMap,
    pub body: Body,
}

impl<'a> Request<'a> {
    /// A request to get a path.
    pub fn get(path: &'a str, parameters: &'a [(&'a str, &'a str)]) -> Self {
        let body = Body::Kept(Bytes::new());
        Self {
            method: Method::GET,
            path,
            token: None,
            parameters,
            query: "",
            headers: HeaderMap::new(),
            body,
        }
    }

    /// A request to post JSON to a path.
    pub fn post(path: &'a str, parameters: &'a [(&'a str, &'a str)], json: String) -> Self {
        let json_type = hyper::header::HeaderValue::from_static("application/json");
        let headers = [(hyper::header::CONTENT_TYPE, json_type)].into_iter().collect();
        let body = Body::Kept(json.into());
        Self { method: Method::POST, headers, body, ..Self::get(path, parameters) }
    }
}

/// The body of a request.
#[derive(Debug, Clone)]
pub enum Body {
    /// One that can be sent again.
    Kept(Bytes),
    /// One that goes on as it comes.
    Streamed(Streamed),
}

/// Connections to WeChat's hosts, which are kept alive.
#[derive(Debug)]
pub struct Hosts {
    http: reqwest::Client,
    settings: Settings,
    breaker: Mutex<Breaker>,
}

impl Hosts {
    /// Connects when a host is first needed.
    ///
    /// # Errors
    ///
    /// When the proxy cannot be used or no TLS is to be had.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            // Nothing of the environment decides where the AppSecret goes.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            .read_timeout(settings.timeout * RELAYED);
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(Proxy::all(proxy.clone()).map_err(|e| with_causes(&e))?);
        }
        let http = builder.build().map_err(|e| with_causes(&e))?;
        Ok(Self { http, settings, breaker: Mutex::new(Breaker::new(Instant::now())) })
    }

    /// Tells whether WeChat could not be reached and is left alone for the moment.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.breaker().is_open()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and reads the answer, unless the breaker is open.
    pub async fn ask(
        &self,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let leave = self.leave()?;
        let outcome = async {
            let sent = self.send_to_any(request, deadline, self.settings.timeout).await;
            let (response, latest) = sent?;
            read_answer(response, latest).await
        };
        let outcome = outcome.await;
        // Whatever WeChat says, an errcode too, is an answer.
        let failure = outcome.as_ref().err().filter(|error| error.is_outage());
        self.ended(leave, failure.map(|error| error as &dyn Display));
        outcome
    }

    /// Sends a request and returns the answer as soon as its head is there, unless the breaker is
    /// open.
    pub async fn relay(&self, request: &Request<'_>) -> Result<Response, ExchangeError> {
        let leave = self.leave()?;
        let patience = self.settings.timeout * RELAYED;
        let outcome = self.send_to_any(request, Instant::now() + patience, patience).await;
        let outcome = outcome.map(|(response, _)| response);
        let failure = match &outcome {
            Ok(response) if response.status().is_server_error() => {
                Some(ExchangeError::Status(response.status().as_u16()))
            }
            Ok(_) => None,
            Err(error) => Some(error.clone()).filter(ExchangeError::is_outage),
        };
        self.ended(leave, failure.as_ref().map(|error| error as &dyn Display));
        outcome
    }

    fn leave(&self) -> Result<Leave, ExchangeError> {
        self.breaker().leave(Instant::now()).ok_or(ExchangeError::LeftAlone)
    }

    /// Tells the breaker how an attempt ended, and the log when that turns it.
    fn ended(&self, leave: Leave, failure: Option<&dyn Display>) {
        let turn = self.breaker().ended(leave, failure.is_none(), Instant::now());
        match (turn, failure) {
            (Some(Turn::Opened), Some(cause)) => {
                error!(%cause, "WeChat cannot be reached: logins fail at once, but for a few trials");
            }
            (Some(Turn::Closed), _) => info!("WeChat can be reached again"),
            _ => {}
        }
    }

    /// Sends a request to the first host that can be reached. Returns the answer, and when all of it
    /// must be there.
    async fn send_to_any(
        &self,
        request: &Request<'_>,
        deadline: Instant,
        patience: Duration,
    ) -> Result<(Response, Instant), ExchangeError> {
        let mut unreachable = Vec::new();
        for base in &self.settings.base_urls {
            let latest = deadline.min(Instant::now() + patience);
            match self.send_to(base, request, latest).await {
                Err(Attempt::Unreachable(reason)) => unreachable.push(reason),
                Err(Attempt::Unanswered(reason)) => return Err(ExchangeError::Unanswered(reason)),
                Ok(response) => return Ok((response, latest)),
            }
        }
        Err(ExchangeError::Unreachable(unreachable.join("; ")))
    }

    /// Sends one request. No other function may: reqwest's errors print the URL, and the
    /// AppSecret is in it.
    #[expect(clippy::disallowed_methods, reason = "the one place, and its errors lose their URL")]
    async fn send_to(
        &self,
        base: &Url,
        request: &Request<'_>,
        latest: Instant,
    ) -> Result<Response, Attempt> {
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), request.path));
        let token = request.token.as_ref().map(|token| ("access_token", token.expose_secret()));
        if token.is_some() || !request.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(token).extend_pairs(request.parameters);
        }
        if !request.query.is_empty() {
            let before = url.query().map_or_else(String::new, |query| format!("{query}&"));
            url.set_query(Some(&format!("{before}{}", request.query)));
        }
        let host = base.host_str().unwrap_or_default();
        let builder = self.http.request(request.method.clone(), url);
        let builder = builder.headers(request.headers.clone());
        let builder = match &request.body {
            Body::Kept(body) if body.is_empty() && request.method == Method::GET => builder,
            Body::Kept(body) => builder.body(body.clone()),
            Body::Streamed(body) => builder.body(reqwest::Body::wrap(body.clone())),
        };
        let was_begun = || match &request.body {
            Body::Kept(_) => false,
            Body::Streamed(body) => body.was_begun(),
        };
        match timeout_at(latest, builder.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                // Only a request that was never sent may be sent elsewhere: a code works once.
                let unsent = error.is_connect() && !was_begun();
                let reason = format!("{host}: {}", with_causes(&error.without_url()));
                Err(if unsent { Attempt::Unreachable(reason) } else { Attempt::Unanswered(reason) })
            }
            Err(_) => Err(Attempt::Unanswered(no_answer(host))),
        }
    }
}

/// How one attempt went wrong.
enum Attempt {
    /// The request was not sent: another host may be tried.
    Unreachable(String),
    Unanswered(String),
}

fn no_answer(host: &str) -> String {
    format!("{host}: no answer in time")
}

/// Reads the answer of a request, which has status 200.
async fn read_answer(
    mut response: Response,
    latest: Instant,
) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
    let host = response.url().host_str().unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    let body = match timeout_at(latest, read_body(&mut response)).await {
        Ok(body) => body.map_err(|error| {
            let reason = format!("{host}: {}", with_causes(&error.without_url()));
            ExchangeError::Unanswered(reason)
        })?,
        Err(_) => return Err(ExchangeError::Unanswered(no_answer(&host))),
    };
    match (status, body) {
        (200, Some(body)) => Ok(body),
        (200, None) => Err(ExchangeError::Malformed("is too long")),
        (status, Some(body)) if is_page(&body) => Err(ExchangeError::Page(status)),
        (status, _) => Err(ExchangeError::Status(status)),
    }
}

/// Reads a body, or `None` when it is longer than any answer of WeChat's.
async fn read_body(response: &mut Response) -> reqwest::Result<Option<Zeroizing<Vec<u8>>>> {
    // The session_key is in it: where there is room for it all, no outgrown copy is left behind.
    let mut body = Zeroizing::new(Vec::with_capacity(USUAL_ANSWER));
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(body))
}
