//! Why a database cannot be used, and what to do about it.

use super::pool::{Failure, number};
use super::{MysqlUrl, Settings, TimeZone};

/// A database that cannot be used. Each message is whole: its cause is in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`storage.url`: {0}")]
    Url(String),
    #[error("cannot connect to {url}: {cause}")]
    Connect { url: MysqlUrl, cause: Failure },
    #[error(
        "cannot connect to {0}: the account logs in with MySQL's `caching_sha2_password`, which needs TLS; add `?ssl-mode=REQUIRED` to `storage.url` and see that the server has TLS on (MySQL 8 has, unless it was turned off), or give the account the plugin `mysql_native_password`"
    )]
    NeedsTls(MysqlUrl),
    #[error(
        "there is no database `{database}` at {url}; make it with: CREATE DATABASE `{database}` CHARACTER SET utf8mb4"
    )]
    NoDatabase { url: MysqlUrl, database: String },
    #[error(
        "there are no tables in the database at {url}; `mina-auth serve`, `mina-auth migrate` and `mina-auth app add` create them"
    )]
    Absent { url: MysqlUrl },
    #[error("cannot use the database at {url}: {cause}")]
    Database { url: MysqlUrl, cause: sqlx::Error },
    #[error(
        "the secrets in the database are encrypted under the key {key}, which {origin} does not have"
    )]
    OtherKeys { key: String, origin: String },
    #[error("another process has been migrating the database for {seconds} seconds")]
    Locked { seconds: u32 },
    #[error(
        "the database was written by a newer mina-auth (schema {found}, this one knows {known}); install that version or restore a backup"
    )]
    Newer { found: usize, known: usize },
    #[error(
        "the database account lacks the right {right} ({cause}); grant it: GRANT {right} ON `{database}`.* TO the account; or run this by hand with an account that has it, then start again:\n\n{sql}"
    )]
    Right { right: String, database: String, sql: String, cause: sqlx::Error },
    #[error(
        "the database has sessions, and nothing says which zone their datetimes are in: set `storage.time_zone` to the PHP server's zone, such as \"+08:00\""
    )]
    NoZone,
    #[error(
        "`storage.time_zone` is \"{said}\", but the datetimes of this database are in \"{known}\""
    )]
    OtherZone { known: TimeZone, said: TimeZone },
    #[error(
        "the database has sessions that name no app and more than one app (`{apps}`): set `storage.legacy_appid` to the app of the PHP server"
    )]
    NoLegacyApp { apps: String },
    #[error(
        "`storage.shared_with_php`: the PHP server knows one app only, and the database has several (`{apps}`); remove the others with `mina-auth app remove`"
    )]
    SharedApps { apps: String },
    #[error(
        "the database is shared with the PHP server, and `storage.shared_with_php` is not set. Leaving the PHP server is for good: afterwards checks are answered from memory, new logins are kept where the PHP server does not look, and it cannot be used on this database again. Stop the PHP server everywhere, then run `mina-auth migrate --leave-php`; or set `storage.shared_with_php = true`"
    )]
    StillShared,
    #[error(
        "`storage.shared_with_php`: this database has left the PHP server for good: sessions in it are kept where the PHP server does not look; take the setting out"
    )]
    Left,
}

impl OpenError {
    /// Explains why there is no connection.
    pub(super) fn connect(settings: &Settings, cause: Failure) -> Self {
        let url = settings.url.clone();
        match &cause {
            // The driver wants to encrypt the password itself, and is built without that.
            Failure::Database(sqlx::Error::Configuration(error))
                if error.to_string().contains("RSA") =>
            {
                Self::NeedsTls(url)
            }
            failure if failure.number() == Some(1049) => {
                Self::NoDatabase { database: url.database().to_owned(), url }
            }
            _ => Self::Connect { url, cause },
        }
    }

    pub(super) fn database(settings: &Settings, cause: sqlx::Error) -> Self {
        Self::Database { url: settings.url.clone(), cause }
    }

    /// Names the right that the first of these statements needs.
    pub(super) fn right(settings: &Settings, pending: &[String], cause: sqlx::Error) -> Self {
        debug_assert!(number(&cause).is_some(), "the server refused");
        let first = pending.first().and_then(|sql| sql.split_whitespace().next());
        Self::Right {
            right: first.unwrap_or("ALL").to_owned(),
            database: settings.url.database().to_owned(),
            sql: pending.join(";\n") + ";\n",
            cause,
        }
    }
}
