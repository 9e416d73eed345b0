//! The latest failures, for who looks at them as they come.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::requests::Failed;

/// How many are kept.
const KEPT: usize = 100;

/// How many of the latest a new one is compared with: those that are alike share a place, so that
/// a flood of them leaves the others where they are.
const COMPARED: usize = 8;

/// The latest failures of all threads. Nothing secret is in them, as in the log.
#[derive(Debug, Default)]
pub struct Failures(Mutex<VecDeque<Failure>>);

/// Failures that are alike and came close together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When the last of them was answered.
    pub at: SystemTime,
    pub interface: &'static str,
    /// Empty where it is not known.
    pub app: Box<str>,
    pub code: u32,
    /// What the caller was told, and what only the log was.
    pub reason: Cow<'static, str>,
    pub cause: Option<Cow<'static, str>>,
    pub times: u64,
}

impl Failures {
    /// Keeps a failure in mind.
    pub fn note(&self, at: SystemTime, interface: &'static str, app: &str, failed: &Failed) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_like = |other: &Failure| {
            other.code == failed.code
                && other.interface == interface
                && *other.app == *app
                && without_rid(&other.reason) == without_rid(&failed.reason)
                && other.cause.as_deref() == failed.untold_cause()
        };
        let alike = latest.iter().take(COMPARED).position(is_like);
        let before = alike.and_then(|at| latest.remove(at));
        if latest.len() == KEPT {
            latest.pop_back();
        }
        let failure = match before {
            Some(before) => {
                let reason = failed.reason.clone();
                Failure { at, times: before.times + 1, reason, ..before }
            }
            None => Failure {
                at,
                interface,
                app: app.into(),
                code: failed.code,
                reason: failed.reason.clone(),
                cause: failed.untold_cause().map(|cause| cause.to_owned().into()),
                times: 1,
            },
        };
        latest.push_front(failure);
    }

    /// The latest first.
    #[must_use]
    pub fn latest(&self) -> Vec<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A reason without the number that WeChat gives each of its answers.
fn without_rid(reason: &str) -> &str {
    reason.split_once(", rid: ").map_or(reason, |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operations::failure::Concern;

    fn note(failures: &Failures, second: u64, code: u32) {
        let failed = Failed {
            code,
            answer: "AUTH_FAIL",
            reason: format!("errcode 40163: code been used, rid: {second}").into(),
            cause: None,
            concern: Concern::Caller,
            is_shed: false,
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        failures.note(at, "auth", "wx1", &failed);
    }

    fn latest(failures: &Failures) -> Vec<(u32, u64)> {
        failures.latest().iter().map(|failure| (failure.code, failure.times)).collect()
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_others() {
        let failures = Failures::default();
        note(&failures, 0, 1005);
        for second in 0..1000 {
            note(&failures, second, 60012);
        }
        assert_eq!(latest(&failures), [(60012, 1000), (1005, 1)]);
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(999);
        assert_eq!(failures.latest()[0].at, last);
    }

    #[test]
    fn the_oldest_go() {
        let failures = Failures::default();
        (0..150).for_each(|code| note(&failures, u64::from(code), code));
        let latest = latest(&failures);
        assert_eq!((latest.len(), latest[0], latest[99]), (KEPT, (149, 1), (50, 1)));
    }
}
