//! What was refused before anything was asked of the server, for the log.
//!
//! Anybody can cause any number of these: they are counted, and reported together.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::address::Peer;

/// How often what was refused is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// In numbers.
    pub label: &'static str,
    /// In the log.
    pub text: &'static str,
}

/// What a listener refused.
#[derive(Debug)]
pub struct Refusals {
    listener: &'static str,
    refused: Mutex<Vec<Refused>>,
}

#[derive(Debug)]
struct Refused {
    reason: Reason,
    /// Since the start.
    total: u64,
    /// Since the last report.
    count: u64,
    /// The first of these, and what it says of the cause.
    example: Peer,
    cause: Option<String>,
}

impl Refusals {
    /// Those of the listener of this name.
    #[must_use]
    pub fn new(listener: &'static str) -> Self {
        Self { listener, refused: Mutex::default() }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal.
    pub fn count(&self, reason: Reason, peer: Peer) {
        self.count_with(reason, peer, || None);
    }

    /// Counts a refusal; the first one since the last report tells its cause.
    pub fn count_with(&self, reason: Reason, peer: Peer, cause: impl FnOnce() -> Option<String>) {
        let mut refused = self.refused();
        let at = refused.iter().position(|refused| refused.reason == reason);
        let at = at.unwrap_or_else(|| {
            refused.push(Refused { reason, total: 0, count: 0, example: peer, cause: None });
            refused.len() - 1
        });
        let refused = &mut refused[at];
        if refused.count == 0 {
            (refused.example, refused.cause) = (peer, cause());
        }
        refused.count += 1;
        refused.total += 1;
    }

    /// The name of the listener.
    #[must_use]
    pub fn listener(&self) -> &'static str {
        self.listener
    }

    /// How much was refused since the start, by the label of its reason.
    #[must_use]
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        self.refused().iter().map(|refused| (refused.reason.label, refused.total)).collect()
    }

    /// Reports what was refused, one line for each reason, for as long as it is polled.
    pub async fn keep_reporting(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REPORT_EVERY).await;
            self.report();
        }
    }

    fn report(&self) {
        // Written without the lock: whoever refuses somebody must not wait for the log.
        let mut lines = Vec::new();
        for refused in self.refused().iter_mut().filter(|refused| refused.count > 0) {
            let count = take(&mut refused.count);
            lines.push((refused.reason, count, refused.example, refused.cause.take()));
        }
        for (reason, count, example, cause) in lines {
            warn!(listener = self.listener, count, %example, cause, "{}", reason.text);
        }
    }
}
