//! The settings of the listeners and their connections, checked and read.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::{Config, ConfigError, Hidden, read_secret};
use crate::http::access_key::AccessKey;
use crate::http::wafer::InitData;
use crate::net::address::Address;
use crate::net::connections::{Patience, TICK};
use crate::net::tls::Files;

/// hyper takes no smaller buffer.
const MIN_HEADER_SIZE: u64 = 8 * 1024;

impl Config {
    pub(super) fn check_listeners(&self) -> Result<(), ConfigError> {
        self.server_tls()?;
        self.admin_tls()?;
        self.initdata()?;
        let token = self.admin_token()?;
        let exposed = self.admin.listen.0.iter().find(|address| !address.is_local());
        if let Some(address) = exposed.filter(|_| token.expose_secret().is_empty()) {
            let problem = format!("{address} is not a loopback address; set `admin.token` as well");
            return Err(ConfigError::setting("admin.listen", problem));
        }
        let limits = &self.limits;
        if limits.header_size.0 < MIN_HEADER_SIZE {
            return Err(ConfigError::setting("limits.header_size", "expected at least 8KiB"));
        }
        if limits.long_bodies.0 < self.server.max_body.0 {
            let problem = "expected at least `server.max_body`";
            return Err(ConfigError::setting("limits.long_bodies", problem));
        }
        if limits.connections == 0 {
            return Err(ConfigError::setting("limits.connections", "is zero"));
        }
        let timeouts = [
            ("limits.header_timeout", limits.header_timeout),
            ("limits.body_timeout", limits.body_timeout),
            ("limits.idle_timeout", limits.idle_timeout),
        ];
        match timeouts.into_iter().find(|(_, timeout)| timeout.0 < TICK) {
            Some((setting, _)) => Err(ConfigError::setting(setting, "expected at least 1s")),
            None => Ok(()),
        }
    }

    /// How long connections may wait for their clients.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let limits = &self.limits;
        Patience::new(limits.header_timeout.0, limits.body_timeout.0, limits.idle_timeout.0)
    }

    /// The files of the protocol listener's TLS; `None` when it has none.
    ///
    /// # Errors
    ///
    /// When a setting needs another one.
    pub fn server_tls(&self) -> Result<Option<Files>, ConfigError> {
        let server = &self.server;
        tls_files("server", [&server.tls_cert, &server.tls_key, &server.tls_client_ca])
    }

    /// The files of the admin listener's TLS; `None` when it has none.
    ///
    /// # Errors
    ///
    /// When a setting needs another one.
    pub fn admin_tls(&self) -> Result<Option<Files>, ConfigError> {
        let admin = &self.admin;
        tls_files("admin", [&admin.tls_cert, &admin.tls_key, &admin.tls_client_ca])
    }

    /// The key that requests to the protocol endpoint must carry.
    ///
    /// # Errors
    ///
    /// When it is given twice, or its file cannot be read or is empty.
    pub fn access_key(&self) -> Result<Option<AccessKey>, ConfigError> {
        let server = &self.server;
        let key =
            secret("server.access_key", &server.access_key, server.access_key_file.as_deref())?;
        Ok(Some(key).filter(|key| !key.expose_secret().is_empty()).map(AccessKey::new))
    }

    /// Who may set apps by `initdata`.
    ///
    /// # Errors
    ///
    /// When it is on and nothing would prove who asks.
    pub fn initdata(&self) -> Result<InitData, ConfigError> {
        let has_key = self.access_key()?.is_some();
        let wants_certificates = self.server_tls()?.is_some_and(|files| files.client_ca.is_some());
        let is_unix = |address: &Address| matches!(address, Address::Unix(_));
        if !self.server.initdata {
            Ok(InitData::Nobody)
        } else if has_key || wants_certificates {
            Ok(InitData::Everybody)
        } else if self.server.listen.0.iter().any(is_unix) {
            Ok(InitData::UnixSockets)
        } else {
            let problem = "wants a proof of who asks: set `server.access_key` or \
                           `server.tls_client_ca` as well, or listen on a Unix socket; that \
                           somebody comes from this machine proves nothing, since a proxy on it \
                           brings everybody";
            Err(ConfigError::setting("server.initdata", problem))
        }
    }

    /// The token of the admin listener; empty when there is none.
    ///
    /// # Errors
    ///
    /// When it is given twice, or its file cannot be read or is empty.
    pub fn admin_token(&self) -> Result<SecretString, ConfigError> {
        secret("admin.token", &self.admin.token, self.admin.token_file.as_deref())
    }
}

/// A secret that stands in its setting or in the file that `SETTING_file` names; empty when it is
/// not set.
pub(super) fn secret(
    setting: &str,
    given: &Hidden,
    file: Option<&Path>,
) -> Result<SecretString, ConfigError> {
    let Some(file) = file else { return Ok(given.0.clone()) };
    if !given.0.expose_secret().is_empty() {
        let problem = format!("give only one of `{setting}` and `{setting}_file`");
        return Err(ConfigError::setting(setting, problem));
    }
    let file_setting = format!("{setting}_file");
    let secret = read_secret(&file_setting, file)?;
    if secret.expose_secret().is_empty() {
        let problem = format!("`{}` is empty", file.display());
        return Err(ConfigError::setting(file_setting, problem));
    }
    Ok(secret)
}

fn tls_files(
    section: &'static str,
    [cert, key, client_ca]: [&PathBuf; 3],
) -> Result<Option<Files>, ConfigError> {
    let needs = |setting: &str, needed: &str| {
        let problem = format!("needs `{section}.{needed}` as well");
        Err(ConfigError::setting(format!("{section}.{setting}"), problem))
    };
    let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
    match [cert, key, client_ca].map(is_set) {
        [false, false, false] => Ok(None),
        [true, true, has_client_ca] => Ok(Some(Files {
            section,
            cert: cert.clone(),
            key: key.clone(),
            client_ca: has_client_ca.then(|| client_ca.clone()),
        })),
        [true, false, _] => needs("tls_cert", "tls_key"),
        [false, true, _] => needs("tls_key", "tls_cert"),
        [false, false, true] => needs("tls_client_ca", "tls_cert"),
    }
}
