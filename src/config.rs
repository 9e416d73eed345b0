//! The configuration: the embedded defaults, then a file, then the environment.

mod alarm;
mod listeners;
mod origins;
mod secrets;
mod values;
mod wechat_api;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::choices::one_of;
use crate::secrets::Keys;
use crate::session::{App, Lifetime};
use crate::store::{self, StorageUrl, mysql, sqlite};
use crate::telemetry::Log;

use self::origins::Origins;

pub use alarm::Alarm;
pub use secrets::Secrets;
pub use values::{Addresses, Hidden, HiddenTexts, Networks, Size, Span, Texts};
pub use wechat_api::WeChatApi;

/// The reference of all settings, and their defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The whole configuration. `config.default.toml` says what each setting means.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub storage: Storage,
    pub secrets: Secrets,
    pub wechat: WeChat,
    pub wechat_api: WeChatApi,
    #[serde(default)]
    pub apps: Vec<ConfiguredApp>,
    pub sessions: Sessions,
    pub api: Api,
    pub cache: Cache,
    pub limits: Limits,
    pub admin: Admin,
    pub metrics: Metrics,
    pub alarm: Alarm,
    pub log: Log,
    #[serde(skip)]
    origins: Origins,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: Addresses,
    pub max_body: Size,
    pub initdata: bool,
    pub drain_timeout: Span,
    pub allow: Networks,
    pub access_key: Hidden,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<PathBuf>,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub tls_client_ca: PathBuf,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    pub url: StorageUrl,
    pub time_zone: String,
    pub legacy_appid: String,
    pub shared_with_php: bool,
    pub max_connections: usize,
    pub timeout: Span,
    pub network_file_system: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeChat {
    pub base_url: String,
    pub fallback: Texts,
    pub timeout: Span,
    pub proxy: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub app_label: bool,
}

/// An app of the configuration file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredApp {
    pub appid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Hidden>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    #[serde(default = "default_login_duration")]
    pub login_duration: u32,
    #[serde(default = "default_session_duration")]
    pub session_duration: u32,
    #[serde(default)]
    pub default: bool,
}

fn default_login_duration() -> u32 {
    Lifetime::default().login_days
}

fn default_session_duration() -> u32 {
    Lifetime::default().idle_seconds
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    pub per_user: u32,
    pub touch: Touch,
    pub touch_interval: Span,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    pub enabled: bool,
    pub sessions_per_user: u32,
    pub token_in_url: bool,
    pub phone: bool,
}

/// When a visit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Touch {
    Batched,
    Sync,
}

impl TryFrom<String> for Touch {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("batched", Self::Batched), ("sync", Self::Sync)])
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub max_bytes: Size,
    pub max_stale: Span,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub header_size: Size,
    pub header_timeout: Span,
    pub body_timeout: Span,
    pub long_bodies: Size,
    pub idle_timeout: Span,
    pub connections: usize,
    pub connections_per_address: usize,
    pub requests: usize,
    pub logins_per_second: u32,
    pub decrypt_failures: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub listen: Addresses,
    pub hosts: Texts,
    pub token: Hidden,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub tls_client_ca: PathBuf,
}

/// A configuration that cannot be used: which setting, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration {origin}: {problem}")]
    Source { origin: String, problem: String },
    #[error("`{setting}`: {problem}")]
    Setting { setting: String, problem: String },
}

impl ConfigError {
    /// An error of the `config` crate on one line, without the picture of the place.
    fn source(origin: String, error: &config::ConfigError) -> Self {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let problem = match (lines.next(), lines.next_back()) {
            (Some(first), Some(last)) => format!("{first}: {last}"),
            (first, _) => first.unwrap_or_default().to_owned(),
        };
        Self::Source { origin, problem: in_one_line(&problem) }
    }

    fn setting(setting: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::Setting { setting: setting.into(), problem: in_one_line(&problem.to_string()) }
    }
}

/// Escapes line breaks and other control characters: what is wrong may be quoted in an error.
fn in_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

impl Config {
    /// Reads the configuration and checks it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting at fault.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut sources = config::Config::builder().add_source(defaults());
        let mut origin = "of the environment".to_owned();
        let mut in_file = String::new();
        if let Some(file) = file {
            origin = format!("of `{}` and the environment", file.display());
            let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Source {
                origin: format!("file `{}`", file.display()),
                problem: error.to_string(),
            })?;
            sources = sources.add_source(File::from_str(&text, FileFormat::Toml));
            in_file = text;
        }
        let environment =
            Environment::with_prefix("MINA_AUTH").prefix_separator("__").separator("__");
        let read = |config: config::Config| {
            let origins = Origins::of(&config.cache, &in_file);
            Ok(Self { origins, ..config.try_deserialize()? })
        };
        let config = sources.add_source(environment).build();
        let config = config.and_then(read).map_err(|error| ConfigError::source(origin, &error))?;
        config.check()?;
        Ok(config)
    }

    /// The defaults alone.
    ///
    /// # Errors
    ///
    /// Never, as long as `config.default.toml` is right.
    pub fn defaults() -> Result<Self, ConfigError> {
        let config = config::Config::builder().add_source(defaults()).build();
        config
            .and_then(config::Config::try_deserialize)
            .map_err(|error| ConfigError::source("of the defaults".to_owned(), &error))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.wechat_base_urls()?;
        self.proxy()?;
        self.store()?;
        self.check_listeners()?;
        self.alarm_url()?;
        self.wechat_api_key()?;
        self.wechat_api_paths()?;
        for (at, app) in self.apps.iter().enumerate() {
            if app.appid.trim().is_empty() {
                return Err(ConfigError::setting(format!("apps[{at}].appid"), "is empty"));
            }
            if self.apps[..at].iter().any(|other| other.appid.trim() == app.appid.trim()) {
                let problem = format!("`{}` is there twice", app.appid);
                return Err(ConfigError::setting(format!("apps[{at}].appid"), problem));
            }
        }
        if self.apps.iter().filter(|app| app.default).count() > 1 {
            return Err(ConfigError::setting("apps.default", "more than one app is the default"));
        }
        self.apps().map(drop)
    }

    /// The store, and how it is used.
    ///
    /// # Errors
    ///
    /// When settings of `[storage]` do not go together.
    pub fn store(&self) -> Result<store::Settings, ConfigError> {
        let storage = &self.storage;
        let url = match &storage.url {
            StorageUrl::Memory => return Ok(store::Settings::Memory),
            StorageUrl::Sqlite(path) => {
                let settings = sqlite::Settings {
                    path: path.clone(),
                    keys: self.secrets.keys()?,
                    on_network: storage.network_file_system,
                };
                return Ok(store::Settings::Sqlite(settings));
            }
            StorageUrl::Mysql(url) => url.clone(),
        };
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let time_zone = given(&storage.time_zone)
            .map(|zone| zone.parse())
            .transpose()
            .map_err(|problem: String| ConfigError::setting("storage.time_zone", problem))?;
        self.check_shared(time_zone.is_some())?;
        if storage.max_connections == 0 {
            return Err(ConfigError::setting("storage.max_connections", "is zero"));
        }
        // A transaction must be over before other nodes stop waiting for its events.
        if storage.timeout.0.is_zero() || storage.timeout.0 > Duration::from_secs(15) {
            let problem = "expected more than nothing and at most 15s";
            return Err(ConfigError::setting("storage.timeout", problem));
        }
        Ok(store::Settings::Mysql(mysql::Settings {
            url,
            keys: self.secrets.keys()?.unwrap_or_else(Keys::none),
            time_zone,
            legacy_appid: given(&storage.legacy_appid).map(Into::into),
            shared_with_php: storage.shared_with_php,
            leave_php: false,
            serves: false,
            max_connections: storage.max_connections,
            timeout: storage.timeout.0,
        }))
    }

    /// Checks what the PHP server beside this one cannot do.
    fn check_shared(&self, has_zone: bool) -> Result<(), ConfigError> {
        let refuse = |setting: &str, problem: &str| {
            let problem = format!("{problem} while `storage.shared_with_php` is set");
            Err(ConfigError::setting(setting, problem))
        };
        if !self.storage.shared_with_php {
            return Ok(());
        }
        if !has_zone {
            return refuse("storage.time_zone", "must be the PHP server's zone (\"+08:00\")");
        }
        if self.sessions.per_user != 1 {
            return refuse("sessions.per_user", "must be 1, as with the PHP server,");
        }
        if self.apps.len() > 1 {
            return refuse("apps", "there may be one app only, as with the PHP server,");
        }
        Ok(())
    }

    /// The apps of the configuration, their secrets read from where they are.
    ///
    /// # Errors
    ///
    /// When a secret is missing, given twice or cannot be read.
    pub fn apps(&self) -> Result<Vec<App>, ConfigError> {
        self.apps.iter().enumerate().map(|(at, app)| app.read(at)).collect()
    }

    /// The hosts of WeChat's API in the order to try them.
    ///
    /// # Errors
    ///
    /// When one of them is no URL.
    pub fn wechat_base_urls(&self) -> Result<Vec<reqwest::Url>, ConfigError> {
        let mut urls = vec![http_url("wechat.base_url", &self.wechat.base_url)?];
        let fallback = self.wechat.fallback.0.iter().map(|url| http_url("wechat.fallback", url));
        let fallback: Vec<_> = fallback.collect::<Result<_, _>>()?;
        // A base URL of one's own never falls back to WeChat's hosts with somebody's secret.
        if self.wechat.base_url.trim_end_matches('/') == crate::wechat::client::DEFAULT_BASE_URL {
            urls.extend(fallback);
        }
        Ok(urls)
    }

    /// The proxy to reach WeChat through.
    ///
    /// # Errors
    ///
    /// When it is no URL.
    pub fn proxy(&self) -> Result<Option<reqwest::Url>, ConfigError> {
        let proxy = Some(self.wechat.proxy.as_str()).filter(|proxy| !proxy.is_empty());
        proxy.map(|proxy| http_url("wechat.proxy", proxy)).transpose()
    }
}

impl ConfiguredApp {
    /// An app with the default durations.
    #[must_use]
    pub fn of(appid: &str, secret: &str) -> Self {
        Self {
            appid: appid.to_owned(),
            secret: Some(Hidden(secret.into())),
            secret_file: None,
            secret_env: None,
            login_duration: default_login_duration(),
            session_duration: default_session_duration(),
            default: false,
        }
    }

    fn read(&self, at: usize) -> Result<App, ConfigError> {
        let setting = |name| format!("apps[{at}].{name}");
        let secret = match (&self.secret, &self.secret_file, &self.secret_env) {
            (Some(secret), None, None) => secret.0.clone(),
            (None, Some(file), None) => read_secret(&setting("secret_file"), file)?,
            (None, None, Some(name)) => std::env::var(name)
                .map_err(|_| {
                    let problem = format!("the environment has no variable `{name}`");
                    ConfigError::setting(setting("secret_env"), problem)
                })?
                .into(),
            (None, None, None) => {
                let problem = "is missing; give `secret`, `secret_file` or `secret_env`";
                return Err(ConfigError::setting(setting("secret"), problem));
            }
            _ => {
                let problem = "give only one of `secret`, `secret_file` and `secret_env`";
                return Err(ConfigError::setting(setting("secret"), problem));
            }
        };
        let secret = secret.expose_secret().trim();
        if secret.is_empty() {
            return Err(ConfigError::setting(setting("secret"), "is empty"));
        }
        Ok(App {
            appid: self.appid.trim().into(),
            secret: secret.into(),
            lifetime: Lifetime {
                login_days: self.login_duration,
                idle_seconds: self.session_duration,
            },
            is_default: self.default,
        })
    }
}

fn defaults() -> File<config::FileSourceString, FileFormat> {
    File::from_str(DEFAULTS, FileFormat::Toml)
}

fn read_secret(setting: &str, file: &Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        ConfigError::setting(setting, format!("cannot read `{}`: {error}", file.display()))
    })?;
    Ok(Zeroizing::new(text).trim().into())
}

fn http_url(setting: &str, text: &str) -> Result<reqwest::Url, ConfigError> {
    let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    text.parse().ok().filter(is_http).ok_or_else(|| {
        ConfigError::setting(setting, format!("`{text}`: expected http://HOST or https://HOST"))
    })
}
