//! `mina-auth dev`: nothing configured, and what it prints works as printed.

use std::fs;
use std::process::Command;

use crate::support::http;
use crate::support::program::{Program, mina_auth};

const ARGUMENTS: [&str; 7] = [
    "dev",
    "--listen",
    "127.0.0.1:0",
    "--simulator-listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

#[test]
fn the_printed_commands_log_in_and_check_the_session() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = mina_auth(&ARGUMENTS);
    let dev = Program::start(command.current_dir(directory.path()).env("TMPDIR", directory.path()));
    dev.stdout.wait_for_text("Ctrl-C");
    dev.address("protocol");
    let script = dev.stdout.lines().into_iter().filter(|line| line.contains("curl "));
    let script: Vec<_> = script.collect();
    assert_eq!(script.len(), 3, "{script:#?}");
    let shell = Command::new("sh").args(["-c", &script.join("\n")]).output().unwrap();
    let said = String::from_utf8(shell.stdout).unwrap();
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said.first(), Some(&"HTTP/1.1 200 OK"), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("x-wx-openid: o")), "{said:#?}");
    assert_eq!(http::get(dev.address("admin"), "/health/ready").status, 200);

    assert_eq!(entries(directory.path()), 1, "the fresh store");
    let warnings = dev.stderr.lines().into_iter().filter(|line| line.contains("WARN"));
    assert_eq!(warnings.collect::<Vec<_>>(), [""; 0]);
    dev.signal("INT");
    dev.finish().succeeded();
    assert_eq!(entries(directory.path()), 0, "nothing is left behind");
}

fn entries(directory: &std::path::Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_store_of_ones_own_stays() {
    let directory = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = mina_auth(&ARGUMENTS);
        command.args(["--store", "sqlite:dev.db"]).current_dir(directory.path());
        let dev = Program::start(&mut command);
        dev.address("protocol");
        dev
    };
    for _ in 0..2 {
        let dev = start();
        dev.signal("TERM");
        dev.finish().succeeded();
        assert!(directory.path().join("dev.db").exists());
    }
}

#[test]
fn settings_of_the_real_server_do_not_get_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = mina_auth(&ARGUMENTS);
    command
        .current_dir(directory.path())
        .env("MINA_AUTH__STORAGE__URL", "sqlite:real.db")
        .env("MINA_AUTH__SERVER__LISTEN", "nowhere");
    let dev = Program::start(&mut command);
    dev.address("protocol");
    dev.signal("TERM");
    dev.finish().succeeded();
    assert!(!directory.path().join("real.db").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--simulator-listen", "--admin-listen"] {
        let mut arguments = ARGUMENTS;
        let at = arguments.iter().position(|argument| *argument == option).unwrap();
        arguments[at + 1] = &taken;
        let mut command = mina_auth(&arguments);
        let finished = Program::start(&mut command).finish();
        let line = finished.failed_in_one_line();
        assert!(line.contains(&taken), "{line}");
    }
}
