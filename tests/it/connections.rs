//! Connections that are slow, idle or too many.

use crate::support::http::{self, Connection};
use crate::support::server::{login_request, login_request_to};
use crate::support::tls::Authority;
use crate::support::{Answer, Gate, PATIENCE, Server, Setup, WeChat, eventually};

const PATH: &str = "/mina_auth/";

fn serve(settings: &str) -> Server {
    Setup::new(WeChat::of_anybody().address).with(settings).serve()
}

#[track_caller]
fn assert_logs_in(connection: &mut Connection) {
    assert_eq!(Answer::read(&connection.send(login_request("person")).read()).code, 0);
}

/// Sends one byte after the other until the server closes the connection.
fn drip(connection: &mut Connection, bytes: impl Iterator<Item = u8>) {
    let mut bytes = bytes;
    eventually(PATIENCE, "the connection is closed", || {
        connection.try_send(&[bytes.next().unwrap()]).is_err().then_some(())
    });
}

#[test]
fn a_head_that_does_not_come_is_cut_off() {
    let server = serve("limits.header_timeout = \"1s\"");
    let mut silent = Connection::open(server.address);
    silent.send("POST /mina_auth/ HTTP/1.1\r\nHost: mi");
    assert!(silent.is_closed());
    // Bytes that come do not put it off, on a connection that was good before.
    let mut slow = Connection::open(server.address);
    assert_logs_in(&mut slow);
    slow.send("POST /mina_auth/ HTTP/1.1\r\nX: ");
    drip(&mut slow, std::iter::repeat(b'x'));
}

#[test]
fn a_body_that_does_not_come_is_cut_off() {
    let server = serve("limits.body_timeout = \"1s\"");
    let mut silent = Connection::open(server.address);
    silent.send(http::head("POST", PATH, &[("Content-Length", "9")])).send("{");
    assert!(silent.is_closed());
    for length in ["9999", "999999"] {
        let mut slow = Connection::open(server.address);
        slow.send(http::head("POST", PATH, &[("Content-Length", length)]));
        drip(&mut slow, std::iter::repeat(b' '));
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let server = serve("limits.idle_timeout = \"3s\"");
    let mut unused = Connection::open(server.address);
    assert!(unused.is_closed());
    let mut used = Connection::open(server.address);
    assert_logs_in(&mut used);
    assert!(used.is_closed());
}

#[test]
fn idleness_is_no_slowness() {
    let server = serve("limits.header_timeout = \"1s\"\nlimits.body_timeout = \"1s\"");
    let [mut unused, mut used] = [(); 2].map(|()| Connection::open(server.address));
    assert_logs_in(&mut used);
    // These are closed at the same time or later.
    for _ in 0..2 {
        let mut slow = Connection::open(server.address);
        slow.send("P");
        assert!(slow.is_closed());
    }
    for connection in [&mut unused, &mut used] {
        assert_logs_in(connection);
    }
}

#[test]
fn a_request_that_is_being_answered_is_never_cut_off() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let setup = Setup::new(wechat.address).with(
        r#"
        wechat.timeout = "30s"
        limits = { header_timeout = "1s", body_timeout = "1s", idle_timeout = "1s" }
        "#,
    );
    let server = setup.serve();
    let mut waiting = Connection::open(server.address);
    waiting.send(login_request("person"));
    wechat.wait_for_questions(1);
    for _ in 0..2 {
        assert!(Connection::open(server.address).is_closed());
    }
    gate.open();
    assert_eq!(Answer::read(&waiting.read()).code, 0);
}

#[test]
fn a_tls_handshake_that_does_not_come_is_cut_off() {
    let settings = "server.tls_cert = \"cert.pem\"\nserver.tls_key = \"key.pem\"";
    let authority = Authority::new();
    let setup = Setup::new(WeChat::of_anybody().address).with(settings);
    authority.issue().write(&setup);
    let server = setup.with("limits.header_timeout = \"1s\"").serve();
    assert!(Connection::open(server.address).is_closed());
    let mut begun = Connection::open(server.address);
    assert!(begun.send(b"\x16\x03\x01").is_closed());
}

#[test]
fn a_stopping_server_does_not_wait_for_a_tls_handshake() {
    let settings = "server.tls_cert = \"cert.pem\"\nserver.tls_key = \"key.pem\"";
    let setup = Setup::new(WeChat::of_anybody().address).with(settings);
    Authority::new().issue().write(&setup);
    let server = setup.with("limits.header_timeout = \"10m\"").serve();
    let mut begun = Connection::open(server.address);
    begun.send(b"\x16\x03\x01");
    let log = server.stop().stderr;
    assert!(begun.is_closed());
    assert!(!log.contains("server.drain_timeout"), "it was waited for: {log}");
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let server = serve("limits.header_size = \"8KiB\"");
    let padded = |length| login_request_to(PATH, &[("X-Padding", &"x".repeat(length))], "person");
    assert_eq!(Answer::read(&http::send(server.address, padded(7000))).code, 0);
    assert_eq!(http::send(server.address, padded(9000)).status, 431);
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let server = serve("limits.connections = 2");
    let [mut first, mut second] = [(); 2].map(|()| Connection::open(server.address));
    for connection in [&mut first, &mut second] {
        assert_logs_in(connection);
    }
    assert!(Connection::open(server.address).is_closed());
    server.program.stderr.wait_for_text("`limits.connections`");
    // Nobody who is in is disturbed, nor is monitoring.
    assert_logs_in(&mut first);
    assert_eq!(http::get(server.admin, "/health/ready").status, 200);
    drop(second);
    eventually(PATIENCE, "there is room again", || {
        http::try_post(server.address, PATH, "{}").map(drop)
    });
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let server = serve("limits.connections_per_address = 1");
    let mut first = Connection::open_from("127.0.0.2", server.address);
    assert_logs_in(&mut first);
    assert!(Connection::open_from("127.0.0.2", server.address).is_closed());
    server.program.stderr.wait_for_text("`limits.connections_per_address`");
    assert_logs_in(&mut Connection::open_from("127.0.0.3", server.address));
    drop(first);
    eventually(PATIENCE, "there is room again", || {
        let mut connection = Connection::open_from("127.0.0.2", server.address);
        connection.try_send(&login_request("person")).ok()?;
        connection.try_read().ok().flatten()
    });
}

#[test]
fn as_many_connections_as_are_allowed_are_possible() {
    // The limit of the shell is lower; the server may raise it.
    let setup = Setup::new(WeChat::of_anybody().address);
    let binary = env!("CARGO_BIN_EXE_mina-auth");
    let script = format!("ulimit -S -n 64; exec {binary} serve --config mina-auth.toml");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(setup.path(""));
    let server = Server::start(command.env("MINA_AUTH__LOG__FORMAT", "json"));
    let mut connections: Vec<_> = (0..100).map(|_| Connection::open(server.address)).collect();
    connections.iter_mut().for_each(assert_logs_in);
}

#[test]
fn a_process_that_may_not_open_enough_files_says_so() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let binary = env!("CARGO_BIN_EXE_mina-auth");
    let script = format!("ulimit -n 300; exec {binary} serve --config mina-auth.toml");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(setup.path(""));
    let server = Server::start(command.env("MINA_AUTH__LOG__FORMAT", "json"));
    server.program.stderr.wait_for_text("LimitNOFILE");
}

#[test]
fn long_bodies_share_a_memory_and_short_ones_need_none() {
    let server = serve("server.max_body = \"64KiB\"\nlimits.long_bodies = \"64KiB\"");
    let long = http::request("POST", PATH, &[], &vec![b' '; 60_000]);
    let mut half_sent = Connection::open(server.address);
    half_sent.send(&long[..50_000]);
    // It comes first: else it is the one that is refused.
    server.let_it_read();
    eventually(PATIENCE, "there is no memory for another", || {
        (http::send(server.address, long.clone()).status == 503).then_some(())
    });
    assert_logs_in(&mut Connection::open(server.address));
    assert_eq!(half_sent.send(&long[50_000..]).read().status, 200);
    assert_eq!(http::send(server.address, long).status, 200);
}
