//! SIGTERM: what was begun is finished, nothing new is begun, and the program ends.

use std::net::TcpStream;
use std::thread;

use mina_auth::clock;

use crate::support::program::Program;
use crate::support::server::login_request;
use crate::support::{Answer, Gate, PATIENCE, Setup, WeChat, eventually, http};

#[test]
fn an_open_request_is_answered_and_new_connections_are_refused() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let setup = Setup::new(wechat.address);
    let mut server = setup.serve();
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.log_in("slow"));
        wechat.wait_for_questions(1);
        server.program.signal("TERM");
        let refused = || TcpStream::connect(server.address).is_err().then_some(());
        eventually(PATIENCE, "new connections are refused", refused);
        gate.open();
        assert_eq!(slow.join().unwrap().line(), "0 NEW_SESSION_SUCCESS");
    });
    assert_eq!(server.program.wait().code(), Some(0));
    let sessions = setup.sessions(&[]);
    assert_eq!(sessions[0]["openid"], "slow");
}

/// The two clients may be on different threads of the server, and the one that began the exchange
/// has gone: nobody on its thread waits any more.
#[test]
fn a_request_that_shares_an_exchange_is_answered_though_the_first_client_went_away() {
    for _ in 0..6 {
        let gate = Gate::default();
        let wechat = WeChat::behind(&gate);
        let mut server = Setup::new(wechat.address).serve();
        let [mut first, mut second] = [(); 2].map(|()| http::Connection::open(server.address));
        first.send(login_request("person"));
        wechat.wait_for_questions(1);
        second.send(login_request("person"));
        server.let_it_read();
        drop(first);
        server.let_it_read();
        server.program.signal("TERM");
        let refused = || TcpStream::connect(server.address).is_err().then_some(());
        eventually(PATIENCE, "new connections are refused", refused);
        gate.open();
        assert_eq!(Answer::read(&second.read()).line(), "0 NEW_SESSION_SUCCESS");
        assert_eq!(server.program.wait().code(), Some(0));
    }
}

#[test]
fn last_visits_are_written() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address);
    let server = setup.serve();
    let session = server.session("person");
    let logged_in = clock::now();
    eventually(PATIENCE, "the second is over", || (clock::now() > logged_in).then_some(()));
    assert_eq!(server.check(&session).code, 0);
    server.stop();
    let stored = &setup.sessions(&["--id", &session.id])[0];
    let [created, last_visit] = ["created", "last_visit"].map(|name| stored[name].as_str());
    assert!(created < last_visit, "{stored}");
}

/// Who copies that file has it all, and the next start has no log to go through.
#[test]
fn the_database_is_one_file_in_the_end() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    server.session("person");
    let log = setup.path("mina-auth.db-wal");
    assert!(log.metadata().unwrap().len() > 0);
    server.stop();
    assert!(!log.exists());
}

#[test]
fn a_request_that_never_ends_is_cut_off_after_the_drain_timeout() {
    let wechat = WeChat::behind(&Gate::default());
    let setup = Setup::new(wechat.address)
        .with("wechat.timeout = \"30s\"\nserver.drain_timeout = \"500ms\"");
    let mut server = setup.serve();
    let mut connection = http::Connection::open(server.address);
    connection.send(login_request("slow"));
    wechat.wait_for_questions(1);
    server.program.signal("TERM");
    assert_eq!(server.program.wait().code(), Some(0));
    // A login gives up after ten seconds by itself, and answers.
    assert!(connection.is_closed());
    server.program.stderr.wait_for_text("server.drain_timeout");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let wechat = WeChat::of_anybody();
    let server = Setup::new(wechat.address).serve();
    let mut connection = http::Connection::open(server.address);
    assert_eq!(connection.send(http::request("POST", "/mina_auth/", &[], b"")).read().status, 200);
    server.program.signal("INT");
    let log = server.program.finish().succeeded().stderr;
    assert!(connection.is_closed());
    assert!(!log.contains("server.drain_timeout"), "it was waited for: {log}");
}

#[test]
fn a_signal_right_after_the_start_is_heeded() {
    let setup = Setup::new(WeChat::of_anybody().address);
    for _ in 0..20 {
        let program = Program::start(&mut setup.command(&["serve"]));
        program.address("protocol");
        program.signal("TERM");
        program.finish().succeeded();
    }
}
