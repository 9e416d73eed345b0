//! How many decryptions may fail.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::recent::Recent;

/// For how many seconds failures count, from the first of them.
const WINDOW: i64 = 3600;

/// How many logins are remembered at once: a few megabytes. Whoever wants one of them forgotten
/// before its time needs as many sessions of real users.
const MEMORY: usize = 100_000;

/// A cap on the decryptions that fail for one login of a session.
///
/// Open data has no MAC, so whoever may try without end learns what it says. What counts is an
/// hour of one login: the next one has another skey and a count of its own.
#[derive(Debug)]
pub struct DecryptFailures {
    cap: u32,
    hasher: RandomState,
    failed: Mutex<Recent<u64, Failed>>,
}

#[derive(Debug)]
struct Failed {
    times: u32,
    since: i64,
}

impl DecryptFailures {
    /// Makes a cap of so many failures; 0 is none.
    #[must_use]
    pub fn new(cap: u32) -> Self {
        let failed = Mutex::new(Recent::new(MEMORY));
        Self { cap, hasher: RandomState::new(), failed }
    }

    /// Opens something for a session whose skey was proven, at `now` in seconds.
    ///
    /// `None` when too many attempts failed before, or while this one was being made: of attempts
    /// side by side no more than the cap say anything by failing.
    pub fn attempt<T, E>(
        &self,
        id: &str,
        skey: &str,
        now: i64,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        if self.cap == 0 {
            return Some(open());
        }
        // Neither id nor skey is kept, and a hash takes the same room for each.
        let login = self.hasher.hash_one((id, skey));
        if self.is_used_up(login, now) {
            return None;
        }
        let opened = open();
        let mut failed = self.failed(now);
        match (failed.get_mut(&login), &opened) {
            (Some(Failed { times, .. }), _) if *times >= self.cap => return None,
            (_, Ok(_)) => {}
            (Some(Failed { times, .. }), Err(_)) => *times += 1,
            (None, Err(_)) => failed.insert(login, Failed { times: 1, since: now }),
        }
        Some(opened)
    }

    fn is_used_up(&self, login: u64, now: i64) -> bool {
        self.failed(now).get_mut(&login).is_some_and(|failed| failed.times >= self.cap)
    }

    /// What failed in the last hour.
    fn failed(&self, now: i64) -> MutexGuard<'_, Recent<u64, Failed>> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.forget_while(|failed| now - failed.since >= WINDOW);
        failed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const OPENS: Result<(), ()> = Ok(());
    const FAILS: Result<(), ()> = Err(());

    /// What becomes of attempts at this second.
    fn attempts<const N: usize>(
        failures: &DecryptFailures,
        skey: &str,
        now: i64,
        outcomes: [Result<(), ()>; N],
    ) -> [Option<Result<(), ()>>; N] {
        outcomes.map(|outcome| failures.attempt("id", skey, now, || outcome))
    }

    #[test]
    fn failures_beyond_the_cap_are_not_tried_for_an_hour() {
        let failures = DecryptFailures::new(2);
        assert_eq!(
            attempts(&failures, "skey", 0, [OPENS, FAILS, OPENS, FAILS, OPENS, FAILS]),
            [Some(OPENS), Some(FAILS), Some(OPENS), Some(FAILS), None, None]
        );
        let tried = AtomicUsize::new(0);
        let refused = failures.attempt("id", "skey", 3599, || -> Result<(), ()> {
            tried.fetch_add(1, Ordering::Relaxed);
            OPENS
        });
        assert_eq!((refused, tried.into_inner()), (None, 0));
        assert_eq!(
            attempts(&failures, "skey", 3600, [FAILS, OPENS, FAILS, OPENS]),
            [Some(FAILS), Some(OPENS), Some(FAILS), None]
        );
    }

    #[test]
    fn another_login_has_its_own_count_and_zero_is_no_cap() {
        let failures = DecryptFailures::new(1);
        assert_eq!(attempts(&failures, "skey", 0, [FAILS, OPENS]), [Some(FAILS), None]);
        assert_eq!(attempts(&failures, "another", 0, [OPENS, FAILS]), [Some(OPENS), Some(FAILS)]);
        let uncapped = DecryptFailures::new(0);
        assert_eq!(attempts(&uncapped, "skey", 0, [FAILS; 9]), [Some(FAILS); 9]);
    }

    #[test]
    fn attempts_side_by_side_do_not_pass_the_cap() {
        let failures = DecryptFailures::new(3);
        let all_are_open = Barrier::new(8);
        let fail = || {
            all_are_open.wait();
            FAILS
        };
        let told = std::thread::scope(|scope| {
            let attempts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| failures.attempt("id", "skey", 0, fail))).collect();
            attempts.into_iter().filter_map(|attempt| attempt.join().unwrap()).count()
        });
        assert_eq!(told, 3);
    }
}
