//! The change feed: what the other nodes must forget, read by each of them.
//!
//! Ids are handed out in order and committed out of order, so an id that is missing may still
//! come. The reader keeps its place before the first missing id, reads again what lies behind,
//! and remembers what it has seen there; it gives a missing id up once a later one is older than
//! any transaction can be.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::Row as _;
use sqlx::mysql::MySqlConnection;

use super::Context;
use super::statement::{CHUNK, repeated};
use crate::session::SessionId;
use crate::store::Change;

/// Seconds after which a missing id was never committed. A transaction is given up long before.
const OVERLAP: i64 = 30;

/// Seconds that the feed is kept. A reader that was away longer forgets everything.
const KEPT: i64 = 3_600;

/// More events than this at once, and forgetting everything is less work.
const AT_ONCE: usize = 20_000;

/// Tells the other nodes to forget these sessions.
pub async fn announce(
    connection: &mut MySqlConnection,
    ids: impl Iterator<Item = &SessionId>,
) -> sqlx::Result<()> {
    let ids: Vec<&SessionId> = ids.collect();
    for chunk in ids.chunks(CHUNK) {
        if let [only] = chunk {
            sqlx::query("INSERT INTO mina_event (time, session) VALUES (UNIX_TIMESTAMP(), ?)")
                .bind(only.as_str())
                .execute(&mut *connection)
                .await?;
            continue;
        }
        let before = "INSERT INTO mina_event (time, session) VALUES ";
        let mut query = repeated(before, "(UNIX_TIMESTAMP(), ?)", ", ", chunk.len(), "");
        for id in chunk {
            query = query.bind(id.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Tells the other nodes to read the apps anew.
pub async fn announce_apps(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO mina_event (time, session) VALUES (UNIX_TIMESTAMP(), NULL)")
        .execute(connection)
        .await
        .map(drop)
}

/// An event as it was read.
#[derive(Debug, Clone)]
struct Event {
    id: u64,
    time: i64,
    change: Change,
}

/// What a reading of the feed found.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The id that was read from; older events are of no interest.
    after: u64,
    now: i64,
    /// The first and the last id there are.
    ends: Option<(u64, u64)>,
    events: Vec<Event>,
}

/// How far the feed was read.
#[derive(Debug, Clone)]
pub struct Place {
    /// Everything up to this id was read or will never be.
    read: u64,
    /// What was read behind it, and when it was written.
    ahead: BTreeMap<u64, i64>,
}

impl Place {
    /// The place of a reader that begins, and to whom anything may have changed.
    pub fn begin(reading: Reading) -> Self {
        let ahead = reading.events.into_iter().map(|event| (event.id, event.time)).collect();
        let mut place = Self { read: reading.after, ahead };
        place.settle(reading.now);
        place
    }

    /// From which id on to read.
    pub fn next(&self) -> u64 {
        self.read
    }

    /// What a reading from this place adds to it; `None` when something may have been missed.
    pub fn advance(&mut self, reading: Reading) -> Option<Vec<Change>> {
        let (first, last) = reading.ends.unwrap_or((0, 0));
        let known = self.ahead.last_key_value().map_or(self.read, |(id, _)| *id);
        let pruned = first > self.read + 1;
        let restarted = last < known;
        if pruned || restarted || reading.events.len() > AT_ONCE {
            return None;
        }
        let new = reading
            .events
            .into_iter()
            .filter(|event| self.ahead.insert(event.id, event.time).is_none());
        let changes = new.map(|event| event.change).collect();
        self.settle(reading.now);
        Some(changes)
    }

    /// Moves on over what is read without a gap, and over gaps that are too old to be filled.
    fn settle(&mut self, now: i64) {
        while let Some(entry) = self.ahead.first_entry() {
            let old = *entry.get() < now - OVERLAP;
            if *entry.key() != self.read + 1 && !old {
                break;
            }
            self.read = *entry.key();
            entry.remove();
        }
    }
}

/// Reads the feed behind a place; without one, what is as young as a transaction may be.
pub fn read<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (place,): &'a (Option<u64>,),
) -> BoxFuture<'a, sqlx::Result<Reading>> {
    Box::pin(async move {
        let ends = sqlx::query(
            "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED), MIN(id), MAX(id) FROM mina_event",
        )
        .fetch_one(&mut *connection)
        .await?;
        let now: i64 = ends.try_get(0)?;
        let (first, last): (Option<u64>, Option<u64>) = (ends.try_get(1)?, ends.try_get(2)?);
        let ends = first.zip(last);
        let after = if let Some(place) = place {
            *place
        } else {
            let old: Option<u64> =
                sqlx::query_scalar("SELECT MAX(id) FROM mina_event WHERE time < ?")
                    .bind(now - OVERLAP)
                    .fetch_one(&mut *connection)
                    .await?;
            old.unwrap_or_else(|| first.map_or(0, |first| first.saturating_sub(1)))
        };
        if last.is_none_or(|last| last <= after) {
            return Ok(Reading { after, now, ends, events: Vec::new() });
        }
        let rows = sqlx::query(
            "SELECT id, time, session FROM mina_event WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(i64::try_from(AT_ONCE + 1).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
        let events = rows.iter().map(|row| {
            let session: Option<String> = row.try_get(2)?;
            let change = session.map_or(Change::Apps, |id| Change::Session(id.into()));
            Ok(Event { id: row.try_get(0)?, time: row.try_get(1)?, change })
        });
        let events = events.collect::<sqlx::Result<_>>()?;
        Ok(Reading { after, now, ends, events })
    })
}

/// Deletes what is too old, but never the last event: its id says where the feed is.
pub fn prune<'a>(
    connection: &'a mut MySqlConnection,
    _: &'a Context,
    (): &'a (),
) -> BoxFuture<'a, sqlx::Result<()>> {
    Box::pin(async move {
        let last: Option<u64> = sqlx::query_scalar("SELECT MAX(id) FROM mina_event")
            .fetch_one(&mut *connection)
            .await?;
        let Some(last) = last else { return Ok(()) };
        let young: Option<u64> = sqlx::query_scalar(
            "SELECT id FROM mina_event WHERE time >= UNIX_TIMESTAMP() - ? ORDER BY id LIMIT 1",
        )
        .bind(KEPT)
        .fetch_optional(&mut *connection)
        .await?;
        let keep = young.unwrap_or(last).min(last);
        loop {
            let deleted = sqlx::query("DELETE FROM mina_event WHERE id < ? ORDER BY id LIMIT 5000")
                .bind(keep)
                .execute(&mut *connection)
                .await?;
            if deleted.rows_affected() < 5000 {
                return Ok(());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads from a place and returns the ids of what is new; `None`: anything may have changed.
    fn step(place: &mut Option<Place>, now: i64, all: &[(u64, i64)]) -> Option<Vec<String>> {
        let event = |&(id, time): &(u64, i64)| {
            let change = Change::Session(id.to_string().into());
            Event { id, time, change }
        };
        let reading = |after: u64| Reading {
            after,
            now,
            ends: all.first().zip(all.last()).map(|(first, last)| (first.0, last.0)),
            events: all.iter().filter(|(id, _)| *id > after).map(event).collect(),
        };
        if let Some(known) = place
            && let Some(changes) = known.advance(reading(known.next()))
        {
            let ids = changes.into_iter().map(|change| match change {
                Change::Session(id) => id.as_str().to_owned(),
                Change::Apps => "apps".to_owned(),
            });
            return Some(ids.collect());
        }
        let old = all.iter().rfind(|(_, time)| *time < now - OVERLAP).map(|(id, _)| *id);
        let first = all.first().map_or(0, |(id, _)| id - 1);
        *place = Some(Place::begin(reading(old.unwrap_or(first))));
        None
    }

    fn next(place: Option<&Place>) -> u64 {
        place.map_or(0, Place::next)
    }

    #[test]
    fn an_event_that_is_committed_late_is_not_missed() {
        let mut place = None;
        assert_eq!(step(&mut place, 100, &[(1, 10)]), None);
        assert_eq!(step(&mut place, 100, &[(1, 10), (3, 100)]), Some(vec!["3".into()]));
        assert_eq!(step(&mut place, 110, &[(1, 10), (2, 100), (3, 100)]), Some(vec!["2".into()]));
        assert_eq!(step(&mut place, 110, &[(1, 10), (2, 100), (3, 100)]), Some(vec![]));
        assert_eq!(next(place.as_ref()), 3);
    }

    #[test]
    fn an_event_in_flight_at_the_start_is_not_missed() {
        let mut place = None;
        assert_eq!(step(&mut place, 100, &[(5, 10), (7, 100)]), None);
        assert_eq!(step(&mut place, 101, &[(5, 10), (6, 99), (7, 100)]), Some(vec!["6".into()]));
    }

    #[test]
    fn an_id_that_never_comes_is_given_up() {
        let mut place = None;
        step(&mut place, 100, &[(1, 100)]);
        assert_eq!(step(&mut place, 101, &[(1, 100), (3, 101)]), Some(vec!["3".into()]));
        assert_eq!(next(place.as_ref()), 1);
        assert_eq!(step(&mut place, 132, &[(1, 100), (3, 101)]), Some(vec![]));
        assert_eq!(next(place.as_ref()), 3);
    }

    #[test]
    fn a_gap_means_anything() {
        for all in [&[(1, 100)][..], &[], &[(12, 100), (13, 100)]] {
            let mut place = None;
            step(&mut place, 100, &[(1, 50), (10, 60)]);
            assert_eq!(step(&mut place, 100, all), None, "{all:?}");
            assert_eq!(step(&mut place, 100, all), Some(vec![]), "{all:?}");
        }
    }

    #[test]
    fn a_feed_that_begins_is_followed() {
        let mut place = None;
        assert_eq!(step(&mut place, 100, &[]), None);
        assert_eq!(step(&mut place, 100, &[(1, 100)]), Some(vec!["1".into()]));
    }
}
