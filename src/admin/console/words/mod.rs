//! What the console says, a catalogue for each language.

mod en;
mod zh;

use axum::http::{HeaderMap, header};

use crate::admin::access::cookie;

/// The cookie that keeps a choice of language.
pub const COOKIE: &str = "mina_auth_language";

/// A language that the console speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    /// The language of a name, as it stands in HTML's `lang` and in the cookie.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "zh-CN" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Chinese => Self::English,
            Self::English => Self::Chinese,
        }
    }

    #[must_use]
    pub const fn words(self) -> &'static Words {
        match self {
            Self::Chinese => &zh::WORDS,
            Self::English => &en::WORDS,
        }
    }

    /// The language that was chosen, else the one that the browser would rather have.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let chosen = cookie(headers, COOKIE).and_then(Self::named);
        chosen.unwrap_or_else(|| {
            let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
            preferred(wanted.unwrap_or_default())
        })
    }
}

/// The one of ours with the highest weight in an `Accept-Language`; English where none is there.
fn preferred(accept: &str) -> Language {
    let mut best = (0.0, Language::English);
    for part in accept.split(',') {
        let (tag, weight) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight: f32 =
            weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
        let language = match tag.trim().split('-').next().unwrap_or_default() {
            tag if tag.eq_ignore_ascii_case("zh") => Language::Chinese,
            tag if tag.eq_ignore_ascii_case("en") => Language::English,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// What a return code means and what to do about it.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    pub meaning: &'static str,
    pub what_to_do: &'static str,
}

macro_rules! words {
    ($($name:ident,)+) => {
        /// Every text of the console.
        #[derive(Debug)]
        pub struct Words {
            pub advice: fn(u32) -> Advice,
            $(pub $name: &'static str,)+
        }

        #[cfg(test)]
        impl Words {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

words! {
    // The frame and what several pages say.
    overview, apps, users, live, phone, settings, skip, switch_language, log_out, times_are,
    dev_mode, app, all_apps, code, none_yet, yes, no, save, days, seconds,     next_page, first_page, not_found, not_found_text, refused,
    // Log in.
    log_in, token, token_hint, wrong_token, off, off_text,
    // Overview.
    all_is_well, store_is_away, store_is_stale, wechat_is_away, app_is_refused, logins_fail,
    nothing_yet, nothing_yet_text, active_today, logins_today, yesterday, since_yesterday,
    day_total, requests, success, success_text, logins, checks, last_hour, last_day, last_month,
    now, an_hour, a_day, a_month, failures, count, what, callers, callers_text, users_a_day,
    active, wechat_answers, wechat_text, median, most, asked, server, sessions_in_memory, memory,
    hits, store, ready, degraded, away, feed_lag, visits_waiting, logins_in_flight, version,
    numbers_are_old,
    // Apps.
    appid, secret, secret_hint, new_secret_hint, login_duration, session_duration, is_default,
    is_default_hint, ask_wechat, ask_wechat_hint, add_app, add, change_app, check_secret,
    accepted, not_accepted, remove_app, remove_text, remove_users, configured, added, changed,
    not_saved, bad_appid, no_secret, bad_duration,
    // Users.
    find, find_hint, openid, unionid, session_id, nobody, profile, sessions, no_sessions,
    first_login, last_visit, state, valid, expired, app_removed, end, end_all, ended, erase_user,
    erase_text, erased,
    // Live.
    live_text, time, interface, reason, cause, filter, all_codes,
    nothing_failed,
    // Phone.
    phone_text, somebody_new, person, log_in_as, check, send_data, send_phone, log_out_phone,
    phones, no_phones, wechat_today, well, slow, busy, down, wrong_secret, answers, no_answers,
    answered,
    // Settings.
    settings_text, setting, value, meaning, origin, from_default, from_file, from_environment,
    from_dev,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_says_which_language_and_a_choice_is_kept() {
        let of = |headers: &[(header::HeaderName, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.clone(), axum::http::HeaderValue::from_static(value)));
            Language::of(&headers.collect())
        };
        let accept = |value| of(&[(header::ACCEPT_LANGUAGE, value)]);
        assert_eq!(of(&[]), Language::English);
        assert_eq!(accept("zh-CN,zh;q=0.9,en;q=0.8"), Language::Chinese);
        assert_eq!(accept("de, en;q=0.4, zh-TW;q=0.6"), Language::Chinese);
        assert_eq!(accept("en-US,en;q=0.9,zh;q=0.8"), Language::English);
        assert_eq!(accept("fr;q=nonsense"), Language::English);
        let chosen =
            [(header::ACCEPT_LANGUAGE, "zh"), (header::COOKIE, "a=b; mina_auth_language=en")];
        assert_eq!(of(&chosen), Language::English);
    }

    #[test]
    fn every_text_is_there_in_both_languages() {
        let [english, chinese] = [Language::English, Language::Chinese].map(Language::words);
        for ((name, english), (_, chinese)) in english.all().into_iter().zip(chinese.all()) {
            assert!(!english.is_empty() && !chinese.is_empty(), "{name}");
        }
        for code in [0, 401, 503, 1001, 1003, 1005, 1006, 1007, 1008, 1012, 40029, 60012, 60021, 7]
        {
            let advice = [english, chinese].map(|words| (words.advice)(code));
            assert!(advice.iter().all(|advice| !advice.what_to_do.is_empty()), "{code}");
        }
    }
}
