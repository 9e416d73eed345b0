//! The console on the admin listener.

use crate::mariadb::Mariadb;
use crate::mysql;
use crate::support::http::{self, Response};
use crate::support::{APP, PATIENCE, Server, Setup, Simulator, eventually, refusing_address};

const TOKEN: &str = "a-token-for-the-admin";

fn setup(wechat: std::net::SocketAddr) -> Setup {
    Setup::new(wechat).with(&format!("admin.token = \"{TOKEN}\""))
}

/// Asks as a browser does, for a page.
fn ask(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let form = [
        ("Accept", "text/html,application/xhtml+xml"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let headers = [&form, headers].concat();
    http::send(server.admin, http::request(method, path, &headers, body.as_bytes()))
}

/// Logs in with the token, and gives the cookie.
fn log_in(server: &Server) -> String {
    let answer = ask(server, "POST", "/login", &[], &format!("token={TOKEN}"));
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "{answer:?}");
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[track_caller]
fn page(server: &Server, cookie: &str, path: &str) -> String {
    let answer = ask(server, "GET", path, &[("Cookie", cookie)], "");
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.text().to_owned()
}

const PAGES: [&str; 5] = ["/", "/apps", "/users", "/live", "/settings"];

#[test]
fn without_a_token_it_says_how_to_turn_it_on() {
    let server = Setup::new(refusing_address()).serve();
    let off = ask(&server, "GET", "/", &[], "");
    assert_eq!(off.status, 200);
    assert!(off.text().contains("token = "), "{}", off.text());
    for path in &PAGES[1..] {
        assert_eq!(ask(&server, "GET", path, &[], "").status, 404, "{path}");
    }
    assert_eq!(ask(&server, "POST", "/login", &[], "token=").status, 404);
}

#[test]
fn whoever_has_the_token_is_logged_in_until_the_logout() {
    let server = setup(refusing_address()).serve();
    for path in PAGES {
        let stranger = ask(&server, "GET", path, &[], "");
        assert_eq!((stranger.status, stranger.header("location")), (303, "/login"), "{path}");
    }
    assert_eq!(http::get(server.admin, "/").status, 401, "a program is told so");
    assert_eq!(ask(&server, "POST", "/login", &[], "token=other").status, 403);
    assert_eq!(ask(&server, "GET", "/?token=other", &[], "").status, 403);
    let cookie = log_in(&server);
    for path in PAGES {
        page(&server, &cookie, path);
    }
    let by_cookie = [("Cookie", cookie.as_str())];
    assert_eq!(ask(&server, "GET", "/api/v1/apps", &by_cookie, "").status, 200);
    let out = ask(&server, "POST", "/logout", &by_cookie, "");
    assert!(out.header("set-cookie").ends_with("Max-Age=0"), "{out:?}");
    assert_eq!(ask(&server, "GET", "/", &by_cookie, "").status, 303);
    let link = ask(&server, "GET", &format!("/?token={TOKEN}"), &[], "");
    assert_eq!((link.status, link.header("location")), (303, "/"));
}

#[test]
fn nothing_gets_in_from_elsewhere() {
    let server = setup(refusing_address()).serve();
    let cookie = log_in(&server);
    let with = |method: &str, headers: &str| {
        let head =
            format!("{method} /users/{APP}/o1/erase HTTP/1.1\r\nCookie: {cookie}\r\n{headers}");
        http::send(server.admin, head + "Content-Length: 0\r\nConnection: close\r\n\r\n").status
    };
    let host = format!("Host: {}\r\n", server.admin);
    assert_eq!(with("POST", &format!("{host}Origin: http://{}\r\n", server.admin)), 404);
    assert_eq!(with("POST", &format!("{host}Origin: http://evil.example\r\n")), 403);
    assert_eq!(with("POST", &format!("{host}Sec-Fetch-Site: cross-site\r\n")), 403);
    assert_eq!(with("POST", "Host: evil.example\r\n"), 403);
    let shown = ask(&server, "GET", "/", &[("Cookie", &cookie)], "");
    let policy = shown.header("content-security-policy");
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(shown.header("x-frame-options"), "DENY");
    assert_eq!(shown.header("cache-control"), "no-store");
    assert!(!shown.text().contains("<script>") && !shown.text().contains("style="));
    for to in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let body = format!("language=en&to={to}");
        assert_eq!(ask(&server, "POST", "/language", &[], &body).header("location"), "/", "{to}");
    }
}

#[test]
fn it_speaks_the_language_of_the_visitor() {
    let server = setup(refusing_address()).serve();
    let cookie = log_in(&server);
    let of = |headers: &[(&str, &str)]| ask(&server, "GET", "/apps", headers, "").text().to_owned();
    assert!(of(&[("Cookie", &cookie), ("Accept-Language", "zh-CN,en;q=0.5")]).contains("小程序"));
    assert!(of(&[("Cookie", &cookie)]).contains("Add an app"));
    let chosen = ask(&server, "POST", "/language", &[], "language=zh-CN&to=/apps");
    assert_eq!(chosen.header("location"), "/apps");
    let language = chosen.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(of(&[("Cookie", &format!("{cookie}; {language}"))]).contains("添加小程序"));
}

#[test]
fn a_user_is_found_and_ended_and_erased_and_a_nickname_is_text() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let cookie = log_in(&server);
    let by_cookie = [("Cookie", cookie.as_str())];
    let profile = r#"{"openid":"oPerson","profile":{"nickName":"<script>alert(1)</script>"}}"#;
    let phone = http::post(simulator.address, "/sim/login", profile);
    let phone: serde_json::Value = serde_json::from_slice(&phone.body).unwrap();
    let body = serde_json::json!({
        "code": phone["code"], "encryptedData": phone["encryptedData"], "iv": phone["iv"],
    });
    let session = http::post(server.address, "/v1/login", &body.to_string());
    let session: serde_json::Value = serde_json::from_slice(&session.body).unwrap();
    let token = session["token"].as_str().unwrap();
    let check = || {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str())];
        http::send(server.address, http::request("GET", "/v1/session", &headers, b"")).status
    };
    assert_eq!(check(), 200);

    let id = token.split('.').next().unwrap();
    for find in ["oPerson", id, token] {
        assert!(
            page(&server, &cookie, &format!("/users?find={find}")).contains("oPerson"),
            "{find}"
        );
    }
    let path = format!("/users/{APP}/oPerson");
    let user = page(&server, &cookie, &path);
    assert!(user.contains("&#60;script&#62;") && !user.contains("<script>"), "{user}");
    assert!(user.contains(id) && !user.contains(token), "the id, and not what proves it");
    let ended = ask(&server, "POST", &format!("{path}/end"), &by_cookie, &format!("session={id}"));
    assert_eq!(ended.status, 303, "{ended:?}");
    assert_eq!(check(), 401, "at once");
    assert_eq!(ask(&server, "POST", &format!("{path}/erase"), &by_cookie, "").status, 303);
    assert_eq!(ask(&server, "GET", &path, &by_cookie, "").status, 404);
}

#[test]
fn an_app_is_added_and_changed_and_removed() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let cookie = log_in(&server);
    let by_cookie = [("Cookie", cookie.as_str())];
    let other = crate::support::OTHER_APP;
    let post = |path: &str, body: &str| ask(&server, "POST", path, &by_cookie, body);
    let durations = "login_duration=7&session_duration=60";
    let bad = post("/apps", &format!("appid=nonsense&secret=x&{durations}"));
    assert!(bad.text().contains("16 hex digits") && bad.text().contains("nonsense"), "{bad:?}");
    let wrong = format!("appid={other}&secret={}&check=on&{durations}", "0".repeat(32));
    let wrong = post("/apps", &wrong);
    assert!(wrong.text().contains("40125") && !wrong.text().contains(&"0".repeat(32)));
    let good =
        format!("appid={other}&secret={}&check=on&{durations}", crate::support::OTHER_SECRET);
    assert_eq!(post("/apps", &good).header("location"), format!("/apps/{other}?done=added"));
    let changed = post(&format!("/apps/{other}"), "secret=&login_duration=9&session_duration=60");
    assert_eq!(changed.header("location"), format!("/apps/{other}?done=changed"));
    assert!(page(&server, &cookie, &format!("/apps/{other}")).contains("value=\"9\""));
    let checked = post(&format!("/apps/{other}/check"), "");
    assert!(
        checked.header("location").ends_with("?done=accepted"),
        "the secret stayed: {checked:?}"
    );
    assert_eq!(post(&format!("/apps/{other}/remove"), "").header("location"), "/apps?done=removed");
    assert!(!page(&server, &cookie, "/apps").contains(other));
}

#[test]
fn what_failed_is_seen_at_once_and_what_to_do_about_it() {
    let server = setup(refusing_address()).serve();
    let cookie = log_in(&server);
    assert!(page(&server, &cookie, "/").contains("Everything is well"));
    http::post(server.address, "/v1/login", r#"{"code":"a-code-of-somebody"}"#);
    let live = page(&server, &cookie, "/live");
    assert!(live.contains("1005") && live.contains("DNS, firewall, proxy"), "{live}");
    assert!(!live.contains("a-code-of-somebody"));
    assert!(page(&server, &cookie, "/live?code=60012").contains("Nothing has failed"));
    for _ in 0..30 {
        http::post(server.address, "/v1/login", r#"{"code":"a-code"}"#);
    }
    eventually(PATIENCE, "the overview says it", || {
        page(&server, &cookie, "/").contains("WeChat cannot be reached: logins fail").then_some(())
    });
}

#[test]
fn settings_say_where_they_came_from_and_no_secret() {
    let server = setup(refusing_address()).with("sessions.per_user = 3").serve();
    let settings = page(&server, &log_in(&server), "/settings");
    assert!(!settings.contains(TOKEN));
    let row = |name: &str| {
        let row = settings.split("<tr>").find(|row| row.contains(&format!("<code>{name}</code>")));
        row.unwrap_or_else(|| panic!("{name}")).to_owned()
    };
    assert!(row("sessions.per_user").contains(">file<"));
    assert!(row("limits.requests").contains("default"));
    assert!(row("limits.requests").contains("wait"), "its sentence");
}

#[test]
fn pages_say_that_the_database_is_away_and_numbers_go_on() {
    let mut mariadb = Mariadb::start();
    let token = format!("admin.token = \"{TOKEN}\"");
    let server = mysql::on(&mariadb.database_now(), refusing_address()).with(&token).serve();
    let cookie = log_in(&server);
    let by_cookie = [("Cookie", cookie.as_str())];
    mariadb.stop();
    eventually(PATIENCE, "the overview says it", || {
        page(&server, &cookie, "/").contains("The database cannot be reached").then_some(())
    });
    assert!(page(&server, &cookie, "/").contains("older numbers are missing"));
    let away = ask(&server, "GET", "/users", &by_cookie, "");
    assert_eq!(away.status, 503, "{away:?}");
    assert!(away.text().contains("the database did not do it"), "{away:?}");
    http::post(server.address, "/v1/login", r#"{"code":"a-code"}"#);
    assert!(page(&server, &cookie, "/live").contains("1005"));
    page(&server, &cookie, "/settings");
    mariadb.go_on();
    eventually(PATIENCE, "the database is back", || {
        (ask(&server, "GET", "/users", &by_cookie, "").status == 200).then_some(())
    });
}
