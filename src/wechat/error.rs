//! What goes wrong between here and WeChat.

use std::net::IpAddr;

/// Why WeChat did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No host could be reached: nothing was sent.
    #[error("WeChat cannot be reached: {0}")]
    Unreachable(String),
    /// It was sent and not answered, or not in time: nobody knows what came of it.
    #[error("WeChat cannot be reached: {0}")]
    Unanswered(String),
    /// It could not be reached time after time, and is left alone for the moment: nothing was sent.
    #[error("WeChat cannot be reached; not tried again for a few seconds")]
    LeftAlone,
    #[error("WeChat answered with HTTP status {0}")]
    Status(u16),
    /// The same, and what came is a web page: WeChat's API has none.
    #[error(
        "WeChat answered with HTTP status {0} and a web page: something on the way answered in its \
         place (a proxy, a portal, a wrong `wechat.base_url`)"
    )]
    Page(u16),
    #[error("WeChat's answer {0}")]
    Malformed(&'static str),
    /// The code is unknown, expired or used: errcode 40029 or 40163.
    #[error("WeChat says {0}")]
    Code(WeChatError),
    #[error("WeChat says {0}")]
    Refused(WeChatError),
}

/// An errcode and errmsg of WeChat's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("errcode {errcode}: {errmsg}")]
pub struct WeChatError {
    pub errcode: i64,
    /// Ends in `rid: …`, which WeChat's support asks for.
    pub errmsg: String,
}

impl ExchangeError {
    /// Tells whether WeChat, or the way to it, is down.
    pub(super) fn is_outage(&self) -> bool {
        let is_away = matches!(self, Self::Unreachable(_) | Self::Unanswered(_));
        is_away || matches!(self, Self::Status(500..) | Self::Page(500..))
    }

    /// Tells whether WeChat may have done what it was asked all the same.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        let is_unanswered = matches!(self, Self::Unanswered(_) | Self::Malformed(_));
        is_unanswered || matches!(self, Self::Status(500..) | Self::Page(_))
    }

    /// What is wrong, and what the operator may do where that is known.
    #[must_use]
    pub fn advice(&self) -> String {
        self.wechat().map_or_else(|| self.to_string(), WeChatError::explain)
    }

    /// WeChat's own words, if it said any.
    #[must_use]
    pub fn wechat(&self) -> Option<&WeChatError> {
        match self {
            Self::Code(error) | Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl WeChatError {
    /// Tells whether the operator must act: the app or its secret is wrong, or WeChat froze it.
    #[must_use]
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self.errcode, 40013 | 40125 | 40164 | 40243 | 41002 | 41004)
    }

    /// Tells whether the access token is no good: made up, expired or replaced.
    #[must_use]
    pub fn is_dead_token(&self) -> bool {
        matches!(self.errcode, 40001 | 40014 | 42001)
    }

    /// What it means to the operator, and what to do.
    #[must_use]
    pub fn explain(&self) -> String {
        let meaning = match self.errcode {
            40013 | 41002 => "WeChat does not know this appid".into(),
            // Of a request for a token, 40001 says the same.
            40001 | 40125 | 41004 => {
                "the secret is not this app's; it may have been reset: set the AppSecret of \
                 mp.weixin.qq.com with `mina-auth app add`"
                    .into()
            }
            40243 => "the AppSecret is frozen; unfreeze it on mp.weixin.qq.com".into(),
            40164 => match self.address() {
                Some(address) => format!(
                    "put {address}, by which WeChat sees this machine, on the app's IP allow-list \
                     on mp.weixin.qq.com"
                ),
                None => "this machine's IP is not on the app's allow-list".to_owned(),
            },
            -1 => "WeChat is busy; try again".into(),
            45009 => "the app's quota of today is used up; it begins anew at midnight in Beijing, \
                      or is cleared on mp.weixin.qq.com"
                .into(),
            45011 => "too many requests; try again in a minute".into(),
            _ => "WeChat refuses".into(),
        };
        format!("{meaning} ({self})")
    }

    /// The address that WeChat names: `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist`.
    fn address(&self) -> Option<IpAddr> {
        let mut words = self.errmsg.split(|char: char| char.is_whitespace() || char == ',');
        words.find_map(|word| word.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_token_says_what_to_do() {
        let explain = |errcode, errmsg: &str| {
            let errmsg = errmsg.to_owned();
            WeChatError { errcode, errmsg }.explain()
        };
        let not_listed = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1";
        let said = explain(40164, not_listed);
        assert!(said.starts_with("put 203.0.113.7, by which"), "{said}");
        let said = explain(40164, "invalid ip, not in whitelist");
        assert!(said.starts_with("this machine's IP"), "{said}");
        assert!(explain(40125, "x").contains("AppSecret"));
        assert!(explain(45009, "x").contains("quota"));
    }
}
