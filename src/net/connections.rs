//! The open connections of a listener thread: closes those that take too long, and all of them at
//! the end.
//!
//! Timers per request and a channel per connection would do the same, and cost more than looking
//! a session up. Here a connection notes what it waits for and the number of the current tick,
//! and a sweep every second finds those that have waited for too long.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Connection;
use hyper::service::HttpService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::door::Pass;

/// How often the connections are looked through.
pub const TICK: Duration = Duration::from_secs(1);

/// How long a connection may wait for its client, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    head: u64,
    body: u64,
    idle: u64,
}

impl Patience {
    /// So long for a head or a TLS handshake, for a whole body, and for the next request.
    #[must_use]
    pub fn new(head: Duration, body: Duration, idle: Duration) -> Self {
        let ticks = |span: Duration| span.as_secs() + u64::from(span.subsec_nanos() > 0);
        Self { head: ticks(head), body: ticks(body), idle: ticks(idle) }
    }

    /// How long this may last; `None` is for ever.
    fn with(self, phase: Phase) -> Option<u64> {
        match phase {
            Phase::Idle => Some(self.idle),
            Phase::Head => Some(self.head),
            Phase::Body => Some(self.body),
            Phase::Answering => None,
        }
    }
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The next request, or for the client to take the answer to the last one.
    Idle = 0,
    /// The rest of a request's head, or of the TLS handshake.
    Head = 1,
    /// The rest of a request's body.
    Body = 2,
    /// The server itself.
    Answering = 3,
}

/// How many bits of a connection's state hold the phase; the others hold the tick when it began.
const PHASE_BITS: u32 = 2;

/// The open connections.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<HashMap<u64, Arc<State>>>,
    accepted: AtomicU64,
    tick: AtomicU64,
    none_left: Notify,
}

/// A connection as others see it.
#[derive(Debug, Default)]
struct State {
    order: AtomicU8,
    waker: AtomicWaker,
    phase: AtomicU64,
}

const GO_ON: u8 = 0;
/// Answer the open request, if there is one, and close.
const FINISH: u8 = 1;
/// Close at once.
const CUT: u8 = 2;

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<State>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in, which is idle.
    #[must_use]
    pub fn enter(self: &Arc<Self>, pass: Pass) -> Ticket {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State::default());
        self.open().insert(number, Arc::clone(&state));
        let ticket = Ticket { connections: Arc::clone(self), number, state, _pass: pass };
        ticket.activity().begin(Phase::Idle);
        ticket
    }

    /// Closes connections that wait for too long, for as long as it is polled.
    pub async fn sweep(&self, patience: Patience) {
        loop {
            tokio::time::sleep(TICK).await;
            let tick = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
            for state in self.open().values() {
                let (phase, since) = state.phase();
                if patience.with(phase).is_some_and(|limit| tick - since > limit) {
                    state.give(CUT);
                }
            }
        }
    }

    /// Lets every connection finish its open request, and waits until all are closed.
    pub async fn finish(&self) {
        self.open().values().for_each(|state| state.give(FINISH));
        loop {
            let mut none_left = std::pin::pin!(self.none_left.notified());
            none_left.as_mut().enable();
            if self.open().is_empty() {
                return;
            }
            none_left.await;
        }
    }
}

impl State {
    fn give(&self, order: u8) {
        self.order.store(order, Ordering::Release);
        self.waker.wake();
    }

    /// The phase, and the tick when it began.
    fn phase(&self) -> (Phase, u64) {
        let state = self.phase.load(Ordering::Relaxed);
        let phase = match state & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Body,
            _ => Phase::Answering,
        };
        (phase, state >> PHASE_BITS)
    }
}

/// A connection's place among the open ones, which it leaves when dropped.
#[derive(Debug)]
pub struct Ticket {
    connections: Arc<Connections>,
    number: u64,
    state: Arc<State>,
    _pass: Pass,
}

impl Ticket {
    /// Something that notes what the connection waits for.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity { connections: Arc::clone(&self.connections), state: Arc::clone(&self.state) }
    }

    /// Waits for a TLS handshake; `None` when the connection is to close instead.
    pub async fn handshake<F: Future>(&self, handshake: F) -> Option<F::Output> {
        let activity = self.activity();
        activity.begin(Phase::Head);
        let done = self.until(FINISH, handshake).await;
        activity.begin(Phase::Idle);
        done
    }

    /// Does what it can until the connection is to close at once; `None` when that came first.
    pub async fn until_cut<F: Future>(&self, work: F) -> Option<F::Output> {
        self.until(CUT, work).await
    }

    async fn until<F: Future>(&self, order: u8, work: F) -> Option<F::Output> {
        let mut work = std::pin::pin!(work);
        let done = std::future::poll_fn(|cx| {
            self.state.waker.register(cx.waker());
            if self.state.order.load(Ordering::Acquire) >= order {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        });
        done.await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.remove(&self.number);
        if open.is_empty() {
            self.connections.none_left.notify_waiters();
        }
    }
}

/// Notes what a connection waits for.
#[derive(Debug, Clone)]
pub struct Activity {
    connections: Arc<Connections>,
    state: Arc<State>,
}

impl Activity {
    /// Notes that a phase begins.
    pub fn begin(&self, phase: Phase) {
        let tick = self.connections.tick.load(Ordering::Relaxed);
        self.state.phase.store(tick << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    /// Tells whether the connection is to close after the open request.
    #[must_use]
    pub fn is_to_finish(&self) -> bool {
        self.state.order.load(Ordering::Acquire) == FINISH
    }

    /// Notes that the head is waited for, once.
    pub fn begin_head(&self) {
        if self.state.phase().0 != Phase::Head {
            self.begin(Phase::Head);
        }
    }

    /// Notes that the body is waited for, once: what comes of it does not put its end off.
    pub fn begin_body(&self) {
        if self.state.phase().0 != Phase::Body {
            self.begin(Phase::Body);
        }
    }

    /// Notes that bytes came: the first of a request begin its head.
    fn hear(&self) {
        if self.state.phase().0 == Phase::Idle {
            self.begin(Phase::Head);
        }
    }
}

/// A stream that notes when bytes come.
#[derive(Debug)]
pub struct Heard<S> {
    /// What was read before.
    pub before: BytesMut,
    pub stream: S,
    pub activity: Activity,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let length = self.before.len().min(buf.remaining());
            buf.put_slice(&self.before.split_to(length));
            self.activity.hear();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.hear();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection that heeds the orders given to its ticket.
#[derive(Debug)]
pub struct Watched<I, S>
where
    S: HttpService<Incoming>,
{
    pub connection: Connection<I, S>,
    pub ticket: Ticket,
}

impl<I, S> Future for Watched<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.ticket.state.waker.register(cx.waker());
        match self.ticket.state.order.load(Ordering::Acquire) {
            GO_ON => {}
            CUT => return Poll::Ready(()),
            _ => Pin::new(&mut self.connection).graceful_shutdown(),
        }
        // A client that went away or sent no HTTP is its own business.
        Pin::new(&mut self.connection).poll(cx).map(drop)
    }
}
