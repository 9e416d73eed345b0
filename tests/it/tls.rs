//! TLS on both listeners: certificates, their reload, and clients that must show one.

use std::fs;

use crate::support::http::{self, Connection};
use crate::support::server::login_request;
use crate::support::tls::{Authority, Identity, TlsConnection};
use crate::support::{Answer, PATIENCE, Setup, WeChat, eventually, refusing_address};

const SERVER: &str = "server.tls_cert = \"cert.pem\"\nserver.tls_key = \"key.pem\"";
const ADMIN: &str = "admin.tls_cert = \"cert.pem\"\nadmin.tls_key = \"key.pem\"";
const CLIENT_CA: &str = "server.tls_client_ca = \"ca.pem\"";

/// A set-up with a certificate.
fn setup(settings: &str, identity: &Identity) -> Setup {
    let setup = Setup::new(WeChat::of_anybody().address).with(settings);
    identity.write(&setup);
    setup
}

#[track_caller]
fn assert_logs_in(connection: &mut TlsConnection, code: &str) {
    let answer = Answer::read(&connection.send(login_request(code)).read());
    assert_eq!(answer.data["user_info"]["openId"], code);
}

#[test]
fn requests_come_over_tls() {
    let authority = Authority::new();
    let server = setup(SERVER, &authority.issue()).serve();
    let mut connection = authority.connect(server.address, None);
    for code in ["first", "second"] {
        assert_logs_in(&mut connection, code);
    }
    // The admin listener has no TLS.
    assert_eq!(http::get(server.admin, "/health/live").status, 200);
}

#[test]
fn a_client_without_tls_gets_no_answer() {
    let server = setup(SERVER, &Authority::new().issue()).serve();
    let mut connection = Connection::open(server.address);
    connection.send(login_request("person"));
    // An alert of TLS may come, and no HTTP.
    assert!(!matches!(connection.try_read(), Ok(Some(_))));
    server.program.stderr.wait_for_text("the TLS handshake failed");
}

#[test]
fn the_admin_listener_may_have_tls_too() {
    let authority = Authority::new();
    let server = setup(ADMIN, &authority.issue()).serve();
    let mut connection = authority.connect(server.admin, None);
    connection.send(http::request("GET", "/health/ready", &[], b""));
    assert_eq!(connection.read().text(), "ready\n");
    assert_eq!(server.log_in("person").code, 0);
}

#[test]
fn a_client_must_show_a_certificate_where_they_are_demanded() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let setup = setup(SERVER, &authority.issue()).with(CLIENT_CA);
    fs::write(setup.path("ca.pem"), &clients.pem).unwrap();
    let server = setup.serve();
    assert_logs_in(&mut authority.connect(server.address, Some(&clients.issue())), "person");
    let stranger = Authority::new().issue();
    for client in [None, Some(&stranger)] {
        let mut connection = authority.connect(server.address, client);
        let _ = connection.try_send(&login_request("nobody"));
        assert!(!matches!(connection.try_read(), Ok(Some(_))));
    }
    server.program.stderr.wait_for_text("the TLS handshake failed");
}

#[test]
fn a_new_certificate_is_taken_without_a_restart() {
    let authority = Authority::new();
    let [first, second] = [(); 2].map(|()| authority.issue());
    let setup = setup(SERVER, &first);
    let server = setup.serve();
    let shown = |connection: &TlsConnection| {
        connection.stream().conn.peer_certificates().unwrap()[0].clone()
    };
    let mut old = authority.connect(server.address, None);
    assert_logs_in(&mut old, "before");
    assert_eq!(shown(&old), first.der());

    fs::write(setup.path("cert.pem"), &second.cert).unwrap();
    server.program.stderr.wait_for_text("is not the key of");
    let mut meanwhile = authority.connect(server.address, None);
    assert_logs_in(&mut meanwhile, "meanwhile");
    assert_eq!(shown(&meanwhile), first.der());

    fs::write(setup.path("key.pem"), &second.key).unwrap();
    eventually(PATIENCE, "the new certificate is shown", || {
        let mut connection = authority.connect(server.address, None);
        assert_logs_in(&mut connection, "after");
        (shown(&connection) == second.der()).then_some(())
    });
    // Open connections stay.
    assert_logs_in(&mut old, "still");
    let written = server.stop().stderr;
    assert_eq!(written.matches("the one before stays in use").count(), 1, "{written}");
    assert_eq!(written.matches("new connections get the new certificate").count(), 1, "{written}");
}

#[test]
fn files_that_make_no_tls_are_named_and_nothing_listens() {
    let (identity, other) = (Authority::new().issue(), Authority::new().issue());
    let refuse = |settings: &str, expected: &[&str]| {
        let setup = Setup::new(refusing_address()).with(settings);
        identity.write(&setup);
        fs::write(setup.path("other.pem"), &other.key).unwrap();
        let line = setup.run(&["serve"]).failed_in_one_line();
        for part in expected {
            assert!(line.contains(part), "`{part}` is not in: {line}");
        }
        assert!(!line.contains("PRIVATE"), "{line}");
    };
    refuse("server.tls_cert = \"cert.pem\"", &["server.tls_cert", "`server.tls_key`"]);
    refuse("admin.tls_key = \"key.pem\"", &["admin.tls_key", "`admin.tls_cert`"]);
    refuse("server.tls_client_ca = \"cert.pem\"", &["server.tls_client_ca", "`server.tls_cert`"]);
    let with = |cert, key| format!("server.tls_cert = \"{cert}\"\nserver.tls_key = \"{key}\"");
    refuse(&with("absent.pem", "key.pem"), &["server.tls_cert", "absent.pem"]);
    refuse(&with("key.pem", "key.pem"), &["server.tls_cert", "key.pem", "no certificate"]);
    refuse(&with("cert.pem", "cert.pem"), &["server.tls_key", "cert.pem", "no private key"]);
    refuse(&with("cert.pem", "other.pem"), &["server.tls_key", "other.pem", "cert.pem"]);
    let ca = "server.tls_client_ca = \"key.pem\"\n".to_owned() + SERVER;
    refuse(&ca, &["server.tls_client_ca", "key.pem", "no certificate"]);
}
