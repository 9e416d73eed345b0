//! What requests come to, written into the store once a minute.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
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
}

impl Recorder {
    /// Records these tallies under the name of this process, which no other may have.
    #[must_use]
    pub fn new(tallies: Tallies, node: String) -> Self {
        let (taken, waiting) = (HashMap::new(), VecDeque::new());
        Self(Mutex::new(State { tallies, node, taken, takes: 0, waiting }))
    }

    /// Writes every minute that ends, for as long as it is polled.
    pub async fn keep_recording(&self, store: &dyn Store) {
        loop {
            tokio::time::sleep(until_next_minute(clock::wall())).await;
            let minute = Step::Minute.start(clock::now()) - Step::Minute.seconds();
            let mut state = self.0.lock().await;
            state.take(minute);
            // What is not written waits on, and the log says anyway that the store is away.
            let _ = state.write(store).await;
            if minute / Step::Minute.seconds() % PRUNE_EVERY == 0 {
                let _ = prune(store, minute).await;
            }
        }
    }

    /// Writes what is left, at the end of the process.
    pub async fn finish(&self, store: &dyn Store) {
        let mut state = self.0.lock().await;
        state.take(Step::Minute.start(clock::now()));
        if let Err(error) = state.write(store).await {
            let cause = with_causes(&error);
            warn!(cause, "the numbers of the last requests could not be written");
        }
    }
}

impl State {
    /// Takes what was counted since the last time, as what came in this minute.
    fn take(&mut self, minute: i64) {
        let sum = self.tallies.sum().requests;
        let since = |(kind, now): (&Kind, &u64)| {
            let count = now - self.taken.get(kind).copied().unwrap_or_default();
            let Kind { interface, code, app } = kind;
            (count > 0).then(|| Count::stored(app, (*interface).to_owned(), *code, count))
        };
        let counts: Vec<_> = sum.iter().filter_map(since).collect();
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

    /// Writes what waits. What the store may have written before it failed is not counted again.
    async fn write(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        while let Some(oldest) = self.waiting.front() {
            store.add_stats(oldest.clone()).await?;
            self.waiting.pop_front();
        }
        Ok(())
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
        let Recorder(state) = Recorder::new(tallies.clone(), "node".into());
        let (mut state, store) = (state.into_inner(), Memory::default());
        for came in [2, 0, 1] {
            (0..came).for_each(|_| count(&tallies, "wx1"));
            state.take(MINUTE + 60 * came);
        }
        count(&tallies, "wx2");
        // The clock was set back.
        state.take(MINUTE);
        state.write(&store).await.expect("it is written");
        state.write(&store).await.expect("nothing is left");
        let rows = [(0, "wx2", 1), (60, "wx1", 1), (120, "wx1", 2)];
        let rows = rows.map(|(after, app, count)| (MINUTE + after, app.to_owned(), count));
        assert_eq!(stored(&store).await, rows);
        // The same minute once more is added, and not taken for what is there.
        count(&tallies, "wx2");
        state.take(MINUTE);
        state.write(&store).await.expect("it is written");
        assert_eq!(stored(&store).await[0].2, 2);
    }

    #[test]
    fn a_store_that_is_away_costs_no_more_than_a_day() {
        let tallies = Tallies::default();
        let Recorder(state) = Recorder::new(tallies.clone(), "node".into());
        let mut state = state.into_inner();
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
