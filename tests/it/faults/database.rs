//! A database that does not answer, is gone, comes back, or is held by somebody else.

use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::while_checking;
use crate::mariadb::Mariadb;
use crate::mysql::on;
use crate::support::server::CHECK;
use crate::support::{PATIENCE, Server, Session, Setup, WeChat, eventually};

/// How long a request may take that finds the database away: its own timeout a few times over.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

fn log_in_many(server: &Server, name: &str) -> Vec<Session> {
    (0..20).map(|n| server.session(&format!("{name}{n}"))).collect()
}

/// Logs sessions in that memory keeps: their logins were heard of through the feed, once.
fn known_sessions(setup: &Setup, server: &Server) -> Vec<Session> {
    let known = log_in_many(server, "known");
    setup.let_it_follow(server, "marker");
    assert_all_check_out(server, &known);
    known
}

fn assert_all_check_out(server: &Server, sessions: &[Session]) {
    for session in sessions {
        assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS");
    }
}

/// Asserts that what needs the database fails, and soon.
fn assert_away(server: &Server) {
    let asked = Instant::now();
    let login = server.log_in("somebody");
    assert_eq!(login.line(), "1006 CHANGE_SESSION_ERR: the session could not be written");
    let unknown = serde_json::json!({ "id": "unknown", "skey": "unknown" });
    assert_eq!(server.call(CHECK, &unknown).code, 1001);
    assert!(asked.elapsed() < 2 * ANSWERED_WITHIN, "{:?}", asked.elapsed());
}

fn assert_back(server: &Server) -> Session {
    let back = || Some(server.log_in("somebody")).filter(|answer| answer.code == 0);
    eventually(PATIENCE, "logins work again", back).session()
}

fn signal(name: &str, pid: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status();
    assert!(status.unwrap().success());
}

#[test]
fn known_sessions_check_out_while_mariadb_is_frozen_and_gone() {
    let wechat = WeChat::of_anybody();
    let mut mariadb = Mariadb::start();
    let setup = on(&mariadb.database_now(), wechat.address).with("storage.timeout = \"3s\"");
    let server = setup.serve();
    let pid = std::fs::read_to_string(mariadb.file("pid")).unwrap();
    let known = known_sessions(&setup, &server);
    while_checking(&server, &known, || {
        signal("STOP", &pid);
        assert_away(&server);
        signal("CONT", &pid);
    });
    let after_the_freeze = assert_back(&server);
    assert_all_check_out(&server, &known);
    let known = known_sessions(&setup, &server);
    while_checking(&server, &known, || {
        signal("KILL", &pid);
        assert_away(&server);
        mariadb.stop();
        mariadb.go_on();
    });
    let after_the_crash = assert_back(&server);
    assert_eq!(server.check(&after_the_freeze).code, 60012, "the user has logged in again");
    server.stop();
    let server = setup.serve();
    assert_all_check_out(&server, &known);
    assert_all_check_out(&server, &[after_the_crash]);
}

/// A backup, say, or somebody with a shell: SQLite lets one write at a time.
#[test]
fn known_sessions_check_out_while_another_process_holds_the_database() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address);
    let server = setup.serve();
    let known = known_sessions(&setup, &server);
    let stored = log_in_many(&server, "stored");
    let other = Connection::open(setup.path("mina-auth.db")).unwrap();
    while_checking(&server, &known, || {
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let asked = Instant::now();
        let login = server.log_in("somebody");
        assert_eq!(login.line(), "1006 CHANGE_SESSION_ERR: the session could not be written");
        assert!(asked.elapsed() < ANSWERED_WITHIN, "{:?}", asked.elapsed());
        assert_all_check_out(&server, &stored);
        other.execute_batch("ROLLBACK").unwrap();
    });
    assert_back(&server);
    assert_all_check_out(&server, &known);
}
