//! What may go wrong with an operation, and what the log says of it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::causes::with_causes;
use crate::session::{AppId, Expired};
use crate::store::StoreError;
use crate::wechat::call::CallError;
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
    /// Why, in a few words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownIdOrWrongSkey => "unknown id or wrong skey",
            Self::OtherApp => "the session belongs to another app",
            Self::Expired(Expired::Unused) => "unused too long",
            Self::Expired(Expired::TooOld) => "logged in too long ago",
        }
    }
}

/// Why an operation failed. What a client may know of it is for each surface to say; all of it is
/// in [`Failure::cause`].
#[derive(Debug, Clone)]
pub enum Failure {
    Storage(Arc<StoreError>),
    /// `limits.requests` wait already.
    TooManyRequests,
    /// Half of `limits.requests` are logins already, or all places are taken.
    TooManyLogins,
    /// The app began `limits.logins_per_second` within the last second.
    LoginsTooFast,
    Exchange(ExchangeError),
    /// WeChat gives no access token.
    NoToken(ExchangeError),
    /// A call of WeChat's API that is no login.
    Call(ExchangeError),
    LoginNotWritten(Arc<StoreError>),
    VisitNotWritten(Arc<StoreError>),
    LogoutNotWritten(Arc<StoreError>),
    /// WeChat gave a new session_key, and it is lost.
    KeyNotWritten(Arc<StoreError>),
    /// Nobody of this openid has a session.
    NoUser,
    /// `wechat_api.requests` are on their way already.
    TooManyCalls,
    /// No app was named and there is no default one, or the named one is unknown.
    NoApp(Option<AppId>),
    LoginData(DecryptError),
    NoSessionKey(Refusal),
    SessionData(DecryptError),
    /// `limits.decrypt_failures` of the session's decryptions failed: this one was not tried.
    SessionDataUntried,
    Auth(Refusal),
    /// A bug: the work on this call ended without an outcome.
    Lost,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoToken(error) => Self::NoToken(error),
            CallError::Failed(error) => Self::Call(error),
        }
    }
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
    /// What the log says beyond the answer. Holds no secret.
    #[must_use]
    pub fn cause(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Storage(error)
            | Self::LoginNotWritten(error)
            | Self::VisitNotWritten(error)
            | Self::LogoutNotWritten(error)
            | Self::KeyNotWritten(error) => Some(with_causes(&**error).into()),
            Self::Exchange(error) | Self::Call(error) => Some(error.to_string().into()),
            Self::NoToken(error) => Some(error.advice().into()),
            Self::TooManyCalls => Some("see `wechat_api.requests`".into()),
            Self::LoginData(error) | Self::SessionData(error) => Some(error.to_string().into()),
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
                | Self::TooManyCalls
                | Self::Exchange(ExchangeError::LeftAlone)
                | Self::NoToken(ExchangeError::LeftAlone)
                | Self::Call(ExchangeError::LeftAlone)
        )
    }

    /// Whose business the failure is.
    #[must_use]
    pub fn concern(&self) -> Concern {
        match self {
            Self::Storage(_)
            | Self::LoginNotWritten(_)
            | Self::VisitNotWritten(_)
            | Self::LogoutNotWritten(_)
            | Self::KeyNotWritten(_)
            | Self::Lost => Concern::Operator,
            Self::Exchange(ExchangeError::Code(_)) | Self::Call(ExchangeError::Code(_)) => {
                Concern::Caller
            }
            Self::Exchange(ExchangeError::Refused(error))
            | Self::NoToken(ExchangeError::Refused(error))
                if error.is_misconfiguration() =>
            {
                Concern::Operator
            }
            Self::Exchange(_)
            | Self::NoToken(_)
            | Self::Call(_)
            | Self::TooManyCalls
            | Self::NoApp(_)
            | Self::TooManyRequests
            | Self::TooManyLogins
            | Self::LoginsTooFast
            | Self::SessionDataUntried => Concern::Passing,
            _ => Concern::Caller,
        }
    }
}
