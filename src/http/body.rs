//! The bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    Whole(Full<Bytes>),
    Relayed(Relayed),
}

/// An answer of WeChat's that goes on as it comes.
#[derive(Debug)]
pub struct Relayed {
    /// What was read of it before.
    pub start: Option<Bytes>,
    pub rest: reqwest::Body,
    /// Its place among the calls that are relayed at once.
    pub place: Option<OwnedSemaphorePermit>,
}

/// An answer broke off. What reqwest says of it has the URL in it.
#[derive(Debug, thiserror::Error)]
#[error("WeChat's answer broke off")]
pub struct BrokeOff;

impl From<&'static str> for AnswerBody {
    fn from(text: &'static str) -> Self {
        Self::Whole(text.into())
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Relayed(relayed) => match relayed.start.take() {
                Some(start) => Poll::Ready(Some(Ok(Frame::data(start)))),
                None => Pin::new(&mut relayed.rest).poll_frame(cx).map_err(|_| BrokeOff),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Relayed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Relayed(_) => SizeHint::default(),
        }
    }
}
