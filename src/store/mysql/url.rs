//! `mysql://…`, which holds a password and never shows it.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::mysql::MySqlConnectOptions;

/// The parameters that a URL may have. The driver passes over any other one, and a misspelt
/// `ssl-mode` would go unnoticed.
const PARAMETERS: [&str; 5] = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"];

const EXPECTED: &str = "expected mysql://USER:PASSWORD@HOST:PORT/DATABASE";

/// Where a MySQL or MariaDB database is, and who may use it.
#[derive(Clone)]
pub struct MysqlUrl {
    url: SecretString,
    /// The URL with its password struck out.
    shown: String,
    database: String,
}

impl MysqlUrl {
    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How to connect.
    ///
    /// # Errors
    ///
    /// When a parameter has a value that means nothing.
    pub(super) fn options(&self) -> Result<MySqlConnectOptions, String> {
        // The driver's own words may quote the URL.
        self.url.expose_secret().parse().map_err(|_| {
            "expected `ssl-mode` to be DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY"
                .into()
        })
    }
}

impl FromStr for MysqlUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url: Url = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        let database = url.path().trim_start_matches('/').to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
        if url.scheme() != "mysql" || !url.has_host() || database.is_empty() {
            return Err(EXPECTED.into());
        }
        if !database.chars().all(plain) {
            return Err("expected the database's name to be letters, digits, `_`, `-`, `$`".into());
        }
        if let Some((name, _)) = url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&&**name))
        {
            return Err(format!("unknown parameter `{name}`; there are {}", PARAMETERS.join(", ")));
        }
        let whole = url.as_str().to_owned();
        if url.password().is_some() {
            // Only a URL that cannot have one refuses a password.
            let _ = url.set_password(Some("***"));
        }
        let parsed = Self { url: whole.into(), shown: url.into(), database };
        parsed.options().map(|_| parsed)
    }
}

impl PartialEq for MysqlUrl {
    fn eq(&self, other: &Self) -> bool {
        self.url.expose_secret() == other.url.expose_secret()
    }
}

impl Eq for MysqlUrl {}

impl fmt::Display for MysqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for MysqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        let url: MysqlUrl =
            "mysql://u:s%40cret@h:3307/cAuth?ssl-mode=required".parse().expect("it is a URL");
        assert_eq!(url.to_string(), "mysql://u:***@h:3307/cAuth?ssl-mode=required");
        assert!(!format!("{url:?}").contains("cret"));
        assert_eq!(url.database(), "cAuth");
        let options = url.options().expect("it can be used");
        assert_eq!((options.get_host(), options.get_port()), ("h", 3307));
    }

    #[test]
    fn a_url_that_would_be_misread_is_refused() {
        for wrong in [
            "mysql://u:secret@h",
            "mysql://u:secret@h/",
            "mysql:cAuth",
            "mysql://u:secret@h:x/cAuth",
            "mysql://u:secret@h/cAuth?ssl-mod=required",
            "mysql://u:secret@h/cAuth?ssl-mode=often",
            "mysql://u:secret@h/c`Auth",
        ] {
            let error = wrong.parse::<MysqlUrl>().expect_err("it is refused");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
