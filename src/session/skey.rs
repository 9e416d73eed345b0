//! The secret that proves a session, as the user has it and as a store has it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a hash in a store begins with. No skey does.
const MARK: &str = "sha256:";

/// The secret that proves a session, as its user gets it. Never shown, and wiped after use.
#[derive(Clone)]
pub struct Skey(SecretString);

impl Skey {
    /// Makes the skey of a new login from 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        super::hex(random).into()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.expose_secret()
    }

    /// What a store keeps of it.
    #[must_use]
    pub fn stored(&self) -> StoredSkey {
        StoredSkey::Sha256(SkeyDigest::of(self.as_str()))
    }
}

impl<T: Into<Box<str>>> From<T> for Skey {
    fn from(text: T) -> Self {
        Self(SecretString::new(text.into()))
    }
}

impl fmt::Debug for Skey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[skey]")
    }
}

/// The SHA-256 of an skey.
///
/// It has neither salt nor work factor: those slow down who guesses passwords, and an skey is 128
/// random bits, which nobody guesses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SkeyDigest([u8; 32]);

impl SkeyDigest {
    fn of(skey: &str) -> Self {
        Self(Sha256::digest(skey).into())
    }

    /// Tells whether this is the digest of `offered`, in a time that does not depend on where they
    /// differ. What looks like a hash is never an skey: a stolen hash is no key.
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        !offered.starts_with(MARK) && bool::from(Self::of(offered).0.ct_eq(&self.0))
    }
}

impl fmt::Debug for SkeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[digest of an skey]")
    }
}

/// The secret that proves a session, as a store has it.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredSkey {
    /// In a store: `sha256:` and the digest in base64url without padding.
    Sha256(SkeyDigest),
    /// The skey itself, in a row that another program wrote, or that it is to read.
    Plain(Box<str>),
}

impl StoredSkey {
    /// Reads what stands in a store. A hash that is malformed is text that no skey matches.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let digest = text.strip_prefix(MARK).and_then(|hash| {
            let digest = BASE64_URL_SAFE_NO_PAD.decode(hash).ok()?;
            Some(SkeyDigest(digest.try_into().ok()?))
        });
        digest.map_or_else(|| Self::Plain(text.into()), Self::Sha256)
    }

    /// What is to stand in a store.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Sha256(SkeyDigest(digest)) => {
                Cow::Owned(MARK.to_owned() + &BASE64_URL_SAFE_NO_PAD.encode(digest))
            }
            Self::Plain(skey) => Cow::Borrowed(skey),
        }
    }

    /// The digest of the skey that matches.
    #[must_use]
    pub fn digest(&self) -> SkeyDigest {
        match self {
            Self::Sha256(digest) => *digest,
            Self::Plain(skey) => SkeyDigest::of(skey),
        }
    }

    /// The same, no longer plain.
    #[must_use]
    pub fn hashed(&self) -> Self {
        Self::Sha256(self.digest())
    }

    /// Tells whether `offered` is the skey; see [`SkeyDigest::matches`].
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        self.digest().matches(offered)
    }
}

impl fmt::Debug for StoredSkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[stored skey]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEY: &str = "abababababababababababababababab";

    #[test]
    fn a_hash_and_a_plain_skey_are_matched_by_the_skey_alone() {
        let skey = Skey::new([0xab; 16]);
        assert_eq!(skey.as_str(), SKEY);
        let hash = skey.stored().text().into_owned();
        for stored in [skey.stored(), StoredSkey::read(&hash), StoredSkey::read(SKEY)] {
            assert!(stored.matches(SKEY), "{}", stored.text());
            for other in ["", &SKEY.to_uppercase(), &format!("{SKEY} "), &SKEY[1..], &hash] {
                assert!(!stored.matches(other), "{other:?}");
            }
        }
    }

    #[test]
    fn the_text_of_a_hash_is_read_back() {
        let hash = "sha256:0vn6nZm7MLK2f8aw6iaU80XAlhWW4P2CVhAQtPdXDC0";
        assert_eq!(StoredSkey::read(hash).text(), hash);
        assert!(matches!(StoredSkey::read(hash), StoredSkey::Sha256(_)));
        let plain = StoredSkey::read(SKEY);
        assert_eq!((&*plain.text(), plain.hashed()), (SKEY, Skey::from(SKEY).stored()));
        assert_eq!(plain.hashed().hashed(), plain.hashed());
    }

    #[test]
    fn a_malformed_hash_matches_nothing_and_stays_as_it_is() {
        let hash = Skey::from(SKEY).stored().text().into_owned();
        for text in ["sha256:", "sha256:x", "sha256:abab", &format!("{hash}="), &hash[..49]] {
            let stored = StoredSkey::read(text);
            assert_eq!(stored.text(), text);
            for offered in [text, "", SKEY, &text["sha256:".len()..]] {
                assert!(!stored.matches(offered), "{text:?}: {offered:?}");
            }
        }
    }

    #[test]
    fn neither_is_shown() {
        let skey = Skey::from(SKEY);
        let shown = format!("{skey:?} {:?} {:?}", skey.stored(), StoredSkey::read(SKEY));
        assert_eq!(shown, "[skey] [stored skey] [stored skey]");
    }
}
