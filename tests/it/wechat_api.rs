//! WeChat's API without tokens: the key, the token, the relay.

mod relay;
mod stolen;
mod users;

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::{
    APP, Gate, OTHER_APP, Reply, SECRET, Server, Setup, Simulator, WeChat, refusing_address,
};

const KEY: &str = "the key/of+business";
const KEY_IN_URL: &str = "the%20key%2Fof%2Bbusiness";

/// A server whose WeChat this is, with the key.
fn setup(wechat: SocketAddr) -> Setup {
    let settings = format!("wechat_api.key = \"{KEY}\"\napi.phone = true\nlog.level = \"debug\"");
    Setup::new(wechat).with(&settings)
}

/// Sends a request with the key.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> Response {
    ask_with(server, method, path, &[], body)
}

fn ask_with(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let headers = [headers, &[("X-Access-Key", KEY)]].concat();
    let path = format!("/v1/wechat/{APP}/{path}");
    http::send(server.address, http::request(method, &path, &headers, body.as_bytes()))
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("no JSON: {response:?}"))
}

/// The token that the server gives out.
#[track_caller]
fn token(server: &Server) -> String {
    let answer = json_of(&ask(server, "GET", "token", ""));
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Has the simulator's tokens end, lie or run out; tells how often one was asked for.
fn tokens(simulator: &Simulator, wishes: &Value) -> u64 {
    let response = http::post(simulator.address, "/sim/tokens", &wishes.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    json_of(&response)["asked"].as_u64().unwrap()
}

/// A WeChat of which a token says this of its life, and which answers every other call.
fn wechat_saying(expires_in: &str) -> WeChat {
    let answer = format!(r#"{{"access_token":"the-token"{expires_in}}}"#);
    WeChat::start(move |question| match question.path.as_str() {
        "/cgi-bin/stable_token" => Reply::text(200, answer.clone()),
        _ => Reply::json(&json!({ "errcode": 0, "token": question.get("access_token").len() })),
    })
}

fn asked_for_tokens(wechat: &WeChat) -> usize {
    let is_for_token = |path: &str| path == "/cgi-bin/stable_token";
    wechat.questions().iter().filter(|question| is_for_token(&question.path)).count()
}

#[test]
fn the_key_comes_in_four_ways() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("sdk:{KEY}")));
    let get = |path: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/wechat/{APP}{path}");
        json_of(&http::send(server.address, http::request("GET", &path, headers, b"")))
    };
    for (path, headers) in [
        ("/token", &[("X-Access-Key", KEY)][..]),
        ("/token", &[("Authorization", basic.as_str())]),
        (&format!("/token?key={KEY_IN_URL}"), &[]),
        (&format!("/key/{KEY_IN_URL}/token"), &[]),
        (&format!("/key/{KEY_IN_URL}/api/cgi-bin/token?grant_type=x&appid=x&secret=x"), &[]),
        (&format!("/api/cgi-bin/token?key={KEY_IN_URL}"), &[]),
    ] {
        let answer = get(path, headers);
        assert_eq!(answer["expires_in"].as_u64().map(|life| life > 7000), Some(true), "{path}");
        assert_eq!(answer["access_token"], token(&server), "{path}");
    }
    assert_eq!(tokens(&simulator, &json!({})), 1);
}

#[test]
fn nothing_is_done_without_the_key() {
    let wechat = wechat_saying(r#","expires_in":7200"#);
    let server = setup(wechat.address).serve();
    let wrong = [
        vec![],
        vec![("X-Access-Key", "wrong")],
        vec![("Authorization", "Basic eDp3cm9uZw==")],
        // What a plain `proxy_pass` sends, and what a client of it may forge.
        vec![("X-Forwarded-For", "127.0.0.1"), ("Host", "localhost"), ("X-Real-IP", "127.0.0.1")],
    ];
    for path in
        ["token", "api/wxa/x", "api/cgi-bin/token", "key/wrong/api/wxa/x", "api/wxa/x?key=x"]
    {
        for headers in &wrong {
            let path = format!("/v1/wechat/{APP}/{path}");
            let response = http::send(server.address, http::request("GET", &path, headers, b""));
            assert_eq!(json_of(&response)["errcode"], 48001, "{path}: {response:?}");
        }
    }
    for spelling in [
        "/v1//wechat/APP/api/wxa/x",
        "/V1/wechat/APP/api/wxa/x",
        "/v1/%77echat/APP/api/wxa/x",
        "/v1/x/../wechat/APP/api/wxa/x",
        "/v1/wechat/APP//api/wxa/x",
        "/v1/forward-auth/../wechat/APP/token",
    ] {
        let path = spelling.replace("APP", APP);
        let response = http::get(server.address, &path);
        assert!(!response.text().contains("the-token"), "{path}: {response:?}");
    }
    let path = format!("/v1/wechat/{APP}/users/o1/session-key/sign");
    let response = http::post(server.address, &path, r#"{"data":""}"#);
    assert_eq!(
        (response.status, response.header("content-type")),
        (401, "application/problem+json")
    );
    assert_eq!(wechat.questions().len(), 0);
    server.program.stderr.wait_for_text("`wechat_api.key`");
}

#[test]
fn it_is_off_without_a_key_and_names_what_is_wrong_with_one() {
    let server = Setup::new(refusing_address()).serve();
    let response =
        http::get(server.address, &format!("/v1/wechat/{APP}/users/o/session-key/check"));
    assert_eq!(response.status, 404, "{response:?}");
    assert!(response.text().contains("`wechat_api.key`"), "{response:?}");
    let response = ask(&server, "GET", "token", "");
    assert!(json_of(&response)["errmsg"].as_str().unwrap().contains("`wechat_api.key`"));
    for (settings, named) in [
        ("wechat_api.key = \"a\"\nwechat_api.key_file = \"b\"", "`wechat_api.key`"),
        ("wechat_api.key_file = \"absent\"", "`wechat_api.key_file`"),
        ("wechat_api.paths = [\"/wxa/../x\"]", "`wechat_api.paths`"),
    ] {
        let line =
            Setup::new(refusing_address()).with(settings).run(&["serve"]).failed_in_one_line();
        assert!(line.contains(named), "{line}");
    }
}

/// Asks for the token from two hundred sides at once.
fn rush(server: &Server) {
    let all = Barrier::new(200);
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                all.wait();
                token(server);
            });
        }
    });
}

#[test]
fn callers_at_once_share_one_request() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    tokens(&simulator, &json!({ "lifetime": 6 }));
    rush(&server);
    assert_eq!(tokens(&simulator, &json!({})), 1);
    // After half of its life it is renewed by one of those who come.
    let old = token(&server);
    std::thread::sleep(Duration::from_millis(3500));
    rush(&server);
    crate::support::eventually(crate::support::PATIENCE, "a new token comes", || {
        (token(&server) != old).then_some(())
    });
    assert_eq!(tokens(&simulator, &json!({})), 2);
}

#[test]
fn two_nodes_leave_one_anothers_token_alone() {
    let simulator = Simulator::start();
    let setup = setup(simulator.address);
    let nodes = [setup.serve(), setup.serve()];
    assert_eq!(token(&nodes[0]), token(&nodes[1]));
    let old = token(&nodes[0]);
    tokens(&simulator, &json!({ "kill": true }));
    // Both find it dead, one after the other; the second takes what the first was given.
    for node in &nodes {
        let answer = json_of(&ask(node, "GET", "api/wxa/x", ""));
        assert_eq!(answer["errcode"], 0, "{answer}");
    }
    assert_ne!(token(&nodes[0]), old);
    assert_eq!(token(&nodes[0]), token(&nodes[1]));
    // Two at the start, two that find another or the dead one, one by force.
    assert_eq!(tokens(&simulator, &json!({})), 5);
}

#[test]
fn a_dead_token_is_renewed_only_if_it_is_still_ours() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let first = token(&server);
    let tell = |dead: &str| {
        let answer = ask(&server, "POST", "token", &json!({ "dead": dead }).to_string());
        json_of(&answer)["access_token"].as_str().unwrap().to_owned()
    };
    assert_eq!(tell("another"), first);
    assert_eq!(tokens(&simulator, &json!({})), 1);
    let second = tell(&first);
    assert_ne!(second, first);
    assert_eq!(tell(&first), second);
    assert_eq!(tokens(&simulator, &json!({})), 3);
    // As WxJava asks in its stable mode.
    let body = json!({ "grant_type": "client_credential", "appid": "x", "secret": "y" });
    let stable = json_of(&ask(&server, "POST", "token", &body.to_string()));
    assert_eq!(stable["access_token"], second);
    let stable = json_of(&ask(&server, "POST", "api/cgi-bin/stable_token", &body.to_string()));
    assert_eq!(stable["access_token"], second);
}

#[test]
fn a_life_that_cannot_be_is_asked_after_soon_and_not_at_once() {
    for said in ["", r#","expires_in":0"#, r#","expires_in":-1"#, r#","expires_in":"soon""#] {
        let wechat = wechat_saying(said);
        let server = setup(wechat.address).serve();
        for _ in 0..5 {
            let answer = json_of(&ask(&server, "GET", "token", ""));
            assert_eq!(answer["access_token"], "the-token", "{said}");
            let life = answer["expires_in"].as_u64().unwrap();
            assert!((290..=300).contains(&life), "{said}: {life}");
        }
        assert_eq!(asked_for_tokens(&wechat), 1, "{said}");
    }
}

#[test]
fn what_is_wrong_with_a_token_says_what_to_do() {
    for (errcode, errmsg, advice) in [
        (40164, "invalid ip 203.0.113.7 ipv6 ::1, not in whitelist", "203.0.113.7"),
        (40125, "invalid appsecret", "AppSecret"),
        (45009, "reach max api daily quota limit", "quota"),
    ] {
        let wechat = WeChat::start(move |_| Reply::errcode(errcode, errmsg));
        let server = setup(wechat.address).serve();
        for path in ["token", "api/wxa/x"] {
            let answer = json_of(&ask(&server, "GET", path, ""));
            assert_eq!(answer["errcode"], errcode, "{answer}");
            assert!(answer["errmsg"].as_str().unwrap().contains(advice), "{answer}");
        }
        // It is not asked again for each call.
        assert_eq!(wechat.questions().len(), 1);
        server.program.stderr.wait_for_text(advice);
    }
}

#[test]
fn wechat_that_is_slow_or_away_costs_nobody_a_token() {
    let gate = Gate::default();
    let held = gate.clone();
    let wechat = WeChat::start(move |_| {
        held.pass();
        Reply::json(&json!({ "access_token": "late", "expires_in": 7200 }))
    });
    let server = setup(wechat.address).with("wechat.timeout = \"300ms\"").serve();
    let answer = json_of(&ask(&server, "GET", "token", ""));
    assert_eq!(answer["errcode"], -1, "{answer}");
    gate.open();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(token(&server), "late");

    let away = setup(refusing_address()).serve();
    let answer = json_of(&ask(&away, "POST", "api/wxa/x", "{}"));
    assert_eq!(answer["errcode"], -1, "{answer}");
    let unknown = format!("/v1/wechat/{OTHER_APP}/token");
    let response =
        http::send(away.address, http::request("GET", &unknown, &[("X-Access-Key", KEY)], b""));
    assert_eq!(json_of(&response)["errcode"], 40013, "{response:?}");
}
