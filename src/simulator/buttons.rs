//! The codes of the phone button. WeChat: getPhoneNumber.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codes::Errcode;
use crate::recent::Recent;

/// Seconds for which a code works.
const LIFETIME: i64 = 300;

/// How many codes are known at once.
const CAPACITY: usize = 10_000;

/// The body of `POST /sim/phone`: who presses the button.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pressed {
    pub(super) appid: Option<String>,
    pub(super) openid: String,
    #[serde(rename = "phoneNumber", default = "some_number")]
    pub(super) number: String,
}

fn some_number() -> String {
    "13580006666".to_owned()
}

/// The answer to `POST /sim/phone`.
#[derive(Debug, Serialize)]
pub(super) struct PhoneCode {
    pub(super) code: String,
}

/// The codes given out in the last five minutes.
#[derive(Debug)]
pub(super) struct Buttons(Recent<Arc<str>, Button>);

#[derive(Debug)]
struct Button {
    issued: i64,
    app: usize,
    openid: String,
    number: String,
    is_used: bool,
}

impl Default for Buttons {
    fn default() -> Self {
        Self(Recent::new(CAPACITY))
    }
}

impl Buttons {
    /// Gives out a code for a user of an app.
    pub(super) fn press(&mut self, code: &str, app: usize, pressed: Pressed, now: i64) {
        self.0.forget_while(|button| now - button.issued >= LIFETIME);
        let Pressed { openid, number, .. } = pressed;
        self.0.insert(code.into(), Button { issued: now, app, openid, number, is_used: false });
    }

    /// The number that a code stands for, once; another user's is left for that one.
    pub(super) fn redeem(
        &mut self,
        code: &str,
        app: usize,
        openid: Option<&str>,
        now: i64,
    ) -> Result<String, Errcode> {
        let is_good = |button: &&mut Button| {
            let is_theirs = openid.is_none_or(|openid| openid == button.openid);
            button.app == app && is_theirs && now - button.issued < LIFETIME
        };
        let button = self.0.get_mut(code).filter(is_good).ok_or(Errcode(40029))?;
        if std::mem::replace(&mut button.is_used, true) {
            return Err(Errcode(40163));
        }
        Ok(button.number.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_for_one_user_and_works_once() {
        let mut buttons = Buttons::default();
        let pressed = serde_json::from_str(r#"{"openid":"o1","phoneNumber":"1"}"#).unwrap();
        buttons.press("c", 0, pressed, 1000);
        assert_eq!(buttons.redeem("c", 0, Some("o2"), 1000), Err(Errcode(40029)));
        assert_eq!(buttons.redeem("c", 1, Some("o1"), 1000), Err(Errcode(40029)));
        assert_eq!(buttons.redeem("c", 0, Some("o1"), 1299), Ok("1".into()));
        assert_eq!(buttons.redeem("c", 0, Some("o1"), 1299), Err(Errcode(40163)));
        assert_eq!(buttons.redeem("c", 0, Some("o1"), 1300), Err(Errcode(40029)));
    }
}
