//! `mina-auth app`

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::program::{Program, mina_auth};
use crate::support::server::LOGIN;
use crate::support::{
    APP, Answer, OTHER_APP, OTHER_SECRET, PATIENCE, SECRET, Server, Setup, Simulator, eventually,
    refusing_address,
};

/// A set-up whose configuration names no app.
fn bare(wechat: std::net::SocketAddr) -> Setup {
    Setup::new(wechat).with("apps = []")
}

fn listed(setup: &Setup) -> Value {
    setup.run(&["app", "list", "--json"]).succeeded().json()
}

fn log_in(server: &Server, simulator: &Simulator, app: &str) -> Answer {
    let code = simulator.code_in(app, "person");
    server.call_in(app, &json!({ "interfaceName": LOGIN, "para": { "code": code } }))
}

#[test]
fn an_app_is_added_from_standard_input_or_a_file() {
    let setup = bare(refusing_address());
    let added = setup.run_with(&["app", "add", APP], SECRET).succeeded();
    // Nothing was there yet: a key is made, and the operator is told.
    let (first, second) = added.stderr.split_once('\n').unwrap();
    assert!(first.contains("a new key file") && first.contains("mina-auth.db.key"), "{first}");
    assert_eq!(second, format!("added {APP}\n"));
    let file = setup.path("secret.txt");
    fs::write(&file, OTHER_SECRET).unwrap();
    let file = file.to_str().unwrap();
    setup.run(&["app", "add", OTHER_APP, "--secret-file", file, "--default"]).succeeded();
    let expected = json!([
        { "appid": APP, "login_duration": 30, "session_duration": 2_592_000, "default": false },
        { "appid": OTHER_APP, "login_duration": 30, "session_duration": 2_592_000, "default": true },
    ]);
    assert_eq!(listed(&setup), expected);
    let table = setup.run(&["app", "list"]).succeeded().stdout;
    assert!(table.contains(APP) && table.contains(OTHER_APP), "{table}");
}

#[test]
fn spaces_around_an_appid_and_a_secret_are_typing_errors() {
    let simulator = Simulator::start();
    let setup = bare(simulator.address);
    let appid = format!(" {APP}\t");
    setup.run_with(&["app", "add", &appid], &format!("\r\n {SECRET} \r\n")).succeeded();
    assert_eq!(listed(&setup)[0]["appid"], APP);
    assert_eq!(setup.serve().log_in(&simulator.code("person")).code, 0);
}

#[test]
fn an_appid_that_is_none_of_wechats_is_warned_of_and_taken() {
    let setup = bare(refusing_address());
    setup.run(&["migrate"]).succeeded();
    for odd in ["wx123", "gh_0123456789abcdef", "wx0123456789ABCDEF"] {
        let added = setup.run_with(&["app", "add", odd], SECRET).succeeded();
        assert!(added.stderr.starts_with(&format!("warning: `{odd}`")), "{added:?}");
    }
    assert_eq!(listed(&setup).as_array().unwrap().len(), 3);
}

#[test]
fn a_secret_is_never_printed_back() {
    let setup = bare(refusing_address());
    let add = || setup.run_with(&["app", "add", APP, "--default"], SECRET).succeeded();
    for finished in [
        add(),
        add(),
        setup.run(&["app", "list"]).succeeded(),
        setup.run(&["app", "list", "--json"]).succeeded(),
        setup.run(&["app", "show", APP]).succeeded(),
        setup.run(&["app", "show", APP, "--json"]).succeeded(),
        setup.run(&["config", "show"]).succeeded(),
        setup.run(&["app", "remove", APP]).succeeded(),
    ] {
        assert!(!format!("{finished:?}").contains(SECRET), "{finished:?}");
    }
}

#[test]
fn what_cannot_be_an_app_is_refused() {
    let setup = bare(refusing_address());
    setup.run(&["migrate"]).succeeded();
    let line = setup.run_with(&["app", "add", APP], " \n").failed_in_one_line();
    assert!(line.contains("the secret is empty"), "{line}");
    let line = setup.run_with(&["app", "add", " "], SECRET).failed_in_one_line();
    assert!(line.contains("the appid is empty"), "{line}");
    let line = setup.run(&["app", "add", APP, "--secret-file", "absent.txt"]).failed_in_one_line();
    assert!(line.contains("--secret-file") && line.contains("absent.txt"), "{line}");
    let line = setup.run(&["app", "show", APP]).failed_in_one_line();
    assert!(line.contains(&format!("there is no app `{APP}`")), "{line}");
    let line = setup.run(&["app", "remove", APP]).failed_in_one_line();
    assert!(line.contains(&format!("there is no app `{APP}`")), "{line}");
}

#[test]
fn a_changed_app_keeps_what_is_not_said() {
    let setup = bare(refusing_address());
    let durations = ["--login-duration", "7", "--session-duration", "3600"];
    let add = [&["app", "add", APP, "--default"], &durations[..]].concat();
    setup.run_with(&add, SECRET).succeeded();
    let changed = setup.run_with(&["app", "add", APP], OTHER_SECRET).succeeded();
    assert_eq!(changed.stderr, format!("changed {APP}\n"));
    let expected = json!([
        { "appid": APP, "login_duration": 7, "session_duration": 3600, "default": true },
    ]);
    assert_eq!(listed(&setup), expected);
}

#[test]
fn there_is_one_default_app() {
    let setup = bare(refusing_address());
    for appid in [APP, OTHER_APP] {
        setup.run_with(&["app", "add", appid, "--default"], SECRET).succeeded();
    }
    let defaults: Vec<_> =
        listed(&setup).as_array().unwrap().iter().map(|app| app["default"].clone()).collect();
    assert_eq!(defaults, [false, true]);
}

#[test]
fn a_running_server_sees_a_new_app_and_a_removed_one() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    let server = setup.serve();
    assert_eq!(log_in(&server, &simulator, OTHER_APP).code, 1012);
    setup.run_with(&["app", "add", OTHER_APP], OTHER_SECRET).succeeded();
    let session = eventually(PATIENCE, "the new app can log in", || {
        Some(log_in(&server, &simulator, OTHER_APP)).filter(|answer| answer.code == 0)
    })
    .session();
    assert_eq!(server.check(&session).code, 0);
    setup.run(&["app", "remove", OTHER_APP]).succeeded();
    eventually(PATIENCE, "the session of a removed app is over", || {
        (server.check(&session).code == 60012).then_some(())
    });
    eventually(PATIENCE, "the removed app cannot log in", || {
        (log_in(&server, &simulator, OTHER_APP).code == 1012).then_some(())
    });
}

#[test]
fn a_running_server_sees_a_changed_secret() {
    let simulator = Simulator::start();
    let setup = bare(simulator.address);
    setup.run_with(&["app", "add", APP], "wrong").succeeded();
    let server = setup.serve();
    let answer = log_in(&server, &simulator, APP);
    assert_eq!(answer.code, 1007);
    assert!(answer.message.contains("40125"), "{answer:?}");
    setup.run_with(&["app", "add", APP], SECRET).succeeded();
    let answer = eventually(PATIENCE, "the right secret is used", || {
        Some(log_in(&server, &simulator, APP)).filter(|answer| answer.code != 1007)
    });
    assert_eq!(answer.line(), "0 NEW_SESSION_SUCCESS");
}

#[test]
fn a_running_server_sees_a_changed_duration() {
    let simulator = Simulator::start();
    let setup = bare(simulator.address);
    setup.run_with(&["app", "add", APP], SECRET).succeeded();
    let server = setup.serve();
    let session = log_in(&server, &simulator, APP).session();
    assert_eq!(server.check(&session).code, 0);
    setup.run_with(&["app", "add", APP, "--session-duration", "0"], SECRET).succeeded();
    let line = eventually(PATIENCE, "the new duration counts", || {
        // Any check that succeeds is a visit: it would keep the session alive within its second.
        std::thread::sleep(Duration::from_millis(1100));
        Some(server.check(&session).line()).filter(|line| line != "0 AUTH_SUCCESS")
    });
    assert_eq!(line, "60012 AUTH_FAIL: unused too long");
}

#[test]
fn at_start_the_configuration_wins_over_the_store() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    setup.run_with(&["app", "add", APP], "wrong").succeeded();
    let server = setup.serve();
    assert_eq!(log_in(&server, &simulator, APP).code, 0);
    server.stop();
    // What left the configuration stays.
    let server = setup.with("apps = []").serve();
    assert_eq!(log_in(&server, &simulator, APP).code, 0);
}

#[test]
fn a_store_in_memory_is_the_servers_alone() {
    let setup = bare(refusing_address()).with("storage.url = \"memory:\"");
    for arguments in [&["app", "list"][..], &["app", "show", APP], &["app", "remove", APP]] {
        let line = setup.run(arguments).failed_in_one_line();
        assert!(line.contains("only the server itself has that store"), "{line}");
    }
    let line = setup.run_with(&["app", "add", APP], SECRET).failed_in_one_line();
    assert!(line.contains("`storage.url` is `memory:`"), "{line}");
}

#[test]
fn arguments_are_read_before_anything_is_made() {
    let setup = bare(refusing_address());
    for (arguments, part) in [
        (["app", "add", APP, "--secret-file", "/nope"], "`--secret-file`: cannot read `/nope`"),
        (["app", "add", APP, "--secret-file", "/dev/null"], "the secret is empty"),
        (["app", "add", " ", "--secret-file", "/dev/null"], "the appid is empty"),
    ] {
        let line = setup.run(&arguments).failed_in_one_line();
        assert!(line.contains(part), "{line}");
        for file in ["mina-auth.db", "mina-auth.db.key"] {
            assert!(!setup.path(file).exists(), "{file} was made by {arguments:?}");
        }
    }
}

/// Most likely it was run in the wrong place.
#[test]
fn a_database_that_nobody_chose_is_not_made() {
    let setup = bare(refusing_address());
    let directory = setup.path("elsewhere");
    fs::create_dir(&directory).unwrap();
    let secret = setup.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["app", "add", APP, "--secret-file", secret],
        &["app", "list"],
        &["session", "list"],
        &["migrate"],
        &["check"],
    ];
    for arguments in commands {
        let mut command = mina_auth(arguments);
        let line = Program::start(command.current_dir(&directory)).finish().failed_in_one_line();
        let named = directory.join("mina-auth.db");
        for part in ["no configuration", named.to_str().unwrap(), "`--config`"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0, "{arguments:?}");
    }
    let mut chosen = mina_auth(&["app", "add", APP, "--secret-file", secret]);
    chosen.env("MINA_AUTH__STORAGE__URL", "sqlite:chosen.db").current_dir(&directory);
    Program::start(&mut chosen).finish().succeeded();
    assert!(directory.join("chosen.db").exists());
}
