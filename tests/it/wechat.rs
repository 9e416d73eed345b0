//! What becomes of what WeChat says, and of what it does not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mina_auth::session::{App, Lifetime};
use mina_auth::wechat::client::{Client, ExchangeError, Settings};

use crate::support::{APP, Gate, PATIENCE, Reply, SECRET, Server, Setup, WeChat, refusing_address};

#[test]
fn the_question_is_what_wechat_documents() {
    let wechat = WeChat::of_anybody();
    let server = Setup::new(wechat.address).serve();
    assert_eq!(server.log_in("a code/with+odd&characters=%").code, 0);
    let question = &wechat.questions()[0];
    assert_eq!(question.path, "/sns/jscode2session");
    assert_eq!(question.get("appid"), APP);
    assert_eq!(question.get("secret"), SECRET);
    assert_eq!(question.code(), "a code/with+odd&characters=%");
    assert_eq!(question.get("grant_type"), "authorization_code");
}

#[test]
fn a_busy_wechat_is_asked_again() {
    let busy = AtomicUsize::new(2);
    let wechat = WeChat::start(move |question| {
        let is_busy = busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if is_busy.is_ok() {
            Reply::errcode(-1, "system error")
        } else {
            Reply::person(question.code())
        }
    });
    let server = Setup::new(wechat.address).serve();
    assert_eq!(server.log_in("person").line(), "0 NEW_SESSION_SUCCESS");
    assert_eq!(wechat.questions().len(), 3);
}

#[test]
fn a_wechat_that_stays_busy_is_asked_three_times() {
    let wechat = WeChat::start(|_| Reply::errcode(-1, "system error"));
    let server = Setup::new(wechat.address).serve();
    let answer = server.log_in("person");
    assert_eq!(answer.code, 1007);
    assert!(answer.message.contains("errcode -1: system error"), "{answer:?}");
    assert_eq!(wechat.questions().len(), 3);
}

#[test]
fn errcodes_become_return_codes() {
    let wechat = WeChat::start(|question| {
        Reply::errcode(question.code().parse().unwrap(), "as WeChat puts it, rid: 1-2-3")
    });
    let server = Setup::new(wechat.address).serve();
    for errcode in [40029, 40163] {
        assert_refused(&server, errcode, 40029, "WEIXIN_CODE_ERR");
    }
    for errcode in [40002, 40013, 40125, 40164, 40226, 40243, 41002, 41004, 45009, 45011, 61450] {
        assert_refused(&server, errcode, 1007, "WEIXIN_RETURN_ERR");
    }
    // One question each: none of these is to be repeated.
    assert_eq!(wechat.questions().len(), 13);
}

fn assert_refused(server: &Server, errcode: i64, code: i64, constant: &str) {
    let answer = server.log_in(&errcode.to_string());
    assert_eq!((answer.code, answer.data.as_str()), (code, Some("")), "{answer:?}");
    assert!(answer.message.starts_with(&format!("{constant}: ")), "{answer:?}");
    let reason = format!("errcode {errcode}: as WeChat puts it, rid: 1-2-3");
    assert!(answer.message.ends_with(&reason), "{answer:?}");
}

#[test]
fn an_answer_of_no_use_is_named() {
    let wechat = WeChat::start(|question| match question.code() {
        "status" => Reply::text(502, "bad gateway"),
        "portal" => Reply::text(511, "<!DOCTYPE html>"),
        "page" => Reply::text(200, "\u{feff} <html>"),
        "mark" => Reply::text(200, "\u{feff}{\"openid\":\"o\",\"session_key\":\"a2V5\"}"),
        "long" => Reply::text(200, " ".repeat(1 << 20)),
        "hang up" => Reply::hang_up(),
        _ => Reply::text(200, r#"{"errcode":"many"}"#),
    });
    let server = Setup::new(wechat.address).serve();
    let line = |code| server.log_in(code).line();
    assert_eq!(line("status"), "1005 WEIXIN_NET_ERR: WeChat answered with HTTP status 502");
    let portal = line("portal");
    assert!(portal.contains("WeChat answered with HTTP status 511 and a web page"), "{portal}");
    let page = line("page");
    assert!(
        page.starts_with("1007 ") && page.contains("a web page, with HTTP status 200"),
        "{page}"
    );
    assert_eq!(line("mark"), "0 NEW_SESSION_SUCCESS");
    assert_eq!(line("long"), "1007 WEIXIN_RETURN_ERR: WeChat's answer is too long");
    assert_eq!(line("hang up"), "1005 WEIXIN_NET_ERR: WeChat cannot be reached");
    assert_eq!(
        line("errcode"),
        "1007 WEIXIN_RETURN_ERR: WeChat's answer has an errcode that is no number"
    );
}

#[test]
fn a_silent_wechat_is_left_after_the_timeout() {
    let gate = Gate::default();
    let wechat = {
        let gate = gate.clone();
        WeChat::start(move |_| {
            gate.pass();
            Reply::person("late")
        })
    };
    let server = Setup::new(wechat.address).with("wechat.timeout = \"300ms\"").serve();
    let asked = Instant::now();
    assert_eq!(server.log_in("code").line(), "1005 WEIXIN_NET_ERR: WeChat cannot be reached");
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(wechat.questions().len(), 1, "the code may have been spent");
    gate.open();
}

/// A WeChat that answers its first question with these bytes, and goes on as `then` does.
fn saying<T: Send + 'static>(
    bytes: &'static str,
    then: impl FnOnce(&mut TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talk = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        stream.write_all(bytes.as_bytes()).unwrap();
        then(&mut stream)
    });
    (address, talk)
}

const NOT_REACHED: &str = "1005 WEIXIN_NET_ERR: WeChat cannot be reached";
const BEGINNING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"openid\":\"o\",";

#[test]
fn an_answer_that_never_ends_is_left_after_the_timeout() {
    let gate = Gate::default();
    let held = gate.clone();
    let (wechat, _) = saying(BEGINNING, move |_| held.pass());
    let server = Setup::new(wechat).with("wechat.timeout = \"300ms\"").serve();
    let asked = Instant::now();
    assert_eq!(server.log_in("code").line(), NOT_REACHED);
    assert!(asked.elapsed() < Duration::from_secs(10));
    gate.open();
}

#[test]
fn an_answer_that_is_cut_off_or_no_http_is_none() {
    for bytes in [BEGINNING, "HTTP/1.1 200 OK\r\nContent-Le", "\0\x01 \x7f no HTTP at all\r\n\r\n"]
    {
        let (wechat, _) = saying(bytes, |_| ());
        assert_eq!(Setup::new(wechat).serve().log_in("code").line(), NOT_REACHED, "{bytes:?}");
    }
}

#[test]
fn an_answer_of_a_hundred_megabytes_is_not_read_to_its_end() {
    const LENGTH: usize = 100 << 20;
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
        // No length: the answer ends with the connection.
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 500 No\r\nContent-Length: 104857600\r\n\r\n",
    ] {
        let (wechat, sent) = saying(head, |stream| {
            let mut pieces = (0..LENGTH).step_by(1 << 14);
            pieces.find(|_| stream.write_all(&[b' '; 1 << 14]).is_err()).unwrap_or(LENGTH)
        });
        let server = Setup::new(wechat).serve();
        let line = server.log_in("code").line();
        assert!(line.contains("is too long") || line.contains("status 500"), "{line}");
        let sent = sent.join().unwrap();
        assert!(sent < LENGTH / 2, "{sent} bytes were taken after {head:?}");
    }
}

#[test]
fn a_login_gives_up_after_ten_seconds_in_all() {
    let wechat = WeChat::start(|_| {
        thread::sleep(Duration::from_secs(4));
        Reply::errcode(-1, "system error")
    });
    let server = Setup::new(wechat.address).serve();
    // It would be 1007, had it waited for the third answer.
    assert_eq!(server.log_in("code").line(), NOT_REACHED);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = WeChat::of_anybody();
    let location = format!("http://{}/sns/jscode2session?js_code=x", elsewhere.address);
    let wechat = WeChat::start(move |_| {
        let headers = vec![("Location", location.clone())];
        Reply { status: 302, headers, body: String::new() }
    });
    let server = Setup::new(wechat.address).serve();
    assert_eq!(
        server.log_in("code").line(),
        "1005 WEIXIN_NET_ERR: WeChat answered with HTTP status 302"
    );
    assert!(elsewhere.questions().is_empty(), "somebody else got the secret");
}

#[test]
fn a_base_url_of_ones_own_never_falls_back() {
    let fallback = WeChat::of_anybody();
    let fallback_url = format!("wechat.fallback = [\"http://{}\"]", fallback.address);
    let server = Setup::new(refusing_address()).with(&fallback_url).serve();
    assert_eq!(server.log_in("code").line(), "1005 WEIXIN_NET_ERR: WeChat cannot be reached");
    assert!(fallback.questions().is_empty(), "somebody else got the secret");
}

#[test]
fn a_base_url_may_have_a_path() {
    let wechat = WeChat::of_anybody();
    let base_url = format!("wechat.base_url = \"http://{}/relay/\"", wechat.address);
    let server = Setup::new(wechat.address).with(&base_url).serve();
    assert_eq!(server.log_in("code").code, 0);
    assert_eq!(wechat.questions()[0].path, "/relay/sns/jscode2session");
}

#[test]
fn the_proxy_is_the_configured_one() {
    let proxy = WeChat::of_anybody();
    let through_proxy = format!(
        "wechat.base_url = \"http://wechat.invalid\"\nwechat.proxy = \"http://{}\"",
        proxy.address
    );
    let server = Setup::new(proxy.address).with(&through_proxy).serve();
    assert_eq!(server.log_in("code").code, 0);
    assert_eq!(proxy.questions().len(), 1);
}

#[test]
fn no_proxy_is_taken_from_the_environment() {
    let proxy = WeChat::of_anybody();
    let setup = Setup::new(refusing_address());
    let mut command = setup.command(&["serve"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, format!("http://{}", proxy.address));
    }
    assert_eq!(Server::start(&mut command).log_in("code").code, 1005);
    assert!(proxy.questions().is_empty(), "somebody else got the secret");
}

fn app() -> App {
    App {
        appid: APP.into(),
        secret: SECRET.into(),
        lifetime: Lifetime::default(),
        is_default: false,
    }
}

fn client(hosts: &[SocketAddr]) -> Client {
    let base_urls = hosts.iter().map(|host| format!("http://{host}").parse().unwrap());
    let settings = Settings { base_urls: base_urls.collect(), timeout: PATIENCE, proxy: None };
    Client::new(settings).unwrap()
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_cannot_be_reached() {
    let wechat = WeChat::of_anybody();
    let client = client(&[refusing_address(), wechat.address]);
    let identity = client.code2session(&app(), "person").await.unwrap();
    assert_eq!(identity.open_id.as_str(), "person");
}

#[tokio::test]
async fn a_code_that_may_be_spent_is_not_sent_to_the_next_host() {
    let ill = WeChat::start(|_| Reply::text(500, ""));
    let absent = WeChat::start(|_| Reply::hang_up());
    let second = WeChat::of_anybody();
    let outcome = client(&[ill.address, second.address]).code2session(&app(), "person").await;
    assert_eq!(outcome.unwrap_err(), ExchangeError::Status(500));
    let outcome = client(&[absent.address, second.address]).code2session(&app(), "person").await;
    assert!(matches!(outcome.unwrap_err(), ExchangeError::Unanswered(_)));
    assert!(second.questions().is_empty());
}
