//! Open data: whatever is sent, and whatever is inside.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mina_auth::session::profile;
use mina_auth::wechat::open_data::{self, DecryptError, OpenData};
use serde_json::Value;

use super::seeds::steps;

const APP: &str = "wx4f4bc4dec97d474b";
const KEY: [u8; 16] = *b"0123456789abcdef";
const IV: [u8; 16] = *b"fedcba9876543210";
const SESSION_KEY: &str = "tiihtNczf5v6AKRyjwEUhQ==";

/// Lines of session_key, encrypted data, iv and appid; and what stands inside such data.
pub fn seeds() -> Vec<Vec<u8>> {
    let sent = steps().into_iter().filter_map(|step| {
        let [data, iv] = ["encrypt_data", "iv"].map(|name| step.parameter(name));
        let data = data?;
        let opened = OpenData::decrypt(SESSION_KEY, data, iv, APP).map(OpenData::into_text);
        let line = format!("{SESSION_KEY}\n{data}\n{}\n{APP}", iv.unwrap_or("old"));
        Some([line.into_bytes(), opened.unwrap_or_default().into_bytes()])
    });
    sent.flatten().collect()
}

pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let mut lines = text.split('\n');
        let [key, sealed, iv, appid] = [(); 4].map(|()| lines.next().unwrap_or_default());
        if let Ok(opened) = open(key, sealed, iv, appid) {
            assert_is_for(&opened, appid);
        }
    }
    let [key, iv] = [KEY, IV].map(|bytes| BASE64_STANDARD.encode(bytes));
    let sealed = open_data::encrypt(KEY, IV, data);
    if let Ok(opened) = open(&key, &sealed, &iv, APP) {
        assert_eq!(opened.as_bytes(), data);
        assert_is_for(&opened, APP);
    }
    // What is broken in transit, as forms break it, is read all the same.
    let broken = sealed.replace('+', " ").replace('=', "\r\n");
    assert_eq!(open(&key, &sealed, &iv, APP), open(&key, &broken, &iv, APP));
}

fn open(key: &str, sealed: &str, iv: &str, appid: &str) -> Result<String, DecryptError> {
    OpenData::decrypt(key, sealed, Some(iv), appid).map(OpenData::into_text)
}

/// The text is an object with the app's watermark, and stays an object with the user's ids added.
fn assert_is_for(text: &str, appid: &str) {
    // serde_json refuses large numbers and deep nesting.
    let Ok(object) = serde_json::from_str::<Value>(text) else { return };
    assert_eq!(object["watermark"]["appid"], appid);
    let named = profile::with_identity(text.to_owned(), "o\"1", Some("u1"));
    let named: Value = serde_json::from_str(&named).expect("it stays JSON");
    let expected = |name, added: &str| object.get(name).cloned().unwrap_or_else(|| added.into());
    assert_eq!(named["openId"], expected("openId", "o\"1"));
    assert_eq!(named["unionId"], expected("unionId", "u1"));
}
