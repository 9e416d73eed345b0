//! `[alarm]`: who is told of alarms.

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Hidden};
use crate::telemetry::alarm::Format;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// A robot's has its key in it.
    pub url: Hidden,
    pub format: Format,
    pub below: u64,
}

impl Config {
    /// Where alarms are sent; `None` when nobody is told.
    ///
    /// # Errors
    ///
    /// When it is no URL, or `alarm.below` no percentage.
    pub fn alarm_url(&self) -> Result<Option<SecretString>, ConfigError> {
        let Alarm { url: Hidden(url), below, .. } = &self.alarm;
        if !(1..=100).contains(below) {
            return Err(ConfigError::setting("alarm.below", "expected percent, 1 to 100"));
        }
        let text = url.expose_secret();
        if text.is_empty() {
            return Ok(None);
        }
        let is_http = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_http {
            let problem = "expected a URL that begins with http:// or https://";
            return Err(ConfigError::setting("alarm.url", problem));
        }
        Ok(Some(url.clone()))
    }
}
