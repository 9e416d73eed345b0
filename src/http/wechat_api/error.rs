//! What goes wrong, as WeChat would say it: its SDKs read an errcode and nothing else.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::http::body::AnswerBody;
use crate::http::v1::problem::{self, NO_WECHAT_KEY, Problem};
use crate::json;
use crate::operations::failure::Failure;
use crate::wechat::client::ExchangeError;

/// WeChat: the API is not among those that the caller may use. SDKs take it as it is, where they
/// would ask for another token after 40001.
const NOT_ALLOWED: i64 = 48001;
const NO_APP: i64 = 40013;
const BAD_PATH: i64 = 40066;
const BAD_REQUEST: i64 = 47001;
const TOO_LONG: i64 = 45001;
const TOO_MANY: i64 = 45011;
/// WeChat: busy. SDKs try again, so it says that nothing was done.
const BUSY: i64 = -1;
/// None of WeChat's, so that nobody tries again by himself.
const UNANSWERED: i64 = 1005;
const NONSENSE: i64 = 1007;

/// Why a request to this surface failed.
#[derive(Debug, Clone)]
pub enum Error {
    NoKey,
    /// The path is none of WeChat's, and why.
    Path(&'static str),
    /// The path is one, and is not relayed.
    NotRelayed(&'static str),
    TooLong,
    /// The body broke off, or there is no room for it.
    NoBody(&'static str),
    /// What the plain API says in the same way.
    Plain(problem::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Plain(failure.into())
    }
}

impl From<problem::Error> for Error {
    fn from(error: problem::Error) -> Self {
        Self::Plain(error)
    }
}

impl From<Error> for problem::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NoKey => Self::NoWeChatKey,
            Error::Path(text) => Self::Http(StatusCode::BAD_REQUEST, text),
            Error::NotRelayed(text) => Self::Http(StatusCode::FORBIDDEN, text),
            Error::TooLong => Self::Http(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is longer than `wechat_api.max_body`",
            ),
            Error::NoBody(text) => Self::Http(StatusCode::SERVICE_UNAVAILABLE, text),
            Error::Plain(error) => error,
        }
    }
}

impl Error {
    /// What the plain API says of it.
    pub fn problem(&self) -> Problem {
        problem::Error::from(self.clone()).problem()
    }

    /// The answer in WeChat's shape.
    pub fn as_wechat_says_it(&self) -> Response<AnswerBody> {
        let (errcode, errmsg) = self.errcode();
        let mut body = format!(r#"{{"errcode":{errcode},"errmsg":"#);
        json::push_string(&mut body, &errmsg);
        body.push('}');
        json_answer(body)
    }

    fn errcode(&self) -> (i64, Cow<'static, str>) {
        let failure = match self {
            Self::NoKey => return (NOT_ALLOWED, NO_WECHAT_KEY.into()),
            Self::Path(text) => return (BAD_PATH, (*text).into()),
            Self::NotRelayed(text) => return (NOT_ALLOWED, (*text).into()),
            Self::TooLong => {
                return (TOO_LONG, "the body is longer than `wechat_api.max_body`".into());
            }
            Self::NoBody(text) => return (BUSY, (*text).into()),
            Self::Plain(problem::Error::Operation(failure)) => failure,
            Self::Plain(error) => return (BAD_REQUEST, error.problem().detail),
        };
        let detail = || self.problem().detail;
        match failure {
            Failure::NoApp(_) => (NO_APP, detail()),
            Failure::NoToken(error) => {
                let errcode = error.wechat().map_or(BUSY, |error| error.errcode);
                (errcode, format!("there is no access token: {}", error.advice()).into())
            }
            Failure::Call(ExchangeError::Unreachable(_) | ExchangeError::LeftAlone) => {
                (BUSY, "WeChat cannot be reached: nothing was done".into())
            }
            Failure::Call(ExchangeError::Malformed(_)) => (NONSENSE, detail()),
            Failure::Call(_) => {
                let text = "WeChat did not answer: whether it did what it was asked is not known";
                (UNANSWERED, text.into())
            }
            Failure::TooManyCalls => {
                (TOO_MANY, "too many calls at once: see `wechat_api.requests`".into())
            }
            _ => (BUSY, detail()),
        }
    }
}

/// An answer of JSON, with status 200.
pub fn json_answer(body: String) -> Response<AnswerBody> {
    let mut response = Response::new(Full::from(Bytes::from(body)).into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
