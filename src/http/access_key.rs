//! The access key of the public listener.
//!
//! Every SDK sends the URL that it was given, and most of them send nothing else that one could
//! set: so the key is taken from the URL, or as the password of HTTP Basic. Others have a header for it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::net::lane::Head;

/// The parameter of the URL that holds the key.
const PARAMETER: &str = "key";

/// The header that holds the key, for those who can set one.
const HEADER: &str = "x-access-key";

/// How much of a `user:password` is looked at.
const MAX_CREDENTIALS: usize = 512;

/// `server.access_key`
#[derive(Debug)]
pub struct AccessKey(SecretString);

impl AccessKey {
    /// The key of this text, which is not empty.
    #[must_use]
    pub fn new(key: SecretString) -> Self {
        Self(key)
    }

    /// Tells whether a request carries the key.
    #[must_use]
    pub fn is_in(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        uri.query().is_some_and(|query| self.is_in_query(query))
            || headers.get_all(HEADER).iter().any(|value| self.is(value.as_bytes()))
            || headers.get_all(AUTHORIZATION).iter().any(|value| self.is_in_basic(value.as_bytes()))
    }

    /// Tells whether a request in the express lane carries the key.
    #[must_use]
    pub fn is_in_head(&self, head: &Head<'_, '_>) -> bool {
        self.is_in_query(head.query)
            || head.values(HEADER).any(|value| self.is(value))
            || head.values("authorization").any(|value| self.is_in_basic(value))
    }

    /// Tells whether the query of a URL carries the key.
    fn is_in_query(&self, query: &str) -> bool {
        query.split('&').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
            name == PARAMETER && {
                let value: std::borrow::Cow<'_, [u8]> = percent_decode_str(value).into();
                self.is(&value)
            }
        })
    }

    /// Tells whether the value of an `Authorization` header carries the key.
    fn is_in_basic(&self, value: &[u8]) -> bool {
        let Some((scheme, credentials)) = value.split_at_checked("Basic ".len()) else {
            return false;
        };
        let mut decoded = [0; MAX_CREDENTIALS];
        let length = BASE64_STANDARD.decode_slice(credentials.trim_ascii(), &mut decoded);
        let decoded = &decoded[..length.unwrap_or_default()];
        let password = decoded.iter().position(|byte| *byte == b':').map(|at| &decoded[at + 1..]);
        scheme.eq_ignore_ascii_case(b"Basic ") && password.is_some_and(|key| self.is(key))
    }

    /// Tells whether this is the key, in a time that does not depend on where the two differ.
    #[must_use]
    pub fn is(&self, offered: &[u8]) -> bool {
        self.0.expose_secret().as_bytes().ct_eq(offered).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a+b/c:d";

    fn is_in(uri: &str, authorization: &str) -> bool {
        let headers = [(AUTHORIZATION, authorization.parse().unwrap())].into_iter().collect();
        AccessKey::new(KEY.into()).is_in(&uri.parse().unwrap(), &headers)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(credentials))
    }

    #[test]
    fn the_key_may_be_in_the_url() {
        for query in ["key=a+b/c:d", "key=a%2Bb%2fc%3Ad", "x=1&key=a+b/c:d&y", "key=x&key=a+b/c:d"]
        {
            assert!(is_in(&format!("/mina_auth/?{query}"), ""), "{query}");
        }
        for query in ["key=", "key", "Key=a+b/c:d", "xkey=a+b/c:d", "key=a+b/c:d%20", "key=a b/c:d"]
        {
            let query = query.replace(' ', "%20");
            assert!(!is_in(&format!("/mina_auth/?{query}"), ""), "{query}");
        }
        assert!(!is_in("/mina_auth/a+b/c:d", ""));
    }

    #[test]
    fn the_key_may_be_the_password_of_any_user() {
        for user in ["", "mina", "用户"] {
            assert!(is_in("/", &basic(&format!("{user}:{KEY}"))), "{user}");
        }
        assert!(is_in("/", &basic(&format!(":{KEY}")).replace("Basic", "bASIC")));
        for credentials in [KEY, ":", "", "a+b/c:d:", "user:a+b/c"] {
            assert!(!is_in("/", &basic(credentials)), "{credentials}");
        }
        let bearer = basic(&format!(":{KEY}")).replace("Basic", "Bears");
        for value in [bearer.as_str(), "Basic", "Basic ", "Basic \u{e9}", KEY] {
            assert!(!is_in("/", value), "{value}");
        }
        assert!(!is_in("/", &basic(&format!("{}:{KEY}", "u".repeat(MAX_CREDENTIALS)))));
    }
}
