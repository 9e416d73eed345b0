//! Unix sockets in the place of ports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::http::{self, Connection, Response};
use crate::support::server::{INITDATA, envelope, login_request};
use crate::support::{Answer, OTHER_APP, OTHER_SECRET, Server, Setup, WeChat, refusing_address};

const BOTH: &str = r#"
    server.listen = ["127.0.0.1:0", "unix:mina-auth.sock"]
    admin.listen = ["127.0.0.1:0", "unix:admin.sock"]
"#;

fn setup() -> Setup {
    Setup::new(WeChat::of_anybody().address).with(BOTH)
}

fn send(path: impl AsRef<Path>, request: impl AsRef<[u8]>) -> Response {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    Connection::over(stream).send(request).read()
}

#[test]
fn both_listeners_may_have_one_beside_a_port() {
    let setup = setup();
    let server = setup.serve();
    server.program.stderr.wait_for_text("\"address\":\"unix:mina-auth.sock\"");
    // Each thread of the server accepts from it.
    for code in 0..32 {
        let answer =
            Answer::read(&send(setup.path("mina-auth.sock"), login_request(&code.to_string())));
        assert_eq!(answer.code, 0);
    }
    let health = http::request("GET", "/health/ready", &[], b"");
    assert_eq!(send(setup.path("admin.sock"), health).text(), "ready\n");
    assert_eq!(server.log_in("person").code, 0);
}

#[test]
fn the_user_and_the_group_may_connect_whatever_the_umask() {
    for umask in ["000", "077"] {
        let setup = setup();
        let mut command = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_mina-auth");
        let script = format!("umask {umask}; exec {binary} serve --config mina-auth.toml");
        command.args(["-c", &script]).current_dir(setup.path(""));
        command.env("MINA_AUTH__LOG__FORMAT", "json");
        let _server = Server::start(&mut command);
        for name in ["mina-auth.sock", "admin.sock"] {
            let mode = fs::metadata(setup.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o660, "{name}, umask {umask}");
        }
    }
}

#[test]
fn it_is_gone_with_the_server_and_replaced_where_it_is_not() {
    let setup = setup();
    let mut killed = setup.serve();
    killed.program.kill();
    assert!(setup.path("mina-auth.sock").exists());
    let server = setup.serve();
    assert_eq!(Answer::read(&send(setup.path("mina-auth.sock"), login_request("a"))).code, 0);
    server.stop();
    for name in ["mina-auth.sock", "admin.sock"] {
        assert!(!setup.path(name).exists(), "{name}");
    }
}

#[test]
fn one_that_somebody_answers_on_is_left_alone() {
    let setup = Setup::new(refusing_address()).with("server.listen = \"unix:mina-auth.sock\"");
    let path = setup.path("mina-auth.sock");
    let _live = UnixListener::bind(&path).unwrap();
    let line = setup.run(&["serve"]).failed_in_one_line();
    for part in ["server.listen", "unix:mina-auth.sock", "in use"] {
        assert!(line.contains(part), "{line}");
    }
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let setup = Setup::new(refusing_address()).with("server.listen = \"unix:precious.txt\"");
    fs::write(setup.path("precious.txt"), "precious").unwrap();
    let line = setup.run(&["serve"]).failed_in_one_line();
    for part in ["server.listen", "unix:precious.txt", "no socket"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(fs::read_to_string(setup.path("precious.txt")).unwrap(), "precious");
}

#[test]
fn a_caller_on_one_may_set_apps() {
    let setup = setup().with("server.initdata = true");
    let server = setup.serve();
    let para = json!({
        "appid": OTHER_APP, "secret": OTHER_SECRET, "qcloud_appid": "1", "ip": "127.0.0.1",
        "cdb_ip": "10.0.0.1", "cdb_port": 3306, "cdb_user_name": "root", "cdb_pass_wd": "x",
    });
    let body = envelope(&json!({ "interfaceName": INITDATA, "para": &para }));
    let ask = || {
        let request = http::request("POST", "/mina_auth/", &[], body.as_bytes());
        Answer::read(&send(setup.path("mina-auth.sock"), request)).line()
    };
    assert_eq!(ask(), "0 INIT_APPINFO_SUCCESS");
    // Who comes by the port has proved nothing.
    let refused = server.call(INITDATA, &para).line();
    assert!(refused.starts_with("1013 INIT_APPINFO_FAIL: only by a Unix socket"), "{refused}");
}
