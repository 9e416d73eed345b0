//! What may go wrong with a call, and what is said of it to the caller and to the log.

use std::borrow::Cow;
use std::sync::Arc;

use crate::causes::with_causes;
use crate::session::{AppId, Expired};
use crate::store::StoreError;
use crate::wechat::client::ExchangeError;
use crate::wechat::open_data::DecryptError;

/// Why a check was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// One reason for both, so that nobody learns which ids there are.
    UnknownIdOrWrongSkey,
    OtherApp,
    Expired(Expired),
}

impl Refusal {
    fn reason(self) -> &'static str {
        match self {
            Self::UnknownIdOrWrongSkey => "unknown id or wrong skey",
            Self::OtherApp => "the session belongs to another app",
            Self::Expired(Expired::Unused) => "unused too long",
            Self::Expired(Expired::TooOld) => "logged in too long ago",
        }
    }
}

/// A failed call. What a client may know of it is in [`Failure::answer`], all of it is in
/// [`Failure::cause`].
#[derive(Debug, Clone)]
pub enum Failure {
    NotJson,
    NoInterfaceName,
    NoPara,
    UnknownInterface,
    /// A parameter is absent, or a list or an object.
    Parameter(&'static str),
    Storage(Arc<StoreError>),
    /// `limits.requests` wait already.
    TooManyRequests,
    /// Half of `limits.requests` are logins already, or all places are taken.
    TooManyLogins,
    /// The app began `limits.logins_per_second` within the last second.
    LoginsTooFast,
    Exchange(ExchangeError),
    LoginNotWritten(Arc<StoreError>),
    VisitNotWritten(Arc<StoreError>),
    /// No app was named and there is no default one, or the named one is unknown.
    NoApp(Option<AppId>),
    InitRefused(&'static str),
    LoginData(DecryptError),
    NoSessionKey(Refusal),
    SessionData(DecryptError),
    /// `limits.decrypt_failures` of the session's decryptions failed: this one was not tried.
    SessionDataUntried,
    Auth(Refusal),
    /// A bug: the work on this call ended without an outcome.
    Lost,
}

/// How much a failure concerns the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The caller's business.
    Caller,
    /// Something that passes, or that WeChat must settle.
    Passing,
    /// Something that the operator must settle.
    Operator,
}

impl Failure {
    /// The return code, the constant that the message begins with, and the reason after it.
    #[must_use]
    pub fn answer(&self) -> (u32, &'static str, Cow<'static, str>) {
        let nothing = Cow::Borrowed("");
        match self {
            Self::NotJson => (1009, "REQUEST_IS_NOT_JSON", nothing),
            Self::NoInterfaceName => (1002, "NO_INTERFACENAME_PARA", nothing),
            Self::NoPara => (1011, "NO_PARA", nothing),
            Self::UnknownInterface => (1010, "INTERFACENAME_PARA_ERR", nothing),
            Self::Parameter(name) => {
                (1003, "PARA_ERR", format!("`{name}` is missing or is no text").into())
            }
            Self::Storage(_) => (1001, "MYSQL_ERR", "the database cannot be reached".into()),
            Self::TooManyRequests => (1001, "MYSQL_ERR", "too many requests at once".into()),
            Self::TooManyLogins => (1005, "WEIXIN_NET_ERR", "too many logins at once".into()),
            Self::LoginsTooFast => {
                (1005, "WEIXIN_NET_ERR", "too many logins of this app within a second".into())
            }
            Self::Exchange(error) => match error {
                ExchangeError::Unreachable(_) => {
                    (1005, "WEIXIN_NET_ERR", "WeChat cannot be reached".into())
                }
                ExchangeError::Status(_) | ExchangeError::LeftAlone => {
                    (1005, "WEIXIN_NET_ERR", error.to_string().into())
                }
                ExchangeError::Malformed(_) => {
                    (1007, "WEIXIN_RETURN_ERR", error.to_string().into())
                }
                ExchangeError::Refused(error) => {
                    (1007, "WEIXIN_RETURN_ERR", error.to_string().into())
                }
                ExchangeError::Code(error) => (40029, "WEIXIN_CODE_ERR", error.to_string().into()),
            },
            Self::LoginNotWritten(_) => {
                (1006, "CHANGE_SESSION_ERR", "the session could not be written".into())
            }
            Self::VisitNotWritten(_) => {
                (1008, "UPDATE_LASTVISITTIME_ERR", "the visit could not be written".into())
            }
            Self::NoApp(Some(appid)) => {
                (1012, "NO_APPID", format!("there is no app `{appid}`").into())
            }
            Self::NoApp(None) => {
                (1012, "NO_APPID", "no known app is named, and none is the default".into())
            }
            Self::InitRefused(why) => (1013, "INIT_APPINFO_FAIL", (*why).into()),
            Self::LoginData(_) => (60021, "DECRYPT_FAIL", nothing),
            Self::NoSessionKey(refusal) => (60021, "GET_SESSION_KEY_FAIL", refusal.reason().into()),
            // Told apart, they would say more than that it failed.
            Self::SessionData(_) | Self::SessionDataUntried => {
                (60021, "GET_SESSION_KEY_SUCCESS_BUT_DECRYPT_FAIL", nothing)
            }
            Self::Auth(refusal) => (60012, "AUTH_FAIL", refusal.reason().into()),
            Self::Lost => (1001, "MYSQL_ERR", "internal error".into()),
        }
    }

    /// What the log says beyond the answer. Holds no secret.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Storage(error) | Self::LoginNotWritten(error) | Self::VisitNotWritten(error) => {
                Some(with_causes(&**error))
            }
            Self::Exchange(error) => Some(error.to_string()),
            Self::LoginData(error) | Self::SessionData(error) => Some(error.to_string()),
            Self::TooManyRequests | Self::TooManyLogins => Some("see `limits.requests`".into()),
            Self::LoginsTooFast => Some("see `limits.logins_per_second`".into()),
            Self::SessionDataUntried => Some(
                "not tried: `limits.decrypt_failures` of the session's decryptions failed".into(),
            ),
            Self::Lost => Some("the work on this request ended without an outcome".into()),
            _ => None,
        }
    }

    /// Tells whether the call was refused unseen, to spare the server or WeChat. There may be any
    /// number of these, and one is like another.
    #[must_use]
    pub fn is_shed(&self) -> bool {
        matches!(
            self,
            Self::TooManyRequests
                | Self::TooManyLogins
                | Self::LoginsTooFast
                | Self::Exchange(ExchangeError::LeftAlone)
        )
    }

    /// Whose business the failure is.
    #[must_use]
    pub fn concern(&self) -> Concern {
        match self {
            Self::Storage(_) | Self::LoginNotWritten(_) | Self::VisitNotWritten(_) | Self::Lost => {
                Concern::Operator
            }
            Self::Exchange(ExchangeError::Code(_)) => Concern::Caller,
            Self::Exchange(ExchangeError::Refused(error)) if error.is_misconfiguration() => {
                Concern::Operator
            }
            Self::Exchange(_)
            | Self::NoApp(_)
            | Self::TooManyRequests
            | Self::TooManyLogins
            | Self::LoginsTooFast
            | Self::SessionDataUntried => Concern::Passing,
            _ => Concern::Caller,
        }
    }
}
