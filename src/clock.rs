//! The one place that asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the wall clock says.
#[expect(clippy::disallowed_methods, reason = "time is read here and passed on as an argument")]
#[must_use]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// An instant in seconds since the epoch.
#[must_use]
pub fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The same, and what the instant is past the second.
#[must_use]
pub fn seconds_and_rest(at: SystemTime) -> (i64, Duration) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    (seconds(at), Duration::from_nanos(since.subsec_nanos().into()))
}

/// Seconds since the epoch, now.
#[must_use]
pub fn now() -> i64 {
    seconds(wall())
}
