//! Statements that name many rows.

use sqlx::AssertSqlSafe;
use sqlx::mysql::{MySql, MySqlArguments};
use sqlx::query::Query;

/// How many rows one statement names.
pub const CHUNK: usize = 100;

/// A statement, before it is run.
pub type Statement<'a> = Query<'a, MySql, MySqlArguments>;

/// A statement in which a part is repeated, as many times as there are values to bind. Its parts
/// are literals, so nothing else can get into it.
pub fn repeated(
    before: &'static str,
    part: &'static str,
    between: &'static str,
    times: usize,
    after: &'static str,
) -> Statement<'static> {
    let parts = vec![part; times].join(between);
    let statement = sqlx::query(AssertSqlSafe(format!("{before}{parts}{after}")));
    // A statement of every length would push the others out of the connection's memory.
    statement.persistent(times == CHUNK)
}
