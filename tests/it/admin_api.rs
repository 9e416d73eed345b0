//! The admin API, `/api/v1` on the admin listener.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::mysql;
use crate::support::http::{self, Response};
use crate::support::{
    APP, OTHER_APP, OTHER_SECRET, PATIENCE, Server, Setup, Simulator, WeChat, eventually,
    hang_up_on, refusing_address,
};

const TOKEN: &str = "a-token-for-the-admin";

fn setup(wechat: std::net::SocketAddr) -> Setup {
    Setup::new(wechat).with(&format!("admin.token = \"{TOKEN}\""))
}

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
    let authorization = format!("Bearer {TOKEN}");
    let headers = [&[("Authorization", authorization.as_str())], headers].concat();
    let path = format!("/api/v1/{path}");
    http::send(server.admin, http::request(method, &path, &headers, body.as_bytes()))
}

fn ask_metrics(server: &Server) -> String {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", authorization.as_str())];
    let asked = http::request("GET", "/metrics", &headers, b"");
    http::send(server.admin, asked).text().to_owned()
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    assert_eq!(response.header("cache-control"), "no-store");
    serde_json::from_slice(&response.body).unwrap()
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let response = ask(server, "GET", path, "");
    assert_eq!(response.status, 200, "{response:?}");
    json_of(&response)
}

/// Asserts that a problem came, with this status and a detail that says so much.
#[track_caller]
fn assert_problem(response: &Response, status: u16, part: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), "application/problem+json");
    let problem = json_of(response);
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
}

#[test]
fn it_is_off_without_a_token_and_wants_it_with_one() {
    let open = Setup::new(refusing_address()).serve();
    assert_problem(&http::get(open.admin, "/api/v1/apps"), 404, "admin.token");
    let server = setup(refusing_address()).serve();
    assert_problem(&http::get(server.admin, "/api/v1/apps"), 401, "admin.token");
    assert_eq!(ask(&server, "GET", "apps", "").status, 200);
}

#[test]
fn a_foreign_host_and_a_foreign_origin_are_refused() {
    let server = setup(refusing_address()).with("admin.hosts = [\"admin.example.com\"]").serve();
    let with = |method: &str, headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let headers: String = headers.collect();
        let line = format!("{method} /api/v1/sessions/none HTTP/1.1\r\n{headers}");
        let rest = format!("Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
        http::send(server.admin, line + &rest).status
    };
    let ours = ("Host", "admin.example.com");
    assert_eq!(with("DELETE", &[ours]), 404);
    assert_eq!(with("DELETE", &[ours, ("Origin", "https://admin.example.com")]), 404);
    assert_eq!(with("DELETE", &[ours, ("Origin", "https://evil.example")]), 403);
    assert_eq!(with("DELETE", &[ours, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(with("DELETE", &[("Host", "evil.example")]), 403);
    let refused = ask_with(&server, "DELETE", "sessions/x", &[("Origin", "null")], "");
    assert_problem(&refused, 403, "another origin");
}

#[test]
fn apps_are_added_changed_checked_and_removed() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let path = format!("apps/{OTHER_APP}");
    let wanted = json!({ "secret": OTHER_SECRET, "login_duration": 7, "check": true });
    let added = ask(&server, "PUT", &path, &wanted.to_string());
    let shown = json!({
        "appid": OTHER_APP, "login_duration": 7, "session_duration": 2_592_000, "default": false,
    });
    assert_eq!((added.status, json_of(&added)), (201, shown.clone()));
    assert_eq!(get(&server, &path), shown);
    let changed = ask(&server, "PUT", &path, r#"{"session_duration":60}"#);
    assert_eq!((changed.status, &json_of(&changed)["login_duration"]), (200, &json!(7)));
    assert_eq!(get(&server, "apps")["items"].as_array().unwrap().len(), 2);
    let code = json!({ "code": simulator.code_in(OTHER_APP, "person"), "appid": OTHER_APP });
    assert_eq!(http::post(server.address, "/v1/login", &code.to_string()).status, 200);

    let check = ask(&server, "POST", &format!("{path}/check"), "");
    assert_eq!(json_of(&check), json!({ "accepted": true }));
    let wrong = json!({ "secret": "00000000000000000000000000000000", "check": true });
    let refused = ask(&server, "PUT", &path, &wrong.to_string());
    assert_problem(&refused, 422, "40125");
    let check = ask(&server, "POST", &format!("{path}/check"), "");
    assert_eq!(json_of(&check)["accepted"], true, "the old secret is kept");
    // What is tried here is no login that fails: no alarm is to come of it.
    let metrics = ask_metrics(&server);
    let refused = |api: &str| format!("{{api=\"{api}\",app=\"{OTHER_APP}\",errcode=\"40125\"}}");
    assert!(metrics.contains(&refused("check")), "{metrics}");
    assert!(!metrics.contains(&refused("code2session")), "{metrics}");

    assert_eq!(ask(&server, "DELETE", &path, "").status, 204);
    assert_problem(&ask(&server, "DELETE", &path, ""), 404, "no such app");
    assert_problem(&ask(&server, "GET", &path, ""), 404, "no such app");
    let log = server.stop().stderr;
    for secret in [OTHER_SECRET, "00000000000000000000000000000000", TOKEN] {
        assert!(!log.contains(secret), "{log}");
    }
    let audited: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited = audited.iter().filter(|line| line["audit"] == true);
    assert_eq!(audited.clone().count(), 3, "{log}");
    assert!(audited.clone().all(|line| line["address"] == "127.0.0.1"), "{log}");
}

#[test]
fn bad_input_is_told_what_would_be_right() {
    let server = setup(refusing_address()).serve();
    let app = format!("apps/{APP}");
    let secret = r#"{"secret":5,"x":"s3cret-text"}"#;
    let refused = ask(&server, "PUT", &app, secret);
    assert_problem(&refused, 400, "`session_duration` (seconds)");
    assert!(!refused.text().contains("s3cret-text"));
    assert_problem(&ask(&server, "PUT", "apps/nonsense", "{}"), 400, "16 hex digits");
    let new = format!("apps/{OTHER_APP}");
    assert_problem(&ask(&server, "PUT", &new, "{}"), 400, "wants its `secret`");
    assert_problem(&ask(&server, "GET", "users?limit=0", ""), 400, "1 to 1000");
    assert_problem(&ask(&server, "GET", "users?limit=1001", ""), 400, "1 to 1000");
    assert_problem(&ask(&server, "GET", "users?opneid=x", ""), 400, "opneid");
    assert_problem(&ask(&server, "GET", "users?after=x", ""), 400, "`next`");
    assert_problem(&ask(&server, "GET", "stats?step=day", ""), 400, "minute or hour");
    assert_problem(&ask(&server, "GET", "stats?from=today", ""), 400, "2026-");
    let backwards = "stats?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
    assert_problem(&ask(&server, "GET", backwards, ""), 400, "`from` is before `to`");
    let long = json!({ "secret": "x".repeat(70_000) }).to_string();
    assert_problem(&ask(&server, "PUT", &app, &long), 413, "64 KiB");
    assert_problem(&ask(&server, "PUT", &app, "[null,null,null,null]"), 400, "JSON object");
    assert_eq!(
        get(&server, "stats?to=0")["from"],
        "1970-01-01T00:00:00Z",
        "there is nothing before"
    );
    let endless = r#"{"session_duration":3000000000}"#;
    assert_problem(&ask(&server, "PUT", &app, endless), 400, "2147483647");
    assert_problem(&ask(&server, "GET", "users/%FF/x", ""), 400, "UTF-8");
    assert_problem(&ask(&server, "GET", "nothing", ""), 404, "nothing at this path");
    let other_method = ask(&server, "POST", "users", "");
    assert_problem(&other_method, 405, "method");
    assert_eq!(other_method.header("allow"), "GET,HEAD");
    assert_problem(&ask(&server, "GET", "users/wx/nobody", ""), 404, "no such user");
    assert_problem(&ask(&server, "DELETE", "users/wx/nobody", ""), 404, "no such user");
    assert_problem(&ask(&server, "DELETE", "sessions/none", ""), 404, "no such session");
}

#[test]
fn users_and_sessions_are_found_ended_and_erased() {
    let wechat = WeChat::of_anybody().address;
    let token = format!("admin.token = \"{TOKEN}\"");
    let memory = setup(wechat).with("storage.url = \"memory:\"");
    let mysql = mysql::on(&Mariadb::shared().database_now(), wechat).with(&token);
    for setup in [setup(wechat), memory, mysql] {
        let server = setup.serve();
        let [ann, ben] = ["ann", "ben"].map(|person| server.session(person));
        let users = get(&server, "users?limit=1");
        assert_eq!(users["items"][0]["openid"], "ann");
        let next = users["next"].as_str().unwrap();
        let users = get(&server, &format!("users?limit=1&after={next}"));
        assert_eq!((&users["items"][0]["openid"], users.get("next")), (&json!("ben"), None));
        let found = get(&server, "users?openid=ben");
        assert_eq!(found["items"].as_array().unwrap().len(), 1);
        let user = get(&server, &format!("users/{APP}/ann"));
        assert_eq!(user["profile"]["openId"], "ann");
        assert_eq!(user["sessions"][0]["id"], *ann.id);
        assert_eq!(user["sessions"][0]["state"], "valid");
        assert!(!user.to_string().contains(&ann.skey), "{user}");

        let sessions = get(&server, "sessions?openid=ann");
        assert_eq!(sessions["items"][0]["id"], *ann.id);
        assert_eq!(ask(&server, "DELETE", &format!("sessions/{}", ann.id), "").status, 204);
        assert_eq!(server.check(&ann).code, 60012, "at once");
        assert_eq!(server.check(&ben).code, 0);
        assert_eq!(get(&server, &format!("users/{APP}/ann"))["sessions"], json!([]));

        assert_eq!(ask(&server, "DELETE", &format!("users/{APP}/ben"), "").status, 204);
        assert_eq!(server.check(&ben).code, 60012, "at once");
        assert_eq!(get(&server, "users?openid=ben")["items"], json!([]));
        let status = get(&server, "status");
        assert_eq!((&status["store"], &status["apps"]), (&json!("ready"), &json!(1)));
    }
}

#[test]
fn a_client_that_hangs_up_has_made_the_whole_change() {
    let setup = setup(WeChat::of_anybody().address);
    let server = setup.serve();
    let authorization = format!("Bearer {TOKEN}");
    for wait in [50, 200, 1000, 3000] {
        let session = server.session("person");
        assert_eq!(server.check(&session).code, 0, "it is in memory");
        let path = format!("/api/v1/users/{APP}/person");
        let erasing = http::request("DELETE", &path, &[("Authorization", &authorization)], b"");
        hang_up_on(&setup, server.admin, &erasing, Duration::from_millis(wait));
        // Writes come one after the other.
        server.session("somebody-else");
        if setup.sessions(&["--id", &session.id]).is_empty() {
            assert_eq!(server.check(&session).code, 60012);
            server.program.stderr.wait_for_text("a user was erased");
            return;
        }
    }
    panic!("the request never came to the database");
}

#[test]
fn a_users_sessions_come_in_pages_that_end() {
    const SESSIONS: usize = 25;
    let server = setup(WeChat::of_anybody().address).with("sessions.per_user = 0").serve();
    for _ in 0..SESSIONS {
        server.session("person");
    }
    let (mut seen, mut path) = (Vec::new(), "sessions?openid=person&limit=10".to_owned());
    loop {
        let page = get(&server, &path);
        let ids = page["items"].as_array().unwrap().iter().map(|row| row["id"].clone());
        seen.extend(ids);
        // The one that the next page begins after is ended.
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(ask(&server, "DELETE", &format!("sessions/{next}"), "").status, 204);
        path = format!("sessions?openid=person&limit=10&after={next}");
    }
    assert_eq!(seen.len(), SESSIONS);
}

#[test]
fn pages_miss_nobody_who_was_there_all_the_time_and_show_nobody_twice() {
    const THERE: usize = 300;
    let server = setup(WeChat::of_anybody().address).with("sessions.per_user = 0").serve();
    let ids: Vec<_> = (0..THERE).map(|n| server.session(&format!("user-{n:03}")).id).collect();
    for list in ["users", "sessions"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        for round in 0.. {
            let page = get(&server, &format!("{list}?limit=17&after={after}"));
            let name = if list == "users" { "openid" } else { "id" };
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|row| row[name].as_str().unwrap().to_owned()));
            // Some come and some go meanwhile.
            let passing = server.session(&format!("passing-{round}-{list}"));
            if round % 2 == 0 {
                ask(&server, "DELETE", &format!("sessions/{}", passing.id), "");
                ask(&server, "DELETE", &format!("users/{APP}/passing-{round}-{list}"), "");
            }
            let Some(next) = page["next"].as_str() else { break };
            next.clone_into(&mut after);
        }
        let there: Vec<_> = match list {
            "users" => (0..THERE).map(|n| format!("user-{n:03}")).collect(),
            _ => ids.clone(),
        };
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{list}: somebody twice");
        assert!(
            there.iter().all(|name| seen.binary_search(name).is_ok()),
            "{list}: one is missing"
        );
    }
}

#[test]
fn the_numbers_of_requests_are_there() {
    let setup = setup(WeChat::of_anybody().address);
    let server = setup.serve();
    let session = server.session("person");
    assert_eq!(server.check(&session).code, 0);
    server.stop().succeeded();
    let server = setup.serve();
    for step in ["minute", "hour"] {
        let stats = get(&server, &format!("stats?step={step}&appid={APP}"));
        let items = stats["items"].as_array().unwrap();
        let auth = items.iter().find(|item| item["interface"] == "auth").unwrap();
        assert_eq!((&auth["count"], &auth["code"]), (&json!(1), &json!(0)), "{stats}");
    }
    assert_eq!(get(&server, &format!("stats?appid={OTHER_APP}"))["items"], json!([]));
    assert_eq!(
        get(&server, "stats?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")["items"],
        json!([])
    );
}

#[test]
fn a_database_that_is_away_is_a_problem_and_no_more() {
    let mut mariadb = Mariadb::start();
    let token = format!("admin.token = \"{TOKEN}\"");
    let server =
        mysql::on(&mariadb.database_now(), WeChat::of_anybody().address).with(&token).serve();
    assert_eq!(get(&server, "users")["items"], json!([]));
    mariadb.stop();
    for path in ["apps", "users", "sessions", "stats"] {
        assert_problem(&ask(&server, "GET", path, ""), 503, "the database did not do it");
    }
    let remove = ask(&server, "DELETE", &format!("apps/{APP}"), "");
    assert_problem(&remove, 503, "the database did not do it");
    assert_eq!(ask(&server, "GET", "status", "").status, 200);
    mariadb.go_on();
    eventually(PATIENCE, "the database is back", || {
        (ask(&server, "GET", "apps", "").status == 200).then_some(())
    });
}
