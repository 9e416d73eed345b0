//! `[secrets]`: where the keys are.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::{ConfigError, HiddenTexts};
use crate::secrets::{Key, Keys, file};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub keys: HiddenTexts,
    pub key_file: PathBuf,
}

impl Secrets {
    /// The keys; `None` when none are named.
    ///
    /// # Errors
    ///
    /// When they are given twice, cannot be read, or are no keys.
    pub fn keys(&self) -> Result<Option<Keys>, ConfigError> {
        let HiddenTexts(keys) = &self.keys;
        let has_file = !self.key_file.as_os_str().is_empty();
        if keys.is_empty() && !has_file {
            return Ok(None);
        }
        if has_file {
            if !keys.is_empty() {
                let problem = "give `secrets.keys` or `secrets.key_file`, not both";
                return Err(ConfigError::setting("secrets.key_file", problem));
            }
            let keys = file::read(&self.key_file);
            return keys.map(Some).map_err(|e| ConfigError::setting("secrets.key_file", e));
        }
        let keys = keys.iter().enumerate().map(|(at, key)| {
            let key = key.expose_secret().parse::<Key>();
            key.map_err(|error| ConfigError::setting(format!("secrets.keys[{at}]"), error))
        });
        Ok(Some(Keys::new(keys.collect::<Result<_, _>>()?, "`secrets.keys`")))
    }
}
