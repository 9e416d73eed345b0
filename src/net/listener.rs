//! Serves connections: accepts them, lets them in, and has their requests answered.
//!
//! [`serve`] has one thread per core, each with a runtime and a socket of its own. The
//! kernel spreads connections over sockets that share a port (`SO_REUSEPORT`). A connection stays
//! on its thread, so that nothing about it ever moves between cores.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tracing::{error, warn};

use super::address::{Bound, Listening, Peer, SocketFile};
use super::connections::{Activity, Connections, Heard, Patience, Phase, Ticket, Watched};
use super::door::Door;
use super::lane::FAILED;
use super::refusals::{Reason, Refusals};
use super::tls::Tls;

/// How long to wait when the process has no file descriptor for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a TLS connection was not begun.
const HANDSHAKE: Reason =
    Reason { label: "tls_handshake", text: "connections were refused: the TLS handshake failed" };

/// The content type of what people read.
pub const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + From<&'static str>
        + Send
        + 'static;

    /// Answers a request whose head is there. What it waits for it tells `activity`; at first that
    /// is the body.
    fn answer(
        &self,
        peer: Peer,
        activity: &Activity,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Answers requests in the [express lane](super::lane), for as long as they are such as can be; returns what
    /// was read and not answered, or `None` when the connection is done with.
    fn express<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        _stream: &mut S,
        _peer: Peer,
        _activity: &Activity,
    ) -> impl Future<Output = Option<BytesMut>> + Send {
        std::future::ready(Some(BytesMut::new()))
    }

    /// What there is to do beside the connections, for as long as it is polled.
    fn beside(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Waits for what goes on after the last connection has ended.
    fn finished(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// How a listener takes connections.
#[derive(Clone)]
pub struct Terms {
    pub door: Arc<Door>,
    pub refusals: Arc<Refusals>,
    /// TLS, on all but Unix sockets.
    pub tls: Option<Arc<Tls>>,
    /// `limits.header_size`, bytes.
    pub header_size: usize,
    pub patience: Patience,
}

/// Serves on these addresses until `stop` says so, each thread with a handler of its own, then
/// lets open requests finish. Each thread ends once they have, or after `drain`.
///
/// # Errors
///
/// When a thread or its runtime cannot be started.
pub fn serve<H: Handler>(
    bound: Vec<Bound>,
    handler: impl Fn() -> H,
    terms: &Terms,
    stop: &watch::Receiver<bool>,
    drain: Duration,
) -> io::Result<Vec<JoinHandle<()>>> {
    let threads = bound.iter().map(|bound| bound.sockets.len()).max().unwrap_or(0);
    let mut addresses: Vec<_> = bound.into_iter().map(|bound| bound.sockets.into_iter()).collect();
    (0..threads)
        .map(|number| {
            let sockets: Vec<_> = addresses.iter_mut().filter_map(Iterator::next).collect();
            let serving = Arc::new(Serving::new(handler(), terms.clone()));
            let stop = stop.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(format!("listener-{number}")).spawn(move || {
                runtime.block_on(serving.run_until(sockets, stop, drain));
            })
        })
        .collect()
}

/// What connections are served with.
pub struct Serving<H> {
    handler: H,
    terms: Terms,
    http: http1::Builder,
    open: Arc<Connections>,
}

impl<H: Handler> Serving<H> {
    /// Puts together what connections are served with.
    #[must_use]
    pub fn new(handler: H, terms: Terms) -> Self {
        let mut http = http1::Builder::new();
        // An answer is small: copied together, head and body are one plain write.
        http.writev(false)
            // The sweep of the connections does this, for bodies too.
            .header_read_timeout(None)
            .max_buf_size(terms.header_size);
        Self { handler, terms, http, open: Arc::default() }
    }

    /// Serves on these sockets until `stop` says so, then for as long as `drain` at most.
    async fn run_until(
        self: &Arc<Self>,
        sockets: Vec<Listening>,
        mut stop: watch::Receiver<bool>,
        drain: Duration,
    ) {
        let serving = async {
            tokio::select! {
                () = self.accept(sockets) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            if tokio::time::timeout(drain, self.finish()).await.is_err() {
                warn!("requests still open after `server.drain_timeout` were cut off");
            }
        };
        tokio::select! {
            () = serving => {}
            () = self.handler.beside() => {}
            () = self.open.sweep(self.terms.patience) => {}
        }
    }

    /// Lets open requests finish, and what goes on after them.
    async fn finish(&self) {
        self.open.finish().await;
        self.handler.finished().await;
    }

    /// Serves on these sockets for as long as it is polled.
    pub async fn run(self: &Arc<Self>, sockets: Vec<Listening>) {
        tokio::join!(self.accept(sockets), self.open.sweep(self.terms.patience));
    }

    /// Accepts connections for as long as it is polled.
    async fn accept(self: &Arc<Self>, sockets: Vec<Listening>) {
        let accepting = sockets.into_iter().map(async |socket| match Acceptor::of(socket) {
            Ok(acceptor) => self.accept_from(acceptor).await,
            Err(error) => error!(%error, "the listener cannot be served"),
        });
        futures_util::future::join_all(accepting).await;
    }

    async fn accept_from(self: &Arc<Self>, acceptor: Acceptor) {
        loop {
            match acceptor.accept().await {
                Ok((stream, peer)) => self.start(stream, peer),
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection, if it may come in, beside the others.
    fn start(self: &Arc<Self>, stream: Stream, peer: Peer) {
        let pass = match self.terms.door.enter(peer) {
            Ok(pass) => pass,
            Err(refusal) => return self.terms.refusals.count(refusal.reason(), peer),
        };
        let ticket = self.open.enter(pass);
        match (stream, &self.terms.tls) {
            (Stream::Tcp(stream), None) => {
                drop(tokio::spawn(Arc::clone(self).converse(stream, peer, ticket)));
            }
            (Stream::Tcp(stream), Some(tls)) => self.start_tls(tls, stream, peer, ticket),
            (Stream::Unix(stream), _) => {
                drop(tokio::spawn(Arc::clone(self).converse(stream, peer, ticket)));
            }
        }
    }

    fn start_tls(self: &Arc<Self>, tls: &Tls, stream: TcpStream, peer: Peer, ticket: Ticket) {
        let handshake = tls.accept(stream);
        let serving = Arc::clone(self);
        tokio::spawn(async move {
            match ticket.handshake(handshake).await {
                Some(Ok(stream)) => serving.converse(stream, peer, ticket).await,
                // Not a client that has gone away.
                Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    serving.terms.refusals.count_with(HANDSHAKE, peer, || Some(error.to_string()));
                }
                Some(Err(_)) | None => {}
            }
        });
    }

    /// Serves a connection to its end.
    async fn converse<S>(self: Arc<Self>, mut stream: S, peer: Peer, ticket: Ticket)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = ticket.activity();
        let express = self.handler.express(&mut stream, peer, &activity);
        let Some(Some(before)) = ticket.until_cut(express).await else { return };
        let stream = Heard { before, stream, activity: activity.clone() };
        let conversation = Arc::new(Conversation { serving: Arc::clone(&self), peer, activity });
        let service = service_fn(move |request| Arc::clone(&conversation).answer(request));
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        // In a box, as few connections come to this.
        Box::pin(Watched { connection, ticket }).await;
    }
}

/// A connection, to those who answer its requests.
struct Conversation<H> {
    serving: Arc<Serving<H>>,
    peer: Peer,
    activity: Activity,
}

impl<H: Handler> Conversation<H> {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<H::Body>, Infallible> {
        self.activity.begin(Phase::Body);
        let answer = self.serving.handler.answer(self.peer, &self.activity, request);
        let answer = AssertUnwindSafe(answer).catch_unwind().await;
        self.activity.begin(Phase::Idle);
        // The panic's hook has logged it.
        Ok(answer.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, FAILED)))
    }
}

/// An answer for people.
pub fn plain<B: From<&'static str>>(status: StatusCode, text: &'static str) -> Response<B> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

/// A listening socket in the hands of a runtime.
enum Acceptor {
    Tcp(TcpListener),
    // As in `Listening`, the file goes first.
    Unix(Arc<SocketFile>, UnixListener),
}

/// A connection that was accepted.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Acceptor {
    fn of(socket: Listening) -> io::Result<Self> {
        Ok(match socket {
            Listening::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Listening::Unix(file, socket) => Self::Unix(file, UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // An answer is one write: there is nothing to wait for and merge.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), address.into()))
            }
            Self::Unix(_file, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::net::address;
    use bytes::Bytes;
    use http_body_util::Full;

    /// Panics when it is asked for `/panic`, before its first `await` or after.
    struct Nervous;

    impl Handler for Nervous {
        type Body = Full<Bytes>;

        async fn answer(
            &self,
            _: Peer,
            _: &Activity,
            request: Request<Incoming>,
        ) -> Response<Full<Bytes>> {
            if request.uri().query().is_some() {
                tokio::task::yield_now().await;
            }
            assert_ne!(request.uri().path(), "/panic");
            plain(StatusCode::OK, "calm")
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_panic_is_answered_and_the_connection_goes_on() {
        let minute = Duration::from_mins(1);
        let terms = Terms {
            door: Arc::new(Door::new(Vec::new(), 1, 0)),
            refusals: Arc::new(Refusals::new("test")),
            tls: None,
            header_size: 8192,
            patience: Patience::new(minute, minute, minute),
        };
        let bound = address::bind(&"127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let serving = Arc::new(Serving::new(Nervous, terms));
        let running = tokio::spawn(async move { serving.run(bound.sockets).await });
        let address = bound.address.to_string();
        let answers = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            for (path, then) in
                [("/panic", "keep-alive"), ("/panic?later", "keep-alive"), ("/calm", "close")]
            {
                write!(stream, "GET {path} HTTP/1.1\r\nConnection: {then}\r\n\r\n").unwrap();
            }
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            answers
        });
        let answers = answers.await.unwrap();
        let statuses: Vec<_> = answers
            .split("HTTP/1.1 ")
            .skip(1)
            .filter_map(|answer| answer.split_once(' '))
            .map(|(status, _)| status)
            .collect();
        assert_eq!(statuses, ["500", "500", "200"], "{answers}");
        running.abort();
    }
}
