//! What a check of a session costs, part by part, and a decryption: `cargo bench`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use divan::Bencher;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use mina_auth::net::address::Peer;
use mina_auth::net::connections::Connections;
use mina_auth::net::door::Door;
use mina_auth::net::lane::{self, Date, Express, Head, Reply, Sent};
use mina_auth::session::{App, Lifetime, Login};
use mina_auth::store::Store as _;
use mina_auth::store::cached::{CacheSettings, Cached};
use mina_auth::store::memory::Memory;
use mina_auth::wafer::answer::{CHECKED_END, CHECKED_START};
use mina_auth::wafer::request;
use mina_auth::wechat::open_data::{self, OpenData};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn main() {
    divan::main();
}

const ID: &str = "ae3abb697e11eea9e5956e814910027f";
const SKEY: &str = "98cc869d8c3c593ca3b50371be4bd975";
const APP: &str = "wx0123456789abcdef";
const PROFILE: &str = r#"{"openId":"oGZUI0egBJY1zhBYw2KhdUfwVJJE","nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0","watermark":{"timestamp":1477314187,"appid":"wx0123456789abcdef"}}"#;

fn request() -> String {
    format!(
        r#"{{"version":1,"componentName":"MA","interface":{{"interfaceName":"qcloud.cam.auth","para":{{"id":"{ID}","skey":"{SKEY}"}}}}}}"#
    )
}

/// A cache that knows one session.
fn cache() -> Cached {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    runtime.block_on(async {
        let settings = CacheSettings { max_bytes: 1 << 20, max_stale: 600, touch_interval: 60 };
        let store = Arc::new(Memory::default());
        let cached = Cached::open(store, settings, 0).await.expect("it opens");
        let app = App {
            appid: APP.into(),
            secret: "secret".into(),
            lifetime: Lifetime::default(),
            is_default: false,
        };
        cached.put_app(&app).await.expect("the app is written");
        let login = Login {
            appid: APP.into(),
            open_id: "oGZUI0egBJY1zhBYw2KhdUfwVJJE".into(),
            union_id: None,
            session_key: "tiihtNczf5v6AKRyjwEUhQ==".into(),
            profile: Some(PROFILE.into()),
            new_id: ID.into(),
            skey: SKEY.into(),
            now: 0,
            per_user: 1,
        };
        cached.sign_in(login).await.expect("the login is written");
        cached.load(ID).await.expect("it is read").expect("it is there");
        cached
    })
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let request = request();
    bencher.bench(|| request::parse(black_box(request.as_bytes())).is_ok());
}

#[divan::bench]
fn look_up(bencher: Bencher<'_, '_>) {
    let cache = cache();
    bencher.bench(|| cache.known(black_box(ID), 1));
}

#[divan::bench]
fn compare_and_visit(bencher: Bencher<'_, '_>) {
    let cache = cache();
    let known = cache.known(ID, 1).expect("it is known");
    bencher.bench(|| {
        let valid = known.proves(black_box(SKEY)) && known.expired(1).is_none();
        cache.visited(&known, 1);
        valid
    });
}

/// Answers whatever it is asked with the same profile.
struct Constant;

impl Express for Constant {
    type Request<'a> = ();

    fn longest_body(&self) -> usize {
        1024
    }

    fn read(&self, _: &Head<'_, '_>) -> Option<()> {
        Some(())
    }

    async fn answer<'a>(&'a self, _: Peer, (): (), _: &'a [u8], mut reply: Reply<'a>) -> Sent {
        reply.status(StatusCode::OK);
        reply.header("content-type", "application/json; charset=utf-8");
        reply.end(SystemTime::UNIX_EPOCH, &[CHECKED_START, PROFILE, CHECKED_END])
    }
}

/// A request in the express lane, on a connection that is memory.
#[divan::bench]
fn express(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    let pass = Arc::new(Door::new(Vec::new(), 1, 0)).enter(Peer::Unix).expect("there is room");
    let ticket = Arc::new(Connections::default()).enter(pass);
    let (mut client, mut server) = tokio::io::duplex(4096);
    let body = request();
    let head = "POST /mina_auth/ HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let (date, activity) = (Date::default(), ticket.activity());
    let mut answer = [0; 4096];
    runtime.block_on(async {
        let serving = lane::serve(&Constant, &date, &mut server, Peer::Unix, &activity);
        let mut serving = std::pin::pin!(serving);
        let mut ask = async || {
            client.write_all(request.as_bytes()).await.expect("it is written");
            // It has answered when it waits for more.
            assert!(serving.as_mut().now_or_never().is_none());
            client.read(&mut answer).await.expect("it is read")
        };
        bencher.bench_local(|| ask().now_or_never().expect("it is memory"));
    });
}

#[divan::bench]
fn decrypt(bencher: Bencher<'_, '_>) {
    let sealed = open_data::encrypt([7; 16], [9; 16], PROFILE.as_bytes());
    let key = "BwcHBwcHBwcHBwcHBwcHBw==";
    let iv = "CQkJCQkJCQkJCQkJCQkJCQ==";
    assert!(OpenData::decrypt(key, &sealed, Some(iv), APP).is_ok());
    bencher.bench(|| OpenData::decrypt(black_box(key), &sealed, Some(iv), APP).is_ok());
}
