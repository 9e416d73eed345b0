//! The tables: how they are spelt, how they come to be, and what the database remembers of itself.

use std::collections::BTreeSet;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::pool::number;
use super::{OpenError, Settings, TimeZone};
use crate::session::AppId;

/// The schema, step by step; `mina_migration` has a row for each step taken.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../../migrations/mysql/0001_wafer.sql"),
    include_str!("../../../migrations/mysql/0002_columns.sql"),
    include_str!("../../../migrations/mysql/0003_mina.sql"),
    include_str!("../../../migrations/mysql/0004_stat.sql"),
];

/// What the database remembers: the steps, and a few words about itself.
const BOOKS: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS mina_migration (step INT NOT NULL PRIMARY KEY) ENGINE = InnoDB",
    "CREATE TABLE IF NOT EXISTS mina_setting (name VARCHAR(50) NOT NULL PRIMARY KEY, \
     value VARCHAR(200) NOT NULL) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
];

/// What the name of a setting begins with that names a key of secrets.
const KEY: &str = "key.";

/// How long to wait for another process that migrates, in seconds.
const LOCK_SECONDS: u32 = 60;

/// How the two original tables are spelt. Where MySQL keeps case, and so on most servers, the
/// spellings name different tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// `cAppInfo`, not `cAppinfo` as the PHP code has it.
    pub app_info: bool,
    /// `cSessioninfo`, not `cSessionInfo` as the PHP code has it.
    pub sessioninfo: bool,
}

/// A statement on the table of apps as it is spelt. Both spellings are literals.
macro_rules! on_apps {
    ($tables:expr, $before:expr, $after:expr) => {
        if $tables.app_info {
            concat!($before, "cAppInfo", $after)
        } else {
            concat!($before, "cAppinfo", $after)
        }
    };
}
pub(super) use on_apps;

/// A statement on the table of sessions as it is spelt. Both spellings are literals.
macro_rules! on_sessions {
    ($tables:expr, $before:expr, $after:expr) => {
        if $tables.sessioninfo {
            concat!($before, "cSessioninfo", $after)
        } else {
            concat!($before, "cSessionInfo", $after)
        }
    };
}
pub(super) use on_sessions;

/// What a database holds before it is touched.
#[derive(Debug)]
pub struct Found {
    names: BTreeSet<String>,
    steps: BTreeSet<usize>,
    pub tables: Tables,
}

impl Found {
    /// Looks at a database.
    pub async fn read(connection: &mut MySqlConnection) -> sqlx::Result<Self> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
             WHERE table_schema = DATABASE()",
        )
        .fetch_all(&mut *connection)
        .await?;
        let folds: i64 = sqlx::query_scalar("SELECT CAST(@@lower_case_table_names AS SIGNED)")
            .fetch_one(&mut *connection)
            .await?;
        let names: BTreeSet<String> =
            names.into_iter().map(|name| if folds == 0 { name } else { as_php(name) }).collect();
        let steps: Vec<i64> = if names.contains("mina_migration") {
            let steps = sqlx::query_scalar("SELECT CAST(step AS SIGNED) FROM mina_migration");
            steps.fetch_all(&mut *connection).await?
        } else {
            Vec::new()
        };
        let only = |other: &str, php: &str| names.contains(other) && !names.contains(php);
        let tables = Tables {
            app_info: only("cAppInfo", "cAppinfo"),
            sessioninfo: only("cSessioninfo", "cSessionInfo"),
        };
        let steps = steps.into_iter().filter_map(|step| usize::try_from(step).ok()).collect();
        Ok(Self { names, steps, tables })
    }

    /// Tells whether nothing of Wafer or of this program is there.
    pub fn is_empty(&self) -> bool {
        !self.names.iter().any(|name| {
            let name = name.to_ascii_lowercase();
            name.starts_with("mina_") || matches!(&*name, "cappinfo" | "csessioninfo")
        })
    }

    /// The tables that stand there in the other spelling too and are passed over.
    pub fn passed_over(&self) -> Vec<&'static str> {
        let pairs = [("cAppInfo", "cAppinfo"), ("cSessioninfo", "cSessionInfo")];
        let both = pairs
            .into_iter()
            .filter(|(other, php)| self.names.contains(*other) && self.names.contains(*php));
        both.map(|(other, _)| other).collect()
    }

    /// Tells whether the columns and tables of this program are there.
    pub fn is_upgraded(&self) -> bool {
        self.steps.contains(&2) && self.steps.contains(&3)
    }

    /// The step that a newer version took.
    pub fn newer(&self) -> Option<usize> {
        self.steps.last().copied().filter(|step| *step > MIGRATIONS.len())
    }

    /// The SQL that brings the schema up to date, a statement each.
    pub fn pending(&self) -> Vec<String> {
        let exists = |statement: &str| {
            let name = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ");
            let name = name.and_then(|rest| rest.split_whitespace().next());
            name.is_some_and(|name| self.names.contains(name))
        };
        let mut pending: Vec<String> = BOOKS.iter().map(ToString::to_string).collect();
        let steps = MIGRATIONS.iter().zip(1..).filter(|(_, step)| !self.steps.contains(step));
        for (sql, step) in steps {
            pending.extend(statements(sql).map(|statement| self.tables.spell(&statement)));
            pending.push(format!("INSERT IGNORE INTO mina_migration (step) VALUES ({step})"));
        }
        pending.retain(|statement| !exists(statement));
        pending
    }
}

/// The PHP code's spelling of a table's name, for servers that do not tell them apart.
fn as_php(name: String) -> String {
    let php = ["cAppinfo", "cSessionInfo"].into_iter().find(|php| name.eq_ignore_ascii_case(php));
    php.map_or(name, Into::into)
}

impl Tables {
    /// Puts the names of this database's tables into a statement of the migrations.
    fn spell(self, statement: &str) -> String {
        let apps = if self.app_info { "cAppInfo" } else { "cAppinfo" };
        let sessions = if self.sessioninfo { "cSessioninfo" } else { "cSessionInfo" };
        statement.replace("cAppinfo", apps).replace("cSessionInfo", sessions)
    }
}

/// The statements of a file, without its comments.
fn statements(sql: &str) -> impl Iterator<Item = String> {
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    let sql: String = lines.flat_map(|line| [line, "\n"]).collect();
    let statements: Vec<_> = sql.split(';').map(|part| part.trim().to_owned()).collect();
    statements.into_iter().filter(|statement| !statement.is_empty())
}

/// Brings the schema up to date, one process at a time.
pub async fn migrate(
    connection: &mut MySqlConnection,
    settings: &Settings,
) -> Result<(Tables, Remembered), OpenError> {
    let failed = |source: sqlx::Error| OpenError::database(settings, source);
    let locked: Option<i64> = sqlx::query_scalar(
        "SELECT CAST(GET_LOCK(CONCAT('mina-auth.', LEFT(DATABASE(), 50)), ?) AS SIGNED)",
    )
    .bind(LOCK_SECONDS)
    .fetch_one(&mut *connection)
    .await
    .map_err(failed)?;
    if locked != Some(1) {
        return Err(OpenError::Locked { seconds: LOCK_SECONDS });
    }
    let migrated = migrate_alone(connection, settings).await;
    // The lock ends with the connection at the latest.
    let release = "DO RELEASE_LOCK(CONCAT('mina-auth.', LEFT(DATABASE(), 50)))";
    let _ = sqlx::raw_sql(release).execute(&mut *connection).await;
    migrated
}

async fn migrate_alone(
    connection: &mut MySqlConnection,
    settings: &Settings,
) -> Result<(Tables, Remembered), OpenError> {
    let failed = |source: sqlx::Error| OpenError::database(settings, source);
    let found = Found::read(connection).await.map_err(failed)?;
    if let Some(step) = found.newer() {
        return Err(OpenError::Newer { found: step, known: MIGRATIONS.len() });
    }
    // Checked before anything is changed.
    let remembered = Remembered::read(connection, &found).await.map_err(failed)?;
    let remembered = remembered.settle(settings)?;
    for table in found.passed_over() {
        tracing::warn!(table, "the table stands there in both spellings; the PHP code's is used");
    }
    let pending = found.pending();
    for (at, statement) in pending.iter().enumerate() {
        let run = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut *connection).await;
        match run {
            // The step was taken but not noted, when a process ended in between.
            Err(error) if number(&error) == Some(1060) => {}
            Err(error) if matches!(number(&error), Some(1044 | 1142 | 1227 | 1370)) => {
                return Err(OpenError::right(settings, &pending[at..], error));
            }
            other => {
                other.map_err(failed)?;
            }
        }
    }
    remembered.write(connection, found.tables).await.map_err(failed)?;
    Ok((found.tables, remembered))
}

/// The SQL that [`migrate`] would run.
pub async fn pending(
    connection: &mut MySqlConnection,
    settings: &Settings,
) -> Result<Vec<String>, OpenError> {
    let failed = |source: sqlx::Error| OpenError::database(settings, source);
    let found = Found::read(connection).await.map_err(failed)?;
    if let Some(step) = found.newer() {
        return Err(OpenError::Newer { found: step, known: MIGRATIONS.len() });
    }
    Ok(found.pending())
}

/// Forgets the keys that nothing is encrypted under any more.
pub async fn forget_other_keys(connection: &mut MySqlConnection, writes: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM mina_setting WHERE name LIKE CONCAT(?, '%') AND name <> CONCAT(?, ?)")
        .bind(KEY)
        .bind(KEY)
        .bind(writes)
        .execute(connection)
        .await
        .map(drop)
}

/// How many characters `user_info` has room for.
pub async fn user_info_length(
    connection: &mut MySqlConnection,
    tables: Tables,
) -> sqlx::Result<usize> {
    let length: Option<Option<i64>> = sqlx::query_scalar(
        "SELECT CAST(character_maximum_length AS SIGNED) FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = ? AND column_name = 'user_info'",
    )
    .bind(if tables.sessioninfo { "cSessioninfo" } else { "cSessionInfo" })
    .fetch_optional(connection)
    .await?;
    Ok(length.flatten().and_then(|length| usize::try_from(length).ok()).unwrap_or(2048))
}

/// What the database knows of itself beside its schema.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Whether there are sessions.
    has_sessions: bool,
    /// Whether there are sessions that name no app.
    has_legacy_sessions: bool,
    apps: Vec<String>,
    /// The zone of the datetimes.
    pub time_zone: Option<TimeZone>,
    /// The app of sessions that name none.
    pub legacy_appid: Option<AppId>,
    pub php: Option<Php>,
    /// The names of the keys that secrets may be encrypted under.
    keys: Vec<String>,
    /// Whether the PHP server's default app is still to be marked.
    marks_default: bool,
}

/// How the database stands to the PHP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Php {
    /// It may be running beside.
    Shared,
    /// It can no longer be used.
    Left,
}

impl Remembered {
    pub async fn read(connection: &mut MySqlConnection, found: &Found) -> sqlx::Result<Self> {
        let tables = found.tables;
        let mut this = Self::default();
        let sessions = if tables.sessioninfo { "cSessioninfo" } else { "cSessionInfo" };
        if found.names.contains(sessions) {
            let any = on_sessions!(tables, "SELECT 1 FROM ", " LIMIT 1");
            this.has_sessions = sqlx::query(any).fetch_optional(&mut *connection).await?.is_some();
            this.has_legacy_sessions = this.has_sessions;
            if found.steps.contains(&2) {
                let any = on_sessions!(tables, "SELECT 1 FROM ", " WHERE appid = '' LIMIT 1");
                this.has_legacy_sessions =
                    sqlx::query(any).fetch_optional(&mut *connection).await?.is_some();
            }
        }
        if found.names.contains(if tables.app_info { "cAppInfo" } else { "cAppinfo" }) {
            // In the order in which the PHP code reads them.
            let all = on_apps!(tables, "SELECT appid FROM ", "");
            this.apps = sqlx::query_scalar(all).fetch_all(&mut *connection).await?;
        }
        this.marks_default = !found.steps.contains(&2);
        if found.names.contains("mina_setting") {
            let rows = sqlx::query("SELECT name, value FROM mina_setting");
            for row in rows.fetch_all(&mut *connection).await? {
                let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                match &*name {
                    "time_zone" => this.time_zone = value.parse().ok(),
                    "legacy_appid" => this.legacy_appid = Some(value.into()),
                    "php" if value == "shared" => this.php = Some(Php::Shared),
                    "php" => this.php = Some(Php::Left),
                    name => this.keys.extend(name.strip_prefix(KEY).map(str::to_owned)),
                }
            }
        }
        Ok(this)
    }

    /// The zone of the datetimes: as the database remembers, or as it is said.
    pub fn zone(&self, settings: &Settings) -> Result<TimeZone, OpenError> {
        match (self.time_zone, settings.time_zone) {
            (Some(known), Some(said)) if known != said => Err(OpenError::OtherZone { known, said }),
            (Some(zone), _) | (None, Some(zone)) => Ok(zone),
            (None, None) if self.has_sessions => Err(OpenError::NoZone),
            (None, None) => Ok(TimeZone::UTC),
        }
    }

    /// Brings what the database knows and what the configuration says together.
    fn settle(mut self, settings: &Settings) -> Result<Self, OpenError> {
        if let Some(key) = settings.keys.missing(&self.keys) {
            let (key, origin) = (key.to_owned(), settings.keys.origin().to_owned());
            return Err(OpenError::OtherKeys { key, origin });
        }
        self.keys = settings.keys.writes().map(str::to_owned).into_iter().collect();
        self.time_zone = Some(self.zone(settings)?);
        self.legacy_appid = settings.legacy_appid.clone().or(self.legacy_appid);
        if self.legacy_appid.is_none() {
            match &*self.apps {
                [only] => self.legacy_appid = Some(only.as_str().into()),
                [_, _, ..] if self.has_legacy_sessions => {
                    return Err(OpenError::NoLegacyApp { apps: self.apps.join("`, `") });
                }
                _ => {}
            }
        }
        self.php = match (self.php, settings.shared_with_php) {
            (Some(Php::Left), true) => return Err(OpenError::Left),
            (Some(Php::Shared), false) if settings.leave_php => Some(Php::Left),
            (Some(Php::Shared), false) => return Err(OpenError::StillShared),
            (_, true) if self.apps.len() > 1 => {
                return Err(OpenError::SharedApps { apps: self.apps.join("`, `") });
            }
            (_, true) => Some(Php::Shared),
            // Commands may look around before the server decides.
            (None, false) => settings.serves.then_some(Php::Left),
            (Some(Php::Left), false) => Some(Php::Left),
        };
        Ok(self)
    }

    async fn write(&self, connection: &mut MySqlConnection, tables: Tables) -> sqlx::Result<()> {
        let settings = [
            ("time_zone", self.time_zone.map(|zone| zone.to_string())),
            ("legacy_appid", self.legacy_appid.as_ref().map(|appid| appid.as_str().to_owned())),
            ("php", self.php.map(|php| if php == Php::Shared { "shared" } else { "left" }.into())),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into_iter();
        let keys = self.keys.iter().map(|key| (format!("{KEY}{key}"), Some(String::new())));
        for (name, value) in settings.chain(keys) {
            let Some(value) = value else { continue };
            sqlx::query("REPLACE INTO mina_setting (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value)
                .execute(&mut *connection)
                .await?;
        }
        if self.marks_default
            && let [_, .., last] = &*self.apps
        {
            // The PHP code takes the last row for its app.
            sqlx::query(on_apps!(tables, "UPDATE ", " SET is_default = 1 WHERE appid = ?"))
                .bind(last)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}
