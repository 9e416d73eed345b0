//! The body of a request that goes on to WeChat as it comes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};

/// A body, read once. Clones are the same one: as long as it was not begun, another attempt may
/// still send it.
#[derive(Debug, Clone)]
pub struct Streamed(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What was read of it before.
    start: Option<Bytes>,
    rest: Incoming,
    /// How many bytes may still come.
    left: usize,
    was_begun: bool,
    is_too_long: bool,
}

/// Why a body does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the body is longer than it may be")]
    TooLong,
    #[error("the body broke off")]
    Off,
}

impl Streamed {
    /// A body of which the start was read, and which is at most so many bytes long after that.
    #[must_use]
    pub fn new(start: Bytes, rest: Incoming, left: usize) -> Self {
        let start = Some(start).filter(|start| !start.is_empty());
        let state = State { start, rest, left, was_begun: false, is_too_long: false };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether any of it was sent.
    #[must_use]
    pub fn was_begun(&self) -> bool {
        self.state().was_begun
    }

    /// Tells whether it was broken off for its length.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.state().is_too_long
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.state();
        state.was_begun = true;
        if let Some(start) = state.start.take() {
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        loop {
            let frame = match Pin::new(&mut state.rest).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Broken::Off))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            // Trailers are between the caller and us.
            let Ok(data) = frame.into_data() else { continue };
            let Some(left) = state.left.checked_sub(data.len()) else {
                state.is_too_long = true;
                return Poll::Ready(Some(Err(Broken::TooLong)));
            };
            state.left = left;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }
}
