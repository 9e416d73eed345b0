//! In `dev`: a phone to play, and a WeChat to spoil.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Console;
use super::page::{self, Page, Place};
use crate::causes::with_causes;
use crate::clock;

/// How many phones there are, and how many answers are shown.
const PHONES: usize = 8;
const ANSWERS: usize = 24;

/// How much of an answer is shown, in bytes.
const LONGEST: usize = 4096;

/// The phones of `dev`: they ask the simulated WeChat and this server, as real ones do.
pub struct Phone {
    /// Where they are, `http://127.0.0.1:8082`.
    wechat: String,
    server: String,
    http: Client,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The latest first.
    phones: VecDeque<LoggedIn>,
    answers: VecDeque<Answer>,
    /// The fault that WeChat has today.
    fault: Fault,
}

/// A phone that is logged in.
#[derive(Clone)]
struct LoggedIn {
    openid: String,
    nickname: String,
    token: String,
}

/// What was asked and answered.
#[derive(Clone)]
struct Answer {
    at: i64,
    asked: String,
    status: u16,
    is_good: bool,
    body: String,
}

/// What is wrong with WeChat.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    #[default]
    Well,
    Slow,
    Busy,
    Down,
    Secret,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Well, Self::Slow, Self::Busy, Self::Down, Self::Secret];

    /// As `/sim/faults` wants it.
    fn to_json(self) -> Value {
        match self {
            Self::Well => json!({}),
            Self::Slow => json!({ "latency_ms": 2000 }),
            Self::Busy => json!({ "errcode": -1 }),
            Self::Down => json!({ "drop": true }),
            Self::Secret => json!({ "errcode": 40125 }),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Down => "down",
            Self::Secret => "secret",
        }
    }

    const fn word(self, page: &Page) -> &'static str {
        match self {
            Self::Well => page.t.well,
            Self::Slow => page.t.slow,
            Self::Busy => page.t.busy,
            Self::Down => page.t.down,
            Self::Secret => page.t.wrong_secret,
        }
    }
}

/// What a button of the page does.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Act {
    /// Without an openid as somebody new.
    Login {
        openid: String,
    },
    Check {
        openid: String,
    },
    Data {
        openid: String,
    },
    Number {
        openid: String,
    },
    Logout {
        openid: String,
    },
    Weather {
        fault: Fault,
    },
}

#[derive(Template)]
#[template(path = "phone.html")]
struct Shown {
    page: Page,
    phones: Vec<LoggedIn>,
    answers: Vec<(String, Answer)>,
    faults: Vec<(&'static str, &'static str, bool)>,
}

impl Phone {
    /// Makes phones that ask these two.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub fn new(wechat: String, server: String) -> reqwest::Result<Self> {
        let http = Client::builder().no_proxy().build()?;
        Ok(Self { wechat, server, http, seen: Mutex::default() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logged_in(&self, openid: &str) -> Option<LoggedIn> {
        self.seen().phones.iter().find(|phone| phone.openid == openid).cloned()
    }

    async fn act(&self, act: Act) {
        match act {
            Act::Login { openid } => drop(self.log_in(&openid, None).await),
            Act::Check { openid } => {
                if let Some(LoggedIn { token, .. }) = self.logged_in(&openid) {
                    self.ask_server(Method::GET, "/v1/session", Some(&token), None).await;
                }
            }
            Act::Data { openid } => {
                let data = json!({ "steps": 6543, "openId": openid });
                self.send(&openid, &data).await;
            }
            Act::Number { openid } => self.press_phone_button(&openid).await,
            Act::Logout { openid } => {
                if let Some(LoggedIn { token, .. }) = self.logged_in(&openid) {
                    self.ask_server(Method::DELETE, "/v1/session", Some(&token), None).await;
                    self.seen().phones.retain(|phone| phone.openid != openid);
                }
            }
            Act::Weather { fault } => {
                let faults = fault.to_json();
                let set = self.ask(Method::POST, &self.wechat, "/sim/faults", None, Some(&faults));
                if set.await.is_some() {
                    self.seen().fault = fault;
                }
            }
        }
    }

    /// `wx.login()`, and the code sent to the server; with data, which the phone encrypts.
    async fn log_in(&self, openid: &str, data: Option<&Value>) -> Option<(Value, String)> {
        let mut wanted = json!({});
        if !openid.is_empty() {
            wanted["openid"] = openid.into();
        }
        if let Some(data) = data {
            wanted["data"] = data.clone();
        }
        let phone = self.ask(Method::POST, &self.wechat, "/sim/login", None, Some(&wanted)).await?;
        let mut body = json!({ "code": phone["code"] });
        if data.is_none() {
            body["encryptedData"] = phone["encryptedData"].clone();
            body["iv"] = phone["iv"].clone();
        }
        let session = self.ask_server(Method::POST, "/v1/login", None, Some(&body)).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let token = text(&session["token"]);
        let logged_in = LoggedIn {
            openid: text(&session["openid"]),
            nickname: text(&session["profile"]["nickName"]),
            token: token.clone(),
        };
        let mut seen = self.seen();
        seen.phones.retain(|other| other.openid != logged_in.openid);
        seen.phones.push_front(logged_in);
        seen.phones.truncate(PHONES);
        Some((phone, token))
    }

    /// Encrypts data as a phone does, and has the server open it: the key is that of a new login.
    async fn send(&self, openid: &str, data: &Value) {
        if let Some((phone, token)) = self.log_in(openid, Some(data)).await {
            let body = json!({ "encryptedData": phone["encryptedData"], "iv": phone["iv"] });
            self.ask_server(Method::POST, "/v1/decrypt", Some(&token), Some(&body)).await;
        }
    }

    /// The phone button of the mini program, and its code sent to the server.
    async fn press_phone_button(&self, openid: &str) {
        let Some(LoggedIn { token, .. }) = self.logged_in(openid) else { return };
        let wanted = json!({ "openid": openid });
        let pressed = self.ask(Method::POST, &self.wechat, "/sim/phone", None, Some(&wanted));
        if let Some(pressed) = pressed.await {
            let body = json!({ "code": pressed["code"] });
            self.ask_server(Method::POST, "/v1/phone", Some(&token), Some(&body)).await;
        }
    }

    async fn ask_server(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Value> {
        self.ask(method, &self.server, path, token, body).await
    }

    /// Asks, and remembers what was answered; `None` where it was no success.
    #[expect(clippy::disallowed_methods, reason = "not to WeChat, and no secret is in the URL")]
    async fn ask(
        &self,
        method: Method,
        host: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Value> {
        let asked = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{host}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let (status, body) = match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, with_causes(&error)),
        };
        let is_good = (200..300).contains(&status);
        let value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let body = shortened(&value, body);
        let answer = Answer { at: clock::now(), asked, status, is_good, body };
        let mut seen = self.seen();
        seen.answers.push_front(answer);
        seen.answers.truncate(ANSWERS);
        is_good.then_some(value)
    }
}

/// An answer as a person reads it.
fn shortened(value: &Value, text: String) -> String {
    let mut text = match value {
        Value::Null => text,
        value => serde_json::to_string_pretty(value).unwrap_or(text),
    };
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

pub async fn show(State(console): State<Arc<Console>>, page: Page) -> Response {
    let Some(phone) = &console.phone else { return page::not_found(page).await };
    let (phones, answers, fault) = {
        let seen = phone.seen();
        (seen.phones.clone().into(), seen.answers.clone(), seen.fault)
    };
    let answers = answers.into_iter().map(|answer| (page.format("%H:%M:%S", answer.at), answer));
    let faults = Fault::ALL.map(|other| (other.name(), other.word(&page), other == fault)).to_vec();
    page::show(&Shown { phones, answers: answers.collect(), faults, page })
}

pub async fn act(State(console): State<Arc<Console>>, Form(act): Form<Act>) -> Response {
    if let Some(phone) = &console.phone {
        phone.act(act).await;
    }
    Redirect::to("/phone").into_response()
}
