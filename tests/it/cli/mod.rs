//! The commands, beside a server that is running and without one.

mod app;
mod check;
mod session;
mod user;

use crate::at_rest::{ONE, TWO};
use crate::support::program::{Program, mina_auth};
use crate::support::{SECRET, Setup, refusing_address};

#[test]
fn wrong_usage_and_failure_have_codes_of_their_own() {
    let setup = Setup::new(refusing_address());
    for wrong in [
        &["frobnicate"][..],
        &["serve", "--port", "80"],
        &["app"],
        &["app", "add"],
        &["session", "show"],
        &["session", "revoke"],
        &["secrets"],
        &["session", "revoke", "--openid", "a", "--id", "b"],
        &["simulate", "--app", "no-secret"],
        &["completions", "punch-cards"],
    ] {
        let finished = setup.run(wrong);
        assert_eq!(finished.code, Some(2), "{wrong:?}: {finished:?}");
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{finished:?}");
    }
    setup.run(&["app", "show", "wx0000000000000000"]).failed_in_one_line();
}

#[test]
fn without_arguments_the_commands_are_listed() {
    let finished = Program::start(&mut mina_auth(&[])).finish();
    assert_eq!(finished.code, Some(2));
    for command in
        ["serve", "dev", "simulate", "app", "session", "migrate", "secrets", "check", "config"]
    {
        assert!(finished.stderr.contains(&format!("\n  {command} ")), "{command}: {finished:?}");
    }
}

#[test]
fn the_default_configuration_is_a_configuration() {
    let setup = Setup::new(refusing_address());
    let printed = setup.run(&["config", "default"]).succeeded().stdout;
    assert!(printed.contains("[server]\n# Where the protocol is served"), "{printed}");
    let path = setup.path("default.toml");
    std::fs::write(&path, &printed).unwrap();
    let path = path.to_str().unwrap();
    let mut command = mina_auth(&["config", "show", "--config", path]);
    let from_file = Program::start(&mut command).finish().succeeded().stdout;
    let from_nothing = Program::start(&mut mina_auth(&["config", "show"])).finish();
    assert_eq!(from_file, from_nothing.succeeded().stdout);
}

#[test]
fn the_settings_in_force_are_shown_without_secrets() {
    let setup = Setup::new(refusing_address()).with(&format!(
        "admin.token = \"a-token-of-the-admin\"\nsecrets.keys = [\"{ONE}\", \"{TWO}\"]"
    ));
    let shown = setup.run(&["config", "show"]).succeeded().stdout;
    for secret in [SECRET, "a-token-of-the-admin", ONE, TWO] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let shown: toml::Table = shown.parse().unwrap();
    assert_eq!(shown["storage"]["url"].as_str(), Some("sqlite:mina-auth.db"));
    assert_eq!(shown["wechat"]["timeout"].as_str(), Some("5s"));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let finished = Program::start(&mut mina_auth(&["completions", shell])).finish();
        assert!(finished.succeeded().stdout.contains("simulate"), "{shell}");
    }
}

#[test]
fn a_migration_can_be_read_before_it_is_run() {
    let setup = Setup::new(refusing_address());
    let sql = setup.run(&["migrate", "--dry-run"]).succeeded().stdout;
    assert!(sql.contains("CREATE TABLE mina_session"), "{sql}");
    assert!(!setup.path("mina-auth.db").exists(), "a dry run changes nothing");
    setup.run(&["migrate"]).succeeded();
    assert!(setup.path("mina-auth.db").exists());
    assert_eq!(setup.run(&["migrate", "--dry-run"]).succeeded().stdout, "");
    setup.run(&["migrate"]).succeeded();
}
