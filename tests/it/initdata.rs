//! `qcloud.cam.initdata`, with which anybody could once drop the database.

use serde_json::{Value, json};

use crate::support::server::{INITDATA, LOGIN, envelope};
use crate::support::{APP, Answer, OTHER_APP, OTHER_SECRET, Server, Setup, Simulator, http};

const ON: &str = "server.initdata = true";

fn para(appid: &str, secret: &str) -> Value {
    json!({
        "appid": appid, "secret": secret, "qcloud_appid": "1", "ip": "127.0.0.1",
        "cdb_ip": "10.0.0.1", "cdb_port": 3306, "cdb_user_name": "root", "cdb_pass_wd": "x",
    })
}

fn log_in(server: &Server, app: &str, code: &str) -> Answer {
    server.call_in(app, &json!({ "interfaceName": LOGIN, "para": { "code": code } }))
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
    let session = server.session(&simulator.code("person"));
    let answer = server.call(INITDATA, &para(OTHER_APP, OTHER_SECRET));
    assert_eq!(answer.line(), "0 INIT_APPINFO_SUCCESS");
    let code = simulator.code_in(OTHER_APP, "person");
    assert_eq!(log_in(&server, OTHER_APP, &code).line(), "0 NEW_SESSION_SUCCESS");
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
}

#[test]
fn it_changes_the_secret_of_an_app_and_nothing_else() {
    let simulator = Simulator::start();
    let app = format!("apps = [{{ appid = \"{APP}\", secret = \"old\", login_duration = 3 }}]");
    let setup = Setup::new(simulator.address).with(ON).with(&app);
    let server = setup.serve();
    assert_eq!(server.log_in(&simulator.code("person")).code, 1007);
    assert_eq!(server.call(INITDATA, &para(APP, crate::support::SECRET)).code, 0);
    assert_eq!(server.log_in(&simulator.code("person")).code, 0);
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
        let answer = server.call(INITDATA, &para);
        assert_eq!(answer.code, 1003);
        assert!(answer.message.contains(name), "{name}: {answer:?}");
    }
}

#[test]
fn a_caller_behind_a_proxy_is_refused() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).with(ON).serve();
    let interface = json!({ "interfaceName": INITDATA, "para": para(OTHER_APP, OTHER_SECRET) });
    for header in [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")] {
        let body = envelope(&interface);
        let request = http::request("POST", "/mina_auth/", &[header], body.as_bytes());
        let answer = Answer::read(&http::send(server.address, request));
        assert_eq!(answer.line(), "1013 INIT_APPINFO_FAIL: only from this machine");
    }
    assert_eq!(log_in(&server, OTHER_APP, &simulator.code_in(OTHER_APP, "person")).code, 1012);
}
