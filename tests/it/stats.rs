//! `mina-auth stats`, and what it stands on.

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::support::{APP, Server, Setup, WeChat, http, refusing_address};
use crate::{mysql, support::Simulator};

/// Logs in, checks three times and fails twice; for one, WeChat is not to be reached.
fn traffic(server: &Server, simulator: &Simulator) {
    let session = server.session(&simulator.code("person"));
    for _ in 0..3 {
        assert_eq!(server.check(&session).code, 0);
    }
    assert_eq!(server.check(&session.with_wrong_skey()).code, 60012);
    simulator.faults(&json!({ "status": 500 }));
    assert_eq!(server.log_in(&simulator.code("person")).code, 1005);
    simulator.faults(&json!({}));
}

/// The row of an interface, as the numbers that say something.
fn rate(stats: &Value, interface: &str) -> Value {
    let rates = stats["rates"].as_array().unwrap();
    let rate = rates.iter().find(|rate| rate["interface"] == interface).unwrap();
    assert_eq!(rate["app"], APP);
    json!([rate["requests"], rate["succeeded"], rate["callers"], rate["failed"], rate["success"]])
}

#[test]
fn success_and_failures_are_there_after_a_stop() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    for rounds in [1, 2] {
        let server = setup.serve();
        traffic(&server, &simulator);
        server.stop().succeeded();
        let stats = setup.run(&["stats", "--json"]).succeeded().json();
        assert_eq!(rate(&stats, "auth"), json!([4 * rounds, 3 * rounds, rounds, 0, 100.0]));
        assert_eq!(rate(&stats, "id_skey"), json!([2 * rounds, rounds, 0, rounds, 50.0]));
        let failure = json!({
            "app": APP, "interface": "auth", "code": 60012, "constant": "AUTH_FAIL",
            "callers": true, "count": rounds,
        });
        assert!(stats["failures"].as_array().unwrap().contains(&failure), "{stats}");
    }
    let text = setup.run(&["stats", "--since", "1h"]).succeeded().stdout;
    for part in ["id_skey", "50.00 %", "100.00 %", "no such session, or it has expired"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let other = setup.run(&["stats", "--app", "wxaaaaaaaaaaaaaaaa", "--json"]).succeeded().json();
    assert_eq!(other["rates"], json!([]));
    let weeks = setup.run(&["stats", "--since", "14d", "--json"]).succeeded().json();
    assert_eq!(rate(&weeks, "auth"), json!([8, 6, 2, 0, 100.0]), "rows of an hour");
}

#[test]
fn nodes_add_to_the_same_rows() {
    let simulator = Simulator::start();
    let setup = mysql::on(&Mariadb::shared().database_now(), simulator.address);
    let nodes = [setup.serve(), setup.serve()];
    for node in &nodes {
        traffic(node, &simulator);
    }
    for node in nodes {
        node.stop().succeeded();
    }
    let stats = setup.run(&["stats", "--json"]).succeeded().json();
    assert_eq!(rate(&stats, "auth"), json!([8, 6, 2, 0, 100.0]));
}

#[test]
fn a_span_that_is_none_is_refused() {
    let setup = Setup::new(refusing_address());
    setup.serve().stop().succeeded();
    let refused = setup.run(&["stats", "--since", "yesterday"]);
    assert!(refused.stderr.contains("--since"), "{refused:?}");
    let quiet = setup.run(&["stats"]).succeeded().stdout;
    assert!(quiet.contains("no requests"), "{quiet}");
}

#[test]
fn nothing_of_the_callers_is_in_the_rows() {
    let server = Setup::new(WeChat::of_anybody().address).serve();
    http::post(server.address, "/v1/login?appid=wxaaaaaaaaaaaaaaaa", r#"{"code":"x"}"#);
    http::post(server.address, "/v1/login", r#"{"code":"x","appid":"a\nb"}"#);
    let metrics = http::get(server.admin, "/metrics");
    let lines: Vec<_> =
        metrics.text().lines().filter(|line| line.contains("code=\"1012\"")).collect();
    assert_eq!(lines, [r#"mina_auth_requests_total{app="",code="1012",interface="login"} 2"#]);
}
