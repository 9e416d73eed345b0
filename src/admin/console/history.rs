//! What requests came to, up to now: the rows of the store, and what it does not have yet.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::admin::rates::{Rate, Summary};
use crate::clock;
use crate::operations::Operations;
use crate::store::cached::Trust;
use crate::store::stats::{Census, Range, Stat, Step};
use crate::store::{Store as _, StoreError};
use crate::telemetry::alarm::LOGINS;
use crate::telemetry::stats::{Recorder, Unwritten};

const DAY: i64 = 86_400;

/// How far back rows of a minute go, and those of an hour and of a day, in seconds. A day may be
/// an hour longer.
const MINUTES: i64 = DAY + 3600;
const DAYS: i64 = 32 * DAY;

/// More rows than pages are made for; those that come later are left out.
const MOST_ROWS: u32 = 200_000;

/// How old rows may be, in seconds: other nodes write theirs once a minute.
const FRESH: i64 = 60;

/// Users are counted again after so many times what counting them took: never more than a
/// hundredth of the time goes into that.
const PAUSE_OF_CENSUS: u32 = 100;

/// A page waits for users to be counted where that took no longer than this.
const QUICK: Duration = Duration::from_millis(50);

/// How often users are counted though nobody looks.
const COUNT_EVERY: Duration = Duration::from_mins(10);

/// How often the rows are read again where the recorder wrote meanwhile.
const ATTEMPTS: u32 = 5;

/// What requests came to, kept for a minute: pages are looked at more often.
pub struct History {
    operations: Arc<Operations>,
    recorder: Arc<Recorder>,
    rows: Mutex<Option<Rows>>,
    counted: std::sync::Mutex<Option<Counted>>,
    /// Held by whoever is counting.
    counting: Mutex<()>,
}

/// The rows as they were read.
#[derive(Debug, Clone, Default)]
struct Rows {
    read_at: i64,
    /// How much the recorder had written by then.
    written: u64,
    minutes: Arc<[Stat]>,
    hours: Arc<[Stat]>,
    days: Arc<[Stat]>,
}

struct Counted {
    census: Vec<Census>,
    day: i64,
    took: Duration,
    /// In whole seconds.
    again_from: i64,
}

/// Up to now.
pub struct Numbers {
    rows: Rows,
    /// What the rows do not have yet, by the minute.
    unwritten: Vec<Stat>,
    /// The users of now, where they could be counted.
    pub census: Option<Vec<Census>>,
    /// Whether the store could not be read.
    pub is_old: bool,
}

/// What users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Logins,
    Checks,
}

impl Doing {
    fn is_by(self, interface: &str) -> bool {
        match self {
            Self::Logins => LOGINS.contains(&interface),
            Self::Checks => matches!(interface, "auth" | "session" | "forward-auth"),
        }
    }
}

impl History {
    #[must_use]
    pub fn new(operations: Arc<Operations>, recorder: Arc<Recorder>) -> Self {
        Self {
            operations,
            recorder,
            rows: Mutex::default(),
            counted: std::sync::Mutex::default(),
            counting: Mutex::default(),
        }
    }

    /// Counts the users now and then, so that each day has its number though nobody looks.
    pub async fn keep_counting(&self) {
        let mut ticks = tokio::time::interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = clock::now();
            self.count(now, day_starts(&TimeZone::system(), now, 1)[0]).await;
        }
    }

    /// What there is to show at `now`, in the day that began at `today`.
    pub async fn numbers(&self, now: i64, today: i64) -> Numbers {
        let (rows, unwritten) = self.rows(now).await;
        let census = self.census(now, today).await;
        let is_old = rows.as_ref().is_none_or(|rows| now - rows.read_at > 2 * FRESH);
        let minutes = unwritten.minutes.into_iter();
        let unwritten = minutes
            .flat_map(|(start, counts)| counts.into_iter().map(move |count| Stat { start, count }));
        let rows = rows.unwrap_or_default();
        Numbers { rows, unwritten: unwritten.collect(), census, is_old }
    }

    /// Tells whether the store is worth asking: pages do not wait for one that is away.
    fn is_store_there(&self, now: i64) -> bool {
        self.operations.store().trust(now) == Trust::Full
    }

    /// The rows, and what was not among them when they were read.
    async fn rows(&self, now: i64) -> (Option<Rows>, Unwritten) {
        let mut kept = self.rows.lock().await;
        let attempts = if self.is_store_there(now) { ATTEMPTS } else { 0 };
        for _ in 0..attempts {
            let before = self.recorder.unwritten(now);
            let is_fresh = |rows: &Rows| {
                Some(rows.written) == before.written && (0..FRESH).contains(&(now - rows.read_at))
            };
            if kept.as_ref().is_some_and(is_fresh) {
                return (kept.clone(), before);
            }
            let Some(written) = before.written else {
                // It takes milliseconds, or the store is away.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            match self.read(now, written).await {
                Ok(rows) => *kept = Some(rows),
                Err(_) => break,
            }
        }
        (kept.clone(), self.recorder.unwritten(now))
    }

    async fn read(&self, now: i64, written: u64) -> Result<Rows, StoreError> {
        let read = async |step: Step, span: i64| {
            let range = Range { step, from: step.start(now - span), to: i64::MAX, appid: None };
            self.operations.store().stats(range, MOST_ROWS).await.map(Arc::from)
        };
        Ok(Rows {
            read_at: now,
            written,
            minutes: read(Step::Minute, MINUTES).await?,
            hours: read(Step::Hour, DAYS).await?,
            days: read(Step::Day, DAYS).await?,
        })
    }

    /// The users of today as they were last counted: just now, where that is quick. A page waits
    /// for no count of millions.
    pub async fn census(&self, now: i64, today: i64) -> Option<Vec<Census>> {
        let is_quick = self.counted().as_ref().is_some_and(|counted| counted.took <= QUICK);
        if is_quick {
            self.count(now, today).await;
        }
        let counted = self.counted();
        let of_today = counted.as_ref().filter(|counted| counted.day == today);
        of_today.map(|counted| counted.census.clone())
    }

    /// Counts the users, unless that was done just now; keeps the number of the day.
    async fn count(&self, now: i64, today: i64) {
        let Ok(_counting) = self.counting.try_lock() else { return };
        let is_good = |counted: &Counted| counted.day == today && now < counted.again_from;
        if self.counted().as_ref().is_some_and(is_good) || !self.is_store_there(now) {
            return;
        }
        let began = Instant::now();
        let store = self.operations.store();
        let Ok(census) = store.census(today).await else { return };
        let took = began.elapsed();
        let pause = took * PAUSE_OF_CENSUS;
        // It is counted again anyway, and then kept.
        let _ = store.keep_census(today, census.clone()).await;
        let again_from = now + i64::try_from(pause.as_secs()).unwrap_or(i64::MAX) + 1;
        *self.counted() = Some(Counted { census, day: today, took, again_from });
    }

    fn counted(&self) -> MutexGuard<'_, Option<Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    /// What was counted from an instant on, for one app or all.
    fn stats<'a>(
        &'a self,
        step: Step,
        from: i64,
        app: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Stat> {
        let rows = if step == Step::Minute { &self.rows.minutes } else { &self.rows.hours };
        let is_meant = move |stat: &&Stat| {
            stat.start >= from && app.is_none_or(|app| stat.count.appid_text() == app)
        };
        rows.iter().chain(&self.unwritten).filter(is_meant)
    }

    /// How logins or checks went from an instant on.
    #[must_use]
    pub fn rate(&self, doing: Doing, step: Step, from: i64, app: Option<&str>) -> Rate {
        let mut rate = Rate::default();
        for Stat { count, .. } in self.stats(step, step.start(from), app) {
            if doing.is_by(&count.interface) {
                rate.add(count.code, count.count);
            }
        }
        rate
    }

    /// How logins or checks went in each of these spans, given their starts; the last is open.
    #[must_use]
    pub fn rates(&self, doing: Doing, step: Step, starts: &[i64], app: Option<&str>) -> Vec<Rate> {
        let mut rates = vec![Rate::default(); starts.len()];
        let from = starts.first().copied().unwrap_or_default();
        for Stat { start, count } in self.stats(step, from, app) {
            let at = starts.partition_point(|from| from <= start);
            if at > 0 && doing.is_by(&count.interface) {
                rates[at - 1].add(count.code, count.count);
            }
        }
        rates
    }

    /// What requests came to from an instant on.
    #[must_use]
    pub fn summary(&self, step: Step, from: i64, app: Option<&str>) -> Summary {
        Summary::of(self.stats(step, step.start(from), app).map(|stat| &stat.count))
    }

    /// The users, or the active ones, of the days with these starts; `None` where nobody counted.
    #[must_use]
    pub fn users(&self, which: &str, days: &[i64], app: Option<&str>) -> Vec<Option<u64>> {
        let of = |day: &i64| {
            let is_meant = |stat: &&Stat| {
                stat.start == *day
                    && stat.count.interface == which
                    && app.is_none_or(|app| stat.count.appid_text() == app)
            };
            let mut rows = self.rows.days.iter().filter(is_meant).peekable();
            rows.peek()?;
            Some(rows.map(|stat| stat.count.count).sum())
        };
        days.iter().map(of).collect()
    }
}

/// When the day of an instant began, and those before it: as many, oldest first.
#[must_use]
pub fn day_starts(zone: &TimeZone, now: i64, count: u16) -> Vec<i64> {
    let now = Timestamp::from_second(now).unwrap_or_default().to_zoned_datetime(zone.clone());
    let start = |before: u16| {
        let date = now.date().saturating_sub(jiff::Span::new().days(before));
        let start = date.to_zoned_datetime(zone.clone()).map(|start| start.timestamp());
        start.unwrap_or_default().as_second()
    };
    (0..count).rev().map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stats::Count;

    const HOUR: i64 = 1_795_356_000;

    fn stat(start: i64, interface: &str, code: u32, count: u64) -> Stat {
        Stat { start, count: Count::stored("wx1", interface.to_owned(), code, count) }
    }

    fn numbers() -> Numbers {
        let minutes = [stat(HOUR, "login", 0, 3), stat(HOUR + 60, "auth", 1001, 1)];
        let hours = [stat(HOUR, "login", 0, 3), stat(HOUR, "auth", 1001, 1)];
        let days = [stat(HOUR, Census::USERS, 0, 7), stat(HOUR, Census::ACTIVE, 0, 2)];
        let rows = Rows {
            minutes: minutes.into(),
            hours: hours.into(),
            days: days.into(),
            ..Rows::default()
        };
        let unwritten =
            vec![stat(HOUR + 120, "id_skey", 40029, 1), stat(HOUR + 120, "login", 0, 1)];
        Numbers { rows, unwritten, census: None, is_old: false }
    }

    #[test]
    fn what_is_not_written_yet_counts() {
        let numbers = numbers();
        let logins = Rate { succeeded: 4, callers: 1, failed: 0 };
        for step in Step::OF_REQUESTS {
            assert_eq!(numbers.rate(Doing::Logins, step, HOUR, None), logins);
            assert_eq!(numbers.rate(Doing::Logins, step, HOUR, Some("wx2")), Rate::default());
        }
        let starts = [HOUR, HOUR + 120];
        let rates = numbers.rates(Doing::Logins, Step::Minute, &starts, Some("wx1"));
        assert_eq!(rates.iter().map(|rate| rate.succeeded).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn a_day_without_a_census_has_no_users() {
        let days = [HOUR - 86_400, HOUR];
        assert_eq!(numbers().users(Census::USERS, &days, None), [None, Some(7)]);
    }

    #[test]
    fn a_day_begins_where_the_server_is() {
        let zone = TimeZone::get("Asia/Shanghai").expect("the zone is known");
        // 2026-11-26T18:00:00Z is 02:00 of the 27th there.
        let starts = day_starts(&zone, 1_795_716_000, 2);
        assert_eq!(starts, [1_795_622_400, 1_795_708_800]);
    }
}
