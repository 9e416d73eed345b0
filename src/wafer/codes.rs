//! Return codes: what the protocol says of a call that failed.

use std::borrow::Cow;

use crate::operations::failure::{Concern, Failure};
use crate::telemetry::requests::Failed;
use crate::wechat::client::ExchangeError;

/// Why a call failed: something is wrong with its envelope, or the operation failed.
#[derive(Debug, Clone)]
pub enum CallError {
    NotJson,
    NoInterfaceName,
    NoPara,
    UnknownInterface,
    /// A parameter is absent, or a list or an object.
    Parameter(&'static str),
    /// `initdata` is not for this caller.
    InitRefused(&'static str),
    Operation(Failure),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Operation(failure)
    }
}

/// A return code, the constant that the message begins with, and the reason after it.
pub type Answer = (u32, &'static str, Cow<'static, str>);

/// What a code says to who reads statistics: it stands there without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The constant that its message begins with; empty where it has none.
    pub constant: &'static str,
    pub text: &'static str,
    /// Whether the caller can change it, and nobody else.
    pub is_callers: bool,
}

impl Meaning {
    /// What a code means, that of a call or an HTTP status.
    #[must_use]
    pub fn of(code: u32) -> Self {
        let (constant, text, is_callers) = match code {
            0 => ("", "success", false),
            1001 => {
                ("MYSQL_ERR", "the store cannot be reached, or too many requests at once", false)
            }
            1002 => ("NO_INTERFACENAME_PARA", "the request names no interface", true),
            1003 => ("PARA_ERR", "a parameter is missing or is no text", true),
            1005 => {
                ("WEIXIN_NET_ERR", "WeChat cannot be reached, or too many logins at once", false)
            }
            1006 => ("CHANGE_SESSION_ERR", "a session could not be written", false),
            1007 => {
                ("WEIXIN_RETURN_ERR", "WeChat refused or answered nonsense: see the log", false)
            }
            1008 => ("UPDATE_LASTVISITTIME_ERR", "a visit could not be written", false),
            1009 => ("REQUEST_IS_NOT_JSON", "the request is no JSON", true),
            1010 => ("INTERFACENAME_PARA_ERR", "there is no such interface", true),
            1011 => ("NO_PARA", "the request has no parameters", true),
            1012 => ("NO_APPID", "no such app, or several and none named", true),
            1013 => ("INIT_APPINFO_FAIL", "initdata was refused", true),
            40029 => ("WEIXIN_CODE_ERR", "the code was wrong, too old or used before", true),
            60012 => ("AUTH_FAIL", "no such session, or it has expired", true),
            60021 => ("DECRYPT_FAIL", "the data could not be decrypted", true),
            503 => ("", "too many long bodies at once", false),
            400..500 => ("", "refused for the request itself, by HTTP status", true),
            _ => ("", "something else", false),
        };
        Self { constant, text, is_callers }
    }
}

impl CallError {
    /// What the caller is told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let nothing = Cow::Borrowed("");
        match self {
            Self::NotJson => (1009, "REQUEST_IS_NOT_JSON", nothing),
            Self::NoInterfaceName => (1002, "NO_INTERFACENAME_PARA", nothing),
            Self::NoPara => (1011, "NO_PARA", nothing),
            Self::UnknownInterface => (1010, "INTERFACENAME_PARA_ERR", nothing),
            Self::Parameter(name) => {
                (1003, "PARA_ERR", format!("`{name}` is missing or is no text").into())
            }
            Self::InitRefused(why) => (1013, "INIT_APPINFO_FAIL", (*why).into()),
            Self::Operation(failure) => answer(failure),
        }
    }

    /// What the log is told.
    #[must_use]
    pub fn told(&self) -> Failed {
        let (code, answer, reason) = self.answer();
        let failure = self.failure();
        Failed {
            code,
            answer,
            reason,
            cause: failure.and_then(Failure::cause),
            concern: failure.map_or(Concern::Caller, Failure::concern),
            is_shed: failure.is_some_and(Failure::is_shed),
        }
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Operation(failure) => Some(failure),
            _ => None,
        }
    }
}

/// What the caller is told of a failed operation.
#[must_use]
pub fn answer(failure: &Failure) -> Answer {
    let nothing = Cow::Borrowed("");
    match failure {
        Failure::Storage(_) => (1001, "MYSQL_ERR", "the database cannot be reached".into()),
        Failure::TooManyRequests => (1001, "MYSQL_ERR", "too many requests at once".into()),
        Failure::TooManyLogins => (1005, "WEIXIN_NET_ERR", "too many logins at once".into()),
        Failure::LoginsTooFast => {
            (1005, "WEIXIN_NET_ERR", "too many logins of this app within a second".into())
        }
        Failure::NoToken(error) => match error.wechat() {
            Some(error) => (1007, "WEIXIN_RETURN_ERR", format!("no access token: {error}").into()),
            None => (1005, "WEIXIN_NET_ERR", "there is no access token now".into()),
        },
        Failure::Exchange(error) | Failure::Call(error) => match error {
            ExchangeError::Unreachable(_) | ExchangeError::Unanswered(_) => {
                (1005, "WEIXIN_NET_ERR", "WeChat cannot be reached".into())
            }
            ExchangeError::Status(_) | ExchangeError::Page(_) | ExchangeError::LeftAlone => {
                (1005, "WEIXIN_NET_ERR", error.to_string().into())
            }
            ExchangeError::Malformed(_) => (1007, "WEIXIN_RETURN_ERR", error.to_string().into()),
            ExchangeError::Refused(error) => (1007, "WEIXIN_RETURN_ERR", error.to_string().into()),
            ExchangeError::Code(error) => (40029, "WEIXIN_CODE_ERR", error.to_string().into()),
        },
        Failure::LoginNotWritten(_) => {
            (1006, "CHANGE_SESSION_ERR", "the session could not be written".into())
        }
        Failure::VisitNotWritten(_) => {
            (1008, "UPDATE_LASTVISITTIME_ERR", "the visit could not be written".into())
        }
        Failure::LogoutNotWritten(_) => {
            (1006, "CHANGE_SESSION_ERR", "the session could not be ended".into())
        }
        Failure::KeyNotWritten(_) => {
            (1006, "CHANGE_SESSION_ERR", "the new session_key could not be written".into())
        }
        Failure::NoUser => (60012, "AUTH_FAIL", "nobody of this openid has a session".into()),
        Failure::TooManyCalls => {
            (1005, "WEIXIN_NET_ERR", "too many calls of WeChat's API at once".into())
        }
        Failure::NoApp(Some(appid)) => {
            (1012, "NO_APPID", format!("there is no app `{appid}`").into())
        }
        Failure::NoApp(None) => {
            (1012, "NO_APPID", "no known app is named, and none is the default".into())
        }
        Failure::LoginData(_) => (60021, "DECRYPT_FAIL", nothing),
        Failure::NoSessionKey(refusal) => (60021, "GET_SESSION_KEY_FAIL", refusal.reason().into()),
        // Told apart, they would say more than that it failed.
        Failure::SessionData(_) | Failure::SessionDataUntried => {
            (60021, "GET_SESSION_KEY_SUCCESS_BUT_DECRYPT_FAIL", nothing)
        }
        Failure::Auth(refusal) => (60012, "AUTH_FAIL", refusal.reason().into()),
        Failure::Lost => (1001, "MYSQL_ERR", "internal error".into()),
    }
}
