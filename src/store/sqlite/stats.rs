//! What requests came to, in rows.

use rusqlite::{Connection, params};

use crate::session::AppId;
use crate::store::stats::{Census, Count, Counted, Range, Stat, Step};

/// Adds what was counted to the rows of its minute and its hour, unless that was done before.
pub fn add(connection: &Connection, counted: &Counted) -> rusqlite::Result<()> {
    let Counted { node, minute, counts } = counted;
    let is_new = connection
        .prepare_cached("INSERT OR IGNORE INTO mina_stat_written (start, node) VALUES (?, ?)")?
        .execute(params![minute, node])?;
    if is_new == 0 {
        return Ok(());
    }
    for step in Step::OF_REQUESTS {
        write(connection, (step, step.start(*minute)), counts, "count + excluded.count")?;
    }
    Ok(())
}

/// Writes counts into the rows of a span; `sum` is what becomes of a row that is there.
fn write(
    connection: &Connection,
    (step, start): (Step, i64),
    counts: &[Count],
    sum: &str,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO mina_stat (seconds, start, appid, interface, code, count)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = {sum}"
    ))?;
    for count in counts {
        statement.execute(params![
            step.seconds(),
            start,
            count.appid_text(),
            count.interface,
            count.code,
            i64::try_from(count.count).unwrap_or(i64::MAX),
        ])?;
    }
    Ok(())
}

/// The rows of a range, in order.
pub fn read(connection: &Connection, range: &Range, limit: u32) -> rusqlite::Result<Vec<Stat>> {
    let Range { step, from, to, appid } = range;
    let mut statement = connection.prepare_cached(
        "SELECT start, appid, interface, code, count FROM mina_stat
         WHERE seconds = ?1 AND start >= ?2 AND start < ?3 AND (?4 IS NULL OR appid = ?4)
         ORDER BY start, appid, interface, code LIMIT ?5",
    )?;
    let rows = statement.query_map(
        params![step.seconds(), from, to, appid.as_ref().map(AppId::as_str), limit],
        |row| {
            let appid: String = row.get(1)?;
            let count = Count::stored(
                &appid,
                row.get(2)?,
                row.get(3)?,
                row.get::<_, i64>(4)?.unsigned_abs(),
            );
            Ok(Stat { start: row.get(0)?, count })
        },
    )?;
    rows.collect()
}

/// Counts the users of each app. It goes through all sessions: a visit writes no index.
pub fn census(connection: &Connection, since: i64) -> rusqlite::Result<Vec<Census>> {
    let mut statement = connection.prepare_cached(
        "SELECT all_users.appid, all_users.count, COALESCE(active.count, 0)
         FROM (SELECT appid, COUNT(*) AS count FROM mina_user GROUP BY appid) all_users
         LEFT JOIN (
             SELECT u.appid, COUNT(*) AS count FROM mina_user u JOIN (
                 SELECT DISTINCT s.user FROM mina_session s
                 JOIN mina_visit v ON v.login = s.login WHERE v.time >= ?
             ) seen ON seen.user = u.id GROUP BY u.appid
         ) active USING (appid) ORDER BY 1",
    )?;
    let rows = statement.query_map([since], |row| {
        Ok(Census {
            appid: row.get::<_, String>(0)?.into(),
            users: row.get::<_, i64>(1)?.unsigned_abs(),
            active: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    rows.collect()
}

/// Raises the rows of a day to what was counted.
pub fn keep_census(connection: &Connection, day: i64, census: &[Census]) -> rusqlite::Result<()> {
    let counts: Vec<_> = census.iter().flat_map(Census::counts).collect();
    write(connection, (Step::Day, day), &counts, "MAX(count, excluded.count)")
}

/// Deletes the rows of a step that start before an instant.
pub fn prune(connection: &Connection, step: Step, before: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM mina_stat WHERE seconds = ? AND start < ?")?
        .execute(params![step.seconds(), before])?;
    if step == Step::Minute {
        connection
            .prepare_cached("DELETE FROM mina_stat_written WHERE start < ?")?
            .execute([before])?;
    }
    Ok(())
}
