//! The endpoint as HTTP: what clients do to it.

use std::cell::RefCell;

use proptest::prelude::*;
use serde_json::json;

use crate::support::http::{self, Connection, Response};
use crate::support::server::{LOGIN, envelope};
use crate::support::{Answer, Server, Setup, WeChat};

const PATH: &str = "/mina_auth/";

fn serve() -> Server {
    Setup::new(WeChat::of_anybody().address).serve()
}

fn login(code: &str) -> String {
    envelope(&json!({ "interfaceName": LOGIN, "para": { "code": code } }))
}

fn assert_logged_in(response: &Response) {
    assert_eq!(Answer::read(response).code, 0, "{response:?}");
}

#[test]
fn any_method_is_answered() {
    let server = serve();
    for method in ["POST", "PUT", "GET", "DELETE", "PATCH", "OPTIONS"] {
        let request = http::request(method, PATH, &[], login(method).as_bytes());
        assert_logged_in(&http::send(server.address, request));
    }
    let mut connection = Connection::open(server.address);
    let response = connection.send(http::request("HEAD", PATH, &[], b"")).read_head();
    assert_eq!(response.status, 200);
    // The head came without a body: the next response follows at once.
    assert_logged_in(
        &connection.send(http::request("POST", PATH, &[], login("x").as_bytes())).read(),
    );
}

#[test]
fn answers_are_json_in_utf8_with_a_length() {
    let response = http::post(serve().address, PATH, &login("person"));
    assert_eq!(response.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(response.header("content-length"), response.body.len().to_string());
}

#[test]
fn the_endpoint_is_there_with_and_without_the_last_slash() {
    let server = serve();
    for path in [
        "/mina_auth",
        "/mina_auth/",
        "/mina_auth/?x=1",
        "/mina_auth/wx0123456789abcdef/",
        // What the PHP server had there.
        "/mina_auth/index.php",
        "/mina_auth/index.php?x=1",
    ] {
        assert_logged_in(&http::post(server.address, path, &login("person")));
    }
}

#[test]
fn there_is_nothing_elsewhere() {
    let server = serve();
    for path in ["/", "/mina_authx", "/mina_auth/a/b", "/MINA_AUTH/", "/sim/login", "/favicon.ico"]
    {
        assert_eq!(http::post(server.address, path, &login("person")).status, 404, "{path}");
    }
}

#[test]
fn what_is_no_appid_is_told_so() {
    let server = serve();
    for path in ["index.html", "mina_auth.php", "wx1", "a/b", "index.php/a", "WX0123456789ABCDEF"] {
        let answer = http::post(server.address, &format!("/mina_auth/{path}"), &login("person"));
        assert_eq!(answer.status, 404, "{path}");
        for part in ["/mina_auth/ ", "APPID", "no appid"] {
            assert!(answer.text().contains(part), "{part}: {answer:?}");
        }
    }
    let unknown = http::post(server.address, "/mina_auth/wxaaaaaaaaaaaaaaaa", &login("person"));
    assert_eq!(Answer::read(&unknown).code, 1012);
}

#[test]
fn an_app_may_have_a_name_of_its_own() {
    let apps = "apps = [{ appid = \"shop\", secret = \"s\" }, { appid = \"bar\", secret = \"s\" }]";
    let server = Setup::new(WeChat::of_anybody().address).with(apps).serve();
    assert_logged_in(&http::post(server.address, "/mina_auth/shop", &login("person")));
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let server =
        Setup::new(WeChat::of_anybody().address).with("server.max_body = \"1KiB\"").serve();
    let body = |length| format!("{:length$}", login("person")).into_bytes();
    let plain = |length| http::request("POST", PATH, &[], &body(length));
    let chunked = |length| http::chunked_request("POST", PATH, &[], &body(length), 100);
    for request in [plain(1024), chunked(1024)] {
        assert_logged_in(&http::send(server.address, request));
    }
    for request in [plain(1025), chunked(1025)] {
        let response = http::send(server.address, request);
        assert_eq!(response.status, 413);
        assert!(response.text().contains("server.max_body"), "{response:?}");
    }
}

#[test]
fn a_body_that_is_announced_too_long_is_refused_before_it_is_sent() {
    let server = serve();
    let head = http::head("POST", PATH, &[("Content-Length", "1048577")]);
    assert_eq!(http::send(server.address, head).status, 413);
}

#[test]
fn a_client_that_sends_far_too_much_gets_its_answer() {
    let server = serve();
    let mut connection = Connection::open(server.address);
    // The server need not take it all.
    let _ = connection.try_send(&http::request("POST", PATH, &[], &vec![b' '; 8 << 20]));
    assert_eq!(connection.read().status, 413);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let server = serve();
    let body = login("person");
    let length = body.len().to_string();
    let headers = [("Expect", "100-continue"), ("Content-Length", &*length)];
    let mut connection = Connection::open(server.address);
    let interim = connection.send(http::head("POST", PATH, &headers)).read_head();
    assert_eq!(interim.status, 100);
    assert_logged_in(&connection.send(body).read());
}

#[test]
fn a_connection_serves_many_requests() {
    let server = serve();
    let mut connection = Connection::open(server.address);
    for body in [login("a"), "no JSON".into(), String::new(), login("b")] {
        let response = connection.send(http::request("POST", PATH, &[], body.as_bytes())).read();
        assert_eq!(response.status, 200);
    }
    assert_eq!(connection.send(http::request("GET", "/", &[], b"")).read().status, 404);
    let request = http::request("POST", PATH, &[("Connection", "close")], login("c").as_bytes());
    assert_logged_in(&connection.send(request).read());
    assert!(connection.is_closed());
}

#[test]
fn a_client_of_http_1_0_is_answered() {
    let server = serve();
    let body = login("person");
    let request = format!("POST {PATH} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut connection = Connection::open(server.address);
    assert_logged_in(&connection.send(request).read());
    assert!(connection.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = serve();
    let codes = ["first", "second", "third"];
    let requests = codes.map(|code| http::request("POST", PATH, &[], login(code).as_bytes()));
    let mut connection = Connection::open(server.address);
    connection.send(requests.concat());
    for code in codes {
        let answer = Answer::read(&connection.read());
        assert_eq!(answer.data["user_info"]["openId"], code);
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = serve();
    let body = login("person");
    for request in [
        http::request("POST", PATH, &[], body.as_bytes()),
        http::chunked_request("POST", PATH, &[], body.as_bytes(), 1),
    ] {
        let mut connection = Connection::open(server.address);
        for byte in request {
            connection.send([byte]);
        }
        assert_logged_in(&connection.read());
    }
}

#[test]
fn what_is_no_http_is_refused_and_hurts_nobody() {
    let server = serve();
    for garbage in ["\x16\x03\x01\x02\0\x01\0", "POST\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let mut connection = Connection::open(server.address);
        connection.send(garbage);
        let response = connection.try_read();
        assert!(!matches!(&response, Ok(Some(response)) if response.status < 400), "{response:?}");
    }
    assert_eq!(server.log_in("person").code, 0);
}

#[test]
fn every_body_gets_an_answer_of_the_protocol() {
    let server = serve();
    let connection = RefCell::new(Connection::open(server.address));
    let names = "qcloud\\.cam\\.(id_skey|auth|decrypt|initdata)|.{0,9}";
    let value = r#"null|true|-?[0-9]{1,30}|"[a-z\\\\u0-9]{0,20}"|\[\]|\{\}|\{"a":1\}"#;
    let envelope = (names, prop::collection::vec(value, 5)).prop_map(|(name, values)| {
        format!(
            r#"{{"interface":{{"interfaceName":"{name}","para":{{"code":{},"id":{},"skey":{},"encrypt_data":{},"iv":{}}}}}}}"#,
            values[0], values[1], values[2], values[3], values[4]
        )
        .into_bytes()
    });
    let body = prop_oneof![envelope, prop::collection::vec(any::<u8>(), 0..99)];
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(body in body)| {
        let mut connection = connection.borrow_mut();
        let response = connection.send(http::request("POST", PATH, &[], &body)).read();
        let answer = Answer::read(&response);
        prop_assert!(!answer.message.is_empty());
        prop_assert!(answer.code == 0 || answer.data == "", "{:?}", answer);
    });
}

#[test]
fn requests_in_one_packet_or_in_several_are_all_answered() {
    let server = serve();
    let request = |code| http::request("POST", PATH, &[], login(code).as_bytes());
    let mut connection = Connection::open(server.address);
    // Whole, then cut within the body, then within the head.
    let all = [request("a"), request("b"), request("c"), request("d")].concat();
    let length = request("a").len();
    for (from, to) in
        [(0, 2 * length), (2 * length, 3 * length - 5), (3 * length - 5, 3 * length + 9)]
    {
        connection.send(&all[from..to]);
        let whole = to / length - from / length;
        (0..whole).for_each(|_| assert_logged_in(&connection.read()));
    }
    connection.send(&all[3 * length + 9..]);
    assert_logged_in(&connection.read());
    // What is out of the ordinary is answered on the same connection, and what comes after it.
    let mut connection = Connection::open(server.address);
    let chunked = http::chunked_request("POST", PATH, &[], login("f").as_bytes(), 7);
    connection.send([request("e"), chunked, request("g")].concat());
    (0..3).for_each(|_| assert_logged_in(&connection.read()));
}

#[test]
fn a_client_that_asks_for_it_is_told_that_the_connection_closes() {
    let server = serve();
    let mut connection = Connection::open(server.address);
    let request = |headers| http::request("POST", PATH, headers, login("a").as_bytes());
    let response = connection.send(request(&[("Connection", "keep-alive")])).read();
    assert_eq!(response.header("connection"), "");
    let response = connection.send(request(&[("Connection", "close")])).read();
    assert_eq!(response.header("connection"), "close");
    assert!(connection.is_closed());
}
