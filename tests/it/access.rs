//! Who gets in: networks and the key of the protocol endpoint, the token of the admin listener.

use std::fs;
use std::os::unix::net::UnixStream;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::http::{self, Connection};
use crate::support::server::{login_request, login_request_to};
use crate::support::{Answer, Server, Setup, WeChat, refusing_address};

const KEY: &str = "the+key/of:the server";
const KEY_IN_URL: &str = "the%2Bkey%2Fof%3Athe%20server";
const TOKEN: &str = "the-token-of-the-admin";

fn setup(settings: &str) -> Setup {
    Setup::new(WeChat::of_anybody().address).with(settings).with("log.level = \"debug\"")
}

/// Asserts that the server has counted refusals for this reason, with this example.
#[track_caller]
fn assert_reported(server: &Server, reason: &str, example: &str) {
    let example = format!("\"example\":\"{example}\"");
    server.program.stderr.wait_for(reason, |line| {
        let is_it = line.contains(reason) && line.contains(&example) && line.contains("\"WARN\"");
        is_it.then_some(())
    });
}

#[test]
fn only_the_allowed_networks_may_connect() {
    let setup = setup(
        r#"
        server.listen = ["127.0.0.1:0", "unix:mina-auth.sock"]
        server.allow = ["127.0.0.2", "10.0.0.0/8"]
        "#,
    );
    let server = setup.serve();
    let mut allowed = Connection::open_from("127.0.0.2", server.address);
    assert_eq!(Answer::read(&allowed.send(login_request("a")).read()).code, 0);
    assert!(Connection::open_from("127.0.0.3", server.address).is_closed());
    assert_reported(&server, "`server.allow`", "127.0.0.3");
    let mut local = Connection::over(UnixStream::connect(setup.path("mina-auth.sock")).unwrap());
    assert_eq!(Answer::read(&local.send(login_request("b")).read()).code, 0);
    // It is about the protocol.
    assert_eq!(http::get(server.admin, "/health/live").status, 200);
}

#[test]
fn a_network_that_is_none_is_told_what_one_looks_like() {
    let setup = Setup::new(refusing_address()).with("server.allow = \"10.0.0.0/8, localhost\"");
    let line = setup.run(&["serve"]).failed_in_one_line();
    for part in ["server.allow", "localhost", "10.0.0.0/8"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn the_key_comes_with_the_request_and_into_no_log() {
    let setup = setup("server.access_key_file = \"key.txt\"");
    fs::write(setup.path("key.txt"), format!("{KEY}\n")).unwrap();
    let server = setup.serve();
    let ask = |path: &str, headers: &[(&str, &str)]| {
        http::send(server.address, login_request_to(path, headers, "person"))
    };
    let basic = |key: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("wafer:{key}")));

    let in_url = format!("/mina_auth/?key={KEY_IN_URL}");
    assert_eq!(Answer::read(&ask(&in_url, &[])).code, 0);
    let at_app = format!("/mina_auth/{}?key={KEY_IN_URL}", crate::support::APP);
    assert_eq!(Answer::read(&ask(&at_app, &[])).code, 0);
    let header = basic(KEY);
    assert_eq!(Answer::read(&ask("/mina_auth/", &[("Authorization", &header)])).code, 0);

    let wrong = basic("wrong");
    for (path, headers) in [
        ("/mina_auth/", &[][..]),
        ("/mina_auth/?key=wrong", &[]),
        ("/mina_auth/", &[("Authorization", wrong.as_str())]),
    ] {
        let response = ask(path, headers);
        assert_eq!(response.status, 401);
        assert_eq!(response.header("www-authenticate"), "Basic realm=\"mina-auth\"");
        assert!(response.text().contains("?key="), "{response:?}");
    }
    assert_reported(&server, "`server.access_key`", "127.0.0.1");

    let written = server.stop().stderr;
    for needle in [KEY, KEY_IN_URL, &header["Basic ".len()..], "key=wrong"] {
        assert!(!written.contains(needle), "`{needle}` is in the log:\n{written}");
    }
    let shown = setup.run(&["config", "show"]).succeeded().stdout;
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn a_request_without_the_key_is_refused_before_its_body_comes() {
    let server = setup(&format!("server.access_key = \"{KEY}\"")).serve();
    let head = http::head("POST", "/mina_auth/", &[("Content-Length", "1000")]);
    assert_eq!(http::send(server.address, head).status, 401);
}

#[test]
fn a_key_that_is_empty_or_given_twice_is_named() {
    let refuse = |settings: &str, setting: &str| {
        let setup = Setup::new(refusing_address()).with(settings);
        fs::write(setup.path("empty.txt"), "\n").unwrap();
        let line = setup.run(&["serve"]).failed_in_one_line();
        assert!(line.contains(setting), "{line}");
        assert!(!line.contains(KEY), "{line}");
    };
    refuse("server.access_key_file = \"empty.txt\"", "`server.access_key_file`");
    refuse("server.access_key_file = \"absent.txt\"", "`server.access_key_file`");
    refuse("admin.token_file = \"empty.txt\"", "`admin.token_file`");
    let both = format!("server.access_key_file = \"empty.txt\"\nserver.access_key = \"{KEY}\"");
    refuse(&both, "`server.access_key`");
}

#[test]
fn the_admin_listener_wants_its_token_for_all_but_health() {
    let setup = setup(&format!("admin.token = \"{TOKEN}\""));
    let server = setup.serve();
    let get = |path: &str, authorization: &str| {
        let headers = [("Authorization", authorization)];
        http::send(server.admin, http::request("GET", path, &headers, b""))
    };
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(http::get(server.admin, path).status, 200);
    }
    let right = format!("Bearer {TOKEN}");
    for path in ["/", "/metrics", "/health", "/x/../health/live", "//health/live"] {
        for wrong in ["", TOKEN, &format!("{right}x"), &right[..right.len() - 1], "Bearer "] {
            let response = get(path, wrong);
            assert_eq!(response.status, 401, "{path} {wrong}");
            assert_eq!(response.header("www-authenticate"), "Bearer");
        }
        assert_eq!(http::get(server.admin, path).status, 401, "{path}");
        let status = if matches!(path, "/" | "/metrics") { 200 } else { 404 };
        assert_eq!(get(path, &right).status, status, "{path}");
    }
    let written = server.stop().stderr;
    assert!(!written.contains(TOKEN), "{written}");
}

#[test]
fn a_local_admin_listener_without_a_token_is_open() {
    let server = setup("").serve();
    assert_eq!(http::get(server.admin, "/nothing").status, 404);
}
