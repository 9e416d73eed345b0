//! Connections to the database, a bounded number of them.
//!
//! A connection is used by one piece of work at a time and goes back only after a success, so
//! none is ever in an unknown state. When the database is down, work fails at once and says why.
//! When it refuses to give more connections, work waits for one of those that there are.

mod room;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use tokio::time::{sleep, timeout};

use self::room::{Place, Room};
use crate::random;

/// How often work is done again that another transaction got in the way of.
const CONTENDED_RETRIES: u32 = 8;

/// How long a connection may be idle: firewalls forget those that say nothing, and then work on
/// them hangs.
const MAX_IDLE: Duration = Duration::from_mins(2);

/// Work that the database did not do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    // The driver's errors have their causes in their own text.
    #[error("{0}")]
    Database(sqlx::Error),
    #[error(
        "the database did not answer within {} (`storage.timeout`)",
        humantime::format_duration(*.0)
    )]
    TimedOut(Duration),
    #[error(
        "all connections are taken (`storage.max_connections`), and none came back within {} (`storage.timeout`)",
        humantime::format_duration(*.0)
    )]
    Exhausted(Duration),
    #[error(
        "the database gives no more connections ({cause}), and none came back within {} (`storage.timeout`)",
        humantime::format_duration(*.within)
    )]
    Refused { cause: String, within: Duration },
    #[error("the work was given up: the process ends")]
    Ending,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Failure {
    /// The number of MySQL's error, if it is one.
    pub fn number(&self) -> Option<u16> {
        match self {
            Self::Database(error) => number(error),
            _ => None,
        }
    }

    /// Tells whether the statement was at fault, rather than the database or the way to it.
    pub fn is_of_statement(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error {
            sqlx::Error::Database(_) => !is_lost(error) && !is_contended(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            _ => false,
        }
    }
}

/// MySQL's number of an error.
pub fn number(error: &sqlx::Error) -> Option<u16> {
    error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}

/// Tells whether the connection is of no more use: it broke, the server is going down, it cut the
/// connection, or it is no longer the one that takes writes.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        other => matches!(
            number(other),
            Some(1053 | 1152..=1161 | 1184 | 1290 | 1836 | 1927 | 3169 | 4031)
        ),
    }
}

/// Tells whether the database has no room for another connection: of anybody, of this account by
/// its setting for all, of this account by its own.
fn is_full(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1040 | 1203 | 1226))
}

/// Tells whether another transaction got in the way: a deadlock, a lock not had in time, a row
/// that changed under a snapshot.
fn is_contended(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1213 | 1205 | 1020))
}

/// Work on a connection: a function of what it knows and what it is given, since it may be done
/// more than once.
pub type Work<C, I, T> =
    for<'a> fn(&'a mut MySqlConnection, &'a C, &'a I) -> BoxFuture<'a, sqlx::Result<T>>;

/// How a piece of work stands to transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Single statements.
    Plain,
    /// All or nothing.
    Transaction,
}

#[derive(Debug)]
pub struct Pool {
    options: MySqlConnectOptions,
    timeout: Duration,
    room: Room,
    /// With the instant since when each is idle, the last one used at the end.
    idle: Mutex<Vec<(MySqlConnection, Instant)>>,
}

impl Pool {
    /// A pool that connects when it must.
    pub fn new(options: MySqlConnectOptions, connections: usize, timeout: Duration) -> Self {
        // The log has a line for what failed; the driver's lines would have the same twice.
        let options = options
            .disable_statement_logging()
            .charset("utf8mb4")
            .pipes_as_concat(false)
            .no_engine_substitution(false);
        Self { options, timeout, room: Room::new(connections), idle: Mutex::default() }
    }

    /// Makes a connection that is not one of the pool's.
    pub async fn connect(&self) -> Result<MySqlConnection, Failure> {
        let connect = async {
            let mut connection = self.options.connect().await?;
            prepare(&mut connection).await?;
            Ok(connection)
        };
        timeout(self.timeout, connect).await.map_err(|_| Failure::TimedOut(self.timeout))?
    }

    /// Does a piece of work, again when another transaction got in its way, and on a new
    /// connection when an old one turns out to be broken.
    pub async fn run<C: Sync, I: Sync, T>(
        &self,
        mode: Mode,
        context: &C,
        input: &I,
        work: Work<C, I, T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut place = self.place(deadline).await?;
        let started = Instant::now();
        let mut contended = 0;
        loop {
            let (mut connection, reused) = self.connection(&mut place, deadline).await?;
            let attempt = attempt(&mut connection, mode, context, input, work);
            let outcome = timeout(self.timeout, attempt).await;
            match outcome.map_err(|_| Failure::TimedOut(self.timeout))? {
                Ok(done) => {
                    self.put_back(connection);
                    return Ok(done);
                }
                Err(error) if is_lost(&error) => {
                    // The others are as old, or older.
                    self.forget_idle();
                    if !reused {
                        return Err(error.into());
                    }
                }
                Err(error)
                    if is_contended(&error)
                        && contended < CONTENDED_RETRIES
                        && started.elapsed() < self.timeout =>
                {
                    self.put_back(connection);
                    contended += 1;
                    sleep(pause(contended)).await;
                }
                // The connection may be within a transaction: it is not used again.
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a place.
    async fn place(&self, deadline: Instant) -> Result<Place<'_>, Failure> {
        let now = Instant::now();
        let place = self.room.place(now);
        let place = timeout(deadline.saturating_duration_since(now), place).await;
        place.map_err(|_| match self.room.refusal() {
            Some(cause) => Failure::Refused { cause, within: self.timeout },
            None => Failure::Exhausted(self.timeout),
        })
    }

    /// The connection of a place, and whether it was used before. While the database refuses to
    /// give more of them, waits for another place.
    async fn connection<'a>(
        &'a self,
        place: &mut Place<'a>,
        deadline: Instant,
    ) -> Result<(MySqlConnection, bool), Failure> {
        place.empty();
        let mut tries = 0;
        loop {
            let idle = self.take_idle();
            let reused = idle.is_some();
            let connected = match idle {
                Some(connection) => Ok(connection),
                None => self.connect().await,
            };
            match connected {
                Ok(connection) => {
                    if !reused {
                        self.room.gave();
                    }
                    place.fill();
                    return Ok((connection, reused));
                }
                Err(Failure::Database(error)) if is_full(&error) => {
                    let (cause, now) = (error.to_string(), Instant::now());
                    if place.close(&cause, now) {
                        *place = self.place(deadline).await?;
                    } else if now < deadline {
                        // Nobody has one that could come back, but others' end as well.
                        tries += 1;
                        sleep(pause(tries)).await;
                    } else {
                        return Err(Failure::Refused { cause, within: self.timeout });
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn take_idle(&self) -> Option<MySqlConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < MAX_IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn put_back(&self, connection: MySqlConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }

    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Sets a session up: errors rather than values cut short, and no long waits for a lock.
///
/// READ COMMITTED takes no locks on the gaps between rows; where the binary log is written by
/// statement the engine refuses it, and the default, which is right but waits more, stays.
async fn prepare(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let by_statement: i64 =
        sqlx::query_scalar("SELECT CAST(@@log_bin AND @@binlog_format = 'STATEMENT' AS SIGNED)")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await
            // A server without these settings has no such log.
            .unwrap_or(0);
    let set = "SET SESSION sql_mode = 'STRICT_ALL_TABLES', SESSION innodb_lock_wait_timeout = 3";
    sqlx::raw_sql(set).execute(&mut *connection).await?;
    if by_statement == 0 {
        let level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
        sqlx::raw_sql(level).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn attempt<C, I, T>(
    connection: &mut MySqlConnection,
    mode: Mode,
    context: &C,
    input: &I,
    work: Work<C, I, T>,
) -> sqlx::Result<T> {
    if mode == Mode::Plain {
        return work(connection, context, input).await;
    }
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    match work(connection, context, input).await {
        Ok(done) => {
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
            Ok(done)
        }
        Err(error) if is_lost(&error) => Err(error),
        Err(error) => {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
            Err(error)
        }
    }
}

/// How long to wait before the work is done again: longer each time, and never the same.
fn pause(times: u32) -> Duration {
    let [random] = random::bytes();
    Duration::from_micros((1 << times.min(7)) * (500 + u64::from(random) * 10))
}
