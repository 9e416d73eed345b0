//! What was refused before anything was asked of the server, for the log.
//!
//! Anybody can cause any number of these: they are counted, and reported together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::address::Peer;

/// How often what was refused is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What a listener refused since the last report.
#[derive(Debug)]
pub struct Refusals {
    listener: &'static str,
    refused: Mutex<Vec<Refused>>,
}

#[derive(Debug)]
struct Refused {
    reason: &'static str,
    count: u64,
    /// The first of them, and what it says of the cause.
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
    pub fn count(&self, reason: &'static str, peer: Peer) {
        self.count_with(reason, peer, || None);
    }

    /// Counts a refusal; the first one since the last report tells its cause.
    pub fn count_with(
        &self,
        reason: &'static str,
        peer: Peer,
        cause: impl FnOnce() -> Option<String>,
    ) {
        let mut refused = self.refused();
        match refused.iter_mut().find(|refused| refused.reason == reason) {
            Some(refused) => refused.count += 1,
            None => refused.push(Refused { reason, count: 1, example: peer, cause: cause() }),
        }
    }

    /// Reports what was refused, one line for each reason, for as long as it is polled.
    pub async fn keep_reporting(self: Arc<Self>) {
        loop {
            tokio::time::sleep(REPORT_EVERY).await;
            self.report();
        }
    }

    fn report(&self) {
        let all = std::mem::take(&mut *self.refused());
        for Refused { reason, count, example, cause } in all {
            warn!(listener = self.listener, count, %example, cause, "{reason}");
        }
    }
}
