//! A configuration that cannot be served: one line that names the setting, and no server.

use std::fs;
use std::net::TcpListener;

use crate::at_rest::ONE;
use crate::support::program::{Program, mina_auth};
use crate::support::{
    APP, OTHER_APP, OTHER_SECRET, SECRET, Server, Setup, Simulator, refusing_address,
};

/// Asserts that `serve` fails with one line that has all of this in it.
#[track_caller]
fn assert_refused(settings: &str, expected: &[&str]) {
    let setup = Setup::new(refusing_address()).with(settings);
    let line = setup.run(&["serve"]).failed_in_one_line();
    for part in expected {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
}

#[test]
fn an_unknown_key_is_named() {
    assert_refused("server.lisen = \"127.0.0.1:0\"", &["lisen", "server", "`listen`"]);
    assert_refused("limits.logins = 1", &["logins", "limits", "`logins_per_second`"]);
    assert_refused("sever.listen = \"127.0.0.1:0\"", &["sever", "`server`"]);
    assert_refused(
        "apps = [{ appid = \"wx1\", secret = \"s\", name = \"n\" }]",
        &["name", "apps[0]"],
    );
}

#[test]
fn a_value_that_does_not_fit_is_named_with_what_would() {
    assert_refused("wechat.timeout = \"5 apples\"", &["wechat.timeout", "5 apples", "\"5s\""]);
    assert_refused("wechat.timeout = 5", &["wechat.timeout", "\"5s\""]);
    assert_refused("server.listen = \"nowhere\"", &["server.listen", "nowhere", "127.0.0.1:8080"]);
    assert_refused("storage.url = \"oracle:x\"", &["storage.url", "`sqlite:PATH`"]);
    assert_refused("sessions.per_user = -1", &["sessions.per_user", "-1"]);
    assert_refused("limits.requests = \"many\"", &["limits.requests", "many"]);
    assert_refused("wechat.base_url = \"ftp://wechat\"", &["wechat.base_url", "http://"]);
}

#[test]
fn a_url_without_a_scheme_is_told_what_is_missing() {
    assert_refused("wechat.base_url = \"api.weixin.qq.com\"", &["wechat.base_url", "http://"]);
    assert_refused("wechat.proxy = \"10.0.0.1\"", &["wechat.proxy", "http://"]);
}

#[test]
fn a_value_with_line_breaks_is_shown_in_one_line() {
    let lines = r#"wechat.proxy = "10.0.0.1\n\u001b[31mand more""#;
    assert_refused(lines, &["wechat.proxy", r"10.0.0.1\n\u{1b}[31mand more"]);
    let lines = r#"wechat.timeout = "5\n\u001b[31mapples""#;
    assert_refused(lines, &["wechat.timeout", r"\u{1b}[31mapples"]);
}

#[test]
fn a_word_that_is_none_of_the_choices_is_told_the_choices() {
    assert_refused("sessions.touch = \"never\"", &["sessions.touch", "never", "batched", "sync"]);
    assert_refused("log.level = \"chatty\"", &["log.level", "chatty", "debug"]);
}

#[test]
fn a_size_that_is_none_is_told_what_one_looks_like() {
    assert_refused("server.max_body = \"lots\"", &["server.max_body", "lots", "1MiB"]);
    assert_refused("limits.long_bodies = \"1KiB\"", &["limits.long_bodies", "server.max_body"]);
}

#[test]
fn a_limit_that_is_no_limit_is_named() {
    assert_refused("limits.header_size = \"4KiB\"", &["limits.header_size", "8KiB"]);
    assert_refused("limits.connections = 0", &["limits.connections", "zero"]);
    assert_refused("limits.connections = -1", &["limits.connections", "-1"]);
    for setting in ["limits.header_timeout", "limits.body_timeout", "limits.idle_timeout"] {
        assert_refused(&format!("{setting} = \"999ms\""), &[setting, "1s"]);
    }
}

#[test]
fn an_app_that_cannot_be_one_is_named() {
    let apps = |apps: &str| format!("apps = [{apps}]");
    let twice = format!(
        "{{ appid = \"{APP}\", secret = \"a\" }}, {{ appid = \" {APP} \", secret = \"b\" }}"
    );
    assert_refused(&apps(&twice), &["apps[1].appid", APP, "twice"]);
    assert_refused(&apps("{ appid = \"\", secret = \"s\" }"), &["apps[0].appid", "empty"]);
    assert_refused(&apps("{ appid = \"wx1\" }"), &["apps[0].secret", "missing", "`secret_file`"]);
    assert_refused(&apps("{ appid = \"wx1\", secret = \" \" }"), &["apps[0].secret", "empty"]);
    let both = "{ appid = \"wx1\", secret = \"s\", secret_env = \"S\" }";
    assert_refused(&apps(both), &["apps[0].secret", "only one"]);
    let absent = "{ appid = \"wx1\", secret_env = \"NO_SUCH_VARIABLE\" }";
    assert_refused(&apps(absent), &["apps[0].secret_env", "NO_SUCH_VARIABLE"]);
    let absent = "{ appid = \"wx1\", secret_file = \"absent.txt\" }";
    assert_refused(&apps(absent), &["apps[0].secret_file", "absent.txt"]);
    let defaults = format!(
        "{{ appid = \"{APP}\", secret = \"a\", default = true }}, \
         {{ appid = \"{OTHER_APP}\", secret = \"b\", default = true }}"
    );
    assert_refused(&apps(&defaults), &["default", "more than one"]);
}

#[test]
fn keys_that_cannot_be_used_are_named_and_not_shown() {
    assert_refused("secrets.keys = [\"no key\"]", &["secrets.keys[0]", "64 hex digits"]);
    assert_refused("secrets.key_file = \"absent\"", &["secrets.key_file", "`absent`"]);
    let both = format!("secrets.keys = \"{ONE}\"\nsecrets.key_file = \"absent\"");
    assert_refused(&both, &["secrets.key_file", "`secrets.keys`", "not both"]);
    let mistyped = format!("{ONE}1");
    let setup = Setup::new(refusing_address()).with(&format!("secrets.keys = \"{mistyped}\""));
    let line = setup.run(&["serve"]).failed_in_one_line();
    assert!(!line.contains(ONE), "{line}");
}

#[test]
fn an_admin_listener_that_others_reach_needs_a_token() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let settings = format!("admin.listen = \"{address}\"");
        assert_refused(&settings, &["admin.listen", address, "admin.token"]);
    }
    let setup = Setup::new(refusing_address())
        .with("admin.listen = \"0.0.0.0:0\"\nadmin.token = \"a-token-of-the-admin\"");
    let server = setup.serve();
    assert!(!server.stop().stderr.contains("a-token-of-the-admin"));
}

/// Runs `serve` with this file of the set-up's directory.
fn serve_with(setup: &Setup, file: &str) -> String {
    let mut command = mina_auth(&["serve", "--config", file]);
    Program::start(command.current_dir(setup.path(""))).finish().failed_in_one_line()
}

#[test]
fn a_file_that_is_absent_or_cannot_be_read_is_named() {
    let setup = Setup::new(refusing_address());
    fs::create_dir(setup.path("directory.toml")).unwrap();
    for file in ["absent.toml", "directory.toml"] {
        let line = serve_with(&setup, file);
        assert!(line.contains(file), "{line}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_place() {
    let setup = Setup::new(refusing_address());
    fs::write(setup.path("broken.toml"), "[server\nlisten = 1").unwrap();
    fs::write(setup.path("binary.toml"), [0xff, 0xfe, 0]).unwrap();
    for (file, problem) in [("broken.toml", "line 1"), ("binary.toml", "UTF-8")] {
        let line = serve_with(&setup, file);
        assert!(line.contains(file) && line.contains(problem), "{line}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for setting in ["server.listen", "admin.listen"] {
        assert_refused(&format!("{setting} = \"{taken}\""), &[setting, &taken, "in use"]);
    }
}

#[test]
fn two_servers_do_not_share_a_port() {
    let first = Setup::new(refusing_address()).serve();
    for (setting, address) in [("server.listen", first.address), ("admin.listen", first.admin)] {
        assert_refused(&format!("{setting} = \"{address}\""), &[setting, "in use"]);
    }
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let setup = Setup::new(refusing_address());
    setup.run(&["migrate"]).succeeded();
    let database = rusqlite::Connection::open(setup.path("mina-auth.db")).unwrap();
    database.pragma_update(None, "user_version", 999).unwrap();
    for command in ["serve", "migrate", "check"] {
        let finished = setup.run(&[command]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains("newer mina-auth (schema 999"), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[test]
fn a_database_that_cannot_be_one_is_named_once() {
    // Nobody may create files in /sys, root included.
    for path in ["absent/mina-auth.db", "/sys/mina-auth.db", "."] {
        let setup =
            Setup::new(refusing_address()).with(&format!("storage.url = \"sqlite:{path}\""));
        let line = setup.run(&["serve"]).failed_in_one_line();
        assert!(line.contains(&format!("`{path}`")), "{line}");
        assert_eq!(line.matches("os error").count(), 1, "the cause is repeated: {line}");
    }
    let setup = Setup::new(refusing_address());
    fs::write(setup.path("mina-auth.db"), "some text that somebody keeps here".repeat(9)).unwrap();
    let line = setup.run(&["serve"]).failed_in_one_line();
    assert!(line.contains("`mina-auth.db`"), "{line}");
    assert_eq!(line.matches("is not a database").count(), 1, "the cause is repeated: {line}");
}

#[test]
fn the_environment_goes_before_the_file() {
    let setup = Setup::new(refusing_address()).with("server.listen = \"nowhere\"");
    let mut command = setup.command(&["serve"]);
    command.env("MINA_AUTH__SERVER__LISTEN", "127.0.0.1:0, 127.0.0.1:0");
    let server = Server::start(&mut command);
    assert_eq!(server.stop().stderr.matches("\"listener\":\"protocol\"").count(), 2);

    let setup = Setup::new(refusing_address());
    let mut command = setup.command(&["serve"]);
    let finished = Program::start(command.env("MINA_AUTH__SERVER__LISEN", "127.0.0.1:0")).finish();
    let line = finished.failed_in_one_line();
    assert!(line.contains("lisen"), "{line}");
}

#[test]
fn the_environment_names_the_file() {
    let setup = Setup::new(refusing_address());
    let mut command = mina_auth(&["serve"]);
    command.env("MINA_AUTH_CONFIG", setup.config()).current_dir(setup.path(""));
    Server::start(&mut command).stop();
}

#[test]
fn a_secret_of_digits_stays_as_it_is() {
    let digits = "00123456789012345678901234567890";
    let simulator = Simulator::knowing(&[(APP, digits), (OTHER_APP, OTHER_SECRET)]);
    let apps = format!("apps = [{{ appid = \"{APP}\", secret_env = \"WX_SECRET\" }}]");
    let from_env = Setup::new(simulator.address).with(&apps);
    let mut command = from_env.command(&["serve"]);
    command.env("WX_SECRET", digits).env("MINA_AUTH__ADMIN__TOKEN", "00123");
    let server = Server::start(&mut command);
    assert_eq!(server.log_in(&simulator.code("person")).code, 0);

    let apps = format!("apps = [{{ appid = \"{APP}\", secret = \"{digits}\" }}]");
    let from_file = Setup::new(simulator.address).with(&apps).serve();
    assert_eq!(from_file.log_in(&simulator.code("person")).code, 0);
}

#[test]
fn a_secret_file_may_end_with_a_line_break() {
    let simulator = Simulator::start();
    let apps = format!("apps = [{{ appid = \"{APP}\", secret_file = \"secret.txt\" }}]");
    let setup = Setup::new(simulator.address).with(&apps);
    fs::write(setup.path("secret.txt"), format!("{SECRET}\n")).unwrap();
    assert_eq!(setup.serve().log_in(&simulator.code("person")).code, 0);
}
