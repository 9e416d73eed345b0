//! The phone: what `wx.login` and `wx.getUserInfo` give a mini program.

use axum::body::Bytes;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use super::codes::Identity;
use super::object::{self, Object, quoted};
use super::people::Person;
use crate::random;
use crate::wechat::open_data;

/// The members of a profile that only its encrypted form has.
const ENCRYPTED_ONLY: [&str; 3] = ["openId", "unionId", "watermark"];

/// The body of `POST /sim/login`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    pub(super) appid: Option<String>,
    pub(super) openid: Option<String>,
    pub(super) unionid: Option<String>,
    pub(super) profile: Option<Object>,
    /// Encrypted in the profile's place.
    pub(super) data: Option<Object>,
}

/// The answer to `POST /sim/login`: what a phone gives, and the openid, which no phone knows.
/// WeChat: wx.login, wx.getUserInfo.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginAnswer {
    pub(super) code: String,
    pub(super) encrypted_data: String,
    pub(super) iv: String,
    pub(super) raw_data: String,
    pub(super) signature: String,
    pub(super) openid: String,
}

/// The random bytes of one login.
#[derive(Debug)]
pub(super) struct Random {
    code: [u8; 16],
    openid: [u8; 20],
    session_key: [u8; 16],
    iv: [u8; 16],
}

impl Random {
    pub(super) fn draw() -> Self {
        Self {
            code: random::bytes(),
            openid: random::bytes(),
            session_key: random::bytes(),
            iv: random::bytes(),
        }
    }
}

/// One login on one phone.
#[derive(Debug)]
pub(super) struct Phone<'a> {
    appid: &'a str,
    pub(super) openid: String,
    pub(super) code: String,
    random: Random,
}

impl<'a> Phone<'a> {
    /// A login in this app by the person with this openid, or by somebody new.
    pub(super) fn new(appid: &'a str, openid: Option<String>, random: Random) -> Self {
        // The shape of real ones: `o` and 27 characters.
        let made_up = || format!("o{}", BASE64_URL_SAFE_NO_PAD.encode(random.openid));
        let openid = openid.unwrap_or_else(made_up);
        let code = format!("{:032x}", u128::from_be_bytes(random.code));
        Self { appid, openid, code, random }
    }

    /// Who the code stands for.
    pub(super) fn identity(&self, person: &Person) -> Identity {
        Identity {
            session_key: BASE64_STANDARD.encode(self.random.session_key),
            openid: self.openid.clone(),
            unionid: person.unionid.clone(),
        }
    }

    /// What the mini program gets to see; `data` is encrypted in the profile's place.
    pub(super) fn answer(self, person: &Person, data: Option<&Object>, now: i64) -> LoginAnswer {
        let Random { session_key, iv, .. } = self.random;
        let profile = person.profile(&self.openid);
        let shown = profile.iter().filter(|(name, _)| !ENCRYPTED_ONLY.contains(&name.as_ref()));
        let raw_data = object::write(shown);
        let mut plaintext = data.map_or(profile, Object::members);
        let watermark = format!(r#"{{"timestamp":{now},"appid":{}}}"#, quoted(self.appid));
        plaintext.entry("watermark".into()).or_insert(watermark.into());
        let plaintext = object::write(&plaintext);
        LoginAnswer {
            code: self.code,
            encrypted_data: open_data::encrypt(session_key, iv, plaintext.as_bytes()),
            iv: BASE64_STANDARD.encode(iv),
            signature: signature(&raw_data, &BASE64_STANDARD.encode(session_key)),
            raw_data,
            openid: self.openid,
        }
    }
}

/// Signs a profile; the session key is in base64. WeChat: signature verification.
fn signature(raw_data: &str, session_key: &str) -> String {
    let digest = Sha1::new().chain_update(raw_data).chain_update(session_key).finalize();
    format!("{:x}", Bytes::copy_from_slice(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::open_data::OpenData;

    const APP: &str = "wx4f4bc4dec97d474b";

    fn answer(data: Option<&str>) -> LoginAnswer {
        let random = Random { code: [1; 16], openid: [2; 20], session_key: [3; 16], iv: [4; 16] };
        let data = data.map(|data| serde_json::from_str(data).unwrap());
        let person = Person { unionid: Some("u1".into()), profile: None };
        Phone::new(APP, None, random).answer(&person, data.as_ref(), 1000)
    }

    fn decrypt(answer: &LoginAnswer) -> String {
        let key = BASE64_STANDARD.encode([3; 16]);
        let data = OpenData::decrypt(&key, &answer.encrypted_data, Some(&answer.iv), APP);
        data.unwrap().into_text()
    }

    #[test]
    fn signs_as_wechat_does() {
        let raw_data = concat!(
            r#"{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","#,
            r#""province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/"#,
            r#"1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5"#,
            r#"ibXQ/0"}"#
        );
        let signature = signature(raw_data, "HyVFkGl5F5OQWJZZaNzBBg==");
        assert_eq!(signature, "75e81ceda165f4ffa64f4068af58c64b8f54b88c");
    }

    #[test]
    fn somebody_new_has_a_profile() {
        let mut answer = answer(None);
        insta::assert_snapshot!(decrypt(&answer), @r#"{"openId":"oAgICAgICAgICAgICAgICAgICAgI","nickName":"Echo.","gender":2,"language":"zh_CN","city":"Xi'an","province":"Shaanxi","country":"China","avatarUrl":"https://thirdwx.qlogo.cn/mmopen/vi_32/b62dff5a15265de0e7670fa8b071b33810fc9cfc/132","unionId":"u1","watermark":{"timestamp":1000,"appid":"wx4f4bc4dec97d474b"}}"#);
        answer.encrypted_data.clear();
        insta::assert_json_snapshot!(answer, @r#"
        {
          "code": "01010101010101010101010101010101",
          "encryptedData": "",
          "iv": "BAQEBAQEBAQEBAQEBAQEBA==",
          "rawData": "{\"nickName\":\"Echo.\",\"gender\":2,\"language\":\"zh_CN\",\"city\":\"Xi'an\",\"province\":\"Shaanxi\",\"country\":\"China\",\"avatarUrl\":\"https://thirdwx.qlogo.cn/mmopen/vi_32/b62dff5a15265de0e7670fa8b071b33810fc9cfc/132\"}",
          "signature": "ab5f1d68bfb9da9f3a1e37f303b9ce58f9c78615",
          "openid": "oAgICAgICAgICAgICAgICAgICAgI"
        }
        "#);
    }

    #[test]
    fn data_is_encrypted_in_the_place_of_the_profile() {
        let answer = answer(Some(r#"{"phoneNumber":"13580006666","countryCode":"86"}"#));
        insta::assert_snapshot!(decrypt(&answer), @r#"{"phoneNumber":"13580006666","countryCode":"86","watermark":{"timestamp":1000,"appid":"wx4f4bc4dec97d474b"}}"#);
        assert!(answer.raw_data.starts_with(r#"{"nickName":"#));
    }

    #[test]
    fn a_watermark_may_lie() {
        let answer = answer(Some(r#"{"watermark":{"appid":"wx4f4bc4dec97d474b","timestamp":0}}"#));
        insta::assert_snapshot!(decrypt(&answer), @r#"{"watermark":{"appid":"wx4f4bc4dec97d474b","timestamp":0}}"#);
    }
}
