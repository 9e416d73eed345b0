//! Whether WeChat takes an app's secret.

use super::client::{Client, ExchangeError, WeChatError};
use crate::random;
use crate::session::{App, SessionId};

/// Asks WeChat about a made-up code: that it is invalid is the answer to a right secret.
///
/// # Errors
///
/// What is wrong, and what would be right.
pub async fn ask(wechat: &Client, app: &App) -> Result<(), String> {
    let code = SessionId::new(random::bytes());
    match wechat.code2session(app, code.as_str()).await {
        Ok(_) | Err(ExchangeError::Code(_)) => Ok(()),
        Err(ExchangeError::Refused(error)) => Err(explain(&error)),
        Err(error) => {
            Err(format!("{error}; check the network, `wechat.base_url` and `wechat.proxy`"))
        }
    }
}

fn explain(error: &WeChatError) -> String {
    let meaning = match error.errcode {
        40013 | 41002 => "WeChat does not know this appid",
        40125 | 41004 => "the secret is not this app's; it may have been reset",
        40243 => "the AppSecret is frozen; unfreeze it on mp.weixin.qq.com",
        40164 => "this machine's IP is not on the app's allow-list",
        -1 => "WeChat is busy; try again",
        45011 => "too many requests; try again in a minute",
        _ => "WeChat refuses",
    };
    format!("{meaning} ({error})")
}
