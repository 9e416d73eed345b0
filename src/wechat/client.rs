//! The client of WeChat's API.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, histogram_opts, opts};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep};

use super::answer;
use super::hosts::{Hosts, Request};
use super::token::Tokens;
use crate::causes::with_causes;
use crate::random;
use crate::session::{App, AppId, OpenId, SessionId};

pub use super::error::{ExchangeError, WeChatError};
pub use super::hosts::Settings;

/// WeChat's own address, the default of `wechat.base_url`.
pub const DEFAULT_BASE_URL: &str = "https://api.weixin.qq.com";

/// All that a login may take of WeChat's time. The server SDKs wait thirty seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// The pauses before a request is repeated because WeChat was busy (errcode -1).
pub(super) const BUSY_PAUSES: [Duration; 2] =
    [Duration::from_millis(100), Duration::from_millis(400)];

/// A client with its own kept-alive connections. Clones are the same.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) hosts: Arc<Hosts>,
    numbers: Numbers,
    refused: Arc<Mutex<BTreeMap<AppId, Refusals>>>,
    pub(super) tokens: Arc<Tokens>,
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

/// How often WeChat refused an app itself, and whether it did so last.
#[derive(Debug, Default)]
struct Refusals {
    times: u64,
    is_now: bool,
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

impl Client {
    /// Makes a client. It connects when it is first used.
    ///
    /// # Errors
    ///
    /// When the proxy cannot be used or no TLS is to be had.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let hosts = Arc::new(Hosts::new(settings)?);
        let numbers = Numbers::new().map_err(|e| with_causes(&e))?;
        Ok(Self { hosts, numbers, refused: Arc::default(), tokens: Arc::default() })
    }

    /// What WeChat was asked.
    #[must_use]
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// How often WeChat has refused each app itself at a login, since the start.
    #[must_use]
    pub fn refused_apps(&self) -> BTreeMap<AppId, u64> {
        let refused = self.refused();
        refused.iter().map(|(app, refusals)| (app.clone(), refusals.times)).collect()
    }

    /// An app that WeChat refused when it was last asked for a login.
    #[must_use]
    pub fn refused_now(&self) -> Option<AppId> {
        let refused = self.refused();
        refused.iter().find(|(_, refusals)| refusals.is_now).map(|(app, _)| app.clone())
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<AppId, Refusals>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether WeChat could not be reached and is left alone for the moment.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.hosts.is_left_alone()
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
            let mut refused = self.refused();
            let refusals = refused.entry(app.appid.clone()).or_default();
            refusals.times += 1;
            refusals.is_now = true;
        } else if outcome.is_ok()
            && let Some(refusals) = self.refused().get_mut(&app.appid)
        {
            refusals.is_now = false;
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
            let request = Request::get("/sns/jscode2session", &query);
            let answer = self.hosts.ask(&request, deadline).await;
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
    pub(super) fn count(
        &self,
        api: &str,
        app: &App,
        started: Instant,
        error: Option<&ExchangeError>,
    ) {
        let errcode = match error {
            None => Cow::Borrowed("0"),
            Some(ExchangeError::LeftAlone) => return,
            Some(ExchangeError::Unreachable(_) | ExchangeError::Unanswered(_)) => {
                "unreachable".into()
            }
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
}

/// Reads WeChat's answer by names: it has had more fields and fewer over the years.
fn read_identity(answer: &[u8], app: &App, code: &str) -> Result<Identity, ExchangeError> {
    let hidden = [(app.secret.expose_secret(), "[secret]"), (code, "[code]")];
    let answer = answer::read(answer, &hidden)?;
    let text = |name| answer::text(&answer, name);
    Ok(Identity {
        open_id: text("openid").ok_or(ExchangeError::Malformed("has no openid"))?.into(),
        session_key: text("session_key")
            .ok_or(ExchangeError::Malformed("has no session_key"))?
            .into_owned()
            .into(),
        union_id: text("unionid").map(Into::into),
        expires_in: answer::scalar(&answer, "expires_in").and_then(|seconds| seconds.parse().ok()),
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
