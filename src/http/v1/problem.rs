//! What goes wrong, as RFC 9457 has it.

use std::borrow::Cow;
use std::fmt::Write as _;

use hyper::StatusCode;

use crate::json;
use crate::operations::failure::{Concern, Failure};
use crate::telemetry::requests::Failed;
use crate::wafer::codes;
use crate::wechat::client::ExchangeError;

/// When to try again, in seconds, where nothing says how long it will take.
const SOON: u32 = 1;
/// The same while WeChat cannot be reached: the breaker lets one through every five seconds.
const LATER: u32 = 5;

/// WeChat's errcodes of what is refused for the user's or for too many logins' sake.
const BLOCKED: i64 = 40226;
const TOO_FAST: [i64; 2] = [45009, 45011];

/// What is said to who calls WeChat's API without the key.
pub const NO_WECHAT_KEY: &str = "`wechat_api.key` is wanted here, as the header X-Access-Key, as the password of HTTP \
                                 Basic, as ?key= in the URL or as /key/KEY/ in its path";

/// Why a request to the plain API failed.
#[derive(Debug, Clone)]
pub enum Error {
    /// The body is no JSON object in UTF-8.
    NotJson,
    /// A member of the body is absent or is no text.
    Member(&'static str),
    /// There is no credential.
    NoCredential,
    /// There is something in the place of a credential that can be none.
    Nonsense,
    Operation(Failure),
    /// The session's openid, unionid or appid cannot stand in a header.
    NoHeader,
    /// The access key is wanted and absent or wrong.
    NoKey,
    /// The same of `wechat_api.key`.
    NoWeChatKey,
    /// Something is wrong with the request before it means anything.
    Http(StatusCode, &'static str),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            // Here a session that is over is that and nothing else, whatever it was wanted for.
            Failure::NoSessionKey(refusal) => Self::Operation(Failure::Auth(refusal)),
            failure => Self::Operation(failure),
        }
    }
}

/// An error as it is answered.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// The code of the Wafer protocol, and its constant.
    pub code: Option<(u32, &'static str)>,
    pub detail: Cow<'static, str>,
    /// WeChat's own.
    errcode: Option<i64>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// What to prove, for those who may try again.
    pub challenge: Option<&'static str>,
    /// Whether WeChat may have done what it was asked all the same.
    is_outcome_unknown: bool,
}

/// The challenge to who sent no token, and to who sent one that is no good.
const BEARER: &str = "Bearer";
const INVALID_TOKEN: &str = "Bearer error=\"invalid_token\"";

impl Problem {
    fn new(status: StatusCode, (code, constant, reason): codes::Answer) -> Self {
        Self {
            status,
            code: Some((code, constant)),
            detail: reason,
            errcode: None,
            retry_after: None,
            challenge: None,
            is_outcome_unknown: false,
        }
    }

    /// A problem that the Wafer protocol knows nothing of.
    #[must_use]
    pub fn of_status(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code: None,
            detail: detail.into(),
            errcode: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(SOON),
            challenge: None,
            is_outcome_unknown: false,
        }
    }

    /// `application/problem+json`
    #[must_use]
    pub fn json(&self) -> String {
        let title = self.title();
        let mut out = String::from(r#"{"type":"#);
        match self.code {
            Some((code, _)) => write!(out, "\"urn:mina-auth:{code}\"").unwrap_or_default(),
            None => out.push_str("\"about:blank\""),
        }
        out.push_str(r#","title":"#);
        json::push_string(&mut out, title);
        let _ = write!(out, r#","status":{},"detail":"#, self.status.as_u16());
        json::push_string(&mut out, if self.detail.is_empty() { title } else { &self.detail });
        let codes = [("code", self.code.map(|(code, _)| code.into())), ("errcode", self.errcode)];
        for (name, code) in codes.into_iter().filter_map(|(name, code)| Some((name, code?))) {
            let _ = write!(out, r#","{name}":{code}"#);
        }
        if self.is_outcome_unknown {
            out.push_str(r#","outcome_unknown":true"#);
        }
        out.push('}');
        out
    }

    fn title(&self) -> &'static str {
        let of_status = || self.status.canonical_reason().unwrap_or_default();
        self.code.map_or_else(of_status, |(_, constant)| constant)
    }
}

impl Error {
    /// What the caller is told.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotJson => {
                let reason = "the body is no JSON object in UTF-8".into();
                Problem::new(StatusCode::BAD_REQUEST, (1009, "REQUEST_IS_NOT_JSON", reason))
            }
            Self::Member(name) => {
                let reason = format!("`{name}` is missing or is no text").into();
                Problem::new(StatusCode::BAD_REQUEST, (1003, "PARA_ERR", reason))
            }
            Self::NoCredential => {
                let reason = "no credential: send `Authorization: Bearer TOKEN`".into();
                let problem = Problem::new(StatusCode::UNAUTHORIZED, (60012, "AUTH_FAIL", reason));
                Problem { challenge: Some(BEARER), ..problem }
            }
            Self::Nonsense => {
                let reason = "the credential is no token: one has the form ID.SKEY".into();
                let problem = Problem::new(StatusCode::UNAUTHORIZED, (60012, "AUTH_FAIL", reason));
                Problem { challenge: Some(INVALID_TOKEN), ..problem }
            }
            Self::Operation(failure) => of_failure(failure),
            Self::NoHeader => Problem::of_status(
                StatusCode::SERVICE_UNAVAILABLE,
                "the openid, unionid or appid of this session cannot stand in a header",
            ),
            Self::NoKey => {
                let detail = "this server wants its `server.access_key`, as the header \
                              X-Access-Key, as the password of HTTP Basic or as ?key= in the URL";
                let problem = Problem::of_status(StatusCode::UNAUTHORIZED, detail);
                Problem { challenge: Some("Basic realm=\"mina-auth\""), ..problem }
            }
            Self::NoWeChatKey => {
                let problem = Problem::of_status(StatusCode::UNAUTHORIZED, NO_WECHAT_KEY);
                Problem { challenge: Some("Basic realm=\"mina-auth\""), ..problem }
            }
            Self::Http(status, detail) => Problem::of_status(*status, *detail),
        }
    }

    /// What the log is told.
    #[must_use]
    pub fn told(&self) -> Failed {
        let problem = self.problem();
        let failure = match self {
            Self::Operation(failure) => Some(failure),
            _ => None,
        };
        let (code, answer) =
            problem.code.unwrap_or_else(|| (problem.status.as_u16().into(), problem.title()));
        Failed {
            code,
            answer,
            reason: problem.detail,
            cause: failure.and_then(Failure::cause),
            concern: failure.map_or(Concern::Caller, Failure::concern),
            is_shed: failure.is_some_and(Failure::is_shed),
        }
    }
}

fn of_failure(failure: &Failure) -> Problem {
    let (status, retry_after) = match failure {
        Failure::Auth(_) | Failure::NoSessionKey(_) => (StatusCode::UNAUTHORIZED, None),
        Failure::NoApp(_) => (StatusCode::BAD_REQUEST, None),
        Failure::LoginData(_) | Failure::SessionData(_) | Failure::SessionDataUntried => {
            (StatusCode::UNPROCESSABLE_ENTITY, None)
        }
        Failure::LoginsTooFast => (StatusCode::TOO_MANY_REQUESTS, Some(SOON)),
        // The session is as good as before.
        Failure::Call(ExchangeError::Code(_)) => (StatusCode::UNPROCESSABLE_ENTITY, None),
        Failure::Exchange(error) | Failure::NoToken(error) | Failure::Call(error) => {
            of_exchange(error)
        }
        Failure::NoUser => (StatusCode::NOT_FOUND, None),
        Failure::Storage(_)
        | Failure::LoginNotWritten(_)
        | Failure::VisitNotWritten(_)
        | Failure::LogoutNotWritten(_)
        | Failure::KeyNotWritten(_)
        | Failure::TooManyCalls
        | Failure::TooManyRequests
        | Failure::TooManyLogins
        | Failure::Lost => (StatusCode::SERVICE_UNAVAILABLE, Some(SOON)),
    };
    let errcode = match failure {
        Failure::Exchange(error) | Failure::NoToken(error) | Failure::Call(error) => {
            error.wechat().map(|error| error.errcode)
        }
        _ => None,
    };
    Problem {
        errcode,
        retry_after,
        challenge: match failure {
            Failure::Auth(_) | Failure::NoSessionKey(_) => Some(INVALID_TOKEN),
            // Who brought a code has no token yet.
            _ => (status == StatusCode::UNAUTHORIZED).then_some(BEARER),
        },
        is_outcome_unknown: match failure {
            Failure::Call(error) => error.is_outcome_unknown(),
            Failure::KeyNotWritten(_) => true,
            _ => false,
        },
        ..Problem::new(status, codes::answer(failure))
    }
}

fn of_exchange(error: &ExchangeError) -> (StatusCode, Option<u32>) {
    match error {
        ExchangeError::Code(_) => (StatusCode::UNAUTHORIZED, None),
        ExchangeError::Refused(error) if error.errcode == BLOCKED => (StatusCode::FORBIDDEN, None),
        ExchangeError::Refused(error) if TOO_FAST.contains(&error.errcode) => {
            (StatusCode::TOO_MANY_REQUESTS, Some(LATER))
        }
        ExchangeError::Refused(_) | ExchangeError::Malformed(_) => (StatusCode::BAD_GATEWAY, None),
        ExchangeError::Unreachable(_)
        | ExchangeError::Unanswered(_)
        | ExchangeError::Status(_)
        | ExchangeError::Page(_)
        | ExchangeError::LeftAlone => (StatusCode::SERVICE_UNAVAILABLE, Some(LATER)),
    }
}
