//! Whole requests, as bytes on a connection to a server that knows nobody.

use std::net::SocketAddr;
use std::sync::LazyLock;

use super::seeds::{Step, steps};
use super::server::{self, LONGEST, OUT_OF_THE_ORDINARY, start};

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

/// What no input has.
const ACCESS_KEY: &str = "server.access_key = \"5c1f8a3e9b7d4260\"\n";

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = steps().iter().map(Step::request).collect();
    seeds.push(seeds[..3].concat());
    let key = seeds[0].split_at("POST /mina_auth/".len());
    seeds.push([key.0, b"?key=5c", key.1].concat());
    let headers = b"Authorization: Basic OjVj\r\nX-Forwarded-For: y\r\nConnection: close\r\nHost: ";
    let host = seeds[0].windows(6).position(|piece| piece == b"Host: ").unwrap_or_default();
    seeds.push([&seeds[0][..host], headers, &seeds[0][host + 6..]].concat());
    seeds
}

pub fn run(data: &[u8]) {
    static OPEN: LazyLock<SocketAddr> = LazyLock::new(|| start(SETTINGS));
    static LOCKED: LazyLock<SocketAddr> =
        LazyLock::new(|| start(&(ACCESS_KEY.to_owned() + SETTINGS)));
    if data.len() > LONGEST {
        return;
    }
    let answers = exchange(*OPEN, data);
    for (status, code) in &answers {
        assert_ne!(status, "500", "{answers:?}");
        assert_ne!(code.as_deref(), Some("0"), "somebody got in: {answers:?}");
    }
    // Both lanes say the same, as far as they go: one may answer who has gone, the other not, and
    // a reset takes answers along.
    let others = exchange(*OPEN, &[OUT_OF_THE_ORDINARY, data].concat());
    let mut both = answers.iter().zip(others.iter().skip(1));
    assert!(both.all(|(a, b)| a == b), "{answers:?} {others:?}");
    let locked = exchange(*LOCKED, data);
    assert!(locked.iter().all(|(_, code)| code.is_none()), "without the key: {locked:?}");
}

/// The statuses of all that is answered to these bytes, and the return codes.
fn exchange(server: SocketAddr, data: &[u8]) -> Vec<(String, Option<String>)> {
    let status = |answer: &str| answer.chars().skip(2).take(3).collect();
    let code = |answer: &str| {
        let (_, rest) = answer.split_once("\"returnCode\":")?;
        rest.split_once(',').map(|(code, _)| code.to_owned())
    };
    server::exchange(server, data).iter().map(|answer| (status(answer), code(answer))).collect()
}
