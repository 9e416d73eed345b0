//! The body of an answer, which for a successful check is never assembled.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use crate::protocol::{CHECKED_END, CHECKED_START};
use crate::store::cached::Known;

/// The body of an answer, sent in one frame.
#[derive(Debug)]
pub struct Answer(Option<Text>);

/// The bytes of an answer.
#[derive(Debug)]
pub enum Text {
    Whole(Bytes),
    /// A successful check: the profile is sent from where it stands in memory.
    Checked {
        known: Arc<Known>,
        sent: usize,
    },
}

impl Answer {
    /// An answer of this text.
    #[must_use]
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self(Some(Text::Whole(text.into())))
    }

    /// The answer to a successful check of this session.
    #[must_use]
    pub fn checked(known: Arc<Known>) -> Self {
        Self(Some(Text::Checked { known, sent: 0 }))
    }
}

impl From<&'static str> for Answer {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl Body for Answer {
    type Data = Text;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Text>, Infallible>>> {
        Poll::Ready(self.0.take().map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |text| text.remaining() as u64))
    }
}

impl Buf for Text {
    fn remaining(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.remaining(),
            Self::Checked { known, sent } => {
                CHECKED_START.len() + known.profile().len() + CHECKED_END.len() - sent
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Checked { known, sent } => {
                let mut before = *sent;
                for part in [CHECKED_START, known.profile(), CHECKED_END] {
                    if before < part.len() {
                        return &part.as_bytes()[before..];
                    }
                    before -= part.len();
                }
                &[]
            }
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Whole(bytes) => bytes.advance(count),
            Self::Checked { sent, .. } => *sent += count,
        }
    }
}
