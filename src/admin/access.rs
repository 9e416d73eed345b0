//! Who may use the admin listener: who has the token, or a cookie that the console gave for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::problem::Refused;

/// The cookie of the console.
const COOKIE: &str = "mina_auth_console";

/// After how many seconds without a request somebody is logged out.
const UNUSED: i64 = 12 * 3600;

/// What a page sends that asks again by itself: nobody need be there.
const REFRESH: &str = "x-refresh";

/// How many may be logged in at once. Whoever is logged in has the token.
const MOST: usize = 1000;

/// Who may use the admin listener, and from where.
#[derive(Debug)]
pub struct Access {
    /// `admin.token`; without one the console and the admin API are off.
    token: SecretString,
    /// `admin.hosts`: the names that the listener goes by.
    hosts: Vec<String>,
    /// Whether the listener has TLS, and the cookie is for that alone.
    is_tls: bool,
    /// Those who are logged in to the console: what their cookies say, and when they were last here.
    logged_in: Mutex<HashMap<String, i64>>,
}

impl Access {
    #[must_use]
    pub fn new(token: SecretString, hosts: Vec<String>, is_tls: bool) -> Self {
        Self { token, hosts, is_tls, logged_in: Mutex::default() }
    }

    /// Whether there is a token to have.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.token.expose_secret().is_empty()
    }

    /// Tells whether a request shows the token, or the cookie of somebody who is logged in.
    pub fn is_shown(&self, headers: &HeaderMap, now: i64) -> bool {
        bearer(headers).is_some_and(|token| self.is_token(token)) || self.is_logged_in(headers, now)
    }

    fn is_token(&self, token: &[u8]) -> bool {
        self.is_on() && self.token.expose_secret().as_bytes().ct_eq(token).into()
    }

    fn logged_in(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.logged_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_logged_in(&self, headers: &HeaderMap, now: i64) -> bool {
        let Some(cookie) = cookie(headers, COOKIE) else { return false };
        let mut logged_in = self.logged_in();
        let Some(last) = logged_in.get_mut(cookie) else { return false };
        let is_over = now - *last > UNUSED;
        if is_over {
            logged_in.remove(cookie);
        } else if !headers.contains_key(REFRESH) {
            *last = now;
        }
        !is_over
    }

    /// Logs in whoever shows the token: the cookie to set. `random` is 16 bytes that nobody can guess.
    pub fn log_in(&self, token: &str, random: [u8; 16], now: i64) -> Option<String> {
        if !self.is_token(token.trim().as_bytes()) {
            return None;
        }
        let value = format!("{:032x}", u128::from_be_bytes(random));
        let mut logged_in = self.logged_in();
        if logged_in.len() == MOST
            && let Some(oldest) =
                logged_in.iter().min_by_key(|(_, last)| **last).map(|(value, _)| value.clone())
        {
            logged_in.remove(&oldest);
        }
        logged_in.insert(value.clone(), now);
        Some(self.set_cookie(&value))
    }

    /// Logs out whoever sent this: the cookie to set.
    pub fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(cookie) = cookie(headers, COOKIE) {
            self.logged_in().remove(cookie);
        }
        format!("{}; Max-Age=0", self.set_cookie(""))
    }

    fn set_cookie(&self, value: &str) -> String {
        let secure = if self.is_tls { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
    }

    /// Keeps out whoever is not meant, though they may have the token or the cookie: pages of
    /// another origin, whose requests a browser sends.
    pub(super) fn admits(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
        // What is no text names nobody whom we know.
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        // A name that somebody else makes point here is how a page gets past the same origin.
        let host = text("host");
        if !host.is_none_or(|host| self.knows(host)) {
            let detail = "the Host header names another server; see `admin.hosts`";
            return Err(Refused::new(StatusCode::FORBIDDEN, detail));
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let is_ours =
            |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
        let is_foreign = match text("sec-fetch-site") {
            Some(site) => !matches!(site, "same-origin" | "none"),
            None => text("origin").is_some_and(|origin| !is_ours(origin)),
        };
        if is_foreign {
            let detail = "a page of another origin may change nothing here";
            return Err(Refused::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }

    /// Tells whether a Host header names this server. An address is no name.
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address =
            name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// The value of a cookie that a browser sent.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let cookies = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut named = cookies.filter_map(|cookie| cookie.trim().split_once('='));
    named.find(|(other, _)| *other == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn access() -> Access {
        Access::new("token".into(), vec!["admin.example.com".into()], false)
    }

    #[test]
    fn a_name_that_is_not_ours_is_another_server() {
        let ours =
            ["127.0.0.1:8081", "[::1]:8081", "[::1]", "localhost", "LOCALHOST:1", "10.0.0.7"];
        let named = ["admin.example.com", "Admin.Example.com:8081"];
        for host in ours.into_iter().chain(named) {
            assert!(access().knows(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "", "localhost.x"]
        {
            assert!(!access().knows(host), "{host}");
        }
    }

    #[test]
    fn pages_of_another_origin_change_nothing() {
        let admits = |method, headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                (name.parse().expect("a name"), value)
            });
            access().admits(&method, &headers.collect()).is_ok()
        };
        let host = ("host", "127.0.0.1:8081");
        let foreign = ("origin", "http://evil.example");
        assert!(admits(Method::PUT, &[host]));
        assert!(admits(Method::PUT, &[host, ("origin", "http://127.0.0.1:8081")]));
        assert!(admits(Method::PUT, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(admits(Method::GET, &[host, foreign]));
        assert!(
            !admits(Method::GET, &[("host", "\u{e9}vil.example")]),
            "no text is no name of ours"
        );
        assert!(!admits(Method::PUT, &[host, foreign]));
        assert!(!admits(Method::DELETE, &[host, ("origin", "null")]));
        assert!(!admits(Method::POST, &[host, ("sec-fetch-site", "same-site")]));
        assert!(!admits(Method::PUT, &[host, ("origin", "http://127.0.0.1:8082")]));
    }

    fn cookie_of(set: &str) -> HeaderMap {
        let value = HeaderValue::from_str(set.split(';').next().expect("a cookie"));
        HeaderMap::from_iter([(header::COOKIE, value.expect("a value"))])
    }

    #[test]
    fn a_login_lasts_as_long_as_it_is_used() {
        let access = access();
        assert!(access.log_in("other", [1; 16], 0).is_none());
        let cookie = access.log_in("token", [1; 16], 0).expect("the token is right");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        let headers = cookie_of(&cookie);
        for hour in [0, 11, 22, 34] {
            assert!(access.is_shown(&headers, hour * 3600), "{hour}");
        }
        let mut refresh = headers.clone();
        refresh.insert(REFRESH, HeaderValue::from_static("1"));
        assert!(access.is_shown(&refresh, 46 * 3600));
        assert!(!access.is_shown(&headers, 46 * 3600 + 1), "an open page alone is no use");
        assert!(!access.is_shown(&headers, 34 * 3600), "once over, it stays over");
    }

    #[test]
    fn a_logout_ends_that_login_alone() {
        let access = Access::new("token".into(), Vec::new(), true);
        let [one, other] = [1, 2].map(|byte| access.log_in("token", [byte; 16], 0).expect("it is"));
        assert!(one.ends_with("; Secure"), "{one}");
        let gone = access.log_out(&cookie_of(&one));
        assert!(gone.ends_with("Max-Age=0"), "{gone}");
        assert!(!access.is_shown(&cookie_of(&one), 0) && access.is_shown(&cookie_of(&other), 0));
        assert!(!access.is_shown(&HeaderMap::new(), 0));
    }

    #[test]
    fn without_a_token_nobody_logs_in() {
        let access = Access::new("".into(), Vec::new(), false);
        assert!(access.log_in("", [1; 16], 0).is_none() && !access.is_on());
    }

    #[test]
    fn those_who_were_away_longest_make_room() {
        let access = access();
        let login = |n: u16| {
            let random = u128::from(n).to_be_bytes();
            access.log_in("token", random, i64::from(n)).expect("the token is right")
        };
        let logins: Vec<_> = (0..=1000).map(login).collect();
        let is_in = |n: usize| access.is_shown(&cookie_of(&logins[n]), 1000);
        assert!(!is_in(0) && is_in(1) && is_in(1000));
    }
}
