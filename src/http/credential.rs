//! What a request proves a session with.

use std::borrow::Cow;

use hyper::header::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::net::lane::Head;

/// The headers of a request, however it came.
pub trait Headers<'a>: Copy {
    /// The values of the headers of this name, in order.
    fn values(self, name: &'static str) -> impl Iterator<Item = &'a [u8]>;

    /// The first header of this name, as text.
    fn text(self, name: &'static str) -> Option<&'a str> {
        self.values(name).next().and_then(|value| str::from_utf8(value).ok())
    }
}

impl<'a> Headers<'a> for &'a HeaderMap {
    fn values(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

impl<'a> Headers<'a> for &Head<'_, 'a> {
    fn values(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        Head::values(self, name)
    }
}

/// The id and the skey of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    pub id: &'a str,
    pub skey: &'a str,
}

/// What a request offers as its credential. The first place that holds something counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered<'a> {
    Nothing,
    /// Something that can be none.
    Nonsense,
    Credential(Credential<'a>),
}

impl<'a> Offered<'a> {
    /// What stands in the headers: a Bearer token goes first, then the two headers of the Wafer
    /// client SDK.
    pub fn in_headers(headers: impl Headers<'a>) -> Self {
        let bearer = |value: &'a [u8]| {
            let (scheme, token) = value.split_at_checked("Bearer".len())?;
            let is_whole = token.is_empty() || token.starts_with(b" ");
            (is_whole && scheme.eq_ignore_ascii_case(b"Bearer")).then_some(token)
        };
        if let Some(token) = headers.values("authorization").find_map(bearer) {
            return str::from_utf8(token)
                .map_or(Self::Nonsense, |token| Self::of_token(token.trim()));
        }
        let [id, skey] = ["x-wx-id", "x-wx-skey"].map(|name| headers.values(name).next());
        match (id, skey) {
            (None, None) => Self::Nothing,
            (Some(id), Some(skey)) => match (str::from_utf8(id), str::from_utf8(skey)) {
                (Ok(id), Ok(skey)) => Self::Credential(Credential { id, skey }),
                _ => Self::Nonsense,
            },
            _ => Self::Nonsense,
        }
    }

    /// What stands in the subprotocols that a WebSocket asks for, `bearer, TOKEN`: a browser and a
    /// mini program can set no other header of it.
    pub fn in_subprotocols(headers: impl Headers<'a>) -> Self {
        let Some(protocols) = headers.text("sec-websocket-protocol") else { return Self::Nothing };
        let mut protocols = protocols.split(',').map(str::trim);
        match protocols.find(|protocol| protocol.eq_ignore_ascii_case("bearer")) {
            Some(_) => protocols.next().map_or(Self::Nonsense, Self::of_token),
            None => Self::Nothing,
        }
    }

    /// A token, `<id>.<skey>`. An skey has no dot.
    #[must_use]
    pub fn of_token(token: &'a str) -> Self {
        match token.rsplit_once('.') {
            Some((id, skey)) => Self::Credential(Credential { id, skey }),
            None => Self::Nonsense,
        }
    }
}

/// The value of a parameter in a query.
#[must_use]
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = query
        .split('&')
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(headers: &[(&'static str, &str)]) -> String {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        match Offered::in_headers(&headers) {
            Offered::Credential(Credential { id, skey }) => format!("{id} {skey}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_bearer_token_goes_first() {
        let wafer = [("x-wx-id", "c"), ("x-wx-skey", "d")];
        assert_eq!(offered(&[]), "Nothing");
        assert_eq!(offered(&wafer), "c d");
        assert_eq!(offered(&[wafer[0], wafer[1], ("authorization", "Bearer a.b")]), "a b");
        assert_eq!(offered(&[("authorization", "bEARER  a.b.c ")]), "a.b c");
        assert_eq!(offered(&[wafer[0], wafer[1], ("authorization", "Bearer ab")]), "Nonsense");
        assert_eq!(offered(&[wafer[0], wafer[1], ("authorization", "Basic Og==")]), "c d");
        assert_eq!(offered(&wafer[..1]), "Nonsense");
        assert_eq!(offered(&[wafer[0], wafer[1], ("authorization", "Bearer")]), "Nonsense");
        assert_eq!(offered(&[wafer[0], wafer[1], ("authorization", "Bearerx.y")]), "c d");
        let basic = ("authorization", "Basic Og==");
        assert_eq!(offered(&[basic, ("authorization", "Bearer a.b")]), "a b");
    }

    #[test]
    fn a_websocket_brings_it_as_a_subprotocol() {
        let offered = |value: &'static str| {
            let headers = [("sec-websocket-protocol".parse().unwrap(), value.parse().unwrap())];
            let headers: HeaderMap = headers.into_iter().collect();
            format!("{:?}", Offered::in_subprotocols(&headers))
        };
        let expected = "Credential(Credential { id: \"a\", skey: \"b\" })";
        assert_eq!(offered("bearer, a.b"), expected);
        assert_eq!(offered("chat,Bearer ,a.b, x"), expected);
        assert_eq!(offered("chat"), "Nothing");
        assert_eq!(offered("bearer"), "Nonsense");
        assert_eq!(offered("bearer, ab"), "Nonsense");
    }

    #[test]
    fn a_parameter_is_decoded() {
        let query = "a=1&token=a%2Eb&b&token=c";
        assert_eq!(parameter(query, "token").as_deref(), Some("a.b"));
        assert_eq!(parameter(query, "b").as_deref(), Some(""));
        assert_eq!(parameter(query, "oken"), None);
    }
}
