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

/// Seconds since the epoch as RFC 3339 in UTC, `2026-11-27T12:00:00Z`.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// Seconds since the epoch, now.
#[must_use]
pub fn now() -> i64 {
    seconds(wall())
}
