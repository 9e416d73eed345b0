//! What WeChat says and does of one user, by calls with an access token.

use std::sync::Arc;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::answer::{self, Hidden};
use super::call::CallError;
use super::client::Client;
use super::error::ExchangeError;
use super::hosts::Request;
use crate::json::Value;
use crate::session::{App, OpenId};

/// What WeChat says when a signature was not made with the user's session_key. WeChat:
/// checkSessionKey.
const OTHER_KEY: i64 = 87009;

/// A user's phone number. WeChat: getPhoneNumber.
#[derive(Debug)]
pub struct PhoneNumber {
    /// With the country's code, where that is not China's.
    pub whole: SecretString,
    pub pure: SecretString,
    pub country_code: String,
}

impl Client {
    /// The phone number that a code of the phone button stands for. A code works once, for this
    /// user alone, and WeChat charges for it: what may have been done is not done again.
    ///
    /// # Errors
    ///
    /// [`CallError`], which holds neither the code nor a number.
    pub async fn phone_number(
        &self,
        app: &Arc<App>,
        open_id: &OpenId,
        code: &str,
    ) -> Result<PhoneNumber, CallError> {
        let body = json!({ "code": code, "openid": open_id.as_str() }).to_string();
        let request = Request::post("/wxa/business/getuserphonenumber", &[], body);
        let hidden = [(code, "[code]")];
        self.ask_api("getuserphonenumber", app, request, &hidden, |answer| {
            let info = answer.get("phone_info");
            let info = info.ok_or(ExchangeError::Malformed("has no phone_info"))?;
            let text = |name| answer::text(&info, name);
            let number = text("phoneNumber").or_else(|| text("purePhoneNumber"));
            let number = number.ok_or(ExchangeError::Malformed("has no phone number"))?;
            let pure = text("purePhoneNumber").unwrap_or_else(|| number.clone());
            Ok(PhoneNumber {
                pure: pure.into_owned().into(),
                whole: number.into_owned().into(),
                country_code: text("countryCode").unwrap_or_default().into_owned(),
            })
        })
        .await
    }

    /// Tells whether WeChat has this session_key for a user.
    ///
    /// # Errors
    ///
    /// [`CallError`], which holds no secret.
    pub async fn is_session_key(
        &self,
        app: &Arc<App>,
        open_id: &OpenId,
        session_key: &SecretString,
    ) -> Result<bool, CallError> {
        let outcome = self.ask_signed("checksession", app, open_id, session_key, |_| Ok(())).await;
        match outcome {
            Ok(()) => Ok(true),
            Err(CallError::Failed(ExchangeError::Refused(error))) if error.errcode == OTHER_KEY => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Has WeChat replace a user's session_key, and returns the new one.
    ///
    /// # Errors
    ///
    /// [`CallError`], which holds no secret.
    pub async fn new_session_key(
        &self,
        app: &Arc<App>,
        open_id: &OpenId,
        session_key: &SecretString,
    ) -> Result<SecretString, CallError> {
        let read = |answer: &Value<'_>| {
            let key = answer::text(answer, "session_key");
            let key = key.ok_or(ExchangeError::Malformed("has no session_key"))?;
            Ok(key.into_owned().into())
        };
        self.ask_signed("resetusersessionkey", app, open_id, session_key, read).await
    }

    /// Calls an API that wants a proof of the session_key.
    async fn ask_signed<T>(
        &self,
        api: &'static str,
        app: &Arc<App>,
        open_id: &OpenId,
        session_key: &SecretString,
        read: impl Fn(&Value<'_>) -> Result<T, ExchangeError>,
    ) -> Result<T, CallError> {
        let signature = sign(session_key, b"");
        let parameters = [
            ("openid", open_id.as_str()),
            ("signature", &signature),
            ("sig_method", "hmac_sha256"),
        ];
        let path = format!("/wxa/{api}");
        let request = Request::get(&path, &parameters);
        let hidden: [Hidden<'_>; 2] =
            [(session_key.expose_secret(), "[session_key]"), (&signature, "[signature]")];
        self.ask_api(api, app, request, &hidden, read).await
    }
}

/// Signs a message with a session_key: HMAC-SHA256 under its base64 text, in hex.
#[must_use]
pub fn sign(session_key: &SecretString, message: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, session_key.expose_secret().as_bytes());
    hex(hmac::sign(&key, message).as_ref())
}

/// Bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_wechat_does() {
        let signature = sign(&"tiihtNczf5v6AKRyjwEUhQ==".into(), b"");
        let expected = "7154f9f8b4b76b92f541cbf0e37d48840fa06e5e42da92a6f80168a1516a4735";
        assert_eq!(signature, expected);
    }
}
