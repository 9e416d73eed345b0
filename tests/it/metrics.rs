//! `GET /metrics`, on the admin listener.

#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{APP, Server, Session, Setup, Simulator, WeChat, http};

/// What `/metrics` says.
fn metrics(server: &Server) -> String {
    let response = http::get(server.admin, "/metrics");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), "text/plain; version=0.0.4");
    response.text().to_owned()
}

/// The value of a series; its labels in alphabetical order.
#[track_caller]
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
}

/// Some of everything: a good login and a bad one, checks that succeed and fail, nonsense.
fn mixed_traffic(server: &Server, simulator: &Simulator) -> Session {
    let session = server.session(&simulator.code("person"));
    assert_ne!(server.log_in("nobody's").code, 0);
    for _ in 0..3 {
        assert_eq!(server.check(&session).code, 0);
    }
    assert_eq!(server.check(&session.with_wrong_skey()).code, 60012);
    let token = format!("Bearer {}.{}", session.id, session.skey);
    let headers = [("Authorization", token.as_str())];
    for path in ["/v1/forward-auth", "/v1/session"] {
        let asked = http::request("GET", path, &headers, b"");
        assert_eq!(http::send(server.address, asked).status, 200);
    }
    assert_eq!(http::get(server.address, "/v1/session").status, 401);
    assert_eq!(http::post(server.address, "/v1/login", r#"{"code":"nobody's"}"#).status, 401);
    assert_eq!(http::post(server.address, "/mina_auth/", "nonsense").status, 200);
    session
}

#[test]
fn requests_are_counted_by_interface_code_and_app() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).serve();
    mixed_traffic(&server, &simulator);
    let metrics = metrics(&server);
    let counted = |app: &str, code: u32, interface: &str| {
        let labels = format!("app=\"{app}\",code=\"{code}\",interface=\"{interface}\"");
        value(&metrics, &format!("mina_auth_requests_total{{{labels}}}"))
    };
    assert_eq!(counted(APP, 0, "id_skey"), 1.0);
    assert_eq!(counted(APP, 40029, "id_skey"), 1.0);
    assert_eq!(counted(APP, 0, "auth"), 3.0);
    assert_eq!(counted(APP, 60012, "auth"), 1.0);
    assert_eq!(counted(APP, 0, "forward-auth"), 1.0);
    assert_eq!(counted(APP, 0, "session"), 1.0);
    assert_eq!(counted(APP, 60012, "session"), 1.0);
    assert_eq!(counted(APP, 40029, "login"), 1.0);
    assert_eq!(counted("", 1009, "unreadable"), 1.0);
    let took = |end: &str| value(&metrics, &format!("mina_auth_request_duration_seconds_{end}"));
    assert_eq!(took("count{interface=\"auth\"}"), 4.0);
    assert_eq!(took("bucket{interface=\"auth\",le=\"+Inf\"}"), 4.0);
    assert!(took("sum{interface=\"auth\"}") > 0.0);
}

#[test]
fn the_cache_the_store_and_wechat_are_counted() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).serve();
    mixed_traffic(&server, &simulator);
    let metrics = metrics(&server);
    let value = |series: &str| value(&metrics, series);
    assert_eq!(value("mina_auth_cached_sessions"), 1.0);
    assert!(value("mina_auth_cache_bytes") > 0.0);
    assert!(value("mina_auth_cache_hits_total") >= 4.0);
    assert!(value("mina_auth_cache_misses_total") >= 1.0);
    assert_eq!(value("mina_auth_store_up"), 1.0);
    assert_eq!(value("mina_auth_store_duration_seconds_count{operation=\"sign_in\"}"), 1.0);
    assert_eq!(value("mina_auth_store_errors_total{operation=\"sign_in\"}"), 0.0);
    let wechat = |errcode: &str| {
        let labels = format!("api=\"code2session\",app=\"{APP}\",errcode=\"{errcode}\"");
        value(&format!("mina_auth_wechat_requests_total{{{labels}}}"))
    };
    assert_eq!((wechat("0"), wechat("40029")), (1.0, 2.0));
    assert_eq!(value("mina_auth_wechat_breaker_open"), 0.0);
    assert_eq!(value("mina_auth_logins_in_flight"), 0.0);
    assert!(value("mina_auth_connections{listener=\"admin\"}") >= 1.0);
    assert!(value("mina_auth_change_feed_lag_seconds") < 60.0);
    assert!(value("process_resident_memory_bytes") > 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(&format!("mina_auth_build_info{{version=\"{version}\"}}")), 1.0);
}

#[test]
fn what_is_refused_is_counted_and_not_forgotten_with_the_report() {
    let key = "server.access_key = \"a-key-that-nobody-guesses\"";
    let server = Setup::new(WeChat::of_anybody().address).with(key).serve();
    let series = "mina_auth_refusals_total{listener=\"protocol\",reason=\"access_key\"}";
    for refused in [1.0, 2.0] {
        assert_eq!(http::post(server.address, "/mina_auth/", "{}").status, 401);
        server.program.stderr.wait_for_text("without the `server.access_key`");
        assert_eq!(value(&metrics(&server), series), refused);
    }
}

#[test]
fn apps_may_be_left_out() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).with("metrics.app_label = false").serve();
    mixed_traffic(&server, &simulator);
    let series = "mina_auth_requests_total{code=\"0\",interface=\"auth\"}";
    assert_eq!(value(&metrics(&server), series), 3.0);
}

#[test]
fn promtool_has_nothing_to_say() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).serve();
    mixed_traffic(&server, &simulator);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh installs promtool");
    promtool.stdin.take().unwrap().write_all(metrics(&server).as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let texts = [&said.stdout, &said.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(said.status.success() && texts == ["", ""], "{texts:?}");
}
