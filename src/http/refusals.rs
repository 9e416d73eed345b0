//! What was refused before it became a request of the protocol, for the log.
//!
//! Anybody can cause any number of these: they are counted, and reported together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::address::Peer;

/// How often what was refused is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Why a connection or a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotAllowed,
    TooMany,
    TooManyOfAddress,
    Handshake,
    AccessKey,
}

impl Refusal {
    const ALL: [Self; 5] =
        [Self::NotAllowed, Self::TooMany, Self::TooManyOfAddress, Self::Handshake, Self::AccessKey];

    fn reason(self) -> &'static str {
        match self {
            Self::NotAllowed => "connections were refused: not in `server.allow`",
            Self::TooMany => "connections were refused: `limits.connections` are open",
            Self::TooManyOfAddress => {
                "connections were refused: `limits.connections_per_address` of one are open"
            }
            Self::Handshake => "connections were refused: the TLS handshake failed",
            Self::AccessKey => "requests were refused: without the `server.access_key`",
        }
    }
}

/// What a listener refused since the last report.
#[derive(Debug)]
pub struct Refusals {
    listener: &'static str,
    refused: Mutex<[Option<Refused>; Refusal::ALL.len()]>,
}

#[derive(Debug)]
struct Refused {
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

    fn refused(&self) -> MutexGuard<'_, [Option<Refused>; Refusal::ALL.len()]> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal.
    pub fn count(&self, refusal: Refusal, peer: Peer) {
        self.count_with(refusal, peer, || None);
    }

    /// Counts a failed handshake.
    pub fn count_handshake(&self, peer: Peer, cause: &dyn std::error::Error) {
        self.count_with(Refusal::Handshake, peer, || Some(cause.to_string()));
    }

    fn count_with(&self, refusal: Refusal, peer: Peer, cause: impl FnOnce() -> Option<String>) {
        self.refused()[refusal as usize]
            .get_or_insert_with(|| Refused { count: 0, example: peer, cause: cause() })
            .count += 1;
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
        for (refusal, refused) in Refusal::ALL.into_iter().zip(all) {
            let Some(Refused { count, example, cause }) = refused else { continue };
            warn!(listener = self.listener, count, %example, cause, "{}", refusal.reason());
        }
    }
}
