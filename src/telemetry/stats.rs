//! What requests come to, written into the store once a minute.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Mutex;
use tracing::warn;

use super::tally::{Count as Tallied, Tallies};
use crate::causes::with_causes;
use crate::clock;
use crate::store::stats::{Count, Counted, Step, prune};
use crate::store::{Store, StoreError};

/// How many minutes may wait for a store that is away: a day. The oldest go.
const WAITING: usize = 24 * 60;

/// How often rows are looked for that were kept for long enough, in minutes.
const PRUNE_EVERY: i64 = 60;

/// Writes what the threads have counted into the store. A crash loses what was not written, a
/// minute at the most; nothing is counted twice.
#[derive(Debug)]
pub struct Recorder(Mutex<State>);

#[derive(Debug)]
struct State {
    tallies: Tallies,
    /// Names this process to the store.
    node: String,
    /// What was taken of the tallies, since the start.
    taken: Vec<Tallied>,
    /// The minute that was taken last.
    last: i64,
    /// Oldest first.
    waiting: VecDeque<Counted>,
}

impl Recorder {
    /// Records these tallies under the name of this process, which no other may have.
    #[must_use]
    pub fn new(tallies: Tallies, node: String) -> Self {
        let waiting = VecDeque::new();
        Self(Mutex::new(State { tallies, node, taken: Vec::new(), last: i64::MIN, waiting }))
    }

    /// Writes every minute that ends, for as long as it is polled.
    pub async fn keep_recording(&self, store: &dyn Store) {
        loop {
            let into = clock::seconds_and_rest(clock::wall());
            tokio::time::sleep(until_next_minute(into)).await;
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
            warn!(cause, "the last minute's numbers of requests could not be written");
        }
    }
}

impl State {
    /// Takes what was counted since the last time, as what came in this minute.
    fn take(&mut self, minute: i64) {
        // No minute twice, also when the clock was set back: the store would take it for the same.
        let minute = minute.max(self.last.saturating_add(Step::Minute.seconds()));
        let sum = self.tallies.sum().requests;
        let counts: Vec<_> = sum.iter().filter_map(|now| self.since(now)).collect();
        self.taken = sum;
        if counts.is_empty() {
            return;
        }
        self.last = minute;
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Counted { node: self.node.clone(), minute, counts });
    }

    /// What was counted of this since the last time.
    fn since(&self, now: &Tallied) -> Option<Count> {
        let is_it = |then: &&Tallied| {
            (then.interface, then.code, &then.app) == (now.interface, now.code, &now.app)
        };
        let then = self.taken.iter().find(is_it).map_or(0, |then| then.count);
        let count = now.count - then;
        (count > 0).then(|| Count::stored(&now.app, now.interface.to_owned(), now.code, count))
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

/// How long a minute still takes, so far into it.
fn until_next_minute((seconds, rest): (i64, Duration)) -> Duration {
    let minute = Step::Minute;
    let left = minute.start(seconds) + minute.seconds() - seconds;
    Duration::from_secs(left.unsigned_abs()).saturating_sub(rest)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

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
        let range = Range { step: Step::Minute, from: 0, to: i64::MAX };
        let stats = store.stats(range).await.expect("stats can be read");
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
        let rows = [(120, "wx1", 2), (180, "wx1", 1), (240, "wx2", 1)];
        let rows = rows.map(|(after, app, count)| (MINUTE + after, app.to_owned(), count));
        assert_eq!(stored(&store).await, rows);
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
        let rest = Duration::from_millis(250);
        assert_eq!(until_next_minute((MINUTE, Duration::ZERO)), Duration::from_mins(1));
        assert_eq!(until_next_minute((MINUTE + 59, rest)), Duration::from_millis(750));
    }
}
