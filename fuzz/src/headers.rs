//! Whole requests, as bytes on a connection to a server that knows nobody.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use mina_auth::config::Config;
use mina_auth::serve::{Listeners, serve};

use super::seeds::{Step, steps};

/// How long an answer may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody listens where its WeChat should be.
const SETTINGS: &str = r#"
    server.listen = "127.0.0.1:0"
    server.max_body = "2KiB"
    admin.listen = "127.0.0.1:0"
    storage.url = "memory:"
    wechat.base_url = "http://127.0.0.1:9"
    log.level = "error"
    apps = [{ appid = "wx4f4bc4dec97d474b", secret = "0123456789abcdef0123456789abcdef" }]
"#;

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = steps().iter().map(Step::request).collect();
    let pipelined = seeds[..3].concat();
    seeds.push(pipelined);
    seeds
}

pub fn run(data: &[u8]) {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    let mut stream = TcpStream::connect(SERVER.get_or_init(start)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // A server that has heard enough closes.
    let _ = stream.write_all(data).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is no end: {error}");
    }
    let answer = String::from_utf8(answer).expect("answers are text");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer}");
    assert!(!answer.contains("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains(r#""returnCode":0,"#), "{answer}");
}

/// Starts a server, which lasts as long as the process.
fn start() -> SocketAddr {
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(&file, SETTINGS).expect("it can be written");
    let config = Config::load(Some(file.path())).expect("the settings are right");
    let listeners = Listeners::bind(&config).expect("there are free ports");
    let address = listeners.public_addresses().next().expect("it listens somewhere");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        runtime.block_on(serve(&config, listeners, std::future::pending())).expect("it serves");
    });
    address
}
