//! Requests that prove a session, as bytes: the express lane and hyper answer the same.

use std::net::SocketAddr;
use std::sync::LazyLock;

use mina_auth::session::AppId;
use mina_auth::simulator::Simulator;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::server::{LONGEST, OUT_OF_THE_ORDINARY, ask, exchange, start};

const APPID: &str = "wx4f4bc4dec97d474b";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What stands in an input for the id of a session, and what for its skey: as long as they are.
const ID: &str = "d-00000000000000000000000000000000";
const SKEY: &str = "11111111111111111111111111111111";

/// A server that knows one user, and the WeChat that vouches for them.
struct World {
    server: SocketAddr,
    wechat: SocketAddr,
}

pub fn seeds() -> Vec<Vec<u8>> {
    let bearer = format!("Authorization: Bearer {ID}.{SKEY}\r\n");
    let pair = format!("X-WX-Id: {ID}\r\nX-WX-Skey: {SKEY}\r\n");
    let wrong = format!("Authorization: bearer {ID}.x\r\n");
    let protocol = format!("Sec-WebSocket-Protocol: bearer, {ID}.{SKEY}\r\n");
    let in_url = format!("X-Forwarded-Uri: /a?b=c&token={ID}.{SKEY}\r\n");
    let original =
        format!("X-Original-URI: /?token={ID}%2E{SKEY}\r\nAuthorization: Basic OjVj\r\n");
    let heads = [
        ("GET /v1/forward-auth", bearer.as_str()),
        ("HEAD /v1/forward-auth?optional=1&appid=wx4f4bc4dec97d474b", &pair),
        ("POST /v1/forward-auth/some/where?appid=wx1", &bearer),
        ("GET /v1/forward-auth?optional=1", ""),
        ("GET /v1/forward-auth", &wrong),
        ("OPTIONS /v1/forward-auth", &protocol),
        ("GET /v1/forward-auth/", &in_url),
        ("PUT /v1/forward-auth", &original),
        ("GET /v1/session", &bearer),
        ("GET /v1/session?appid=wx4f4bc4dec97d474b", &pair),
        ("HEAD /v1/session", &wrong),
        ("DELETE /v1/session", &bearer),
        ("PATCH /v1/session", &bearer),
    ];
    let head = |(start, headers): &(&str, &str)| {
        format!("{start} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
    };
    let mut seeds: Vec<_> = heads.iter().map(head).collect();
    // Two of them in one write.
    seeds.push(seeds[..2].concat());
    let auth = format!(
        r#"{{"version":1,"componentName":"MA","interface":{{"interfaceName":"qcloud.cam.auth","para":{{"id":"{ID}","skey":"{SKEY}"}}}}}}"#
    );
    let head = format!("POST /mina_auth/ HTTP/1.1\r\nHost: x\r\nContent-Length: {}", auth.len());
    seeds.push(format!("{head}\r\n\r\n{auth}").into_bytes());
    seeds
}

pub fn run(data: &[u8]) {
    static WORLD: LazyLock<World> = LazyLock::new(World::new);
    if data.len() > LONGEST {
        return;
    }
    let answers = exchange(WORLD.server, &WORLD.with_session(data));
    let others = [OUT_OF_THE_ORDINARY, &WORLD.with_session(data)].concat();
    let others = exchange(WORLD.server, &others);
    // As far as they go: one may answer who has gone, the other not.
    for (answer, other) in answers.iter().zip(others.iter().skip(1)) {
        assert_eq!(timeless(answer), timeless(other));
        assert!(!answer.starts_with("1 500"), "{answer}");
        let is_for_somebody = answer.to_ascii_lowercase().contains("\r\nx-wx-openid: ");
        let has_both = [ID, SKEY].map(|part| find(data, part.as_bytes()).is_some());
        assert!(!is_for_somebody || has_both == [true, true], "without proof: {answer}");
    }
}

/// An answer without what depends on when it was asked for.
fn timeless(answer: &str) -> String {
    let is_date = |line: &str| line.to_ascii_lowercase().starts_with("date: ");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines: Vec<_> = head.split("\r\n").filter(|line| !is_date(line)).collect();
    // "created_at":"2026-11-27T00:00:00Z", and the like.
    lines.extend(body.split('"').filter(|text| !(text.starts_with("20") && text.ends_with('Z'))));
    lines.join("\n")
}

fn find(data: &[u8], part: &[u8]) -> Option<usize> {
    data.windows(part.len()).position(|window| window == part)
}

impl World {
    fn new() -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
                tell.send(listener.local_addr().expect("it has an address")).expect("it is heard");
                let app = (AppId::from(APPID), SECRET.into());
                Simulator::new([app]).serve(listener, std::future::pending()).await
            })
        });
        let wechat = told.recv().expect("WeChat is up");
        let server = start(&format!(
            r#"
            server.listen = "127.0.0.1:0"
            admin.listen = "127.0.0.1:0"
            api.token_in_url = true
            storage.url = "memory:"
            wechat.base_url = "http://{wechat}"
            log.level = "error"
            apps = [{{ appid = "{APPID}", secret = "{SECRET}" }}]
            "#
        ));
        Self { server, wechat }
    }

    /// The input with a session of its own: what went before may have ended another.
    fn with_session(&self, data: &[u8]) -> Vec<u8> {
        if find(data, ID.as_bytes()).or(find(data, SKEY.as_bytes())).is_none() {
            return data.to_vec();
        }
        let code = "GET /sim/code?openid=someone HTTP/1.0\r\n\r\n";
        let code = ask(self.wechat, code);
        let login = format!(r#"{{"code":"{code}"}}"#);
        let head = format!("POST /v1/login HTTP/1.0\r\nContent-Length: {}\r\n\r\n", login.len());
        let answer = ask(self.server, &(head + &login));
        let token = answer.split('"').nth(3).and_then(|token| token.split_once('.'));
        let (id, skey) = token.unwrap_or_else(|| panic!("no login: {answer}"));
        assert_eq!((id.len(), skey.len()), (ID.len(), SKEY.len()), "{answer}");
        let with_id = replace(data, ID.as_bytes(), id.as_bytes());
        replace(&with_id, SKEY.as_bytes(), skey.as_bytes())
    }
}

fn replace(data: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::new(), data);
    while let Some(at) = find(rest, part) {
        replaced.extend([&rest[..at], by].concat());
        rest = &rest[at + part.len()..];
    }
    [&replaced, rest].concat()
}
