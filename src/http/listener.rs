//! The public listener: one thread per core, each with a runtime and a socket of its own.
//!
//! The kernel spreads connections over sockets that share a port (`SO_REUSEPORT`). A connection
//! stays on its thread, so that nothing about it ever moves between cores.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{error, warn};

use super::connections::{Connections, Watched};
use super::mina_auth::MinaAuth;
use crate::telemetry::{Log, RequestLog};

/// How long to wait when the process has no file descriptor for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const BACKLOG: i32 = 4096;

/// An address of the public listener, bound but not yet served.
#[derive(Debug)]
pub struct Bound {
    pub address: SocketAddr,
    /// One for each thread.
    sockets: Vec<TcpListener>,
}

/// Binds an address, once for each thread. Port 0 takes a free port.
///
/// # Errors
///
/// When the address cannot be had, also because another server has it.
pub fn bind(address: SocketAddr, threads: usize) -> io::Result<Bound> {
    // Sockets with SO_REUSEPORT would bind silently beside those of another server; this one
    // would not.
    let address = TcpListener::bind(address)?.local_addr()?;
    let sockets = (0..threads).map(|_| bind_shared(address)).collect::<io::Result<_>>()?;
    Ok(Bound { address, sockets })
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves the protocol on these addresses until `stop` says so, then lets open requests finish.
/// Each thread ends once they have, or after `drain`.
///
/// # Errors
///
/// When a thread or its runtime cannot be started.
pub fn serve(
    bound: Vec<Bound>,
    endpoint: &Arc<MinaAuth>,
    log: &Log,
    stop: &watch::Receiver<bool>,
    drain: Duration,
) -> io::Result<Vec<JoinHandle<()>>> {
    let threads = bound.iter().map(|bound| bound.sockets.len()).max().unwrap_or(0);
    let mut addresses: Vec<_> = bound.into_iter().map(|bound| bound.sockets.into_iter()).collect();
    (0..threads)
        .map(|number| {
            let sockets: Vec<_> = addresses.iter_mut().filter_map(Iterator::next).collect();
            let (endpoint, stop) = (Arc::clone(endpoint), stop.clone());
            let log = Arc::new(RequestLog::new(log));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(format!("listener-{number}")).spawn(move || {
                let serving = Serving { endpoint, log, stop, drain, open: Arc::default() };
                runtime.block_on(serving.run(sockets));
                serving.log.flush();
            })
        })
        .collect()
}

/// What a listener thread serves with.
struct Serving {
    endpoint: Arc<MinaAuth>,
    log: Arc<RequestLog>,
    stop: watch::Receiver<bool>,
    drain: Duration,
    open: Arc<Connections>,
}

impl Serving {
    async fn run(&self, sockets: Vec<TcpListener>) {
        let accepting = sockets.into_iter().map(|socket| self.accept(socket));
        let serving = async {
            futures_util::future::join_all(accepting).await;
            self.finish().await;
        };
        tokio::select! {
            () = serving => {}
            () = self.log.keep_writing() => {}
            () = self.open.sweep() => {}
        }
    }

    /// Accepts connections until the server is to stop.
    async fn accept(&self, socket: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return error!(%error, "the listener cannot be served"),
        };
        let mut stop = self.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer),
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection, beside the others.
    fn start(&self, stream: TcpStream, peer: SocketAddr) {
        // An answer is one write: there is nothing to wait for and merge.
        let _ = stream.set_nodelay(true);
        let ticket = self.open.enter();
        let activity = ticket.activity();
        let shared = Arc::new((Arc::clone(&self.endpoint), Arc::clone(&self.log)));
        let service = service_fn(move |request| {
            activity.note();
            let shared = Arc::clone(&shared);
            async move {
                let (endpoint, log) = &*shared;
                Ok::<_, Infallible>(endpoint.answer(log, peer, request).await)
            }
        });
        let connection = http1::Builder::new()
            // An answer is small: copied together, head and body are one plain write.
            .writev(false)
            // The sweep of the connections does this, for bodies too.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(Watched { connection, ticket });
    }

    /// Lets open requests finish, and the logins whose callers have gone.
    async fn finish(&self) {
        let finished = async {
            self.open.finish().await;
            self.endpoint.operations.finished().await;
        };
        if tokio::time::timeout(self.drain, finished).await.is_err() {
            warn!("requests still open after `server.drain_timeout` were cut off");
        }
    }
}
