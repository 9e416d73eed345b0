//! Secrets as they stand in a database: AES-256-GCM under a key that is kept elsewhere.
//!
//! A sealed text is `aes256gcm:1:KEY:DATA`: 1 is the version of this form, KEY names the key, and
//! DATA is nonce, ciphertext and tag in base64url. The place where it stands is authenticated as
//! well: a text that was moved to another row or column does not open. A text without the mark is
//! plain, from a time or a program without a key.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::random;

pub mod file;

/// What a sealed text begins with, in every version of its form.
const MARK: &str = "aes256gcm:";

/// The version that is written and read.
const VERSION: &str = "1";

/// Where a secret stands.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Of the app with this appid.
    AppSecret(&'a str),
    /// Of the user with this appid and openid.
    SessionKey([&'a str; 2]),
    /// Of the user with this appid and openid.
    PreviousSessionKey([&'a str; 2]),
    /// Of the session with this id, where the PHP server keeps it.
    LegacySessionKey(&'a str),
}

impl Place<'_> {
    /// The table, the column and what the row is known by.
    fn parts(&self) -> [&str; 4] {
        match self {
            Self::AppSecret(appid) => ["cAppinfo", "secret", appid, ""],
            Self::SessionKey([appid, open_id]) => ["mina_user", "session_key", appid, open_id],
            Self::PreviousSessionKey([appid, open_id]) => {
                ["mina_user", "previous_session_key", appid, open_id]
            }
            Self::LegacySessionKey(id) => ["cSessionInfo", "session_key", id, ""],
        }
    }

    /// What is authenticated: each part after its length, so that no two places have the same.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.parts() {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [table, column, ..] = self.parts();
        write!(f, "`{table}.{column}`")
    }
}

/// A sealed secret that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("{place} is encrypted under the key {key}, which {origin} does not have")]
    UnknownKey { place: String, key: String, origin: Arc<str> },
    #[error(
        "{place} does not open with its key of {origin}: it is damaged, or was moved there from another row"
    )]
    Broken { place: String, origin: Arc<str> },
}

/// A text that is no key.
#[derive(Debug, thiserror::Error)]
#[error("expected 32 bytes as base64 or as 64 hex digits; `mina-auth secrets generate` makes them")]
pub struct NoKey;

/// A key of 32 bytes, written as base64 or as 64 hex digits.
pub struct Key {
    /// Eight hex digits that name it.
    id: String,
    cipher: RandomizedNonceKey,
}

impl Key {
    /// Makes the text of a new key.
    #[must_use]
    pub fn generate() -> SecretString {
        let bytes = Zeroizing::new(random::bytes::<32>());
        BASE64_STANDARD.encode(*bytes).into()
    }
}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = Zeroizing::new(match text.len() {
            64 => hex(text).ok_or(NoKey)?,
            _ => BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| NoKey)?,
        });
        // Which is 32 bytes, or there is no such cipher.
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| NoKey)?;
        let digest = Sha256::digest(&*bytes);
        let mut id = String::new();
        for byte in &digest[..4] {
            let _ = write!(id, "{byte:02x}");
        }
        Ok(Self { id, cipher })
    }
}

/// Tells whether this may name a key: what is no name is not quoted in an error.
fn is_name(id: &str) -> bool {
    id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

/// The keys of a database: the first one writes, all of them read. Without any, secrets are
/// written plain.
#[derive(Clone)]
pub struct Keys {
    keys: Arc<[Key]>,
    /// Where they come from, for those who look for one that is missing.
    origin: Arc<str>,
}

impl Keys {
    /// Keys from a setting or a file, named in backticks.
    #[must_use]
    pub fn new(keys: Vec<Key>, origin: &str) -> Self {
        Self { keys: keys.into(), origin: origin.into() }
    }

    /// No keys at all.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Vec::new(), "`secrets.keys`")
    }

    /// The name of the key that writes.
    #[must_use]
    pub fn writes(&self) -> Option<&str> {
        self.keys.first().map(|key| &*key.id)
    }

    /// Where they come from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first of these names that no key has.
    #[must_use]
    pub fn missing<'a>(&self, names: &'a [String]) -> Option<&'a str> {
        let known = |name: &str| self.keys.iter().any(|key| key.id == name);
        names.iter().map(String::as_str).find(|name| !known(name))
    }

    /// What is to stand in the database for a secret.
    ///
    /// # Panics
    ///
    /// When the system has no random bytes to give.
    #[must_use]
    pub fn seal(&self, secret: &str, place: Place<'_>) -> String {
        let Some(Key { id, cipher }) = self.keys.first() else { return secret.to_owned() };
        // With room for the tag: a vector that grows leaves the secret behind.
        let mut sealed = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        sealed.extend(secret.as_bytes());
        let nonce = cipher
            .seal_in_place_append_tag(Aad::from(place.bytes()), &mut sealed)
            .expect("a short text can be encrypted");
        let data = BASE64_URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat());
        format!("{MARK}{VERSION}:{id}:{data}")
    }

    /// The secret of a text that stands in the database.
    ///
    /// # Errors
    ///
    /// [`SealError`] says where it stands and what is missing.
    pub fn open(&self, text: &str, place: Place<'_>) -> Result<SecretString, SealError> {
        let Some(sealed) = text.strip_prefix(MARK) else { return Ok(text.into()) };
        let broken =
            || SealError::Broken { place: place.to_string(), origin: Arc::clone(&self.origin) };
        let mut parts = sealed.splitn(3, ':');
        let (version, id, data) = (parts.next(), parts.next(), parts.next());
        let (Some(VERSION), Some(id), Some(data)) = (version, id.filter(|id| is_name(id)), data)
        else {
            return Err(broken());
        };
        let Some(Key { cipher, .. }) = self.keys.iter().find(|key| key.id == id) else {
            let (place, key) = (place.to_string(), id.to_owned());
            return Err(SealError::UnknownKey { place, key, origin: Arc::clone(&self.origin) });
        };
        let mut data = BASE64_URL_SAFE_NO_PAD.decode(data).map_err(|_| broken())?;
        let (nonce, sealed) = data.split_first_chunk_mut::<NONCE_LEN>().ok_or_else(broken)?;
        let secret = cipher
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.bytes()), sealed)
            .map_err(|_| broken())?;
        let text = std::str::from_utf8(secret).map(SecretString::from).map_err(|_| broken());
        secret.zeroize();
        text
    }

    /// What is to stand in the database instead of this text; `None`: it is well as it is, or
    /// empty.
    ///
    /// # Errors
    ///
    /// [`SealError`] says why the text cannot be opened.
    pub fn reseal(&self, text: &str, place: Place<'_>) -> Result<Option<String>, SealError> {
        let Some(id) = self.writes() else { return Ok(None) };
        let sealed_under = text.strip_prefix(MARK).and_then(|rest| rest.split(':').nth(1));
        if text.is_empty() || sealed_under == Some(id) {
            return Ok(None);
        }
        let secret = self.open(text, place)?;
        Ok(Some(self.seal(secret.expose_secret(), place)))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
    const SECRET: &str = "tiihtNczf5v6AKRyjwEUhQ==";

    fn keys(texts: &[&str]) -> Keys {
        let keys = texts.iter().map(|text| text.parse().expect("it is a key"));
        Keys::new(keys.collect(), "`secrets.keys`")
    }

    const PLACE: Place<'_> = Place::SessionKey(["wx1", "o1"]);

    fn opened(keys: &Keys, text: &str) -> Result<String, SealError> {
        keys.open(text, PLACE).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let keys = keys(&[ONE]);
        let sealed = keys.seal(SECRET, PLACE);
        assert_eq!(opened(&keys, &sealed).as_deref(), Ok(SECRET));
        for place in [
            Place::PreviousSessionKey(["wx1", "o1"]),
            Place::SessionKey(["wx2", "o1"]),
            Place::SessionKey(["wx1", "o2"]),
            Place::SessionKey(["wx1o", "1"]),
            Place::AppSecret("wx1"),
            Place::LegacySessionKey("wx1"),
        ] {
            let error = keys.open(&sealed, place).expect_err("it does not open");
            assert!(matches!(error, SealError::Broken { .. }), "{place}: {error}");
        }
    }

    #[test]
    fn a_text_says_its_form_and_its_key_and_fits_the_columns() {
        let keys = keys(&[ONE]);
        let sealed = keys.seal(SECRET, PLACE);
        assert!(sealed.starts_with("aes256gcm:1:630dcd29:"), "{sealed}");
        assert_ne!(sealed, keys.seal(SECRET, PLACE), "the nonce is another one");
        assert!(!sealed.contains(SECRET));
        assert!(sealed.len() <= 100, "{}", sealed.len());
        let secret = Place::AppSecret("wx1");
        assert!(keys.seal(&"s".repeat(128), secret).len() <= 300);
    }

    #[test]
    fn the_first_key_writes_and_all_read() {
        let (old, new, both) = (keys(&[ONE]), keys(&[TWO]), keys(&[TWO, ONE]));
        let before = old.seal(SECRET, PLACE);
        assert_eq!(opened(&both, &before).as_deref(), Ok(SECRET));
        let error = opened(&new, &before).expect_err("the key is missing").to_string();
        assert_eq!(
            error,
            "`mina_user.session_key` is encrypted under the key 630dcd29, which `secrets.keys` does not have"
        );
        let after = both.reseal(&before, PLACE).expect("it opens").expect("it is new");
        assert_eq!(opened(&new, &after).as_deref(), Ok(SECRET));
        assert_eq!(both.reseal(&after, PLACE), Ok(None));
        assert!(new.reseal(&before, PLACE).is_err());
    }

    #[test]
    fn what_was_tampered_with_does_not_open() {
        let keys = keys(&[ONE]);
        let sealed = keys.seal(SECRET, PLACE);
        let data = sealed.rfind(':').expect("it has parts") + 1;
        for at in data..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(bytes).expect("it is text");
            assert!(matches!(opened(&keys, &tampered), Err(SealError::Broken { .. })), "{at}");
        }
        for end in MARK.len()..sealed.len() {
            assert!(opened(&keys, &sealed[..end]).is_err(), "{end}");
        }
        let newer = sealed.replacen(":1:", ":2:", 1);
        let unnamed = sealed.replacen("630dcd29", "no\nname", 1);
        for broken in [newer, unnamed] {
            assert!(matches!(opened(&keys, &broken), Err(SealError::Broken { .. })), "{broken}");
        }
    }

    #[test]
    fn a_plain_text_is_taken_as_it_is_and_written_without_a_key() {
        for keys in [keys(&[ONE]), Keys::none()] {
            for plain in ["", SECRET, "sha256:x", "aes256gcm"] {
                assert_eq!(opened(&keys, plain).as_deref(), Ok(plain));
            }
        }
        assert_eq!(Keys::none().seal(SECRET, PLACE), SECRET);
        assert_eq!(Keys::none().reseal(SECRET, PLACE), Ok(None));
        let sealed = keys(&[ONE]).seal(SECRET, PLACE);
        assert!(opened(&Keys::none(), &sealed).is_err());
    }

    #[test]
    fn a_key_is_32_bytes() {
        for right in [ONE, &ONE[..43], TWO, &TWO.to_uppercase()] {
            assert!(right.parse::<Key>().is_ok(), "{right}");
        }
        let generated: Key = Key::generate().expose_secret().parse().expect("it is a key");
        assert_ne!(generated.id, Key::generate().expose_secret().parse::<Key>().expect("so").id);
        for wrong in
            ["", "no key", &ONE[..40], &TWO[..62], &TWO.replace('f', "g"), "é", &format!("{TWO}ff")]
        {
            let error = wrong.parse::<Key>().err().expect("it is refused").to_string();
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", keys(&[ONE, TWO])), r#"["630dcd29", "af961376"]"#);
    }
}
