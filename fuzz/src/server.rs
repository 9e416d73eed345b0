//! A server in this process, and requests to it as bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use mina_auth::config::Config;
use mina_auth::net::address::Address;
use mina_auth::serve::{Listeners, serve};

/// How long an answer may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// Half of `limits.header_size`. Longer heads are refused as such or as no HTTP, as their pieces
/// happen to come.
pub const LONGEST: usize = 8 * 1024;

/// A request after which a connection has left the express lane.
pub const OUT_OF_THE_ORDINARY: &[u8] = b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n";

/// All that is answered to these bytes, each from after its `HTTP/1.` on.
pub fn exchange(server: SocketAddr, data: &[u8]) -> Vec<String> {
    let mut stream = connect(server);
    // A server that has heard enough closes.
    let _ = stream.write_all(data).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut received = Vec::new();
    if let Err(error) = stream.read_to_end(&mut received) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is no end: {error}");
    }
    let received = String::from_utf8(received).expect("answers are text");
    let mut answers = received.split("HTTP/1.");
    assert_eq!(answers.next(), Some(""), "{received}");
    answers.map(str::to_owned).collect()
}

/// The body that a request of HTTP/1.0 is answered with.
pub fn ask(server: SocketAddr, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it answers whole");
    body.to_owned()
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Starts a server, which lasts as long as the process.
pub fn start(settings: &str) -> SocketAddr {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(&file, settings).expect("it can be written");
    let config = Config::load(Some(file.path())).expect("the settings are right");
    let listeners = Listeners::bind(&config).expect("there are free ports");
    let Some(&Address::Ip(address)) = listeners.public_addresses().next() else {
        panic!("it listens on no port")
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        runtime
            .block_on(serve(&config, listeners, None, std::future::pending()))
            .expect("it serves");
    });
    address
}
