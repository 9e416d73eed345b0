//! Access tokens: WeChat's stable ones, one for each app, in memory alone.
//!
//! WeChat gives every node the same stable token, so that nodes need not agree on one, and a node
//! that starts anew gets it again. A token is asked for when it is first needed, and renewed ahead
//! of its end by whoever comes first while the others go on with the old one; both are good
//! meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use super::answer;
use super::client::{BUSY_PAUSES, Client, DEADLINE};
use super::error::{ExchangeError, WeChatError};
use super::hosts::Request;
use crate::session::{App, AppId};

/// How long before its end a token is renewed. WeChat: getStableAccessToken.
const AHEAD: Duration = Duration::from_mins(5);

/// The longest that a token of WeChat's lives.
const LONGEST: f64 = 7200.0;

/// How long a token counts as good whose life WeChat does not say in a way that can be: soon
/// enough asked again, which brings the same one.
const UNSAID: Duration = Duration::from_mins(5);

/// How long nothing is asked after an answer; longer after one that will stay the same.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_IF_REFUSED: Duration = Duration::from_secs(5);
const PAUSE_IF_LIMITED: Duration = Duration::from_mins(1);

/// How often a token may be replaced before its time. WeChat: `force_refresh`.
const FORCED_A_DAY: usize = 20;
const FORCED_APART: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_hours(24);

/// An access token.
#[derive(Debug, Clone)]
pub struct Token {
    pub text: SecretString,
    expires: Instant,
    renew_from: Instant,
}

impl Token {
    fn new(text: SecretString, life: Duration, now: Instant) -> Self {
        let expires = now + life;
        Self { text, expires, renew_from: expires - AHEAD.min(life / 2) }
    }

    /// For how many seconds more it is good; one at least, while it is given out.
    #[must_use]
    pub fn expires_in(&self, now: Instant) -> u64 {
        self.expires.saturating_duration_since(now).as_secs().max(1)
    }

    /// Tells whether it is this one.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.text.expose_secret() == text
    }
}

/// What a renewal comes to.
type Outcome = Result<Token, ExchangeError>;

/// A renewal that any number of callers wait for.
type Renewal = Shared<BoxFuture<'static, Outcome>>;

/// The tokens of all apps.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<AppId, Kept>>);

/// What is known of an app's token.
#[derive(Debug, Default)]
struct Kept {
    token: Option<Token>,
    /// One that WeChat no longer takes, though it may give it out again.
    dead: Option<SecretString>,
    renewing: Option<Renewal>,
    /// From when on WeChat may be asked again.
    rested: Option<Instant>,
    /// What the last question came to, if that was no token.
    failed: Option<ExchangeError>,
    /// When tokens were replaced before their time, oldest first.
    forced: VecDeque<Instant>,
    /// When a token was last said to be dead.
    died: Option<Instant>,
}

/// How a caller comes by a token.
enum Way {
    Has(Token),
    Waits(Renewal),
    Fails(ExchangeError),
}

impl Kept {
    /// How a caller comes by a token at `now`; `begin` begins a renewal.
    fn way(&mut self, now: Instant, begin: impl FnOnce() -> Renewal) -> Way {
        let may_ask = self.rested.is_none_or(|rested| now >= rested);
        let good = self.token.clone().filter(|token| now < token.expires);
        match (good, &self.renewing) {
            (Some(token), renewing) => {
                if now >= token.renew_from && renewing.is_none() && may_ask {
                    // It runs by itself, and whoever comes meanwhile has the old token.
                    self.renewing = Some(begin());
                }
                Way::Has(token)
            }
            (None, Some(renewing)) => Way::Waits(renewing.clone()),
            (None, None) => match &self.failed {
                Some(error) if !may_ask => Way::Fails(error.clone()),
                _ => {
                    let renewal = begin();
                    self.renewing = Some(renewal.clone());
                    Way::Waits(renewal)
                }
            },
        }
    }

    /// Drops a token that is dead, if it is still the one that there is.
    fn bury(&mut self, dead: &str, now: Instant) {
        // Whoever calls one dead after another does not make us ask without end.
        let is_soon = self.died.is_some_and(|died| now < died + PAUSE);
        if !is_soon && let Some(token) = self.token.take_if(|token| token.is(dead)) {
            self.dead = Some(token.text);
            self.died = Some(now);
            self.failed = None;
        }
    }

    /// Tells whether this token is the dead one and may be replaced before its time; counts that.
    fn may_force(&mut self, text: &SecretString, now: Instant) -> bool {
        let is_dead =
            self.dead.as_ref().is_some_and(|dead| dead.expose_secret() == text.expose_secret());
        while self.forced.front().is_some_and(|forced| now >= *forced + DAY) {
            self.forced.pop_front();
        }
        let is_apart = self.forced.back().is_none_or(|forced| now >= *forced + FORCED_APART);
        let may = is_dead && is_apart && self.forced.len() < FORCED_A_DAY;
        if may {
            self.forced.push_back(now);
        }
        may
    }

    /// Keeps what a renewal came to.
    fn end(&mut self, outcome: &Outcome, now: Instant) {
        self.renewing = None;
        let pause = match outcome {
            Ok(_) => PAUSE,
            Err(error) => match error.wechat() {
                Some(WeChatError { errcode: 45009 | 45011, .. }) => PAUSE_IF_LIMITED,
                Some(error) if error.is_misconfiguration() => PAUSE_IF_REFUSED,
                _ => PAUSE,
            },
        };
        self.rested = Some(now + pause);
        match outcome {
            Ok(token) => (self.token, self.failed) = (Some(token.clone()), None),
            Err(error) => self.failed = Some(error.clone()),
        }
    }
}

impl Tokens {
    fn of<T>(&self, app: &AppId, work: impl FnOnce(&mut Kept) -> T) -> T {
        let mut apps: MutexGuard<'_, HashMap<AppId, Kept>> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = apps.get_mut(app) {
            return work(kept);
        }
        work(apps.entry(app.clone()).or_default())
    }
}

impl Client {
    /// The access token of an app.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`], which holds no secret; while WeChat is not asked again, the last one.
    pub async fn token(&self, app: &Arc<App>) -> Result<Token, ExchangeError> {
        let begin = || self.begin_renewal(app);
        match self.tokens.of(&app.appid, |kept| kept.way(Instant::now(), begin)) {
            Way::Has(token) => Ok(token),
            Way::Waits(renewal) => renewal.await,
            Way::Fails(error) => Err(error),
        }
    }

    /// The access token of an app, of which this one is dead.
    ///
    /// # Errors
    ///
    /// As [`Client::token`]. What comes back is the dead one again, if WeChat still gives it and it
    /// was replaced too often.
    pub async fn token_after(&self, app: &Arc<App>, dead: &str) -> Result<Token, ExchangeError> {
        self.tokens.of(&app.appid, |kept| kept.bury(dead, Instant::now()));
        self.token(app).await
    }

    /// Renews a token, also when whoever needs it goes away.
    fn begin_renewal(&self, app: &Arc<App>) -> Renewal {
        let (client, app) = (self.clone(), Arc::clone(app));
        let ending = Ending { client: self.clone(), appid: app.appid.clone() };
        let task = tokio::spawn(async move {
            let outcome = client.renew(&app).await;
            ending.end(&outcome);
            outcome
        });
        let ended = || Err(ExchangeError::Unanswered("the server is stopping".into()));
        task.map(move |joined| joined.unwrap_or_else(|_| ended())).boxed().shared()
    }

    async fn renew(&self, app: &App) -> Outcome {
        let token = self.ask_for_token(app, false).await?;
        let must_force =
            self.tokens.of(&app.appid, |kept| kept.may_force(&token.text, Instant::now()));
        if !must_force {
            return Ok(token);
        }
        info!(
            app = app.appid.as_str(),
            "the access token is dead, and is replaced before its time"
        );
        self.ask_for_token(app, true).await
    }

    async fn ask_for_token(&self, app: &App, force: bool) -> Outcome {
        let deadline = Instant::now() + DEADLINE;
        let mut pauses = BUSY_PAUSES.iter();
        loop {
            let body = json!({
                "grant_type": "client_credential",
                "appid": app.appid.as_str(),
                "secret": app.secret.expose_secret(),
                "force_refresh": force,
            });
            let started = Instant::now();
            let request = Request::post("/cgi-bin/stable_token", &[], body.to_string());
            let answer = self.hosts.ask(&request, deadline).await;
            let outcome = answer.and_then(|answer| read_token(&answer, app, Instant::now()));
            self.count("stable_token", app, started, outcome.as_ref().err());
            match (outcome, pauses.next()) {
                (Err(ExchangeError::Refused(WeChatError { errcode: -1, .. })), Some(pause)) => {
                    sleep(*pause).await;
                }
                (outcome, _) => return outcome,
            }
        }
    }
}

/// A renewal on its way; one that panics ends as well.
struct Ending {
    client: Client,
    appid: AppId,
}

impl Ending {
    fn end(&self, outcome: &Outcome) {
        self.client.tokens.of(&self.appid, |kept| kept.end(outcome, Instant::now()));
        if let Err(error) = outcome {
            let cause = error.advice();
            error!(app = self.appid.as_str(), cause, "there is no new access token");
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.client.tokens.of(&self.appid, |kept| kept.renewing = None);
    }
}

/// Reads WeChat's answer to a request for a token.
fn read_token(answer: &[u8], app: &App, now: Instant) -> Outcome {
    let answer = answer::read(answer, &[(app.secret.expose_secret(), "[secret]")])?;
    let text = answer::text(&answer, "access_token");
    let text = text.ok_or(ExchangeError::Malformed("has no access_token"))?;
    let said = answer::scalar(&answer, "expires_in").and_then(|said| said.parse::<f64>().ok());
    let life = said
        .filter(|said| *said >= 1.0)
        .map_or(UNSAID, |said| Duration::from_secs_f64(said.min(LONGEST)));
    Ok(Token::new(text.into_owned().into(), life, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, life: u64, now: Instant) -> Token {
        Token::new(text.into(), Duration::from_secs(life), now)
    }

    fn never() -> Renewal {
        std::future::pending().boxed().shared()
    }

    /// What a caller gets: a token, `waits` for one that is being asked for, or an error.
    fn ask(kept: &mut Kept, now: Instant) -> (String, bool) {
        let mut begun = false;
        let way = kept.way(now, || {
            begun = true;
            never()
        });
        let got = match way {
            Way::Has(token) => token.text.expose_secret().to_owned(),
            Way::Waits(_) => "waits".to_owned(),
            Way::Fails(error) => error.to_string(),
        };
        (got, begun)
    }

    fn is(got: &(String, bool), text: &str, begun: bool) -> bool {
        got.0 == text && got.1 == begun
    }

    #[test]
    fn one_renewal_serves_all_and_the_old_token_goes_on() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut kept = Kept::default();
        assert!(is(&ask(&mut kept, at(0)), "waits", true));
        assert!(is(&ask(&mut kept, at(0)), "waits", false));
        kept.end(&Ok(token("t1", 7200, at(0))), at(0));
        assert!(is(&ask(&mut kept, at(6899)), "t1", false));
        assert!(is(&ask(&mut kept, at(6900)), "t1", true));
        assert!(is(&ask(&mut kept, at(6901)), "t1", false));
        // It fails, and is tried again; at its end there is nothing to go on with.
        kept.end(&Err(ExchangeError::LeftAlone), at(6901));
        assert!(is(&ask(&mut kept, at(6901)), "t1", false));
        assert!(is(&ask(&mut kept, at(6902)), "t1", true));
        assert!(is(&ask(&mut kept, at(7200)), "waits", false));
        kept.end(&Ok(token("t2", 7200, at(7200))), at(7200));
        assert!(is(&ask(&mut kept, at(7201)), "t2", false));
    }

    #[test]
    fn after_a_failure_nobody_asks_for_a_while() {
        let start = Instant::now();
        let after = |errcode, wait| {
            let errmsg = String::new();
            let error = ExchangeError::Refused(WeChatError { errcode, errmsg });
            let mut kept = Kept::default();
            kept.end(&Err(error), start);
            ask(&mut kept, start + Duration::from_secs(wait)).1
        };
        for (errcode, pause) in [(50000, 1), (40125, 5), (40164, 5), (45009, 60)] {
            assert!(!after(errcode, pause - 1), "{errcode}");
            assert!(after(errcode, pause), "{errcode}");
        }
    }

    #[test]
    fn a_dead_token_goes_only_if_it_is_still_the_one() {
        let start = Instant::now();
        let mut kept = Kept::default();
        kept.end(&Ok(token("t1", 7200, start)), start);
        kept.bury("t0", start);
        assert!(is(&ask(&mut kept, start), "t1", false));
        kept.bury("t1", start);
        assert!(is(&ask(&mut kept, start), "waits", true));
        // What another node has renewed is no dead one.
        assert!(!kept.may_force(&"t2".into(), start));
        assert!(kept.may_force(&"t1".into(), start));
        assert!(!kept.may_force(&"t1".into(), start + Duration::from_secs(29)));
    }

    #[test]
    fn tokens_are_replaced_twenty_times_a_day() {
        let start = Instant::now();
        let mut kept = Kept { dead: Some("t".into()), ..Kept::default() };
        let mut forced =
            |seconds| kept.may_force(&"t".into(), start + Duration::from_secs(seconds));
        assert_eq!((0..100).filter(|at| forced(at * 60)).count(), 20);
        assert!(!forced(86_399));
        assert!(forced(86_400));
    }

    #[test]
    fn a_life_that_cannot_be_is_a_short_one() {
        let app = App {
            appid: "wx1".into(),
            secret: "secret".into(),
            lifetime: crate::session::Lifetime::default(),
            is_default: true,
        };
        let now = Instant::now();
        let life = |said: &str| {
            let answer = format!(r#"{{"access_token":"t"{said}}}"#);
            read_token(answer.as_bytes(), &app, now).unwrap().expires_in(now)
        };
        assert_eq!(life(r#","expires_in":7200"#), 7200);
        assert_eq!(life(r#","expires_in":"600""#), 600);
        assert_eq!(life(r#","expires_in":1e12"#), 7200);
        for said in [
            "",
            r#","expires_in":0"#,
            r#","expires_in":-7200"#,
            r#","expires_in":"soon""#,
            r#","expires_in":null"#,
            r#","expires_in":[]"#,
            r#","expires_in":"NaN""#,
        ] {
            assert_eq!(life(said), 300, "{said}");
        }
        let refused = read_token(br#"{"errcode":40125,"errmsg":"no secret"}"#, &app, now);
        assert_eq!(refused.unwrap_err().to_string(), "WeChat says errcode 40125: no [secret]");
    }
}
