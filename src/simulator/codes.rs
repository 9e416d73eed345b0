//! The codes of `wx.login()` and what WeChat says to one.

use std::sync::Arc;

use serde::Serialize;

use crate::recent::Recent;

/// Seconds for which a code works. WeChat: wx.login.
const LIFETIME: i64 = 300;

/// More codes than a load test makes in their lifetime; beyond it the oldest go early.
const CAPACITY: usize = 1 << 20;

/// An error of WeChat's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errcode(pub(super) i64);

impl Errcode {
    fn errmsg(self) -> &'static str {
        match self.0 {
            -1 => "system error",
            0 => "ok",
            40001 => "invalid credential, access_token is invalid or not latest",
            40002 => "invalid grant_type",
            40003 => "invalid openid",
            40013 => "invalid appid",
            40029 => "invalid code",
            40125 => "invalid appsecret",
            40163 => "code been used",
            40164 => "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
            40226 => "code blocked",
            40243 => "AppSecret is frozen",
            41001 => "access_token missing",
            41002 => "appid missing",
            41004 => "appsecret missing",
            41008 => "missing code",
            42001 => "access_token expired",
            45009 => "reach max api daily quota limit",
            45011 => "api minute-quota reach limit, must slower, retry next minute",
            47001 => "data format error",
            87007 => "invalid sig_method",
            87009 => "invalid signature",
            _ => "simulated error",
        }
    }

    /// WeChat's answer. The first part of a rid is the time, as in real ones.
    pub(super) fn to_json(self, now: i64, random: [u8; 8]) -> String {
        let (errcode, errmsg) = (self.0, self.errmsg());
        let random = u64::from_be_bytes(random);
        let rid = format!("{now:08x}-{:08x}-{:08x}", random >> 32, random & 0xffff_ffff);
        format!(r#"{{"errcode":{errcode},"errmsg":"{errmsg}, rid: {rid}"}}"#)
    }
}

/// Who a code stands for, in the shape of WeChat's answer. WeChat: code2Session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Identity {
    pub(super) session_key: String,
    pub(super) openid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unionid: Option<String>,
}

impl Identity {
    /// WeChat's answer.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text can be written as JSON")
    }
}

/// The codes given out in the last five minutes, used ones too: they have an error of their own.
#[derive(Debug)]
pub(super) struct Codes(Recent<Arc<str>, Code>);

#[derive(Debug)]
struct Code {
    issued: i64,
    app: usize,
    /// `None` once the code is used.
    identity: Option<Identity>,
}

impl Code {
    fn is_expired(&self, now: i64) -> bool {
        now - self.issued >= LIFETIME
    }
}

impl Default for Codes {
    fn default() -> Self {
        Self(Recent::new(CAPACITY))
    }
}

impl Codes {
    /// Gives out a code for an app, and forgets those that have expired.
    pub(super) fn issue(&mut self, code: &str, app: usize, identity: Identity, now: i64) {
        self.0.forget_while(|code| code.is_expired(now));
        self.0.insert(code.into(), Code { issued: now, app, identity: Some(identity) });
    }

    /// Takes a code of this app. One that the app may not have is left for its own app.
    pub(super) fn redeem(&mut self, code: &str, app: usize, now: i64) -> Result<Identity, Errcode> {
        let known = self.0.get_mut(code).filter(|code| code.app == app && !code.is_expired(now));
        known.ok_or(Errcode(40029))?.identity.take().ok_or(Errcode(40163))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { session_key: "a/+=".into(), openid: "o\"1".into(), unionid: None }
    }

    #[test]
    fn a_code_works_once() {
        let mut codes = Codes::default();
        codes.issue("c", 0, identity(), 1000);
        assert_eq!(codes.redeem("c", 0, 1000), Ok(identity()));
        assert_eq!(codes.redeem("c", 0, 1299), Err(Errcode(40163)));
        assert_eq!(codes.redeem("c", 0, 1300), Err(Errcode(40029)));
        assert_eq!(codes.redeem("d", 0, 1000), Err(Errcode(40029)));
        assert_eq!(codes.redeem("", 0, 1000), Err(Errcode(40029)));
    }

    #[test]
    fn a_code_expires_after_five_minutes() {
        let mut codes = Codes::default();
        codes.issue("old", 0, identity(), 1000);
        codes.issue("new", 0, identity(), 1001);
        assert_eq!(codes.redeem("old", 0, 1300), Err(Errcode(40029)));
        assert_eq!(codes.redeem("new", 0, 1300), Ok(identity()));
    }

    #[test]
    fn a_code_is_for_one_app() {
        let mut codes = Codes::default();
        codes.issue("c", 0, identity(), 1000);
        assert_eq!(codes.redeem("c", 1, 1000), Err(Errcode(40029)));
        assert_eq!(codes.redeem("c", 0, 1000), Ok(identity()));
    }

    #[test]
    fn expired_codes_are_forgotten() {
        let mut codes = Codes::default();
        for now in 0..10_000 {
            codes.issue(&now.to_string(), 0, identity(), now);
        }
        let known = (0..10_000).filter(|at| codes.0.get_mut(&*at.to_string()).is_some());
        assert_eq!(known.count(), 300);
    }

    #[test]
    fn answers_look_like_wechats() {
        let refused =
            Errcode(40163).to_json(0x6380_622c, [0x50, 7, 0x64, 0x16, 0, 0x4b, 0x40, 0xb0]);
        insta::assert_snapshot!(refused, @r#"{"errcode":40163,"errmsg":"code been used, rid: 6380622c-50076416-004b40b0"}"#);
        insta::assert_snapshot!(identity().to_json(), @r#"{"session_key":"a/+=","openid":"o\"1"}"#);
    }
}
