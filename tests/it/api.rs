//! The plain API and forward auth, `/v1`.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::mysql;
use crate::support::http::{self, Connection, Response};
use crate::support::server::CHECK;
use crate::support::wechat::Reply;
use crate::support::{
    APP, OTHER_APP, OTHER_SECRET, PATIENCE, Server, Session, Setup, WeChat, eventually, hang_up_on,
    refusing_address,
};

const MAGIC: &str = "F2C224D4-2BCE-4C64-AF9F-A6D872000D1A";

/// The server of a WeChat for which everybody is who the code says.
fn serve() -> Server {
    Setup::new(WeChat::of_anybody().address).serve()
}

/// The same on every kind of store.
fn setups() -> [Setup; 3] {
    let wechat = WeChat::of_anybody().address;
    let memory = Setup::new(wechat).with("storage.url = \"memory:\"");
    [Setup::new(wechat), memory, mysql::on(&Mariadb::shared().database_now(), wechat)]
}

fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    http::send(server.address, http::request(method, path, headers, body.as_bytes()))
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// Logs in and returns the token.
#[track_caller]
fn log_in(server: &Server, code: &str) -> String {
    let response = ask(server, "POST", "/v1/login", &[], &json!({ "code": code }).to_string());
    assert_eq!(response.status, 200, "{response:?}");
    json_of(&response)["token"].as_str().unwrap().to_owned()
}

fn get(server: &Server, path: &str, token: &str) -> Response {
    ask(server, "GET", path, &[("Authorization", &format!("Bearer {token}"))], "")
}

/// Asserts that a problem came, of this status and code.
#[track_caller]
fn assert_problem(response: &Response, status: u16, code: u64) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.header("cache-control"), "no-store");
    let problem = json_of(response);
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["type"], format!("urn:mina-auth:{code}"));
    for text in ["title", "detail"] {
        assert_ne!(problem[text].as_str().unwrap_or_default(), "", "{text}: {problem}");
    }
}

#[test]
fn a_login_gives_a_token_that_both_ways_know() {
    for server in setups().map(|setup| setup.serve()) {
        let response = ask(&server, "POST", "/v1/login", &[], r#"{"code":"person"}"#);
        let login = json_of(&response);
        assert_eq!(response.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(response.header("cache-control"), "no-store");
        assert_eq!(login["openid"], "person");
        assert_eq!(login["appid"], APP);
        assert_eq!((&login["is_new"], &login["expires_in"]), (&true.into(), &2_592_000.into()));
        assert_eq!(login["profile"]["openId"], "person");
        assert_eq!(login.get("unionid"), None);
        assert!(!response.text().contains("session_key"), "{login}");
        let token = login["token"].as_str().unwrap();
        let session = json_of(&get(&server, "/v1/session", token));
        assert_eq!((&session["openid"], &session["appid"]), (&login["openid"], &login["appid"]));
        assert_eq!(session["profile"], login["profile"]);
        for time in ["created_at", "last_visit_at", "expires_at"] {
            let time = session[time].as_str().unwrap();
            assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        }
        assert!(session["expires_at"].as_str() > session["last_visit_at"].as_str(), "{session}");
        let (id, skey) = token.rsplit_once('.').unwrap();
        let session = Session { id: id.into(), skey: skey.into() };
        assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    }
}

#[test]
fn a_session_of_a_wafer_login_is_good_here() {
    for server in setups().map(|setup| setup.serve()) {
        let Session { id, skey } = server.session("person");
        assert_eq!(get(&server, "/v1/session", &format!("{id}.{skey}")).status, 200);
        let headers = [("X-WX-Id", id.as_str()), ("X-WX-Skey", skey.as_str())];
        assert_eq!(ask(&server, "GET", "/v1/session", &headers, "").status, 200);
        assert_eq!(ask(&server, "GET", "/v1/forward-auth", &headers, "").status, 200);
    }
}

#[test]
fn every_device_has_a_session_of_its_own_up_to_a_limit() {
    for setup in setups() {
        let server = setup.with("api.sessions_per_user = 2").serve();
        let wafer = server.session("person");
        let tokens = [(); 3].map(|()| log_in(&server, "person"));
        let status = |token: &str| get(&server, "/v1/session", token).status;
        assert_eq!(tokens.each_ref().map(|token| status(token)), [401, 200, 200]);
        assert_eq!(server.check(&wafer).code, 0, "a Wafer session is not a device's");
        // The one session of Wafer logins is renewed, and that ends no device's.
        assert_eq!(server.log_in("person").message, "UPDATE_SESSION_SUCCESS");
        assert_eq!(server.check(&wafer).code, 60012);
        assert_eq!(tokens.each_ref().map(|token| status(token)), [401, 200, 200]);
    }
}

#[test]
fn logging_out_ends_the_session_and_no_other() {
    for server in setups().map(|setup| setup.serve()) {
        let [first, second] = [(); 2].map(|()| log_in(&server, "person"));
        let bearer = format!("Bearer {first}");
        let headers = [("Authorization", bearer.as_str())];
        let response = ask(&server, "DELETE", "/v1/session", &headers, "");
        assert_eq!((response.status, response.text()), (204, ""));
        assert_eq!(response.header("cache-control"), "no-store");
        assert_problem(&get(&server, "/v1/session", &first), 401, 60012);
        assert_eq!(get(&server, "/v1/forward-auth", &first).status, 401);
        assert_problem(&ask(&server, "DELETE", "/v1/session", &headers, ""), 401, 60012);
        assert_eq!(get(&server, "/v1/session", &second).status, 200);
    }
}

/// What the store has done memory must hear of, also when nobody waits for the answer any more.
#[test]
fn a_client_that_hangs_up_has_logged_out_in_memory_too() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    // How soon the request is at the database nobody can see.
    for wait in [50, 200, 1000, 3000] {
        let token = log_in(&server, "person");
        assert_eq!(get(&server, "/v1/session", &token).status, 200, "it is in memory");
        let bearer = format!("Bearer {token}");
        let leaving = http::request("DELETE", "/v1/session", &[("Authorization", &bearer)], b"");
        hang_up_on(&setup, server.address, &leaving, Duration::from_millis(wait));
        // Writes come one after the other.
        log_in(&server, "somebody-else");
        let (id, _) = token.rsplit_once('.').unwrap();
        if setup.sessions(&["--id", id]).is_empty() {
            assert_eq!(get(&server, "/v1/session", &token).status, 401);
            return;
        }
    }
    panic!("the request never came to the database");
}

#[test]
fn other_nodes_refuse_who_has_logged_out() {
    let [sqlite, _, mysql] = setups();
    for setup in [sqlite, mysql] {
        let [here, there] = [setup.serve(), setup.serve()];
        let token = log_in(&here, "person");
        assert_eq!(get(&there, "/v1/forward-auth", &token).status, 200);
        let bearer = format!("Bearer {token}");
        let gone = ask(&here, "DELETE", "/v1/session", &[("Authorization", &bearer)], "");
        assert_eq!(gone.status, 204);
        eventually(PATIENCE, "the other node refuses it", || {
            (get(&there, "/v1/forward-auth", &token).status == 401).then_some(())
        });
    }
}

#[test]
fn forward_auth_says_who_it_is_in_headers() {
    for server in setups().map(|setup| setup.serve()) {
        let token = log_in(&server, "person");
        let bearer = format!("Bearer {token}");
        for (method, path, body) in [
            ("GET", "/v1/forward-auth", ""),
            ("HEAD", "/v1/forward-auth", ""),
            ("POST", "/v1/forward-auth/orders/1?x=1", "a body"),
            ("PUT", "/v1/forward-auth/", "a body"),
            ("OPTIONS", "/v1/forward-auth", ""),
        ] {
            let headers = [
                ("Authorization", bearer.as_str()),
                ("X-WX-OPENID", "forged"),
                ("X_WX_OPENID", "forged"),
                ("X-WX-UNIONID", "forged"),
            ];
            let request = http::request(method, path, &headers, body.as_bytes());
            let response = match method {
                "HEAD" => Connection::open(server.address).send(request).read_head(),
                _ => http::send(server.address, request),
            };
            assert_eq!((response.status, response.body.len()), (200, 0), "{method} {path}");
            for (name, value) in [
                ("content-length", "0"),
                ("x-wx-openid", "person"),
                ("x-wx-appid", APP),
                ("x-wx-unionid", ""),
                ("x-wx-source", "wx_client"),
                ("remote-user", "person"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(response.header(name), value, "{name}, {method} {path}");
            }
        }
    }
}

#[test]
fn forward_auth_tells_the_unionid_where_there_is_one() {
    let wechat = WeChat::start(|question| {
        let identity =
            json!({ "openid": question.code(), "unionid": "u-1", "session_key": "a2V5" });
        Reply::json(&identity)
    });
    let server = Setup::new(wechat.address).serve();
    let response = ask(&server, "POST", "/v1/login", &[], r#"{"code":"person"}"#);
    let login = json_of(&response);
    assert_eq!(login["unionid"], "u-1");
    let token = login["token"].as_str().unwrap();
    assert_eq!(get(&server, "/v1/forward-auth", token).header("x-wx-unionid"), "u-1");
    assert_eq!(json_of(&get(&server, "/v1/session", token))["unionid"], "u-1");
}

#[test]
fn forward_auth_makes_the_client_log_in_again() {
    for server in setups().map(|setup| setup.serve()) {
        let token = log_in(&server, "person");
        for wrong in [
            String::new(),
            format!("{token}x"),
            token.replace('.', ""),
            token.replace('.', ".x."),
            format!("x{token}"),
            ".".to_owned(),
            "a.b".repeat(3_000),
        ] {
            let response = get(&server, "/v1/forward-auth", &wrong);
            assert_eq!(response.status, 401, "{wrong}");
            let answer = json_of(&response);
            assert_eq!((&answer[MAGIC], &answer["code"]), (&1.into(), &60012.into()));
            assert_eq!(answer["error"], "ERR_INVALID_SESSION");
            assert_ne!(answer["message"].as_str(), None);
            assert_eq!(response.header("www-authenticate"), "Bearer error=\"invalid_token\"");
        }
        let nobody = ask(&server, "GET", "/v1/forward-auth", &[], "");
        assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(json_of(&nobody)[MAGIC], 1);
    }
}

#[test]
fn a_bearer_token_goes_before_the_two_headers() {
    for server in setups().map(|setup| setup.serve()) {
        let Session { id, skey } = server.session("person");
        let mut headers = vec![("X-WX-Id", id.as_str()), ("X-WX-Skey", skey.as_str())];
        let status =
            |headers: &[(&str, &str)]| ask(&server, "GET", "/v1/session", headers, "").status;
        assert_eq!(status(&headers), 200);
        headers.push(("Authorization", "Bearer no.good"));
        assert_eq!(status(&headers), 401);
        assert_eq!(status(&headers[..1]), 401);
    }
}

#[test]
fn forward_auth_has_more_places_for_a_token() {
    let wechat = WeChat::of_anybody().address;
    let server = Setup::new(wechat).with("api.token_in_url = true").serve();
    let closed = serve();
    let token = log_in(&server, "person");
    let url = format!("/images/1.png?size=2&token={token}");
    let encoded = url.replace('.', "%2E");
    let protocol = format!("bearer, {token}");
    for header in ["X-Original-URI", "X-Forwarded-Uri"] {
        for url in [&url, &encoded] {
            let headers = [(header, url.as_str())];
            assert_eq!(ask(&server, "GET", "/v1/forward-auth", &headers, "").status, 200);
            assert_eq!(ask(&closed, "GET", "/v1/forward-auth", &headers, "").status, 401);
        }
    }
    let headers = [("Sec-WebSocket-Protocol", protocol.as_str())];
    assert_eq!(ask(&server, "GET", "/v1/forward-auth", &headers, "").status, 200);
    // They are forward auth's alone: nothing else has an original request.
    let all = [("X-Original-URI", url.as_str()), headers[0]];
    assert_eq!(ask(&server, "GET", "/v1/session", &all, "").status, 401);
    assert_eq!(
        ask(&server, "GET", &format!("/v1/forward-auth?token={token}"), &[], "").status,
        401
    );
}

#[test]
fn forward_auth_may_be_optional_and_for_one_app() {
    for server in setups().map(|setup| setup.serve()) {
        let token = log_in(&server, "person");
        let optional = "/v1/forward-auth?optional=1";
        let nobody = ask(&server, "GET", optional, &[], "");
        assert_eq!((nobody.status, nobody.header("x-wx-openid")), (200, ""));
        assert_eq!(get(&server, optional, "no.good").status, 401);
        assert_eq!(get(&server, optional, &token).header("x-wx-openid"), "person");
        let app = |appid: &str| format!("/v1/forward-auth?appid={appid}");
        assert_eq!(get(&server, &app(APP), &token).status, 200);
        assert_eq!(get(&server, &app(&APP.replace('w', "%77")), &token).status, 200);
        assert_eq!(get(&server, &app(OTHER_APP), &token).status, 401);
    }
}

/// Envoy appends the client's path and query, and Caddy keeps the query unless it is told not to.
#[test]
fn forward_auth_takes_no_word_of_the_client_for_its_own() {
    let server = serve();
    let token = log_in(&server, "person");
    for path in ["", "orders", "v1/forward-auth", "forward-auth"] {
        let path = format!("/v1/forward-auth/{path}?optional=1&appid={OTHER_APP}");
        assert_eq!(ask(&server, "GET", &path, &[], "").status, 401, "{path}");
        assert_eq!(get(&server, &path, &token).status, 200, "{path}");
        let beside = [("Cookie", "a=b"), ("Authorization", &*format!("Bearer {token}"))];
        let slow = http::chunked_request("POST", &path, &beside, b"x", 1);
        assert_eq!(http::send(server.address, slow).status, 200, "by the other way: {path}");
    }
}

/// A failure that is the server's must not make a client throw its session away.
#[test]
fn what_cannot_be_told_is_a_503_without_the_magic() {
    let server = Setup::new(WeChat::of_anybody().address).with("limits.requests = 1").serve();
    let token = log_in(&server, "person");
    // From now on it is in memory, and waits for nothing.
    assert_eq!(get(&server, "/v1/forward-auth", &token).status, 200);
    // A wrong skey takes the only place for five milliseconds at least.
    let shed = eventually(PATIENCE, "one is shed", || {
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let request = http::request(
                    "GET",
                    "/v1/forward-auth",
                    &[("Authorization", "Bearer a.b")],
                    b"",
                );
                let mut connection = Connection::open(server.address);
                connection.send(request);
                connection
            })
            .collect();
        let answers = waiting.into_iter().map(|mut connection| connection.read());
        answers.into_iter().find(|response| response.status != 401)
    });
    assert_problem(&shed, 503, 1001);
    assert!(!shed.text().contains(MAGIC), "{}", shed.text());
    assert!(!shed.header("retry-after").is_empty());
    assert_eq!(get(&server, "/v1/forward-auth", &token).status, 200);
}

#[test]
fn a_login_may_name_its_app() {
    let apps = format!(
        "apps = [{{ appid = \"{APP}\", secret = \"s\", default = true }}, \
         {{ appid = \"{OTHER_APP}\", secret = \"{OTHER_SECRET}\" }}]"
    );
    let server = Setup::new(WeChat::of_anybody().address).with(&apps).serve();
    let appid = |path: &str, body: Value| {
        let response = ask(&server, "POST", path, &[], &body.to_string());
        (response.status, json_of(&response)["appid"].as_str().map(str::to_owned))
    };
    let code = json!({ "code": "person" });
    assert_eq!(appid("/v1/login", code.clone()), (200, Some(APP.into())));
    let in_url = format!("/v1/login?appid={OTHER_APP}");
    assert_eq!(appid(&in_url, code.clone()), (200, Some(OTHER_APP.into())));
    let both = json!({ "code": "person", "appid": APP });
    assert_eq!(appid(&in_url, both), (200, Some(APP.into())));
    let response =
        ask(&server, "POST", "/v1/login?appid=wxaaaaaaaaaaaaaaaa", &[], &code.to_string());
    assert_problem(&response, 400, 1012);
}

#[test]
fn bad_input_is_told_what_would_be_right() {
    let server = serve();
    let token = format!("Bearer {}", log_in(&server, "person"));
    for (body, code, part) in [
        ("", 1009, "JSON"),
        ("[]", 1009, "JSON"),
        ("{\"code\":", 1009, "JSON"),
        ("{\"code\":\"\u{0}\"}", 1009, "JSON"),
        ("{}", 1003, "`code`"),
        ("{\"code\":null}", 1003, "`code`"),
        ("{\"code\":\"\"}", 1003, "`code`"),
        ("{\"code\":[]}", 1003, "`code`"),
        ("{\"code\":\"c\",\"iv\":{}}", 1003, "`iv`"),
    ] {
        let response = ask(&server, "POST", "/v1/login", &[], body);
        assert_problem(&response, 400, code);
        assert!(response.text().contains(part), "{body}: {}", response.text());
    }
    let headers = [("Authorization", token.as_str())];
    let response = ask(&server, "POST", "/v1/decrypt", &headers, "{}");
    assert_problem(&response, 400, 1003);
    let sealed = r#"{"encryptedData":"AAAA","iv":"AAAA"}"#;
    assert_problem(&ask(&server, "POST", "/v1/decrypt", &headers, sealed), 422, 60021);
    assert_problem(&ask(&server, "POST", "/v1/decrypt", &[], sealed), 401, 60012);
    assert_problem(
        &ask(&server, "POST", "/v1/decrypt", &[("Authorization", "Bearer a.b")], sealed),
        401,
        60012,
    );
}

#[test]
fn what_wechat_says_has_a_status_of_its_own() {
    let wechat = WeChat::start(|question| match question.code().parse::<i64>() {
        Ok(errcode) => Reply::json(&json!({ "errcode": errcode, "errmsg": "no, rid: 1" })),
        Err(_) => Reply::text(200, "nonsense"),
    });
    let server = Setup::new(wechat.address).serve();
    for (code, status, expected, retries) in [
        ("40029", 401, 40029, false),
        ("40163", 401, 40029, false),
        ("40226", 403, 1007, false),
        ("45011", 429, 1007, true),
        ("40125", 502, 1007, false),
        ("nonsense", 502, 1007, false),
    ] {
        let response = ask(&server, "POST", "/v1/login", &[], &json!({ "code": code }).to_string());
        assert_problem(&response, status, expected);
        assert_eq!(!response.header("retry-after").is_empty(), retries, "{code}: {response:?}");
        let challenge = if status == 401 { "Bearer" } else { "" };
        assert_eq!(response.header("www-authenticate"), challenge, "{code}");
        let errcode = code.parse::<i64>().ok();
        assert_eq!(json_of(&response)["errcode"].as_i64(), errcode);
    }
    let server = Setup::new(refusing_address()).serve();
    let response = ask(&server, "POST", "/v1/login", &[], r#"{"code":"c"}"#);
    assert_problem(&response, 503, 1005);
    assert!(!response.header("retry-after").is_empty());
}

#[test]
fn paths_and_methods_are_known() {
    let server = serve();
    for (method, path, allow) in [
        ("GET", "/v1/login", "POST"),
        ("HEAD", "/v1/decrypt", "POST"),
        ("POST", "/v1/session", "GET, HEAD, DELETE"),
        ("OPTIONS", "/v1/session", "GET, HEAD, DELETE"),
        ("BREW", "/v1/wafer/login", "GET, HEAD, POST"),
    ] {
        let request = http::request(method, path, &[], b"");
        let response = match method {
            "HEAD" => Connection::open(server.address).send(request).read_head(),
            _ => http::send(server.address, request),
        };
        assert_eq!((response.status, response.header("allow")), (405, allow), "{method} {path}");
        assert_eq!(response.header("cache-control"), "no-store");
    }
    for path in ["/v1", "/v1/", "/v1/log", "/v1/session/x", "/v1/forward-authx", "/v1/phone"] {
        let response = ask(&server, "POST", path, &[], "{}");
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.header("cache-control"), "no-store");
    }
    let head = http::head("POST", "/v1/login", &[("Content-Length", "9999999")]);
    let long = http::send(server.address, head);
    assert_eq!(long.status, 413);
    let off = Setup::new(refusing_address()).with("api.enabled = false").serve();
    assert_eq!(ask(&off, "POST", "/v1/login", &[], "{}").status, 404);
}

#[test]
fn the_access_key_is_wanted_here_too() {
    let key = "server.access_key = \"k\"";
    let server = Setup::new(WeChat::of_anybody().address).with(key).serve();
    let login = |path: &str, headers: &[(&str, &str)]| {
        ask(&server, "POST", path, headers, r#"{"code":"person"}"#)
    };
    let refused = login("/v1/login", &[]);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("www-authenticate").starts_with("Basic"), "{refused:?}");
    assert_eq!(login("/v1/login?key=k", &[]).status, 200);
    assert_eq!(login("/v1/login", &[("Authorization", "Basic Oms=")]).status, 200);
    let response = login("/v1/login", &[("X-Access-Key", "k")]);
    let token = json_of(&response)["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let bearer = ("Authorization", bearer.as_str());
    assert_eq!(ask(&server, "GET", "/v1/forward-auth", &[bearer], "").status, 401);
    for headers in [[bearer, ("X-Access-Key", "k")], [("X-Access-Key", "k"), bearer]] {
        assert_eq!(ask(&server, "GET", "/v1/forward-auth", &headers, "").status, 200);
    }
}

#[test]
fn the_wafer_client_logs_in_without_a_server_sdk() {
    let server = serve();
    for method in ["GET", "POST"] {
        let headers = [("X-WX-Code", "person"), ("X-WX-Encrypted-Data", ""), ("X-WX-IV", "")];
        let response = ask(&server, method, "/v1/wafer/login", &headers, "");
        assert_eq!(response.status, 200);
        let answer = json_of(&response);
        assert_eq!(answer[MAGIC], 1);
        let text = |name: &str| answer["session"][name].as_str().unwrap().to_owned();
        let session = Session { id: text("id"), skey: text("skey") };
        assert_eq!(server.call(CHECK, &session.para()).code, 0);
    }
    let failed = ask(&server, "GET", "/v1/wafer/login", &[], "");
    let answer = json_of(&failed);
    assert_eq!((failed.status, &answer[MAGIC]), (200, &1.into()));
    assert_eq!(answer["error"], "ERR_LOGIN_FAILED");
    assert!(answer["message"].as_str().unwrap().contains("X-WX-Code"), "{answer}");
}

#[test]
fn the_log_names_the_calls_and_never_a_token() {
    let server = serve();
    let token = log_in(&server, "person");
    for path in ["/v1/session", "/v1/forward-auth"] {
        assert_eq!(get(&server, path, &token).status, 200);
    }
    let (id, skey) = token.rsplit_once('.').unwrap();
    for interface in ["login", "session", "forward-auth"] {
        let named = format!("\"interface\":\"{interface}\"");
        let line = server
            .program
            .stderr
            .wait_for(interface, |line| line.contains(&named).then(|| line.to_owned()));
        assert!(line.contains(APP) && line.contains("\"code\":0"), "{line}");
    }
    let finished = server.stop();
    for secret in [id, skey] {
        assert!(!finished.stderr.contains(secret), "{}", finished.stderr);
    }
}

/// The express lane and hyper answer byte for byte the same, but for the date.
#[test]
fn both_lanes_answer_the_same() {
    let server = serve();
    let token = log_in(&server, "person");
    let wafer = server.session("person");
    let bearer = format!("Authorization: Bearer {token}");
    let two = format!("X-WX-Id: {}\r\nX-WX-Skey: {}", wafer.id, wafer.skey);
    let close = format!("{bearer}\r\nConnection: close");
    let login =
        crate::support::server::envelope(&json!({ "interfaceName": CHECK, "para": wafer.para() }));
    let mut requests = vec![format!(
        "POST /mina_auth/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{login}",
        login.len()
    )];
    for (line, headers) in [
        ("GET /v1/session", &bearer),
        ("GET /v1/session", &two),
        ("GET /v1/session", &close),
        ("HEAD /v1/session", &bearer),
        ("GET /v1/forward-auth", &bearer),
        ("GET /v1/forward-auth?appid=wx1", &bearer),
        ("HEAD /v1/forward-auth/orders", &two),
        ("GET /v1/forward-auth", &"Authorization: Bearer a.b".to_owned()),
        ("GET /v1/forward-auth", &close),
    ] {
        requests.push(format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"));
    }
    // After another request a connection has left the lane. The last one ends it.
    let answer = |request: &str, in_lane: bool| {
        let elsewhere = "GET /elsewhere HTTP/1.1\r\nHost: a\r\n";
        let first = if in_lane { String::new() } else { format!("{elsewhere}\r\n") };
        let last = format!("{elsewhere}Connection: close\r\n\r\n");
        let mut stream = http::connect(server.address).unwrap();
        stream.write_all(format!("{first}{request}{last}").as_bytes()).unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        let answers: Vec<_> = received.split("HTTP/1.1 ").skip(1).collect();
        let answer = answers[usize::from(!in_lane)];
        let lines = answer.split("\r\n").filter(|line| !line.starts_with("date: "));
        lines.collect::<Vec<_>>().join("\n")
    };
    for request in requests {
        let [first, second] = [true, false].map(|lane| answer(&request, lane));
        let times = |text: &str| match text.split_once("\"last_visit_at\"") {
            Some((before, _)) => before.to_owned(),
            None => text.to_owned(),
        };
        assert_eq!(times(&first), times(&second), "{request}");
    }
}
