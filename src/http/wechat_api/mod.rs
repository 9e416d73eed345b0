//! WeChat's API without tokens: `/v1/wechat`, for business servers that have the key.
//!
//! That somebody comes from this machine proves nothing: a proxy on it brings everybody.

mod error;
pub mod path;
mod relay;
mod session_key;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use self::error::Error;
use self::path::{Allowed, Call, Place, RelayPath, Target};
use super::Public;
use super::access_key::AccessKey;
use super::body::AnswerBody;
use super::v1::answer::Answer;
use super::v1::problem;
use crate::clock;
use crate::net::address::Peer;
use crate::net::connections::Activity;
use crate::net::refusals::Reason;
use crate::operations::failure::Failure;
use crate::session::App;
use crate::telemetry::requests::{Failed, Served};

/// Why a call was refused that carries no key.
const NO_KEY: Reason = Reason {
    label: "wechat_api_key",
    text: "calls of WeChat's API were refused: without the `wechat_api.key`",
};

/// How long whoever has no key waits for the refusal: so many keys can be tried, and no more.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

/// The settings of this surface, `[wechat_api]`, and what is on its way.
#[derive(Debug)]
pub struct WeChatApi {
    pub key: AccessKey,
    pub allowed: Allowed,
    /// The places for calls that are relayed; `None` where there is no limit.
    pub places: Option<Arc<Semaphore>>,
    /// Bytes.
    pub max_body: usize,
}

impl WeChatApi {
    /// Tells whether a request carries the key, wherever it may stand.
    fn lets_in(&self, target: &Target<'_>, head: &Parts) -> bool {
        let is_in_path = target.key.is_some_and(|key| {
            let key: std::borrow::Cow<'_, [u8]> = percent_decode_str(key).into();
            self.key.is(&key)
        });
        is_in_path | self.key.is_in(&head.uri, &head.headers)
    }

    /// A place for a call; `None` inside where there is no limit.
    fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let place = self.places.as_ref().map(|places| Arc::clone(places).try_acquire_owned());
        place.transpose().map_err(|_| Failure::TooManyCalls)
    }
}

/// What follows this surface's place in a path below `/v1`; `None` when it leads elsewhere.
#[must_use]
pub fn rest_of(path: &str) -> Option<&str> {
    path.strip_prefix("/wechat").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request to a path below `/v1/wechat`.
pub async fn answer(
    public: &Public,
    peer: Peer,
    activity: &Activity,
    rest: &str,
    (head, body): (&Parts, Incoming),
) -> Response<AnswerBody> {
    let target = Target::read(rest.strip_prefix('/').unwrap_or_default());
    let mut asked = Asked { started: clock::wall(), interface: "wechat", app: None };
    let outcome = asked.answer(public, peer, activity, &target, (head, body)).await;
    let at = clock::wall();
    public.log.request(Served {
        at,
        took: at.duration_since(asked.started).unwrap_or_default(),
        interface: asked.interface,
        app: asked.app.as_deref().map(|app| app.appid.as_str()),
        failure: outcome.as_ref().err().map(Error::told),
    });
    let is_head = head.method == Method::HEAD;
    match (outcome, target.call) {
        (Ok(answer), _) => answer,
        (Err(error), Call::Token | Call::Api(_)) => error.as_wechat_says_it(),
        (Err(error), Call::SessionKey(..) | Call::Unknown) => {
            Answer::Problem(error.problem()).into_response(at, is_head).map(AnswerBody::from)
        }
    }
}

/// A request, for the log.
struct Asked {
    started: SystemTime,
    interface: &'static str,
    app: Option<Arc<App>>,
}

impl Asked {
    async fn answer(
        &mut self,
        public: &Public,
        peer: Peer,
        activity: &Activity,
        target: &Target<'_>,
        (head, body): (&Parts, Incoming),
    ) -> Result<Response<AnswerBody>, Error> {
        self.interface = match target.call {
            Call::Token => "wechat/token",
            Call::Api(_) => "wechat/api",
            Call::SessionKey(..) => "wechat/session-key",
            Call::Unknown => "wechat",
        };
        let shared = &public.shared;
        let Some(api) = &shared.wechat_api else {
            let problem = "`wechat_api.key` is not set: nobody may call WeChat's API here";
            return Err(problem::Error::Http(StatusCode::NOT_FOUND, problem).into());
        };
        if !api.lets_in(target, head) {
            shared.refusals.count(NO_KEY, peer);
            sleep(REFUSED_AFTER).await;
            return Err(Error::NoKey);
        }
        let appid = percent_decode_str(target.appid).decode_utf8_lossy();
        let app = shared.operations.app(Some(&appid)).await?;
        self.app = Some(Arc::clone(&app));
        match target.call {
            Call::Token => token::answer(shared, activity, &app, (head, body)).await,
            Call::Api(path) => {
                let path = RelayPath::parse(path).map_err(Error::Path)?;
                match path.place() {
                    Place::Token => token::answer_sdk(shared, &app).await,
                    Place::Kept => Err(Error::NotRelayed(
                        "not relayed: logins are at /v1/login, and what is below /sns gives \
                         secrets away",
                    )),
                    Place::WeChats if !api.allowed.has(&path) => {
                        Err(Error::NotRelayed("not relayed: it is not among `wechat_api.paths`"))
                    }
                    Place::WeChats => {
                        relay::answer(shared, api, activity, (&app, &path), (head, body)).await
                    }
                }
            }
            Call::SessionKey(open_id, work) => {
                session_key::answer(shared, activity, &app, (open_id, work), (head, body)).await
            }
            Call::Unknown => {
                let problem = "there is nothing at this path of /v1/wechat";
                Err(problem::Error::Http(StatusCode::NOT_FOUND, problem).into())
            }
        }
    }
}

impl Error {
    fn told(&self) -> Failed {
        problem::Error::from(self.clone()).told()
    }
}
