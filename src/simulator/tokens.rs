//! Access tokens as WeChat hands them out. WeChat: getStableAccessToken.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::codes::Errcode;

/// Seconds that a token lives.
const LIFETIME: i64 = 7200;

/// Seconds before its end from which on a token is replaced; less of one that lives shorter.
const AHEAD: i64 = 300;

/// How many tokens of an app are remembered, good ones and others.
const MEMORY: usize = 8;

/// The tokens of all apps, by their place.
#[derive(Debug, Default)]
pub(super) struct Tokens(HashMap<usize, Issued>);

#[derive(Debug, Default)]
struct Issued {
    wishes: Wishes,
    /// Newest first.
    tokens: VecDeque<Token>,
    /// How often a token was asked for.
    asked: u32,
}

#[derive(Debug)]
struct Token {
    text: String,
    lifetime: i64,
    until: i64,
    is_dead: bool,
}

/// The body of `POST /sim/tokens`: what is to become of an app's tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    pub(super) appid: Option<String>,
    /// Seconds that tokens live from now on.
    lifetime: Option<i64>,
    /// What is said as `expires_in`, whatever it is; `null` leaves it out.
    #[serde(default, deserialize_with = "some")]
    says: Option<Value>,
    /// How many requests for tokens are answered; 45009 after that.
    quota: Option<u32>,
    /// Whether the token is dead from now on, though WeChat goes on giving it.
    #[serde(default)]
    kill: bool,
    /// Whether another node replaces the token now.
    #[serde(default)]
    replace: bool,
}

/// Tells a member that is `null` from one that is absent.
fn some<'a, D: serde::Deserializer<'a>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The answer to `POST /sim/tokens`.
#[derive(Debug, Serialize)]
pub(super) struct State {
    /// How often a token was asked for since the start.
    asked: u32,
}

impl Tokens {
    /// Does what is wished. A new token is made of `text` where one is wanted.
    pub(super) fn wish(&mut self, app: usize, wishes: Wishes, text: String, now: i64) -> State {
        let issued = self.0.entry(app).or_default();
        if let Some(newest) = issued.tokens.front_mut().filter(|_| wishes.kill) {
            newest.is_dead = true;
        }
        let replace = wishes.replace;
        issued.wishes = wishes;
        if replace {
            issued.replace(text, now, true);
        }
        State { asked: issued.asked }
    }

    /// Gives an app's token out, or a new one; returns it as WeChat answers.
    pub(super) fn give(
        &mut self,
        app: usize,
        force: bool,
        text: String,
        now: i64,
    ) -> Result<Value, Errcode> {
        let issued = self.0.entry(app).or_default();
        issued.asked += 1;
        if issued.wishes.quota.is_some_and(|quota| issued.asked > quota) {
            return Err(Errcode(45009));
        }
        let is_fresh = |token: &Token| now < token.until - AHEAD.min(token.lifetime / 2);
        if force || !issued.tokens.front().is_some_and(is_fresh) {
            issued.replace(text, now, force);
        }
        let token = issued.tokens.front().ok_or(Errcode(-1))?;
        let mut answer = serde_json::json!({ "access_token": token.text });
        let says = issued.wishes.says.clone().unwrap_or_else(|| (token.until - now).into());
        if !says.is_null() {
            answer["expires_in"] = says;
        }
        Ok(answer)
    }

    /// The app of a token that is good.
    pub(super) fn app_of(&self, text: &str, now: i64) -> Result<usize, Errcode> {
        if text.is_empty() {
            return Err(Errcode(41001));
        }
        let found = self.0.iter().find_map(|(app, issued)| {
            let token = issued.tokens.iter().find(|token| token.text == text)?;
            Some((*app, token))
        });
        match found {
            Some((app, token)) if !token.is_dead && now < token.until => Ok(app),
            Some((_, token)) if !token.is_dead => Err(Errcode(42001)),
            _ => Err(Errcode(40001)),
        }
    }
}

impl Issued {
    /// Makes a new token; those before go on, unless they are to end.
    fn replace(&mut self, text: String, now: i64, ends_others: bool) {
        if ends_others {
            self.tokens.iter_mut().for_each(|token| token.is_dead = true);
        }
        let lifetime = self.wishes.lifetime.unwrap_or(LIFETIME);
        let until = now.saturating_add(lifetime);
        self.tokens.push_front(Token { text, lifetime, until, is_dead: false });
        self.tokens.truncate(MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(tokens: &mut Tokens, force: bool, text: &str, now: i64) -> String {
        let given = tokens.give(0, force, text.to_owned(), now).unwrap();
        format!("{} {}", given["access_token"].as_str().unwrap(), given["expires_in"])
    }

    #[test]
    fn a_token_is_stable_and_goes_on_beside_the_next() {
        let mut tokens = Tokens::default();
        assert_eq!(give(&mut tokens, false, "t1", 0), "t1 7200");
        assert_eq!(give(&mut tokens, false, "t2", 6899), "t1 301");
        assert_eq!(give(&mut tokens, false, "t2", 6900), "t2 7200");
        assert_eq!(tokens.app_of("t1", 7199), Ok(0));
        assert_eq!(tokens.app_of("t1", 7200), Err(Errcode(42001)));
        assert_eq!(tokens.app_of("t2", 7200), Ok(0));
        assert_eq!(tokens.app_of("t3", 0), Err(Errcode(40001)));
        assert_eq!(tokens.app_of("", 0), Err(Errcode(41001)));
    }

    #[test]
    fn a_forced_token_ends_the_others() {
        let mut tokens = Tokens::default();
        give(&mut tokens, false, "t1", 0);
        assert_eq!(give(&mut tokens, true, "t2", 1), "t2 7200");
        assert_eq!(tokens.app_of("t1", 1), Err(Errcode(40001)));
    }

    #[test]
    fn a_dead_token_is_given_again_until_one_is_forced() {
        let mut tokens = Tokens::default();
        give(&mut tokens, false, "t1", 0);
        let wishes = serde_json::from_str(r#"{"kill":true,"quota":2,"says":null}"#).unwrap();
        tokens.wish(0, wishes, "t2".into(), 1);
        assert_eq!(give(&mut tokens, false, "t3", 1), "t1 null");
        assert_eq!(tokens.app_of("t1", 1), Err(Errcode(40001)));
        assert_eq!(tokens.give(0, true, "t4".into(), 1), Err(Errcode(45009)));
    }
}
