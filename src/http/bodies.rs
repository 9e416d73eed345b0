//! The bodies of requests, read within bounds.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What any honest body is shorter than. A connection may hold as much without asking.
pub const SHORT: usize = 16 * 1024;

/// Memory is handed out in pieces of so many bytes.
const GRAIN: usize = 1024;

/// The bounds of bodies, and the memory that the long ones share.
///
/// Without it every connection could hold a body of the greatest length, half sent.
#[derive(Debug)]
pub struct Bodies {
    /// `server.max_body`, bytes.
    pub max: usize,
    memory: Arc<Semaphore>,
}

/// A body, with the memory that it holds.
#[derive(Debug)]
pub struct Body {
    pub bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    TooLong,
    NoMemory,
}

impl Bodies {
    /// Bodies of at most `max` bytes each; those that are not short share `memory` bytes.
    #[must_use]
    pub fn new(max: usize, memory: usize) -> Self {
        let grains = (memory / GRAIN).min(Semaphore::MAX_PERMITS);
        Self { max, memory: Arc::new(Semaphore::new(grains)) }
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// When it is too long, or there is no memory for it now.
    pub async fn read(&self, mut body: Incoming) -> Result<Body, Unread> {
        // What the head announced.
        if body.size_hint().lower() > self.max as u64 {
            return Err(Unread::TooLong);
        }
        // One that never comes is the business of the listener's sweep.
        let (mut bytes, mut memory) = (BytesMut::new(), None);
        loop {
            let piece = next_piece(&mut body).await;
            if piece.is_empty() {
                return Ok(Body { bytes: bytes.freeze(), _memory: memory });
            }
            if bytes.len() + piece.len() > self.max {
                return Err(Unread::TooLong);
            }
            self.take(&mut memory, bytes.len() + piece.len()).ok_or(Unread::NoMemory)?;
            bytes.extend_from_slice(&piece);
        }
    }

    /// Takes what a body of this length needs beside what it has; `None` when that is not to be had.
    pub fn take(&self, memory: &mut Option<OwnedSemaphorePermit>, length: usize) -> Option<()> {
        let has = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needs = length.saturating_sub(SHORT).div_ceil(GRAIN);
        if needs > has {
            let more = u32::try_from(needs - has).ok()?;
            let more = Arc::clone(&self.memory).try_acquire_many_owned(more).ok()?;
            match memory {
                Some(memory) => memory.merge(more),
                None => *memory = Some(more),
            }
        }
        Some(())
    }
}

/// The next bytes of a body; none at its end, or when the client has gone.
async fn next_piece(body: &mut Incoming) -> Bytes {
    loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return data,
                Err(_trailers) => {}
            },
            Some(Err(_)) | None => return Bytes::new(),
        }
    }
}
