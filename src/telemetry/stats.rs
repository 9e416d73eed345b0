//! What requests come to, written into the store once a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::tally::{Kind, Tallies};
use crate::causes::with_causes;
use crate::clock;
use crate::store::stats::{Count, Counted, Step, prune};
use crate::store::{Store, StoreError};

/// How many minutes may wait for a store that is away: a day. The oldest go.
const WAITING: usize = 24 * 60;

/// How often rows are looked for that were kept for long enough, in minutes.
const PRUNE_EVERY: i64 = 60;

/// Writes what the threads have counted into the store. A crash loses what was not written, a
/// minute while the store is there; nothing is counted twice.
#[derive(Debug)]
pub struct Recorder(Mutex<State>);

#[derive(Debug)]
struct State {
    tallies: Tallies,
    /// Names this process to the store.
    node: String,
    /// What was taken of the tallies, since the start, and how often something was.
    taken: HashMap<Kind, u64>,
    takes: u64,
    /// Oldest first.
    waiting: VecDeque<Counted>,
    /// How many minutes were written, and whether one is being.
    written: u64,
    is_writing: bool,
}

/// What the store does not have yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    /// The minutes that wait, and the one that runs.
    pub minutes: Vec<(i64, Vec<Count>)>,
    /// How many were written before them; `None` while one is being written and may be there.
    pub written: Option<u64>,
}

impl Recorder {
    /// Records these tallies under the name of this process, which no other may have.
    #[must_use]
    pub fn new(tallies: Tallies, node: String) -> Self {
        Self(Mutex::new(State {
            tallies,
            node,
            taken: HashMap::new(),
            takes: 0,
            waiting: VecDeque::new(),
            written: 0,
            is_writing: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store does not have yet; `now` is in the minute that runs.
    pub fn unwritten(&self, now: i64) -> Unwritten {
        let state = self.state();
        let waiting = state.waiting.iter().map(|counted| (counted.minute, counted.counts.clone()));
        let running = (Step::Minute.start(now), state.counts_since_taken().1);
        Unwritten {
            minutes: waiting.chain([running]).collect(),
            written: (!state.is_writing).then_some(state.written),
        }
    }

    /// Writes every minute that ends, for as long as it is polled.
    pub async fn keep_recording(&self, store: &dyn Store) {
        loop {
            tokio::time::sleep(until_next_minute(clock::wall())).await;
            let minute = Step::Minute.start(clock::now()) - Step::Minute.seconds();
            self.state().take(minute);
            // What is not written waits on, and the log says anyway that the store is away.
            let _ = self.write(store).await;
            if minute / Step::Minute.seconds() % PRUNE_EVERY == 0 {
                let _ = prune(store, minute).await;
            }
        }
    }

    /// Writes what is left, at the end of the process.
    pub async fn finish(&self, store: &dyn Store) {
        self.state().take(Step::Minute.start(clock::now()));
        if let Err(error) = self.write(store).await {
            let cause = with_causes(&error);
            warn!(cause, "the numbers of the last requests could not be written");
        }
    }

    /// Writes what waits. What the store may have written before it failed is not counted again.
    async fn write(&self, store: &dyn Store) -> Result<(), StoreError> {
        while let Some(oldest) = self.next_to_write() {
            let written = store.add_stats(oldest).await;
            let mut state = self.state();
            state.is_writing = false;
            written?;
            state.waiting.pop_front();
            state.written += 1;
        }
        Ok(())
    }

    fn next_to_write(&self) -> Option<Counted> {
        let mut state = self.state();
        let oldest = state.waiting.front().cloned()?;
        state.is_writing = true;
        Some(oldest)
    }
}

impl State {
    /// Takes what was counted since the last time, as what came in this minute.
    fn take(&mut self, minute: i64) {
        let (sum, counts) = self.counts_since_taken();
        self.taken = sum;
        if counts.is_empty() {
            return;
        }
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        // A name for each: when the clock is set back the same minute comes again, and the store
        // must not take the second for the first.
        self.takes += 1;
        let node = format!("{}.{}", self.node, self.takes);
        self.waiting.push_back(Counted { node, minute, counts });
    }

    /// What was counted since the start, and since something was taken.
    fn counts_since_taken(&self) -> (HashMap<Kind, u64>, Vec<Count>) {
        let sum = self.tallies.sum().requests;
        let since = |(kind, now): (&Kind, &u64)| {
            let count = now - self.taken.get(kind).copied().unwrap_or_default();
            let Kind { interface, code, app } = kind;
            (count > 0).then(|| Count::stored(app, (*interface).to_owned(), *code, count))
        };
        let counts = sum.iter().filter_map(since).collect();
        (sum, counts)
    }
}

/// How long the minute of an instant still takes.
fn until_next_minute(at: SystemTime) -> Duration {
    let minute = Duration::from_mins(1).as_nanos();
    let into = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() % minute;
    Duration::from_nanos(u64::try_from(minute - into).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use crate::store::stats::{Range, Stat};
    use crate::telemetry::requests::Served;

    const MINUTE: i64 = 1_795_356_060;

    fn count(tallies: &Tallies, app: &'static str) {
        let (at, took) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
        let interface = "qcloud.cam.auth";
        tallies.tally().count(&Served { at, took, interface, app: Some(app), failure: None });
    }

    async fn stored(store: &Memory) -> Vec<(i64, String, u64)> {
        let range = Range { step: Step::Minute, from: 0, to: i64::MAX, appid: None };
        let stats = store.stats(range, 100).await.expect("stats can be read");
        let row = |stat: Stat| (stat.start, stat.count.appid_text().to_owned(), stat.count.count);
        stats.into_iter().map(row).collect()
    }

    #[tokio::test]
    async fn each_minute_is_what_came_in_it() {
        let tallies = Tallies::default();
        let (recorder, store) = (Recorder::new(tallies.clone(), "node".into()), Memory::default());
        for came in [2, 0, 1] {
            (0..came).for_each(|_| count(&tallies, "wx1"));
            recorder.state().take(MINUTE + 60 * came);
        }
        count(&tallies, "wx2");
        // The clock was set back.
        recorder.state().take(MINUTE);
        recorder.write(&store).await.expect("it is written");
        recorder.write(&store).await.expect("nothing is left");
        let rows = [(0, "wx2", 1), (60, "wx1", 1), (120, "wx1", 2)];
        let rows = rows.map(|(after, app, count)| (MINUTE + after, app.to_owned(), count));
        assert_eq!(stored(&store).await, rows);
        // The same minute once more is added, and not taken for what is there.
        count(&tallies, "wx2");
        recorder.state().take(MINUTE);
        recorder.write(&store).await.expect("it is written");
        assert_eq!(stored(&store).await[0].2, 2);
    }

    #[tokio::test]
    async fn what_the_store_does_not_have_yet_is_told() {
        let tallies = Tallies::default();
        let (recorder, store) = (Recorder::new(tallies.clone(), "node".into()), Memory::default());
        let of = |app: &str, count| vec![Count::stored(app, "auth".to_owned(), 0, count)];
        count(&tallies, "wx1");
        recorder.state().take(MINUTE);
        count(&tallies, "wx1");
        let minutes = vec![(MINUTE, of("wx1", 1)), (MINUTE + 60, of("wx1", 1))];
        let unwritten = Unwritten { minutes, written: Some(0) };
        assert_eq!(recorder.unwritten(MINUTE + 119), unwritten);
        recorder.write(&store).await.expect("it is written");
        let minutes = vec![(MINUTE + 60, of("wx1", 1))];
        let unwritten = Unwritten { minutes, written: Some(1) };
        assert_eq!(recorder.unwritten(MINUTE + 60), unwritten);
    }

    #[test]
    fn a_store_that_is_away_costs_no_more_than_a_day() {
        let tallies = Tallies::default();
        let recorder = Recorder::new(tallies.clone(), "node".into());
        let mut state = recorder.state();
        for minute in 0..=1440 {
            count(&tallies, "wx1");
            state.take(MINUTE + 60 * minute);
        }
        assert_eq!((state.waiting.len(), state.waiting[0].minute), (1440, MINUTE + 60));
    }

    #[test]
    fn a_minute_ends_when_it_ends() {
        let at = |millis| {
            UNIX_EPOCH + Duration::from_secs(MINUTE.unsigned_abs()) + Duration::from_millis(millis)
        };
        assert_eq!(until_next_minute(at(0)), Duration::from_mins(1));
        assert_eq!(until_next_minute(at(59_250)), Duration::from_millis(750));
    }
}
