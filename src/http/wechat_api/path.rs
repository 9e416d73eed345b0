//! Paths and queries: what a request means, and what WeChat is sent of it.
//!
//! A path is decoded once, and after that it may have nothing in it that anybody could read in
//! another way: what is compared here is what WeChat gets.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

/// A path of WeChat's API, without the slash in front: letters, digits, `_`, `-` and `.` between
/// single slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayPath(Box<str>);

/// What is at a path of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/cgi-bin/token` or `/cgi-bin/stable_token`: answered here.
    Token,
    /// What gives secrets away or needs no token.
    Kept,
    /// The rest.
    WeChats,
}

impl RelayPath {
    /// Reads a path as it stands in a URL, without the slash in front.
    ///
    /// # Errors
    ///
    /// Why it is none of WeChat's.
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        let is_slash = |escape: &[u8]| {
            escape.eq_ignore_ascii_case(b"%2f") || escape.eq_ignore_ascii_case(b"%5c")
        };
        if raw.as_bytes().windows(3).any(is_slash) {
            return Err("a slash in the path is written as one, not as %2F");
        }
        let path = percent_decode_str(raw).decode_utf8().map_err(|_| "the path is not UTF-8")?;
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
        if !path.bytes().all(is_plain) {
            return Err("a path of WeChat's has letters, digits, `_`, `-`, `.` and `/` alone");
        }
        if path.split('/').any(|part| part.is_empty() || part.bytes().all(|byte| byte == b'.')) {
            return Err("the path has an empty part, `.` or `..`");
        }
        Ok(Self(path.into()))
    }

    /// The path with the slash in front.
    #[must_use]
    pub fn with_slash(&self) -> String {
        format!("/{}", self.0)
    }

    /// What is there, however it is spelled.
    #[must_use]
    pub fn place(&self) -> Place {
        let path = self.0.to_ascii_lowercase();
        match path.as_str() {
            "cgi-bin/token" | "cgi-bin/stable_token" => Place::Token,
            path if path == "sns" || path.starts_with("sns/") => Place::Kept,
            _ => Place::WeChats,
        }
    }
}

impl fmt::Display for RelayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

/// `wechat_api.paths`: what is relayed.
#[derive(Debug, Default)]
pub struct Allowed(Vec<(RelayPath, bool)>);

impl Allowed {
    /// These paths; those that are marked also with all that is below them. None at all are all.
    #[must_use]
    pub fn new(paths: Vec<(RelayPath, bool)>) -> Self {
        Self(paths)
    }

    /// Tells whether a path is relayed.
    #[must_use]
    pub fn has(&self, path: &RelayPath) -> bool {
        let is_it =
            |(allowed, is_prefix): &(RelayPath, bool)| match path.0.strip_prefix(&*allowed.0) {
                Some("") => !is_prefix,
                Some(rest) => *is_prefix && rest.starts_with('/'),
                None => false,
            };
        self.0.is_empty() || self.0.iter().any(is_it)
    }
}

/// What a path below `/v1/wechat/` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// As it stands in the URL.
    pub appid: &'a str,
    /// The key, if one stands in the path, as it stands there.
    pub key: Option<&'a str>,
    pub call: Call<'a>,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    Token,
    /// The relay, and the path for WeChat as it stands in the URL.
    Api(&'a str),
    /// What is done with the session_key of the user with this openid, as it stands in the URL.
    SessionKey(&'a str, KeyWork),
    Unknown,
}

/// What is done with a session_key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWork {
    Check,
    Reset,
    Sign,
}

impl<'a> Target<'a> {
    /// Reads what follows `/v1/wechat/`.
    #[must_use]
    pub fn read(rest: &'a str) -> Self {
        let (appid, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (key, rest) = match rest.strip_prefix("key/") {
            Some(rest) => {
                let (key, rest) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(key), rest)
            }
            None => (None, rest),
        };
        let call = match rest.split_once('/').unwrap_or((rest, "")) {
            ("token", "") if !rest.ends_with('/') => Call::Token,
            ("api", path) => Call::Api(path),
            ("users", rest) => of_user(rest),
            _ => Call::Unknown,
        };
        Self { appid, key, call }
    }
}

fn of_user(rest: &str) -> Call<'_> {
    let Some((open_id, work)) = rest.split_once('/') else { return Call::Unknown };
    match work {
        "session-key/check" => Call::SessionKey(open_id, KeyWork::Check),
        "session-key/reset" => Call::SessionKey(open_id, KeyWork::Reset),
        "session-key/sign" => Call::SessionKey(open_id, KeyWork::Sign),
        _ => Call::Unknown,
    }
}

/// What WeChat is sent of a query: all of it but a key of ours and a token of the caller's, as it
/// was written.
#[must_use]
pub fn query_for_wechat(query: &str) -> String {
    let is_theirs = |parameter: &&str| {
        let name = parameter.split_once('=').map_or(*parameter, |(name, _)| name);
        let name: Cow<'_, [u8]> = percent_decode_str(name).into();
        !name.eq_ignore_ascii_case(b"access_token") && !name.eq_ignore_ascii_case(b"key")
    };
    let kept: Vec<_> = query.split('&').filter(is_theirs).filter(|text| !text.is_empty()).collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Option<String> {
        RelayPath::parse(raw).ok().map(|path| path.to_string())
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(parse("wxa/msg_sec_check").as_deref(), Some("/wxa/msg_sec_check"));
        assert_eq!(parse("%63gi-bin/tok%65n").as_deref(), Some("/cgi-bin/token"));
        let place = |raw: &str| RelayPath::parse(raw).unwrap().place();
        for raw in ["cgi-bin/token", "%63gi-bin/stable%5Ftoken", "CGI-BIN/Token"] {
            assert_eq!(place(raw), Place::Token, "{raw}");
        }
        for raw in ["sns/jscode2session", "SNS/x", "%73ns/oauth2/access_token", "sns"] {
            assert_eq!(place(raw), Place::Kept, "{raw}");
        }
        for raw in ["snsx/a", "cgi-bin/token2", "cgi-bin/message/custom/send"] {
            assert_eq!(place(raw), Place::WeChats, "{raw}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for raw in [
            "",
            "/",
            "/wxa/x",
            "wxa//x",
            "wxa/x/",
            "wxa/./x",
            "wxa/../sns/x",
            "..",
            "...",
            "wxa/%2e%2e/sns/x",
            "wxa/%2E./sns/x",
            "wxa%2fx",
            "wxa%5Cx",
            "wxa\\x",
            "wxa%252fx",
            "%2573ns/x",
            "https://example.com/x",
            "http:/example.com",
            "example.com@x",
            "wxa/x;y",
            "wxa/x%00",
            "wxa/x%0d%0a",
            "wxa/x%3Fy",
            "wxa/x%23y",
            "wxa/x%20",
            "wxa/\u{e9}",
            "wxa/%ff",
        ] {
            assert_eq!(parse(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_list_of_paths_is_all_that_is_relayed() {
        let path = |text: &str| RelayPath::parse(text).unwrap();
        let allowed = Allowed::new(vec![(path("wxa/a"), false), (path("cgi-bin"), true)]);
        let has = |text: &str| allowed.has(&path(text));
        assert!(has("wxa/a") && has("cgi-bin/x") && has("cgi-bin/x/y"));
        assert!(
            !has("wxa/b") && !has("wxa/a/b") && !has("wxa/ab") && !has("cgi-binx") && !has("WXA/a")
        );
        assert!(Allowed::default().has(&path("wxa/b")));
    }

    #[test]
    fn targets_are_told_apart() {
        let read = |rest| {
            let Target { appid, key, call } = Target::read(rest);
            (appid, key, call)
        };
        assert_eq!(read("wx1/token"), ("wx1", None, Call::Token));
        assert_eq!(read("wx1/key/a%2Fb/token"), ("wx1", Some("a%2Fb"), Call::Token));
        assert_eq!(read("wx1/api/wxa/x"), ("wx1", None, Call::Api("wxa/x")));
        assert_eq!(read("wx1/api//wxa/x"), ("wx1", None, Call::Api("/wxa/x")));
        assert_eq!(read("wx1/key/k/api/x"), ("wx1", Some("k"), Call::Api("x")));
        let check = Call::SessionKey("o1", KeyWork::Check);
        assert_eq!(read("wx1/users/o1/session-key/check"), ("wx1", None, check));
        for rest in ["", "wx1", "wx1/", "wx1/token/", "wx1/token/x", "wx1/key/k", "wx1/users/o1"] {
            assert_eq!(Target::read(rest).call, Call::Unknown, "{rest}");
        }
    }

    #[test]
    fn keys_and_tokens_of_the_caller_are_taken_out() {
        for (query, left) in [
            ("", ""),
            ("a=1&b=%20c&a=2", "a=1&b=%20c&a=2"),
            ("access_token=x&a=1&key=y", "a=1"),
            ("a=1&access%5Ftoken=x&ACCESS_TOKEN=y&%6Bey=z&access_token", "a=1"),
            ("&&a&key&", "a"),
            ("monkey=1&access_token2=3", "monkey=1&access_token2=3"),
        ] {
            assert_eq!(query_for_wechat(query), left, "{query}");
        }
    }
}
