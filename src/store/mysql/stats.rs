//! What requests came to, in rows.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::Context;
use super::schema::on_sessions;
use super::statement::{CHUNK, repeated};
use crate::session::AppId;
use crate::store::stats::{Census, Count, Counted, Range, Stat, Step};

/// Adds what was counted to the rows of its minute and its hour, unless that was done before.
pub fn add<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    counted: &'a Counted,
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        let Counted { node, minute, counts } = counted;
        let written =
            sqlx::query("INSERT IGNORE INTO mina_stat_written (start, node) VALUES (?, ?)")
                .bind(minute)
                .bind(node)
                .execute(&mut *connection)
                .await?;
        if written.rows_affected() == 0 {
            return Ok(());
        }
        // In one order, so that nodes that add to the same rows do not wait for one another in a
        // circle.
        let mut counts = counts.clone();
        counts.sort_unstable();
        let added = " ON DUPLICATE KEY UPDATE count = count + VALUES(count)";
        for step in Step::OF_REQUESTS {
            write(connection, (step, step.start(*minute)), &counts, added).await?;
        }
        Ok(())
    })
}

/// Writes counts into the rows of a span; `or` is what becomes of a row that is there.
async fn write(
    connection: &mut MySqlConnection,
    (step, start): (Step, i64),
    counts: &[Count],
    or: &'static str,
) -> sqlx::Result<()> {
    for counts in counts.chunks(CHUNK) {
        let mut statement = repeated(
            "INSERT INTO mina_stat (seconds, start, appid, interface, code, count) VALUES ",
            "(?, ?, ?, ?, ?, ?)",
            ", ",
            counts.len(),
            or,
        );
        for count in counts {
            statement = statement
                .bind(step.seconds())
                .bind(start)
                .bind(count.appid_text().as_bytes())
                .bind(&count.interface)
                .bind(count.code)
                .bind(count.count);
        }
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The rows of a range, in order.
pub fn read<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (range, limit): &'a (Range, u32),
) -> BoxFuture<'a, sqlx::Result<Vec<Stat>>> {
    Box::pin(async move {
        let rows = sqlx::query(
            "SELECT start, appid, interface, code, count FROM mina_stat
             WHERE seconds = ? AND start >= ? AND start < ? AND (? OR appid = ?)
             ORDER BY start, appid, interface, code LIMIT ?",
        )
        .bind(range.step.seconds())
        .bind(range.from)
        .bind(range.to)
        .bind(range.appid.is_none())
        .bind(range.appid.as_ref().map_or("", AppId::as_str).as_bytes())
        .bind(limit)
        .fetch_all(connection)
        .await?;
        rows.iter().map(read_row).collect()
    })
}

fn read_row(row: &MySqlRow) -> sqlx::Result<Stat> {
    let appid: Vec<u8> = row.try_get(1)?;
    let appid = String::from_utf8_lossy(&appid);
    let count = Count::stored(&appid, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    Ok(Stat { start: row.try_get(0)?, count })
}

/// Counts the users of each app. Those whom the PHP server alone knows have no row of their own,
/// and count on days when they were seen.
pub fn census<'a>(
    connection: &'a mut MySqlConnection,
    context: &'a Context,
    since: &'a i64,
) -> BoxFuture<'a, sqlx::Result<Vec<Census>>> {
    Box::pin(async move {
        let mut census = BTreeMap::<AppId, (u64, u64)>::new();
        let users = sqlx::query(
            "SELECT appid, COUNT(*) FROM mina_user WHERE user_info <> '' GROUP BY appid",
        );
        for row in users.fetch_all(&mut *connection).await? {
            let appid: Vec<u8> = row.try_get(0)?;
            let appid = String::from_utf8_lossy(&appid).into_owned();
            census.entry(appid.into()).or_default().0 = row.try_get::<i64, _>(1)?.unsigned_abs();
        }
        let seen = sqlx::query(on_sessions!(
            context.tables,
            "SELECT CAST(appid AS BINARY), COUNT(DISTINCT CAST(open_id AS BINARY)) FROM ",
            " WHERE last_visit_time >= TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? SECOND \
             GROUP BY appid"
        ));
        let seen = seen.bind(context.time_zone.local(*since)).fetch_all(connection).await?;
        for row in &seen {
            let appid: Vec<u8> = row.try_get(0)?;
            let appid = match &*String::from_utf8_lossy(&appid) {
                // Of the app that the PHP server knew.
                "" => match context.legacy_appid() {
                    Some(legacy) => legacy,
                    None => continue,
                },
                appid => appid.into(),
            };
            census.entry(appid).or_default().1 += row.try_get::<i64, _>(1)?.unsigned_abs();
        }
        let census = census.into_iter();
        Ok(census
            .map(|(appid, (users, active))| Census { appid, users: users.max(active), active })
            .collect())
    })
}

/// Raises the rows of a day to what was counted.
pub fn keep_census<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (day, census): &'a (i64, Vec<Census>),
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        let counts: Vec<_> = census.iter().flat_map(Census::counts).collect();
        let raised = " ON DUPLICATE KEY UPDATE count = GREATEST(count, VALUES(count))";
        write(connection, (Step::Day, *day), &counts, raised).await
    })
}

/// Deletes the rows of a step that start before an instant.
pub fn prune<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (step, before): &'a (Step, i64),
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        sqlx::query("DELETE FROM mina_stat WHERE seconds = ? AND start < ?")
            .bind(step.seconds())
            .bind(before)
            .execute(&mut *connection)
            .await?;
        if *step == Step::Minute {
            sqlx::query("DELETE FROM mina_stat_written WHERE start < ?")
                .bind(before)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    })
}
