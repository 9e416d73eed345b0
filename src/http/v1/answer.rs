//! Answers of the plain API, written the same by both lanes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use secrecy::ExposeSecret as _;

use super::problem::Problem;
use crate::clock;
use crate::json;
use crate::net::lane::{Reply, Sent};
use crate::operations::outcome::LoggedIn;
use crate::store::cached::Known;
use crate::wechat::users::PhoneNumber;

/// What the Wafer client SDK looks for in an answer.
const MAGIC: &str = "F2C224D4-2BCE-4C64-AF9F-A6D872000D1A";

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// Forward auth: who it is.
    Identity(Arc<Known>),
    /// Forward auth: nobody, and that is all right.
    Anonymous,
    /// A JSON object.
    Json(String),
    /// The session that was asked for.
    Session(Arc<Known>),
    LoggedOut,
    Problem(Problem),
    /// Forward auth: a problem that makes the Wafer client SDK log in again.
    LogInAgain(Problem),
    /// A method that is not for this path, and those that are.
    NotAllowed(&'static str),
}

impl Answer {
    /// The answer to a login.
    #[must_use]
    pub fn logged_in(login: &LoggedIn) -> Self {
        let mut out = String::with_capacity(256 + login.profile.len());
        out.push_str(r#"{"token":"#);
        json::push_string(&mut out, &[login.id.as_str(), login.skey.as_str()].join("."));
        out.push_str(r#","expires_in":"#);
        out.push_str(itoa::Buffer::new().format(login.duration));
        out.push_str(if login.is_new { r#","is_new":true,"# } else { r#","is_new":false,"# });
        push_identity(
            &mut out,
            login.appid.as_str(),
            login.open_id.as_str(),
            login.union_id.as_deref(),
        );
        out.push_str(r#","profile":"#);
        out.push_str(&login.profile);
        out.push('}');
        Self::Json(out)
    }

    /// The answer to a decryption.
    #[must_use]
    pub fn decrypted(object: &str) -> Self {
        Self::Json(["{\"data\":", object, "}"].concat())
    }

    /// The answer to a code of the phone button, with the names that WeChat has for it.
    #[must_use]
    pub fn phone(number: &PhoneNumber) -> Self {
        let members = [
            ("{\"phoneNumber\":", number.whole.expose_secret()),
            (",\"purePhoneNumber\":", number.pure.expose_secret()),
            (",\"countryCode\":", &number.country_code),
        ];
        let mut out = String::new();
        for (name, text) in members {
            out.push_str(name);
            json::push_string(&mut out, text);
        }
        out.push('}');
        Self::Json(out)
    }

    /// What a server SDK of Wafer answers a login with.
    #[must_use]
    pub fn wafer_session(login: &LoggedIn) -> Self {
        let mut out = format!("{{\"{MAGIC}\":1,\"session\":{{\"id\":");
        json::push_string(&mut out, login.id.as_str());
        out.push_str(",\"skey\":");
        json::push_string(&mut out, login.skey.as_str());
        out.push_str("}}");
        Self::Json(out)
    }

    /// What a server SDK of Wafer answers a failed login with.
    #[must_use]
    pub fn wafer_failure(problem: &Problem) -> Self {
        Self::Json(wafer_error("ERR_LOGIN_FAILED", problem))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Identity(_) | Self::Anonymous | Self::Json(_) | Self::Session(_) => {
                StatusCode::OK
            }
            Self::LoggedOut => StatusCode::NO_CONTENT,
            Self::Problem(problem) | Self::LogInAgain(problem) => problem.status,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Gives each header to `add`, but for those that every answer has.
    fn headers(&self, mut add: impl FnMut(&'static str, &str)) {
        match self {
            Self::Identity(known) => {
                let open_id = known.open_id();
                add("x-wx-openid", open_id);
                add("x-wx-appid", known.app().appid.as_str());
                if let Some(union_id) = known.union_id() {
                    add("x-wx-unionid", union_id);
                }
                add("x-wx-source", "wx_client");
                add("remote-user", open_id);
            }
            Self::Anonymous | Self::LoggedOut => {}
            Self::Json(_) | Self::Session(_) => {
                add("content-type", "application/json; charset=utf-8");
            }
            Self::Problem(problem) | Self::LogInAgain(problem) => {
                let is_problem = matches!(self, Self::Problem(_));
                let json = "application/json; charset=utf-8";
                add("content-type", if is_problem { "application/problem+json" } else { json });
                if let Some(challenge) = problem.challenge {
                    add("www-authenticate", challenge);
                }
                if let Some(seconds) = problem.retry_after {
                    add("retry-after", itoa::Buffer::new().format(seconds));
                }
            }
            Self::NotAllowed(methods) => {
                add("content-type", "application/problem+json");
                add("allow", methods);
            }
        }
    }

    /// Gives the body, in parts, to `use_it`. `at` is when the answer was made.
    fn body<T>(&self, at: SystemTime, use_it: impl FnOnce(&[&str]) -> T) -> T {
        match self {
            Self::Identity(_) | Self::Anonymous | Self::LoggedOut => use_it(&[]),
            Self::Json(json) => use_it(&[json]),
            Self::Session(known) => {
                let [head, tail] = session(known, at);
                use_it(&known.profile_between(&head, &tail))
            }
            Self::Problem(problem) => use_it(&[&problem.json()]),
            Self::LogInAgain(problem) => use_it(&[&wafer_error("ERR_INVALID_SESSION", problem)]),
            Self::NotAllowed(_) => use_it(&[NOT_ALLOWED]),
        }
    }

    /// Writes the answer in the express lane.
    #[must_use]
    pub fn write(&self, mut reply: Reply<'_>, at: SystemTime) -> Sent {
        reply.status(self.status());
        self.headers(|name, value| reply.header(name, value));
        reply.header("cache-control", "no-store");
        self.body(at, |parts| reply.end(at, parts))
    }

    /// The answer for hyper to write.
    #[must_use]
    pub fn into_response(self, at: SystemTime, is_head: bool) -> Response<Full<Bytes>> {
        let body = self.body(at, |parts| parts.concat());
        let length = body.len();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        self.headers(|name, value| {
            // What cannot stand in a header was sorted out before.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        });
        headers.append("cache-control", HeaderValue::from_static("no-store"));
        if is_head && length == 0 {
            // hyper leaves this one out, and nginx then gives the connection up.
            headers.append("content-length", length.into());
        }
        response
    }
}

/// What a method that is not for the path is answered with.
const NOT_ALLOWED: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"this path has other methods, see `Allow`"}"#;

/// An answer for the Wafer client SDK.
fn wafer_error(error: &str, problem: &Problem) -> String {
    let mut out = format!("{{\"{MAGIC}\":1,\"error\":\"{error}\",\"message\":");
    json::push_string(&mut out, &problem.detail);
    if let Some((code, _)) = problem.code {
        out.push_str(",\"code\":");
        out.push_str(itoa::Buffer::new().format(code));
    }
    out.push('}');
    out
}

fn push_identity(out: &mut String, appid: &str, open_id: &str, union_id: Option<&str>) {
    let ids = [("appid", Some(appid)), ("openid", Some(open_id)), ("unionid", union_id)];
    let mut separator = "";
    for (name, id) in ids.into_iter().filter_map(|(name, id)| Some((name, id?))) {
        out.push_str(separator);
        separator = ",";
        json::push_string(out, name);
        out.push(':');
        json::push_string(out, id);
    }
}

/// What stands before the profile in the answer about a session, and what after it.
fn session(known: &Known, at: SystemTime) -> [String; 2] {
    let mut head = String::with_capacity(128);
    head.push('{');
    push_identity(&mut head, known.app().appid.as_str(), known.open_id(), known.union_id());
    head.push_str(r#","profile":"#);
    let now = clock::seconds(at);
    let mut tail = String::with_capacity(128);
    let times = [
        (r#","created_at":""#, known.created()),
        (r#"","last_visit_at":""#, now),
        (r#"","expires_at":""#, known.expires(now)),
    ];
    for (name, time) in times {
        let since = Duration::from_secs(u64::try_from(time).unwrap_or_default());
        let _ = write!(tail, "{name}{}", humantime::format_rfc3339_seconds(UNIX_EPOCH + since));
    }
    tail.push_str("\"}");
    [head, tail]
}
