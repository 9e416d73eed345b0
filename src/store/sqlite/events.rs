//! The change feed: what the other processes must forget.

use rusqlite::{Connection, OptionalExtension as _};

use crate::session::SessionId;
use crate::store::{Change, Changes};

/// How long the change feed is kept. A reader that was away longer forgets everything.
const FEED_SECONDS: i64 = 3_600;

/// How far the change feed was read.
#[derive(Debug, Default)]
pub struct Feed {
    data_version: i64,
    last_event: i64,
}

/// Tells the other processes to forget a session, or the apps.
pub fn announce(connection: &Connection, session: Option<&SessionId>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO mina_event (session) VALUES (?)")?
        .execute([session.map(SessionId::as_str)])
        .map(drop)
}

/// What stands in the change feed after `feed`, and where it ends now.
///
/// Only other processes' commits change `data_version` on the connection that writes. SQLite
/// hands out event ids in the order of the commits and without gaps, so a missing one was pruned.
pub fn read(connection: &Connection, feed: &Feed) -> rusqlite::Result<(Changes, Feed)> {
    let data_version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
    let last_event = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'mina_event'", [], |row| {
            row.get(0)
        })
        .optional()?
        .unwrap_or(0);
    let now = Feed { data_version, last_event };
    if now.data_version == feed.data_version {
        return Ok((Changes::These(Vec::new()), now));
    }
    let changes: Vec<Change> = connection
        .prepare_cached("SELECT session FROM mina_event WHERE id > ?")?
        .query_map([feed.last_event], |row| {
            let session: Option<String> = row.get(0)?;
            Ok(session.map_or(Change::Apps, |id| Change::Session(id.into())))
        })?
        .collect::<Result<_, _>>()?;
    let complete = i64::try_from(changes.len()) == Ok(last_event - feed.last_event);
    Ok((if complete { Changes::These(changes) } else { Changes::Anything }, now))
}

/// Deletes what is too old.
pub fn prune(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM mina_event WHERE time < unixepoch() - ?", [FEED_SECONDS])
        .map(drop)
}
