//! Where a server listens, an IP address and port or a Unix socket, and who connects to it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

const BACKLOG: i32 = 4096;

/// Who may connect to a Unix socket: the server's user and its group.
const SOCKET_MODE: u32 = 0o660;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Tells whether it can be reached from this machine alone.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err("expected a path such as unix:/run/mina-auth/mina-auth.sock"),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Ip).map_err(
                |_| "expected an IP address and port such as 127.0.0.1:8080, or unix:/path/to.sock",
            ),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ip(IpAddr),
    /// A process on this machine, which had the permission to open the socket.
    Unix,
}

impl From<SocketAddr> for Peer {
    /// An IPv4 address that came mapped into IPv6 is the IPv4 address.
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip().to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// An address that is bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    pub address: Address,
    /// One for each thread.
    pub sockets: Vec<Listening>,
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listening {
    Tcp(TcpListener),
    // The file goes before the listener does: nobody may find it and be refused.
    Unix(Arc<SocketFile>, UnixListener),
}

/// Binds an address, once for each thread. Port 0 takes a free port.
///
/// # Errors
///
/// When the address cannot be had, also because another server has it.
pub fn bind(address: &Address, threads: usize) -> io::Result<Bound> {
    match address {
        Address::Ip(address) => {
            // Sockets with SO_REUSEPORT would bind silently beside those of another server; this
            // one would not.
            let address = TcpListener::bind(address)?.local_addr()?;
            let sockets = (0..threads).map(|_| bind_shared(address).map(Listening::Tcp));
            Ok(Bound { address: Address::Ip(address), sockets: sockets.collect::<Result<_, _>>()? })
        }
        Address::Unix(path) => {
            let (file, listener) = bind_unix(path)?;
            let sockets =
                (0..threads).map(|_| Ok(Listening::Unix(Arc::clone(&file), listener.try_clone()?)));
            Ok(Bound { address: address.clone(), sockets: sockets.collect::<io::Result<_>>()? })
        }
    }
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

fn bind_unix(path: &Path) -> io::Result<(Arc<SocketFile>, UnixListener)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = Arc::new(SocketFile(path.to_owned()));
    // Nobody can connect before `listen`, whatever the umask has made of the file.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    Ok((file, socket.into()))
}

/// Removes the file of a server that was killed; one that somebody answers on is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        let problem = "a file that is no socket is in the way";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server that is busy would keep `connect` waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
            io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            _ => Err(error),
        },
    }
}

/// The file of a Unix socket, removed when dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What cannot be removed is stale for the next server, which replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/a.sock", "unix:a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "localhost:8080", "127.0.0.1", "/run/a.sock"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_it_stands_for() {
        let peer = |text: &str| Peer::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(peer("[::ffff:10.0.0.1]:5"), peer("10.0.0.1:6"));
    }
}
