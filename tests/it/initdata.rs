//! `qcloud.cam.initdata`, with which anybody could once drop the database.

use std::fs;

use serde_json::{Value, json};

use crate::support::server::{CHECK, INITDATA, LOGIN, envelope};
use crate::support::tls::Authority;
use crate::support::{
    APP, Answer, OTHER_APP, OTHER_SECRET, Server, Setup, Simulator, http, refusing_address,
};

/// On, with a key as the proof of who asks. The key is for `initdata` and all else.
const ON: &str = "server.initdata = true\nserver.access_key = \"k\"";

/// Where the interfaces are for those who have the key.
const WITH_KEY: &str = "?key=k";

fn para(appid: &str, secret: &str) -> Value {
    json!({
        "appid": appid, "secret": secret, "qcloud_appid": "1", "ip": "127.0.0.1",
        "cdb_ip": "10.0.0.1", "cdb_port": 3306, "cdb_user_name": "root", "cdb_pass_wd": "x",
    })
}

fn call(server: &Server, interface: &str, para: &Value) -> Answer {
    server.call_in(WITH_KEY, &json!({ "interfaceName": interface, "para": para }))
}

fn log_in(server: &Server, app: &str, code: &str) -> Answer {
    let path = format!("{app}{WITH_KEY}");
    server.call_in(&path, &json!({ "interfaceName": LOGIN, "para": { "code": code } }))
}

#[test]
fn it_is_off_by_default() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    let server = setup.serve();
    let answer = server.call(INITDATA, &para(OTHER_APP, OTHER_SECRET));
    assert_eq!(answer.line(), "1013 INIT_APPINFO_FAIL: `server.initdata` is off");
    assert_eq!(log_in(&server, OTHER_APP, &simulator.code_in(OTHER_APP, "person")).code, 1012);
}

#[test]
fn it_sets_an_app_and_loses_nothing() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address).with(ON);
    let server = setup.serve();
    let session = log_in(&server, "", &simulator.code("person")).session();
    let answer = call(&server, INITDATA, &para(OTHER_APP, OTHER_SECRET));
    assert_eq!(answer.line(), "0 INIT_APPINFO_SUCCESS");
    let code = simulator.code_in(OTHER_APP, "person");
    assert_eq!(log_in(&server, OTHER_APP, &code).line(), "0 NEW_SESSION_SUCCESS");
    assert_eq!(call(&server, CHECK, &session.para()).line(), "0 AUTH_SUCCESS");
}

#[test]
fn it_changes_the_secret_of_an_app_and_nothing_else() {
    let simulator = Simulator::start();
    let app = format!("apps = [{{ appid = \"{APP}\", secret = \"old\", login_duration = 3 }}]");
    let setup = Setup::new(simulator.address).with(ON).with(&app);
    let server = setup.serve();
    assert_eq!(log_in(&server, "", &simulator.code("person")).code, 1007);
    assert_eq!(call(&server, INITDATA, &para(APP, crate::support::SECRET)).code, 0);
    assert_eq!(log_in(&server, "", &simulator.code("person")).code, 0);
    let shown = setup.run(&["app", "show", APP, "--json"]).succeeded().json();
    assert_eq!(shown[0]["login_duration"], 3);
}

#[test]
fn a_parameter_that_is_missing_is_named() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).with(ON).serve();
    let complete = para(OTHER_APP, OTHER_SECRET);
    for name in complete.as_object().unwrap().keys() {
        let mut para = complete.clone();
        para.as_object_mut().unwrap().remove(name);
        let answer = call(&server, INITDATA, &para);
        assert_eq!(answer.code, 1003);
        assert!(answer.message.contains(name), "{name}: {answer:?}");
    }
}

/// A proxy on this machine brings the whole internet, and need not say so.
#[test]
fn coming_from_this_machine_proves_nothing() {
    let setup = Setup::new(refusing_address()).with("server.initdata = true");
    for command in ["serve", "check"] {
        let failed = setup.run(&[command]).failed_in_one_line();
        for part in ["server.initdata", "server.access_key", "server.tls_client_ca", "Unix socket"]
        {
            assert!(failed.contains(part), "{part}: {failed}");
        }
    }
}

#[test]
fn a_client_certificate_is_a_proof() {
    let authority = Authority::new();
    let identity = authority.issue();
    let tls = "server.tls_cert = \"cert.pem\"\nserver.tls_key = \"key.pem\"\n\
               server.tls_client_ca = \"ca.pem\"\nserver.initdata = true";
    let setup = Setup::new(refusing_address()).with(tls);
    identity.write(&setup);
    fs::write(setup.path("ca.pem"), &authority.pem).unwrap();
    let server = setup.serve();
    let interface = json!({ "interfaceName": INITDATA, "para": para(OTHER_APP, OTHER_SECRET) });
    let request = http::request("POST", "/mina_auth/", &[], envelope(&interface).as_bytes());
    let mut connection = authority.connect(server.address, Some(&authority.issue()));
    let answer = Answer::read(&connection.send(request).read());
    assert_eq!(answer.line(), "0 INIT_APPINFO_SUCCESS");
}
