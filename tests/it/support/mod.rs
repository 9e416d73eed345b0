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

/// How long anything may take before it counts as hanging, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How soon a server sees what another process changed, when the machine has nothing else to do.
pub const SEEN_WITHIN: Duration = Duration::from_secs(1);

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

/// Asserts that most of these are seen as soon as is promised: a busy machine holds up one or
/// the other.
#[track_caller]
pub fn assert_most_are_soon(mut times: Vec<Duration>) {
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < SEEN_WITHIN, "{times:?}");
}

/// Sends a request to a server whose SQLite waits for another process, and hangs up after a while;
/// returns when the database is free again.
pub fn hang_up_on(setup: &Setup, to: SocketAddr, request: &[u8], after: Duration) {
    let database = rusqlite::Connection::open(setup.path("mina-auth.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut connection = http::Connection::open(to);
    connection.send(request);
    std::thread::sleep(after);
    drop(connection);
    database.execute_batch("ROLLBACK").unwrap();
}

/// An address on which nobody listens.
pub fn refusing_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
