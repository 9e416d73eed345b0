//! A circuit breaker: while WeChat cannot be reached, logins fail at once and wait for nothing.
//!
//! Without it every login of an outage waits for its timeout, holding its place among the requests
//! and its caller up. Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// For how many seconds an outcome counts.
const WINDOW: u64 = 10;

/// With fewer outcomes than this in the window, a few lost ones would be half of them.
const ENOUGH: u32 = 20;

/// How long WeChat is left alone before one attempt is made to find out.
const PAUSE: Duration = Duration::from_secs(5);

/// Closed, attempts pass; open, they do not, but for one every few seconds.
#[derive(Debug)]
pub struct Breaker {
    made: Instant,
    /// The outcomes of the window, oldest first; a second without any is left out.
    outcomes: VecDeque<Outcomes>,
    /// When it is open: from when on the next trial may pass.
    next_trial: Option<Instant>,
    /// How often it has opened and closed.
    turns: u32,
}

/// The outcomes of the attempts that ended in one second.
#[derive(Debug)]
struct Outcomes {
    /// Counted from when the breaker was made.
    second: u64,
    answered: u32,
    failed: u32,
}

/// The leave to make an attempt. The outcome of one that was given before the breaker last
/// turned does not count: it tells of another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Leave {
    turns: u32,
}

/// What an outcome did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Opened,
    Closed,
}

impl Breaker {
    /// Tells whether attempts do not pass, but for a few trials.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.next_trial.is_some()
    }

    /// Makes a closed breaker.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { made: now, outcomes: VecDeque::new(), next_trial: None, turns: 0 }
    }

    /// The leave to make an attempt at `now`, unless WeChat is to be left alone.
    pub fn leave(&mut self, now: Instant) -> Option<Leave> {
        if let Some(next_trial) = &mut self.next_trial {
            if now < *next_trial {
                return None;
            }
            // Should this one never come back, another may try.
            *next_trial = now + PAUSE;
        }
        Some(Leave { turns: self.turns })
    }

    /// Takes note of how an attempt ended: whether WeChat answered it.
    pub fn ended(&mut self, leave: Leave, answered: bool, now: Instant) -> Option<Turn> {
        if leave.turns != self.turns {
            return None;
        }
        match (&mut self.next_trial, answered) {
            (Some(_), true) => {
                self.next_trial = None;
                self.outcomes.clear();
                self.turns += 1;
                Some(Turn::Closed)
            }
            (Some(next_trial), false) => {
                *next_trial = now + PAUSE;
                None
            }
            (None, _) => {
                self.count(answered, now);
                // An answer is never a reason to open.
                if answered || !self.must_open() {
                    return None;
                }
                self.next_trial = Some(now + PAUSE);
                self.turns += 1;
                Some(Turn::Opened)
            }
        }
    }

    fn count(&mut self, answered: bool, now: Instant) {
        let second = now.duration_since(self.made).as_secs();
        let is_over = |of: &Outcomes| of.second + WINDOW <= second;
        while self.outcomes.front().is_some_and(is_over) {
            self.outcomes.pop_front();
        }
        if self.outcomes.back().is_none_or(|last| last.second < second) {
            self.outcomes.push_back(Outcomes { second, answered: 0, failed: 0 });
        }
        if let Some(last) = self.outcomes.back_mut() {
            *if answered { &mut last.answered } else { &mut last.failed } += 1;
        }
    }

    /// Tells whether at least half of enough outcomes are failures.
    fn must_open(&self) -> bool {
        let [answered, failed] = self.outcomes.iter().fold([0, 0], |[answered, failed], second| {
            [answered + second.answered, failed + second.failed]
        });
        answered + failed >= ENOUGH && failed >= answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A breaker and its clock.
    struct Tried {
        breaker: Breaker,
        now: Instant,
    }

    impl Tried {
        fn new() -> Self {
            let now = Instant::now();
            Self { breaker: Breaker::new(now), now }
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        fn leave(&mut self) -> Option<Leave> {
            self.breaker.leave(self.now)
        }

        /// Ends so many attempts alike and tells what the last did.
        fn end(&mut self, attempts: u32, answered: bool) -> Option<Turn> {
            let mut turn = None;
            for _ in 0..attempts {
                assert_eq!(turn, None);
                let leave = self.leave().expect("attempts pass");
                turn = self.breaker.ended(leave, answered, self.now);
            }
            turn
        }

        fn open() -> Self {
            let mut tried = Self::new();
            assert_eq!(tried.end(ENOUGH, false), Some(Turn::Opened));
            tried
        }
    }

    #[test]
    fn opens_when_half_of_enough_attempts_failed() {
        for (answered, failed, turn) in [
            (0, 19, None),
            (0, 20, Some(Turn::Opened)),
            (10, 10, Some(Turn::Opened)),
            (11, 10, None),
            (100, 99, None),
            (100, 100, Some(Turn::Opened)),
        ] {
            let mut tried = Tried::new();
            tried.end(answered, true);
            assert_eq!(tried.end(failed, false), turn, "{answered} answered, {failed} failed");
            assert_eq!(tried.leave().is_none(), turn.is_some());
        }
    }

    #[test]
    fn an_answer_does_not_open_it() {
        let mut tried = Tried::new();
        tried.end(19, false);
        assert_eq!(tried.end(1, true), None);
        assert_eq!(tried.end(1, false), Some(Turn::Opened));
    }

    #[test]
    fn outcomes_count_for_ten_seconds() {
        let mut tried = Tried::new();
        tried.end(19, false);
        tried.wait(9_999);
        assert_eq!(tried.end(1, false), Some(Turn::Opened));
        let mut tried = Tried::new();
        tried.end(19, false);
        tried.wait(10_000);
        assert_eq!(tried.end(19, false), None);
        tried.wait(5_000);
        assert_eq!(tried.end(1, false), Some(Turn::Opened));
    }

    #[test]
    fn open_lets_one_trial_through_every_five_seconds() {
        let mut tried = Tried::open();
        tried.wait(4_999);
        assert_eq!(tried.leave(), None);
        tried.wait(1);
        assert!(tried.leave().is_some());
        assert_eq!(tried.leave(), None, "one trial is enough");
        // It never came back.
        tried.wait(5_000);
        assert!(tried.leave().is_some());
    }

    #[test]
    fn a_trial_that_fails_leaves_it_open_for_another_five_seconds() {
        let mut tried = Tried::open();
        tried.wait(5_000);
        let trial = tried.leave().unwrap();
        tried.wait(4_000);
        assert_eq!(tried.breaker.ended(trial, false, tried.now), None);
        tried.wait(4_999);
        assert_eq!(tried.leave(), None);
        tried.wait(1);
        assert!(tried.leave().is_some());
    }

    #[test]
    fn a_trial_that_is_answered_closes_it_and_what_was_is_forgotten() {
        let mut tried = Tried::open();
        tried.wait(5_000);
        assert_eq!(tried.end(1, true), Some(Turn::Closed));
        assert_eq!(tried.end(19, false), None);
        assert_eq!(tried.end(1, false), Some(Turn::Opened));
    }

    #[test]
    fn attempts_from_before_it_turned_do_not_count() {
        let mut tried = Tried::new();
        let early: Vec<_> = (0..50).map(|_| tried.leave().unwrap()).collect();
        tried.end(ENOUGH, false);
        let now = tried.now;
        assert_eq!(tried.breaker.ended(early[0], true, now), None, "it opened for good reason");
        assert_eq!(tried.leave(), None);
        tried.wait(5_000);
        assert_eq!(tried.end(1, true), Some(Turn::Closed));
        for leave in early {
            assert_eq!(tried.breaker.ended(leave, false, tried.now), None, "WeChat is back");
        }
        assert!(tried.leave().is_some());
    }
}
