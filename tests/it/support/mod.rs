//! What the tests stand on: programs, connections and a WeChat.

mod chance;
mod gate;
pub mod http;
pub mod program;
pub mod server;
pub mod simulator;
pub mod tls;
pub mod wechat;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

pub use chance::Chance;
pub use gate::Gate;
pub use server::{Answer, Server, Session, Setup};
pub use simulator::Simulator;
pub use wechat::{Reply, WeChat};

/// The app that every server has, and its secret.
pub const APP: &str = "wx0123456789abcdef";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A second app of the simulator's.
pub const OTHER_APP: &str = "wxfedcba9876543210";
pub const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";

/// How long anything may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a server may take to see what another process changed: a second is promised, and
/// the machine may be busy.
pub const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Asks until `ask` has something to say, for so long.
pub fn eventually<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An address on which nobody listens.
pub fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
