//! Alarms for those who have no Prometheus: a POST when something has gone wrong, and one when that
//! is over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::tally::{Counts, Kind};
use crate::causes::with_causes;
use crate::choices::one_of;
use crate::session::AppId;

/// How often it is looked whether something is wrong.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Over how many looks the success of logins is judged: five minutes.
const LOOKS: usize = 30;

/// With fewer logins than this in that time a few failures would be most of them.
pub const ENOUGH: u64 = 20;

/// For how many looks WeChat or the store must be away: a minute.
const AWAY: u32 = 6;

/// How long a receiver may take, and how often it is tried again, once a look.
const TIMEOUT: Duration = Duration::from_secs(10);
const TRIES: u32 = 60;

/// The interfaces that log in.
pub const LOGINS: [&str; 3] = ["id_skey", "login", "wafer/login"];

/// `alarm.format`: what the receiver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Format {
    Json,
    /// A robot of WeCom (企业微信).
    Wecom,
    /// A robot of DingTalk (钉钉).
    Dingtalk,
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let choices = [("json", Self::Json), ("wecom", Self::Wecom), ("dingtalk", Self::Dingtalk)];
        one_of(&text, &choices)
    }
}

/// What may be wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Too few of an app's logins succeed.
    LoginsFail(AppId),
    /// WeChat refuses an app itself.
    AppRefused(AppId),
    WeChatAway,
    StoreAway,
}

/// How things are at a look.
#[derive(Debug)]
pub struct Look<'a> {
    pub counts: &'a Counts,
    /// How often WeChat has refused each app itself, since the start.
    pub refused: &'a BTreeMap<AppId, u64>,
    pub is_wechat_away: bool,
    pub is_store_away: bool,
}

/// Something that has begun or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub trouble: Trouble,
    pub is_over: bool,
}

/// What was seen so far. Pure: whoever looks says how things are.
#[derive(Debug)]
pub struct Watch {
    /// `alarm.below`, percent.
    below: u64,
    /// Logins of each app since the start, at the last looks: those that succeeded, and those that
    /// failed for what is not the caller's.
    logins: BTreeMap<AppId, VecDeque<(u64, u64)>>,
    refused: BTreeMap<AppId, u64>,
    /// For how many looks WeChat was away, and the store.
    away: [u32; 2],
    going_on: Vec<Trouble>,
}

impl Watch {
    /// Begins with nothing wrong.
    #[must_use]
    pub fn new(below: u64) -> Self {
        let (logins, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { below, logins, refused, away: [0; 2], going_on: Vec::new() }
    }

    /// Takes a look, and says what has begun and what is over.
    pub fn look(&mut self, look: &Look<'_>, is_callers: impl Fn(u32) -> bool) -> Vec<Turn> {
        let mut wrong = Vec::new();
        for (app, (succeeded, failed)) in logins(look.counts, is_callers) {
            let history = self.logins.entry(app.clone()).or_default();
            let (before, _) = history.back().copied().unwrap_or_default();
            if history.len() > LOOKS {
                history.pop_front();
            }
            history.push_back((succeeded, failed));
            let (old_succeeded, old_failed) =
                if history.len() > LOOKS { history[0] } else { Default::default() };
            let (good, bad) = (succeeded - old_succeeded, failed - old_failed);
            if good + bad >= ENOUGH && good * 100 < self.below * (good + bad) {
                wrong.push(Trouble::LoginsFail(app.clone()));
            }
            // Until a login of this app succeeds again.
            let refused = look.refused.get(&app).copied().unwrap_or_default();
            let known = self.refused.insert(app.clone(), refused).unwrap_or_default();
            let trouble = Trouble::AppRefused(app);
            if refused > known || self.going_on.contains(&trouble) && succeeded == before {
                wrong.push(trouble);
            }
        }
        let away =
            [(look.is_wechat_away, Trouble::WeChatAway), (look.is_store_away, Trouble::StoreAway)];
        for (looks, (is_away, trouble)) in self.away.iter_mut().zip(away) {
            *looks = if is_away { looks.saturating_add(1) } else { 0 };
            if *looks > AWAY {
                wrong.push(trouble);
            }
        }
        let is_new = |trouble: &&Trouble| !self.going_on.contains(trouble);
        let begun = wrong.iter().filter(is_new).map(|trouble| (trouble, false));
        let ended = self.going_on.iter().filter(|trouble| !wrong.contains(trouble));
        let turns = begun.chain(ended.map(|trouble| (trouble, true)));
        let turns = turns.map(|(trouble, is_over)| Turn { trouble: trouble.clone(), is_over });
        let turns = turns.collect();
        self.going_on = wrong;
        turns
    }
}

/// The logins of each app since the start: how many succeeded, and how many failed for what is not
/// the caller's.
fn logins(counts: &Counts, is_callers: impl Fn(u32) -> bool) -> BTreeMap<AppId, (u64, u64)> {
    let mut apps = BTreeMap::<AppId, (u64, u64)>::new();
    let is_login = |kind: &Kind| LOGINS.contains(&kind.interface) && !kind.app.is_empty();
    for (kind, count) in counts.requests.iter().filter(|(kind, _)| is_login(kind)) {
        let (succeeded, failed) = apps.entry(AppId::from(&*kind.app)).or_default();
        match kind.code {
            0 => *succeeded += count,
            code if is_callers(code) => {}
            _ => *failed += count,
        }
    }
    apps
}

impl Turn {
    fn name(&self) -> &'static str {
        match self.trouble {
            Trouble::LoginsFail(_) => "logins-fail",
            Trouble::AppRefused(_) => "app-refused",
            Trouble::WeChatAway => "wechat-away",
            Trouble::StoreAway => "store-away",
        }
    }

    fn app(&self) -> Option<&str> {
        match &self.trouble {
            Trouble::LoginsFail(app) | Trouble::AppRefused(app) => Some(app.as_str()),
            Trouble::WeChatAway | Trouble::StoreAway => None,
        }
    }

    fn english(&self) -> String {
        match (&self.trouble, self.is_over) {
            (Trouble::LoginsFail(app), false) => {
                format!("too many logins of {app} fail; `mina-auth stats --since 10m` says why")
            }
            (Trouble::LoginsFail(app), true) => format!("logins of {app} succeed again"),
            (Trouble::AppRefused(app), false) => format!(
                "WeChat refuses {app} itself: its appid, its AppSecret or this address; ask `mina-auth check`"
            ),
            (Trouble::AppRefused(app), true) => format!("WeChat takes {app} again"),
            (Trouble::WeChatAway, false) => {
                "WeChat cannot be reached: logins fail, checks go on".into()
            }
            (Trouble::WeChatAway, true) => "WeChat can be reached again".into(),
            (Trouble::StoreAway, false) => {
                "the database cannot be read: logins fail, known sessions check out".into()
            }
            (Trouble::StoreAway, true) => "the database can be read again".into(),
        }
    }

    fn chinese(&self) -> String {
        match (&self.trouble, self.is_over) {
            (Trouble::LoginsFail(app), false) => {
                format!("{app} 的登录失败过多，原因见 mina-auth stats --since 10m")
            }
            (Trouble::LoginsFail(app), true) => format!("{app} 的登录已恢复"),
            (Trouble::AppRefused(app), false) => format!(
                "微信拒绝了 {app}：appid、AppSecret 或本机 IP 不对，可用 mina-auth check 检查"
            ),
            (Trouble::AppRefused(app), true) => format!("微信重新接受 {app}"),
            (Trouble::WeChatAway, false) => "连不上微信：登录失败，校验不受影响".into(),
            (Trouble::WeChatAway, true) => "微信已恢复".into(),
            (Trouble::StoreAway, false) => "数据库读不了：登录失败，已知会话仍可通过校验".into(),
            (Trouble::StoreAway, true) => "数据库已恢复".into(),
        }
    }

    /// What is sent.
    #[must_use]
    pub fn message(&self, format: Format, node: &str) -> Value {
        match format {
            Format::Json => json!({
                "alarm": self.name(),
                "state": if self.is_over { "over" } else { "begun" },
                "app": self.app(),
                "node": node,
                "text": format!("Mina Auth on {node}: {}", self.english()),
            }),
            Format::Wecom | Format::Dingtalk => {
                let content = format!("Mina Auth（{node}）：{}", self.chinese());
                json!({ "msgtype": "text", "text": { "content": content } })
            }
        }
    }
}

/// Who is told. A robot's URL has its key in it.
pub struct Receiver {
    http: reqwest::Client,
    url: SecretString,
    format: Format,
    /// What could not be sent yet, with how often that was tried.
    waiting: VecDeque<(Value, u32)>,
}

impl Receiver {
    /// Sends to this URL.
    ///
    /// # Errors
    ///
    /// When no TLS is to be had.
    pub fn new(url: SecretString, format: Format) -> Result<Self, String> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        let http = http.map_err(|error| with_causes(&error))?;
        Ok(Self { http, url, format, waiting: VecDeque::new() })
    }

    /// Tells of what has turned, and of what could not be told before.
    pub async fn tell(&mut self, turns: Vec<Turn>, node: &str) {
        for turn in turns {
            info!(alarm = turn.name(), over = turn.is_over, "{}", turn.english());
            self.waiting.push_back((turn.message(self.format, node), 0));
        }
        while let Some((message, tries)) = self.waiting.pop_front() {
            let Err(cause) = self.send(&message).await else { continue };
            if tries == 0 {
                warn!(cause, "an alarm could not be sent to `alarm.url`; it is tried again");
            }
            if tries < TRIES {
                self.waiting.push_front((message, tries + 1));
            }
            return;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "not to WeChat, and its errors lose their URL")]
    async fn send(&self, message: &Value) -> Result<(), String> {
        let url: Url = self.url.expose_secret().parse().map_err(|_| "it is no URL".to_owned())?;
        let request = self.http.post(url).header("content-type", "application/json");
        let answer = request.body(message.to_string()).send().await;
        let answer = answer.map_err(|error| with_causes(&error.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("HTTP status {status}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        watch: Watch,
        counts: Counts,
        refused: BTreeMap<AppId, u64>,
    }

    impl World {
        fn new() -> Self {
            let (counts, refused) = (Counts::default(), BTreeMap::new());
            Self { watch: Watch::new(95), counts, refused }
        }

        fn count(&mut self, code: u32, more: u64) -> &mut Self {
            let kind = Kind { interface: "login", code, app: "wx1".into() };
            *self.counts.requests.entry(kind).or_default() += more;
            self
        }

        fn look_at(&mut self, is_wechat_away: bool, is_store_away: bool) -> Vec<String> {
            let (counts, refused) = (&self.counts, &self.refused);
            let look = Look { counts, refused, is_wechat_away, is_store_away };
            let turns = self.watch.look(&look, |code| code == 40029);
            let word = |turn: &Turn| {
                format!("{} {}", turn.name(), if turn.is_over { "over" } else { "begun" })
            };
            turns.iter().map(word).collect()
        }

        fn look(&mut self) -> Vec<String> {
            self.look_at(false, false)
        }
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn logins_that_fail_are_told_once_and_once_when_that_is_over() {
        let mut world = World::new();
        assert_eq!(world.count(0, 18).count(1005, 1).look(), NOTHING, "too few to tell");
        assert_eq!(world.count(40029, 100).look(), NOTHING, "the callers' own");
        assert_eq!(world.count(1005, 1).look(), ["logins-fail begun"]);
        assert_eq!(world.count(1005, 5).look(), NOTHING);
        assert_eq!(world.count(0, 200).look(), ["logins-fail over"]);
        // What was five minutes ago counts no more.
        for _ in 0..40 {
            assert_eq!(world.look(), NOTHING);
        }
        assert_eq!(world.count(1005, 20).look(), ["logins-fail begun"]);
        let later: Vec<_> = (0..40).flat_map(|_| world.look()).collect();
        assert_eq!(later, ["logins-fail over"], "nobody logs in any more");
    }

    #[test]
    fn an_app_that_wechat_refuses_is_over_with_a_login() {
        let mut world = World::new();
        world.count(1007, 1);
        world.refused.insert("wx1".into(), 1);
        assert_eq!(world.look(), ["app-refused begun"]);
        assert_eq!(world.look(), NOTHING);
        assert_eq!(world.count(0, 1).look(), ["app-refused over"]);
        world.refused.insert("wx1".into(), 2);
        assert_eq!(world.look(), ["app-refused begun"]);
    }

    #[test]
    fn a_minute_away_is_an_alarm_and_less_is_none() {
        let mut world = World::new();
        for _ in 0..6 {
            assert_eq!(world.look_at(true, true), NOTHING);
        }
        assert_eq!(world.look_at(false, true), ["store-away begun"]);
        assert_eq!(world.look_at(true, false), ["store-away over"]);
        let turns: Vec<_> = (0..10).flat_map(|_| world.look_at(true, false)).collect();
        assert_eq!(turns, ["wechat-away begun"]);
        assert_eq!(world.look(), ["wechat-away over"]);
    }

    #[test]
    fn messages_fit_their_receivers() {
        let turn = Turn { trouble: Trouble::LoginsFail("wx1".into()), is_over: false };
        let json = turn.message(Format::Json, "node-a");
        let told = (&json["alarm"], &json["state"], &json["app"], &json["node"]);
        assert_eq!(told, (&json!("logins-fail"), &json!("begun"), &json!("wx1"), &json!("node-a")));
        let robot = turn.message(Format::Wecom, "node-a");
        assert_eq!(robot["msgtype"], "text");
        assert!(robot["text"]["content"].as_str().unwrap().contains("wx1 的登录失败过多"));
        assert_eq!(turn.message(Format::Dingtalk, "node-a"), robot);
    }
}
