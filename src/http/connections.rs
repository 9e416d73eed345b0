//! The open connections of a listener thread: closes the idle ones, and all of them at the end.
//!
//! Timers per request and a channel per connection would do the same, and cost more than looking
//! a session up. Here a request notes the number of the current tick, and a sweep every few
//! seconds finds the connections that have noted none for long.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::server::conn::http1::Connection;
use tokio::sync::Notify;

use super::answer::Answer;

/// How often the connections are looked through.
const TICK: Duration = Duration::from_secs(5);

/// After how many ticks without a request a connection is closed: 90 seconds. It is longer than
/// the pools of the server SDKs keep theirs, since a request that meets a closing connection
/// fails; and longer than any request takes.
const IDLE_TICKS: u64 = 18;

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
    last_tick: AtomicU64,
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

    /// Takes a new connection in.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Ticket {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(State::default());
        state.last_tick.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        self.open().insert(number, Arc::clone(&state));
        Ticket { connections: Arc::clone(self), number, state }
    }

    /// Closes connections that are idle for too long, for as long as it is polled.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            let tick = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
            for state in self.open().values() {
                if tick - state.last_tick.load(Ordering::Relaxed) > IDLE_TICKS {
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
}

/// A connection's place among the open ones, which it leaves when dropped.
#[derive(Debug)]
pub struct Ticket {
    connections: Arc<Connections>,
    number: u64,
    state: Arc<State>,
}

impl Ticket {
    /// Something that notes when a request comes in.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity { connections: Arc::clone(&self.connections), state: Arc::clone(&self.state) }
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

/// Notes that a connection is in use.
#[derive(Debug)]
pub struct Activity {
    connections: Arc<Connections>,
    state: Arc<State>,
}

impl Activity {
    /// Notes that a request has come in.
    pub fn note(&self) {
        let tick = self.connections.tick.load(Ordering::Relaxed);
        self.state.last_tick.store(tick, Ordering::Relaxed);
    }
}

/// A connection that heeds the orders given to its ticket.
#[derive(Debug)]
pub struct Watched<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = Answer>,
{
    pub connection: Connection<I, S>,
    pub ticket: Ticket,
}

impl<I, S> Future for Watched<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = Answer> + Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
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
