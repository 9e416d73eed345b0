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
const TOO_FAST: i64 = 45011;

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
        Failure::Exchange(error) => of_exchange(error),
        Failure::Storage(_)
        | Failure::LoginNotWritten(_)
        | Failure::VisitNotWritten(_)
        | Failure::LogoutNotWritten(_)
        | Failure::TooManyRequests
        | Failure::TooManyLogins
        | Failure::Lost => (StatusCode::SERVICE_UNAVAILABLE, Some(SOON)),
    };
    let errcode = match failure {
        Failure::Exchange(ExchangeError::Code(error) | ExchangeError::Refused(error)) => {
            Some(error.errcode)
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
        ..Problem::new(status, codes::answer(failure))
    }
}

fn of_exchange(error: &ExchangeError) -> (StatusCode, Option<u32>) {
    match error {
        ExchangeError::Code(_) => (StatusCode::UNAUTHORIZED, None),
        ExchangeError::Refused(error) if error.errcode == BLOCKED => (StatusCode::FORBIDDEN, None),
        ExchangeError::Refused(error) if error.errcode == TOO_FAST => {
            (StatusCode::TOO_MANY_REQUESTS, Some(LATER))
        }
        ExchangeError::Refused(_) | ExchangeError::Malformed(_) => (StatusCode::BAD_GATEWAY, None),
        ExchangeError::Unreachable(_)
        | ExchangeError::Status(_)
        | ExchangeError::Page(_)
        | ExchangeError::LeftAlone => (StatusCode::SERVICE_UNAVAILABLE, Some(LATER)),
    }
}
