//! Open data: what a phone hands over as `encryptedData` and `iv`.
//!
//! WeChat encrypts with AES-128-CBC and PKCS#7 padding under the user's session key. There is no
//! MAC and the client supplies the iv, so decrypted text proves nothing by itself: the caller
//! compares what it says with what WeChat said.

use std::borrow::Cow;

use aes::Aes128;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::json::Value;

/// Base64 as PHP's `base64_decode` reads it, once other characters are gone.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Why data could not be decrypted. For the log only: told to a client, it is a padding oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    #[error(
        "the mini program sent no data: `undefined`, `null` or `[object Object]` is in its place"
    )]
    NotSent,
    #[error("the session_key is not 16 bytes in base64")]
    SessionKey,
    #[error("the iv is not 16 bytes in base64")]
    Iv,
    #[error(
        "the encrypted data is not whole blocks in base64, or was made with another session_key"
    )]
    Cipher,
    #[error("the decrypted text is not a JSON object")]
    NotAnObject,
    #[error("the watermark names another app")]
    Watermark,
    #[error("the data names another user")]
    OtherUser,
}

/// A decrypted JSON object, as WeChat wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenData(String);

impl OpenData {
    /// Decrypts `encrypted` and checks that it is an object for this app.
    ///
    /// All three texts are base64 and read leniently. Without an `iv`, or with the word `old` in
    /// its place, the session key is the iv, as in the mini programs of 2016.
    ///
    /// # Errors
    ///
    /// [`DecryptError`], of which a client may not learn more than that it happened.
    pub fn decrypt(
        session_key: &str,
        encrypted: &str,
        iv: Option<&str>,
        appid: &str,
    ) -> Result<Self, DecryptError> {
        if [Some(encrypted), iv].into_iter().flatten().any(is_placeholder) {
            return Err(DecryptError::NotSent);
        }
        let key = Zeroizing::new(decode_base64(session_key));
        let key: &[u8; 16] = key.as_slice().try_into().map_err(|_| DecryptError::SessionKey)?;
        let iv = iv.filter(|iv| *iv != "old").map(decode_sent);
        let iv: &[u8; 16] = match &iv {
            None => key,
            Some(iv) => iv.as_slice().try_into().map_err(|_| DecryptError::Iv)?,
        };
        let mut data = decode_sent(encrypted);
        let length = cbc::Decryptor::<Aes128>::new(key.into(), iv.into())
            .decrypt_padded::<Pkcs7>(&mut data)
            .map_err(|_| DecryptError::Cipher)?
            .len();
        data.truncate(length);
        let text = String::from_utf8(data).map_err(|_| DecryptError::NotAnObject)?;
        let object = Value::parse(text.as_bytes()).map_err(|_| DecryptError::NotAnObject)?;
        if !object.is_object() {
            return Err(DecryptError::NotAnObject);
        }
        let marked = object.get("watermark").and_then(|watermark| watermark.get("appid"));
        if marked.and_then(Value::as_str).as_deref() != Some(appid) {
            return Err(DecryptError::Watermark);
        }
        Ok(Self(text))
    }

    /// Checks that an openId or unionId inside, where there is one, is the one WeChat gave.
    ///
    /// # Errors
    ///
    /// [`DecryptError::OtherUser`] when it is not.
    pub fn belongs_to(&self, open_id: &str, union_id: Option<&str>) -> Result<(), DecryptError> {
        let object = Value::parse(self.0.as_bytes()).map_err(|_| DecryptError::NotAnObject)?;
        let differs = |name, expected: &str| {
            object.get(name).is_some_and(|inside| inside.as_str().as_deref() != Some(expected))
        };
        if differs("openId", open_id) || union_id.is_some_and(|id| differs("unionId", id)) {
            return Err(DecryptError::OtherUser);
        }
        Ok(())
    }

    /// The object's text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Encrypts as a phone does; the simulator's half of [`OpenData::decrypt`].
#[must_use]
pub fn encrypt(key: [u8; 16], iv: [u8; 16], plaintext: &[u8]) -> String {
    let sealed = cbc::Encryptor::<Aes128>::new(&key.into(), &iv.into())
        .encrypt_padded_vec::<Pkcs7>(plaintext);
    base64::prelude::BASE64_STANDARD.encode(sealed)
}

/// Tells whether a text is what JavaScript makes of a value that is not there, or is no text.
fn is_placeholder(text: &str) -> bool {
    matches!(text.trim(), "undefined" | "null" | "[object Object]")
}

/// How many times a mini program may have encoded what it sends.
const ENCODED_AT_MOST: usize = 2;

/// Decodes the base64 of a phone, in whichever of its alphabets, as it is or percent-encoded: none
/// of these means anything else in another.
fn decode_sent(text: &str) -> Vec<u8> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ENCODED_AT_MOST {
        if text.contains('%') {
            text = percent_decode_str(&text).decode_utf8_lossy().into_owned().into();
        }
    }
    if text.contains(['-', '_']) {
        text = text.replace('-', "+").replace('_', "/").into();
    }
    decode_base64(&text)
}

/// Decodes base64 as PHP does: padding and foreign characters do not count, and a space stands
/// for the `+` that form decoding turned into one.
pub(crate) fn decode_base64(text: &str) -> Vec<u8> {
    let wanted = text
        .bytes()
        .map(|byte| if byte == b' ' { b'+' } else { byte })
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    // It may be a key: it must leave no copy behind, so it must not grow either.
    let mut symbols = Zeroizing::new(Vec::with_capacity(text.len()));
    symbols.extend(wanted);
    if symbols.len() % 4 == 1 {
        // Six bits are no byte.
        symbols.pop();
    }
    LENIENT.decode(&*symbols).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;

    const APP: &str = "wx4f4bc4dec97d474b";
    const KEY: &str = "tiihtNczf5v6AKRyjwEUhQ==";
    const IV: &str = "r7BXXKkLb8qrSNn05n0qiA==";
    const OFFICIAL: &str = include_str!("../../tests/data/official-vector.txt");

    #[test]
    fn decrypts_the_official_vector() {
        let data = OpenData::decrypt(KEY, OFFICIAL, Some(IV), APP).unwrap();
        data.belongs_to("oGZUI0egBJY1zhBYw2KhdUfwVJJE", None).unwrap();
        let text = data.into_text();
        assert_eq!(text.len(), 393);
        let digest = bytes::Bytes::copy_from_slice(&sha2::Sha256::digest(&text));
        let expected = "3237d8a5dbd413523c194882c7156544d8a06e2afcc97383cc300c17bd09391b";
        assert_eq!(format!("{digest:x}"), expected);
    }

    #[test]
    fn reads_base64_as_php_does() {
        let broken: String = OFFICIAL
            .trim()
            .as_bytes()
            .chunks(60)
            .flat_map(|line| [line, b"\r\n"].concat())
            .map(char::from)
            .collect();
        let spaced = broken.replace('+', " ").replace('=', "");
        let data = OpenData::decrypt(KEY.trim_end_matches('='), &spaced, Some(IV), APP).unwrap();
        assert_eq!(data.into_text().len(), 393);
    }

    #[test]
    fn what_was_encoded_on_the_way_is_read() {
        let encode = |text: &str| text.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
        let twice =
            |text: &str| text.replace('+', "%252b").replace('/', "%252F").replace('=', "%253D");
        let url_safe = |text: &str| text.replace('+', "-").replace('/', "_").replace('=', "");
        for encode in [encode as fn(&str) -> String, twice, url_safe] {
            let (data, iv) = (encode(OFFICIAL.trim()), encode(IV));
            let data = OpenData::decrypt(KEY, &data, Some(&iv), APP).unwrap();
            assert_eq!(data.into_text().len(), 393);
        }
    }

    #[test]
    fn a_word_in_the_place_of_data_is_none() {
        for word in ["undefined", "null", "[object Object]"] {
            for (data, iv) in [(word, IV), (OFFICIAL, word)] {
                let opened = OpenData::decrypt(KEY, data, Some(iv), APP);
                assert_eq!(opened, Err(DecryptError::NotSent), "{word}");
            }
        }
    }

    #[test]
    fn without_an_iv_the_session_key_is_the_iv() {
        let key = [7; 16];
        let plain = format!(r#"{{"watermark":{{"appid":"{APP}"}}}}"#);
        let sealed = encrypt(key, key, plain.as_bytes());
        let key = base64::prelude::BASE64_STANDARD.encode(key);
        for iv in [None, Some("old")] {
            assert_eq!(OpenData::decrypt(&key, &sealed, iv, APP).unwrap().into_text(), plain);
        }
        assert_eq!(OpenData::decrypt(&key, &sealed, Some(""), APP), Err(DecryptError::Iv));
    }

    #[test]
    fn a_flipped_iv_does_not_change_who_one_is() {
        let mut iv: Vec<u8> = decode_base64(IV);
        // The first block is `{"openId":"oGZUI`; its 12th byte is the first of the openId.
        iv[11] ^= b'o' ^ b'x';
        let iv = base64::prelude::BASE64_STANDARD.encode(iv);
        let data = OpenData::decrypt(KEY, OFFICIAL, Some(&iv), APP).unwrap();
        let verdict = data.belongs_to("oGZUI0egBJY1zhBYw2KhdUfwVJJE", None);
        assert_eq!(verdict, Err(DecryptError::OtherUser));
    }

    #[test]
    fn a_union_id_counts_only_where_wechat_gave_one() {
        let data = OpenData(r#"{"unionId":"u1"}"#.into());
        assert_eq!(data.belongs_to("o", None), Ok(()));
        assert_eq!(data.belongs_to("o", Some("u1")), Ok(()));
        assert_eq!(data.belongs_to("o", Some("u2")), Err(DecryptError::OtherUser));
    }

    proptest! {
        #[test]
        fn what_a_phone_sends_arrives(key: [u8; 16], iv: [u8; 16], name: String) {
            let plain = serde_json::json!({"name": name, "watermark": {"appid": APP}}).to_string();
            let [key64, iv64] = [key, iv].map(|b| base64::prelude::BASE64_STANDARD.encode(b));
            let sealed = encrypt(key, iv, plain.as_bytes());
            let data = OpenData::decrypt(&key64, &sealed, Some(&iv64), APP).unwrap();
            prop_assert_eq!(data.into_text(), plain);
        }

        #[test]
        fn garbage_is_refused(key: String, data: String, iv: String) {
            prop_assert!(OpenData::decrypt(&key, &data, Some(&iv), APP).is_err());
            prop_assert!(OpenData::decrypt(KEY, &data, Some(IV), APP).is_err());
        }

        #[test]
        fn lenient_base64_reads_what_strict_does(bytes: Vec<u8>) {
            prop_assert_eq!(decode_base64(&base64::prelude::BASE64_STANDARD.encode(&bytes)), bytes);
        }
    }
}
