//! What is wrong with WeChat today.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Extension;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::codes::Errcode;

/// The longest `latency_ms`: twice as long as anybody waits for a login.
const MAX_LATENCY_MS: u64 = 60_000;

/// The longest that a request takes.
pub(super) const MAX_LATENCY: Duration = Duration::from_millis(MAX_LATENCY_MS);

/// Marks the answer to a request whose connection is to close with no answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the connection is dropped, as `/sim/faults` wants it")]
pub(super) struct Dropped;

/// The faults of `/sim/faults`; by default there are none.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Faults {
    /// Milliseconds before anything else happens.
    latency_ms: Option<u64>,
    errcode: Option<i64>,
    status: Option<u16>,
    drop: Option<bool>,
    /// The share of requests that meet the faults; all when absent.
    rate: Option<f64>,
}

impl Faults {
    /// Checks that the faults can be.
    pub(super) fn check(&self) -> Result<(), String> {
        // An answer cannot end with a status below 200.
        check_range("status", self.status, 200..=599)?;
        check_range("rate", self.rate, 0.0..=1.0)?;
        check_range("latency_ms", self.latency_ms, 0..=MAX_LATENCY_MS)
    }

    /// Throws the dice: tells whether a request meets the faults.
    pub(super) fn hit(&self, random: [u8; 4]) -> bool {
        let dice = f64::from(u32::from_be_bytes(random)) / f64::from(1 << 16).powi(2);
        self.rate.is_none_or(|rate| dice < rate)
    }

    /// Waits as long as a request is to take.
    pub(super) async fn delay(&self) {
        if let Some(latency @ 1..) = self.latency_ms {
            sleep(Duration::from_millis(latency)).await;
        }
    }

    /// What a request is told in place of the truth, if anything.
    pub(super) fn answer(&self, now: i64, random: [u8; 8]) -> Option<Response> {
        if self.drop == Some(true) {
            return Some(Extension(Dropped).into_response());
        }
        if self.status.is_none() && self.errcode.is_none() {
            return None;
        }
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        let body = self.errcode.map(|errcode| Errcode(errcode).to_json(now, random));
        let (status, body) = (status.unwrap_or_default(), body.unwrap_or_default());
        Some((status, [(CONTENT_TYPE, "text/plain")], body).into_response())
    }
}

fn check_range<T: Display + PartialOrd>(
    name: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), String> {
    if value.is_none_or(|value| range.contains(&value)) {
        return Ok(());
    }
    Err(format!("`{name}` is not within {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: f64) -> Faults {
        Faults { rate: Some(rate), ..Faults::default() }
    }

    #[test]
    fn the_rate_is_the_share_of_requests_hit() {
        let (first, last) = ([0; 4], [0xff; 4]);
        assert!(!rate(0.0).hit(first));
        assert!(rate(1.0).hit(last) && Faults::default().hit(last));
        assert!(rate(0.5).hit([0x7f, 0xff, 0xff, 0xff]) && !rate(0.5).hit([0x80, 0, 0, 0]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |faults: &str| {
            let faults = serde_json::from_str::<Faults>(faults).map_err(|error| error.to_string());
            faults.and_then(|faults| faults.check()).unwrap_err()
        };
        insta::assert_snapshot!(error(r#"{"rate":1.5}"#), @"`rate` is not within 0 to 1");
        insta::assert_snapshot!(error(r#"{"status":101}"#), @"`status` is not within 200 to 599");
        insta::assert_snapshot!(error(r#"{"latency_ms":60001}"#), @"`latency_ms` is not within 0 to 60000");
        insta::assert_snapshot!(error(r#"{"latency_ms":-1}"#), @"invalid value: integer `-1`, expected u64 at line 1 column 16");
        insta::assert_snapshot!(error(r#"{"latency":1}"#), @"unknown field `latency`, expected one of `latency_ms`, `errcode`, `status`, `drop`, `rate` at line 1 column 10");
    }
}
