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
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tracing::{error, warn};

use super::mina_auth::MinaAuth;
use crate::telemetry::{Log, RequestLog};

/// How long a connection may be idle, or take to send a request's head. Longer than the pools of
/// the server SDKs keep theirs: whoever closes first risks nothing, and that must not be us.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

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
                runtime.block_on(async {
                    let serving = sockets
                        .into_iter()
                        .map(|socket| accept(socket, &endpoint, &log, stop.clone(), drain));
                    tokio::select! {
                        _ = futures_util::future::join_all(serving) => {}
                        () = log.keep_writing() => {}
                    }
                });
                log.flush();
            })
        })
        .collect()
}

async fn accept(
    socket: TcpListener,
    endpoint: &Arc<MinaAuth>,
    log: &Arc<RequestLog>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "the listener cannot be served"),
    };
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An answer is one write: there is nothing to wait for and merge.
        let _ = stream.set_nodelay(true);
        let (endpoint, log) = (Arc::clone(endpoint), Arc::clone(log));
        let service = service_fn(move |request| {
            let (endpoint, log) = (Arc::clone(&endpoint), Arc::clone(&log));
            async move { Ok::<_, Infallible>(endpoint.answer(&log, peer, request).await) }
        });
        let connection = http1::Builder::new()
            // An answer is small: copied together, head and body are one plain write.
            .writev(false)
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that went away or sent no HTTP is its own business.
            let _ = connection.await;
        });
    }
    drop(listener);
    let finished = async {
        connections.shutdown().await;
        endpoint.operations.finished().await;
    };
    if tokio::time::timeout(drain, finished).await.is_err() {
        warn!("requests still open after `server.drain_timeout` were cut off");
    }
}
