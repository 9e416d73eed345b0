//! How many logins an app may begin.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::AppId;

const SECOND: Duration = Duration::from_secs(1);

/// A limit on the logins that an app begins in a second, with a second's worth of them at once.
///
/// Each app has a bucket of that many tokens, filled evenly. What is kept of it is when it will
/// be full again; there are as few of them as there are apps.
#[derive(Debug)]
pub struct LoginRate {
    per_second: u32,
    full_at: Mutex<HashMap<AppId, Instant>>,
}

impl LoginRate {
    /// Makes a limit of so many logins per app and second; 0 is no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, full_at: Mutex::default() }
    }

    /// Tells whether an app may begin another login at `now`, and counts it if so.
    pub fn admits(&self, app: &AppId, now: Instant) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = full_at.get(app).map_or(now, |at| now.max(*at));
        let after = before + SECOND / self.per_second;
        let admitted = after <= now + SECOND;
        if admitted {
            full_at.insert(app.clone(), after);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred logins are admitted.
    fn admitted(rate: &LoginRate, app: &str, now: Instant) -> usize {
        (0..100).filter(|_| rate.admits(&app.into(), now)).count()
    }

    #[test]
    fn a_second_brings_as_many_logins_as_the_limit_says() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for limit in [1, 3, 7, 50] {
            let rate = LoginRate::new(limit);
            let limit = limit as usize;
            assert_eq!(admitted(&rate, "wx1", at(0)), limit);
            assert_eq!(admitted(&rate, "wx1", at(500)), limit / 2);
            assert_eq!(admitted(&rate, "wx1", at(1000)), limit - limit / 2);
            // What an idle app does not use is not saved up.
            assert_eq!(admitted(&rate, "wx1", at(10_000)), limit);
        }
    }

    #[test]
    fn each_app_has_its_own_and_zero_is_no_limit() {
        let now = Instant::now();
        let rate = LoginRate::new(2);
        assert_eq!(["wx1", "wx2"].map(|app| admitted(&rate, app, now)), [2, 2]);
        assert_eq!(admitted(&LoginRate::new(0), "wx1", now), 100);
    }
}
