//! `[wechat_api]`: who may call WeChat's API through this server, and what of it.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::listeners::secret;
use super::{Config, ConfigError, Hidden, Size, Texts};
use crate::http::access_key::AccessKey;
use crate::http::wechat_api::path::{Allowed, RelayPath};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeChatApi {
    pub key: Hidden,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    pub paths: Texts,
    pub requests: usize,
    pub max_body: Size,
}

impl Config {
    /// The key of those who call WeChat's API; `None` when nobody may.
    ///
    /// # Errors
    ///
    /// When it is given twice, or its file cannot be read or is empty.
    pub fn wechat_api_key(&self) -> Result<Option<AccessKey>, ConfigError> {
        let WeChatApi { key, key_file, .. } = &self.wechat_api;
        let key = secret("wechat_api.key", key, key_file.as_deref())?;
        Ok(Some(key).filter(|key| !key.expose_secret().is_empty()).map(AccessKey::new))
    }

    /// The paths of WeChat's API that are relayed.
    ///
    /// # Errors
    ///
    /// When one of them can be none.
    pub fn wechat_api_paths(&self) -> Result<Allowed, ConfigError> {
        let paths = self.wechat_api.paths.0.iter().map(|text| {
            let (path, is_prefix) = match text.strip_suffix("/*") {
                Some(path) => (path, true),
                None => (text.as_str(), false),
            };
            let path = RelayPath::parse(path.strip_prefix('/').unwrap_or(path));
            path.map(|path| (path, is_prefix)).map_err(|problem| {
                let problem = format!(
                    "`{text}`: {problem}; expected a path such as \"/wxa/msg_sec_check\" or \"/wxa/*\""
                );
                ConfigError::setting("wechat_api.paths", problem)
            })
        });
        paths.collect::<Result<_, _>>().map(Allowed::new)
    }
}
