//! The client of WeChat's API: the one place that sends HTTP to WeChat.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, histogram_opts, opts};
use reqwest::{Proxy, Response, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep, timeout_at};

use tracing::{error, info};
use zeroize::Zeroizing;

use super::breaker::{Breaker, Turn};
use crate::causes::with_causes;
use crate::json::Value;
use crate::random;
use crate::session::{App, AppId, OpenId, SessionId};

/// WeChat's own address, the default of `wechat.base_url`.
pub const DEFAULT_BASE_URL: &str = "https://api.weixin.qq.com";

/// All that a login may take of WeChat's time. The server SDKs wait thirty seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a host may take to accept a connection before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The pauses before a request is repeated because WeChat was busy (errcode -1).
const BUSY_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// WeChat's answers are a few hundred bytes.
const USUAL_ANSWER: usize = 2 * 1024;
const MAX_ANSWER: usize = 64 * 1024;

/// What is said of a web page that came as an answer: WeChat's API has none.
const PAGE: &str = "is a web page, with HTTP status 200: something on the way answered in its place (a proxy, a \
                    portal, a wrong `wechat.base_url`)";

/// How to reach WeChat.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hosts to try, in order; the next one when one cannot be reached.
    pub base_urls: Vec<Url>,
    /// How long one attempt may take.
    pub timeout: Duration,
    pub proxy: Option<Url>,
}

/// A client with its own kept-alive connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
    breaker: Arc<Mutex<Breaker>>,
    numbers: Numbers,
    refused: Arc<Mutex<BTreeMap<AppId, u64>>>,
}

/// What WeChat was asked, in numbers. Clones are the same.
#[derive(Debug, Clone)]
pub struct Numbers {
    pub requests: IntCounterVec,
    pub durations: HistogramVec,
}

/// WeChat answers within tenths of a second where all is well, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Numbers {
    fn new() -> prometheus::Result<Self> {
        let help =
            "Requests to WeChat's API; an errcode of 0 is success, a word no answer of WeChat's.";
        let requests = opts!("mina_auth_wechat_requests_total", help);
        let help = "How long WeChat took to answer.";
        let durations =
            histogram_opts!("mina_auth_wechat_request_duration_seconds", help, BUCKETS.into());
        Ok(Self {
            requests: IntCounterVec::new(requests, &["app", "api", "errcode"])?,
            durations: HistogramVec::new(durations, &["api"])?,
        })
    }
}

/// What WeChat says of a code. WeChat: code2Session.
#[derive(Debug, Clone)]
pub struct Identity {
    pub open_id: OpenId,
    pub union_id: Option<String>,
    pub session_key: SecretString,
    /// Seconds; absent since 2017 for most accounts.
    pub expires_in: Option<u64>,
}

/// Why WeChat did not say who a code is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No host could be reached, or none answered in time.
    #[error("WeChat cannot be reached: {0}")]
    Unreachable(String),
    /// It could not be reached time after time, and is left alone for the moment: nothing was sent.
    #[error("WeChat cannot be reached; not tried again for a few seconds")]
    LeftAlone,
    #[error("WeChat answered with HTTP status {0}")]
    Status(u16),
    /// The same, and what came is a web page: WeChat's API has none.
    #[error(
        "WeChat answered with HTTP status {0} and a web page: something on the way answered in its          place (a proxy, a portal, a wrong `wechat.base_url`)"
    )]
    Page(u16),
    #[error("WeChat's answer {0}")]
    Malformed(&'static str),
    /// The code is unknown, expired or used: errcode 40029 or 40163.
    #[error("WeChat says {0}")]
    Code(WeChatError),
    #[error("WeChat says {0}")]
    Refused(WeChatError),
}

/// An errcode and errmsg of WeChat's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("errcode {errcode}: {errmsg}")]
pub struct WeChatError {
    pub errcode: i64,
    /// Ends in `rid: …`, which WeChat's support asks for.
    pub errmsg: String,
}

impl ExchangeError {
    /// Tells whether WeChat, or the way to it, is down.
    fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Status(500..) | Self::Page(500..))
    }
}

impl WeChatError {
    /// Tells whether the operator must act: the app or its secret is wrong, or WeChat froze it.
    #[must_use]
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self.errcode, 40013 | 40125 | 40164 | 40243 | 41002 | 41004)
    }

    /// What it means to the operator.
    fn explain(&self) -> String {
        let meaning = match self.errcode {
            40013 | 41002 => "WeChat does not know this appid",
            40125 | 41004 => "the secret is not this app's; it may have been reset",
            40243 => "the AppSecret is frozen; unfreeze it on mp.weixin.qq.com",
            40164 => "this machine's IP is not on the app's allow-list",
            -1 => "WeChat is busy; try again",
            45011 => "too many requests; try again in a minute",
            _ => "WeChat refuses",
        };
        format!("{meaning} ({self})")
    }
}

impl Client {
    /// Makes a client. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// When the proxy cannot be used or no TLS is to be had.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            // Nothing of the environment decides where the AppSecret goes.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout));
        if let Some(proxy) = &settings.proxy {
            builder = builder.proxy(Proxy::all(proxy.clone()).map_err(|e| with_causes(&e))?);
        }
        let http = builder.build().map_err(|e| with_causes(&e))?;
        let breaker = Arc::new(Mutex::new(Breaker::new(Instant::now())));
        let numbers = Numbers::new().map_err(|e| with_causes(&e))?;
        Ok(Self { http, settings, breaker, numbers, refused: Arc::default() })
    }

    /// What WeChat was asked.
    #[must_use]
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// How often WeChat has refused each app itself at a login, since the start.
    #[must_use]
    pub fn refused_apps(&self) -> BTreeMap<AppId, u64> {
        self.refused().clone()
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<AppId, u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether WeChat could not be reached and is left alone for the moment.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.breaker().is_open()
    }

    /// Asks WeChat who a code of `wx.login()` is. A code works once.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`], which holds no secret.
    pub async fn code2session(&self, app: &App, code: &str) -> Result<Identity, ExchangeError> {
        let outcome = self.exchange("code2session", app, code).await;
        if let Err(ExchangeError::Refused(error)) = &outcome
            && error.is_misconfiguration()
        {
            *self.refused().entry(app.appid.clone()).or_default() += 1;
        }
        outcome
    }

    /// Asks WeChat whether it takes an app's appid and secret, with a code that is none: that it is
    /// invalid is the answer to a right secret. What is tried here is no login, and is counted apart.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub async fn check_secret(&self, app: &App) -> Result<(), String> {
        let no_code = SessionId::new(random::bytes());
        match self.exchange("check", app, no_code.as_str()).await {
            Ok(_) | Err(ExchangeError::Code(_)) => Ok(()),
            Err(ExchangeError::Refused(error)) => Err(error.explain()),
            Err(error) => {
                Err(format!("{error}; check the network, `wechat.base_url` and `wechat.proxy`"))
            }
        }
    }

    /// `api` is what the requests are counted as.
    async fn exchange(&self, api: &str, app: &App, code: &str) -> Result<Identity, ExchangeError> {
        let deadline = Instant::now() + DEADLINE;
        let mut pauses = BUSY_PAUSES.iter();
        loop {
            let query = [
                ("appid", app.appid.as_str()),
                ("secret", app.secret.expose_secret()),
                ("js_code", code),
                ("grant_type", "authorization_code"),
            ];
            let started = Instant::now();
            let answer = self.get("/sns/jscode2session", &query, deadline).await;
            let outcome = answer.and_then(|answer| read_identity(&answer, app, code));
            self.count(api, app, started, outcome.as_ref().err());
            match (outcome, pauses.next()) {
                (Err(ExchangeError::Refused(WeChatError { errcode: -1, .. })), Some(pause)) => {
                    sleep(*pause).await;
                }
                (outcome, _) => return outcome,
            }
        }
    }

    /// Counts a request that was sent.
    fn count(&self, api: &str, app: &App, started: Instant, error: Option<&ExchangeError>) {
        let errcode = match error {
            None => Cow::Borrowed("0"),
            Some(ExchangeError::LeftAlone) => return,
            Some(ExchangeError::Unreachable(_)) => "unreachable".into(),
            Some(ExchangeError::Status(_) | ExchangeError::Page(_)) => "status".into(),
            Some(ExchangeError::Malformed(_)) => "malformed".into(),
            Some(ExchangeError::Code(error) | ExchangeError::Refused(error)) => {
                error.errcode.to_string().into()
            }
        };
        let labels = [app.appid.as_str(), api, &*errcode];
        self.numbers.requests.with_label_values(&labels).inc();
        let took = started.elapsed().as_secs_f64();
        self.numbers.durations.with_label_values(&[api]).observe(took);
    }

    /// Gets a path from WeChat, unless the breaker is open.
    async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let leave = self.breaker().leave(Instant::now()).ok_or(ExchangeError::LeftAlone)?;
        let outcome = self.get_from_any(path, query, deadline).await;
        // Whatever WeChat says, an errcode too, is an answer.
        let failure = outcome.as_ref().err().filter(|error| error.is_outage());
        match (self.breaker().ended(leave, failure.is_none(), Instant::now()), failure) {
            (Some(Turn::Opened), Some(cause)) => {
                error!(%cause, "WeChat cannot be reached: logins fail at once, but for a few trials");
            }
            (Some(Turn::Closed), _) => info!("WeChat can be reached again"),
            _ => {}
        }
        outcome
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets a path from the first host that can be reached.
    async fn get_from_any(
        &self,
        path: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let mut unreachable = Vec::new();
        for base in &self.settings.base_urls {
            match self.get_from(base, path, query, deadline).await {
                Err(Attempt::Unreachable(reason)) => unreachable.push(reason),
                Err(Attempt::Failed(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(ExchangeError::Unreachable(unreachable.join("; ")))
    }

    /// Sends one request. No other function may: reqwest's errors print the URL, and the
    /// AppSecret is in it.
    #[expect(clippy::disallowed_methods, reason = "the one place, and its errors lose their URL")]
    async fn get_from(
        &self,
        base: &Url,
        path: &str,
        query: &[(&str, &str)],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Attempt> {
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        let host = base.host_str().unwrap_or_default();
        let attempt = async {
            let mut response = self.http.get(url).send().await?;
            let body = read_body(&mut response).await?;
            Ok::<_, reqwest::Error>((response.status().as_u16(), body))
        };
        let latest = deadline.min(Instant::now() + self.settings.timeout);
        match timeout_at(latest, attempt).await {
            Ok(Ok((200, Some(body)))) => Ok(body),
            Ok(Ok((200, None))) => Err(Attempt::Failed(ExchangeError::Malformed("is too long"))),
            Ok(Ok((status, body))) => {
                let is_page = body.is_some_and(|body| is_page(&body));
                Err(Attempt::Failed(if is_page {
                    ExchangeError::Page(status)
                } else {
                    ExchangeError::Status(status)
                }))
            }
            Ok(Err(error)) => {
                let unsent = error.is_connect();
                let reason = format!("{host}: {}", with_causes(&error.without_url()));
                // Only a request that was never sent may be sent elsewhere: a code works once.
                Err(if unsent {
                    Attempt::Unreachable(reason)
                } else {
                    Attempt::Failed(ExchangeError::Unreachable(reason))
                })
            }
            Err(_) => {
                let reason = format!("{host}: no answer in time");
                Err(Attempt::Failed(ExchangeError::Unreachable(reason)))
            }
        }
    }
}

/// How one attempt went wrong.
enum Attempt {
    /// The request was not sent: another host may be tried.
    Unreachable(String),
    Failed(ExchangeError),
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

/// What some proxies put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn without_mark(answer: &[u8]) -> &[u8] {
    answer.strip_prefix(BYTE_ORDER_MARK).unwrap_or(answer)
}

/// Tells whether an answer is a web page, such as those of portals and proxies.
fn is_page(answer: &[u8]) -> bool {
    without_mark(answer).trim_ascii_start().starts_with(b"<")
}

/// A text that is to be UTF-8 and is not: what can be read of it. In GBK a backslash may be half
/// of a character.
fn readable(answer: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * answer.len()));
    let mut after_invalid = false;
    for chunk in answer.utf8_chunks() {
        let valid = chunk.valid();
        text.push_str(valid.strip_prefix('\\').filter(|_| after_invalid).unwrap_or(valid));
        after_invalid = !chunk.invalid().is_empty();
        if after_invalid {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// Reads WeChat's answer by names: it has had more fields and fewer over the years.
///
/// No part of it is repeated but an errcode and its errmsg: there may be a session_key in it.
fn read_identity(answer: &[u8], app: &App, code: &str) -> Result<Identity, ExchangeError> {
    let answer = without_mark(answer);
    if is_page(answer) {
        return Err(ExchangeError::Malformed(PAGE));
    }
    if std::str::from_utf8(answer).is_err() {
        // An errmsg may be in any charset; the errcode beside it can be read all the same.
        let read = read_identity(readable(answer).as_bytes(), app, code);
        return read.and(Err(ExchangeError::Malformed("is not UTF-8")));
    }
    let answer = Value::parse(answer).map_err(|_| ExchangeError::Malformed("is not JSON"))?;
    let scalar = |name| answer.get(name).and_then(Value::as_scalar);
    let errcode = scalar("errcode").map_or(Ok(0), |errcode| errcode.parse::<i64>());
    let errcode =
        errcode.map_err(|_| ExchangeError::Malformed("has an errcode that is no number"))?;
    if errcode != 0 {
        let errmsg = scalar("errmsg").unwrap_or_default();
        // It goes into the log and the answer, so it must not repeat what WeChat was sent.
        let mut errmsg = errmsg.replace(app.secret.expose_secret(), "[secret]");
        if !code.is_empty() {
            errmsg = errmsg.replace(code, "[code]");
        }
        let error = WeChatError { errcode, errmsg };
        let is_code = matches!(errcode, 40029 | 40163);
        return Err(if is_code {
            ExchangeError::Code(error)
        } else {
            ExchangeError::Refused(error)
        });
    }
    let text = |name| scalar(name).filter(|text| !text.is_empty());
    Ok(Identity {
        open_id: text("openid").ok_or(ExchangeError::Malformed("has no openid"))?.into(),
        session_key: text("session_key")
            .ok_or(ExchangeError::Malformed("has no session_key"))?
            .into_owned()
            .into(),
        union_id: text("unionid").map(Into::into),
        expires_in: scalar("expires_in").and_then(|seconds| seconds.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &[u8]) -> Result<Identity, ExchangeError> {
        let app = App {
            appid: "wx1".into(),
            secret: "secret".into(),
            lifetime: crate::session::Lifetime::default(),
            is_default: true,
        };
        read_identity(answer, &app, "code")
    }

    #[test]
    fn an_answer_may_have_a_byte_order_mark() {
        let answer = "\u{feff}{\"openid\":\"o\",\"session_key\":\"k\"}";
        assert_eq!(read(answer.as_bytes()).unwrap().open_id.as_str(), "o");
    }

    #[test]
    fn an_errcode_is_read_whatever_charset_its_errmsg_has() {
        // GBK; the second byte of the last character is a backslash.
        let refused = b"{\"errcode\":40125,\"errmsg\":\"\xce\xde\xd0\xa7\x81\\\"}";
        let Err(ExchangeError::Refused(error)) = read(refused) else { panic!("it was not read") };
        assert_eq!(error.errcode, 40125);
        // An identity is never guessed.
        let identity = b"{\"openid\":\"o\xff\",\"session_key\":\"k\"}";
        assert_eq!(read(identity).unwrap_err(), ExchangeError::Malformed("is not UTF-8"));
    }

    #[test]
    fn a_web_page_is_told_from_an_answer() {
        for page in ["<html>", "\u{feff}\r\n <!DOCTYPE html><script>{}"] {
            let error = read(page.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is a web page, with HTTP status 200"), "{error}");
        }
    }
}
