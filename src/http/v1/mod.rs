//! The plain API: `/v1`, beside the Wafer protocol and on the same sessions.

pub mod answer;
mod calls;
pub mod problem;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use self::answer::Answer;
use self::problem::Error;
use super::bodies::Unread;
use super::credential::{Credential, Offered, parameter};
use super::{Public, closing};
use crate::clock;
use crate::net::address::Peer;
use crate::net::connections::{Activity, Phase};
use crate::net::lane::{Head, Reply, Sent};
use crate::operations::outcome::LoggedIn;
use crate::session::App;
use crate::store::cached::Known;
use crate::telemetry::requests::Served;
use crate::wechat::users::PhoneNumber;

/// The settings of this surface, `[api]`.
#[derive(Debug, Clone, Copy)]
pub struct V1 {
    pub token_in_url: bool,
    /// Whether phone numbers are given out.
    pub phone: bool,
}

/// What follows the plain API's place in a path; `None` when the path leads elsewhere.
#[must_use]
pub fn rest_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Login,
    Session,
    Decrypt,
    Phone,
    ForwardAuth,
    WaferLogin,
}

impl Endpoint {
    /// The endpoint at a path below `/v1`.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/login" => Self::Login,
            "/session" => Self::Session,
            "/decrypt" => Self::Decrypt,
            "/phone" => Self::Phone,
            "/wafer/login" => Self::WaferLogin,
            // Envoy appends the original path.
            path => {
                let rest = path.strip_prefix("/forward-auth")?;
                (rest.is_empty() || rest.starts_with('/')).then_some(Self::ForwardAuth)?
            }
        })
    }

    /// The methods it answers to; all of them, where there is none.
    fn methods(self) -> &'static str {
        match self {
            Self::Login | Self::Decrypt | Self::Phone => "POST",
            Self::Session => "GET, HEAD, DELETE",
            Self::WaferLogin => "GET, HEAD, POST",
            Self::ForwardAuth => "",
        }
    }

    fn allows(self, method: &str) -> bool {
        let methods = self.methods();
        methods.is_empty() || methods.split(", ").any(|allowed| allowed == method)
    }

    /// The part of the query that is for us. Whoever asks at a path below appends the path and the
    /// query that a client chose: it may name no app, and least of all that nobody need be known.
    fn own_query<'a>(self, path: &str, query: &'a str) -> &'a str {
        let is_appended = self == Self::ForwardAuth && path != "/v1/forward-auth";
        if is_appended { "" } else { query }
    }

    /// What the log calls it.
    fn name(self, method: &str) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Session if method == "DELETE" => "logout",
            Self::Session => "session",
            Self::Decrypt => "decrypt",
            Self::Phone => "phone",
            Self::ForwardAuth => "forward-auth",
            Self::WaferLogin => "wafer/login",
        }
    }
}

/// A check of a session: what the express lane takes.
#[derive(Debug, Clone, Copy)]
pub struct Check<'a> {
    endpoint: Endpoint,
    credential: Credential<'a>,
    appid: Option<&'a str>,
}

impl<'a> Check<'a> {
    /// The check that a head asks for, if it asks for one plainly.
    #[must_use]
    pub fn read(endpoint: Endpoint, head: &Head<'_, 'a>) -> Option<Self> {
        let is_check = match endpoint {
            Endpoint::Session => head.method != "POST",
            Endpoint::ForwardAuth => true,
            Endpoint::Login | Endpoint::Decrypt | Endpoint::Phone | Endpoint::WaferLogin => false,
        };
        let Offered::Credential(credential) = Offered::in_headers(head) else { return None };
        let query = endpoint.own_query(head.path, head.query);
        let appid = match parameter(query, "appid").filter(|_| is_check) {
            Some(Cow::Owned(_)) => return None,
            Some(Cow::Borrowed(appid)) => Some(appid),
            None => None,
        };
        is_check.then_some(Self { endpoint, credential, appid })
    }

    /// Answers it in the express lane.
    pub async fn answer(self, public: &Public, reply: Reply<'_>) -> Sent {
        let mut asked = Asked::new(self.endpoint.name(""));
        let outcome = public.shared.check(self.credential, self.appid, asked.now()).await;
        let outcome = outcome.inspect_err(|_| asked.app = public.shared.app_meant(self.appid));
        let outcome = outcome.map(Success::Checked);
        let (answer, at) = asked.answered(public, self.endpoint, outcome);
        answer.write(reply, at)
    }
}

/// Answers a request that the express lane did not take.
pub async fn answer(
    public: &Public,
    peer: Peer,
    activity: &Activity,
    endpoint: Option<Endpoint>,
    (head, body): (&Parts, Incoming),
) -> Response<Full<Bytes>> {
    let shared = &public.shared;
    let is_head = head.method == Method::HEAD;
    let fail =
        |error: Error| Answer::Problem(error.problem()).into_response(clock::wall(), is_head);
    let Some(endpoint) = endpoint else {
        return fail(Error::Http(StatusCode::NOT_FOUND, "there is nothing at this path of /v1"));
    };
    if !shared.lets_in(peer, head) {
        return fail(Error::NoKey);
    }
    if !endpoint.allows(head.method.as_str()) {
        return Answer::NotAllowed(endpoint.methods()).into_response(clock::wall(), is_head);
    }
    let body = match shared.bodies.read(body).await {
        Ok(body) => body,
        // What is left of the body is not read.
        Err(unread) => return closing(fail(unread.into())),
    };
    activity.begin(Phase::Answering);
    let mut asked = Asked::new(endpoint.name(head.method.as_str()));
    let outcome = shared.call_v1(endpoint, head, &body.bytes, &mut asked).await;
    let (answer, at) = asked.answered(public, endpoint, outcome);
    answer.into_response(at, is_head)
}

impl From<Unread> for Error {
    fn from(unread: Unread) -> Self {
        let (status, text) = match unread {
            Unread::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than `server.max_body`")
            }
            Unread::NoMemory => (StatusCode::SERVICE_UNAVAILABLE, "too many long bodies at once"),
        };
        Self::Http(status, text)
    }
}

/// A request, for the log.
struct Asked {
    started: SystemTime,
    interface: &'static str,
    /// The app that is meant, until it is known whose the session is.
    app: Option<Arc<App>>,
}

impl Asked {
    fn new(interface: &'static str) -> Self {
        Self { started: clock::wall(), interface, app: None }
    }

    /// Seconds since the epoch.
    fn now(&self) -> i64 {
        clock::seconds(self.started)
    }

    /// Logs what came of it, and makes the answer; tells when that was.
    fn answered(
        self,
        public: &Public,
        endpoint: Endpoint,
        outcome: Result<Success, Error>,
    ) -> (Answer, SystemTime) {
        let outcome = outcome.and_then(|success| success.for_headers(endpoint));
        let at = clock::wall();
        public.log.request(Served {
            at,
            // Zero when the clock was set back meanwhile.
            took: at.duration_since(self.started).unwrap_or_default(),
            interface: self.interface,
            app: outcome
                .as_ref()
                .ok()
                .and_then(Success::app)
                .or_else(|| self.app.as_deref().map(|app| app.appid.as_str())),
            failure: outcome.as_ref().err().map(Error::told),
        });
        let answer = match outcome {
            Ok(success) => success.answer(endpoint),
            Err(error) => {
                let problem = error.problem();
                match endpoint {
                    Endpoint::WaferLogin => Answer::wafer_failure(&problem),
                    // What is ours to settle must not cost anybody the session.
                    Endpoint::ForwardAuth if problem.status == StatusCode::UNAUTHORIZED => {
                        Answer::LogInAgain(problem)
                    }
                    _ => Answer::Problem(problem),
                }
            }
        };
        (answer, at)
    }
}

/// What a call comes to.
enum Success {
    LoggedIn(Arc<LoggedIn>),
    Checked(Arc<Known>),
    /// The decrypted object's text.
    Decrypted(String),
    /// The phone number of the session's user.
    Phone(Arc<Known>, PhoneNumber),
    LoggedOut,
    /// Nobody, where that is all right.
    Anonymous,
}

impl Success {
    fn app(&self) -> Option<&str> {
        match self {
            Self::LoggedIn(login) => Some(login.appid.as_str()),
            Self::Checked(known) | Self::Phone(known, _) => Some(known.app().appid.as_str()),
            Self::Decrypted(_) | Self::LoggedOut | Self::Anonymous => None,
        }
    }

    /// An identity that cannot stand in a header is none for forward auth. WeChat's can; what a
    /// database holds may be anything.
    fn for_headers(self, endpoint: Endpoint) -> Result<Self, Error> {
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match &self {
            Self::Checked(known) if endpoint == Endpoint::ForwardAuth => {
                let ids = [known.open_id(), known.app().appid.as_str()];
                let all = ids.into_iter().chain(known.union_id());
                if all.into_iter().all(is_plain) { Ok(self) } else { Err(Error::NoHeader) }
            }
            _ => Ok(self),
        }
    }

    fn answer(self, endpoint: Endpoint) -> Answer {
        match (self, endpoint) {
            (Self::LoggedIn(login), Endpoint::WaferLogin) => Answer::wafer_session(&login),
            (Self::LoggedIn(login), _) => Answer::logged_in(&login),
            (Self::Checked(known), Endpoint::ForwardAuth) => Answer::Identity(known),
            (Self::Checked(known), _) => Answer::Session(known),
            (Self::Decrypted(object), _) => Answer::decrypted(&object),
            (Self::Phone(_, number), _) => Answer::phone(&number),
            (Self::LoggedOut, _) => Answer::LoggedOut,
            (Self::Anonymous, _) => Answer::Anonymous,
        }
    }
}
