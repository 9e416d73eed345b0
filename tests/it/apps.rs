//! Several apps in one server, and several sessions of one user.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::server::{CHECK, LOGIN};
use crate::support::{
    APP, Answer, OTHER_APP, OTHER_SECRET, SECRET, Server, Session, Setup, Simulator, WeChat,
};

/// Both apps; `default` says of each whether it is the default.
fn setup(simulator: &Simulator, default: [bool; 2]) -> Setup {
    Setup::new(simulator.address).with(&format!(
        r#"
        [[apps]]
        appid = "{APP}"
        secret = "{SECRET}"
        default = {}
        [[apps]]
        appid = "{OTHER_APP}"
        secret = "{OTHER_SECRET}"
        default = {}
        "#,
        default[0], default[1]
    ))
}

/// The ways to name an app: in the interface, in its parameters, in the path.
#[derive(Debug, Clone, Copy, Default)]
struct Named<'a> {
    interface: Option<&'a str>,
    para: Option<&'a str>,
    path: &'a str,
}

fn call(server: &Server, name: &str, mut para: Value, named: Named<'_>) -> Answer {
    if let Some(appid) = named.para {
        para["appid"] = appid.into();
    }
    let mut interface = json!({ "interfaceName": name, "para": para });
    if let Some(appid) = named.interface {
        interface["appid"] = appid.into();
    }
    server.call_in(named.path, &interface)
}

fn log_in(server: &Server, code: &str, named: Named<'_>) -> Answer {
    call(server, LOGIN, json!({ "code": code }), named)
}

fn check(server: &Server, session: &Session, named: Named<'_>) -> Answer {
    call(server, CHECK, session.para(), named)
}

const IN_INTERFACE: Named<'_> = Named { interface: Some(OTHER_APP), para: None, path: "" };
const IN_PARA: Named<'_> = Named { interface: None, para: Some(OTHER_APP), path: "" };
const IN_PATH: Named<'_> = Named { interface: None, para: None, path: OTHER_APP };

#[test]
fn an_app_is_named_in_three_ways() {
    let simulator = Simulator::start();
    let server = setup(&simulator, [true, false]).serve();
    for named in [IN_INTERFACE, IN_PARA, IN_PATH] {
        let answer = log_in(&server, &simulator.code_in(OTHER_APP, "person"), named);
        assert_eq!(answer.code, 0, "{named:?}: {answer:?}");
        let session = answer.session();
        assert_eq!(check(&server, &session, named).line(), "0 AUTH_SUCCESS", "{named:?}");
    }
}

#[test]
fn the_interface_goes_before_the_parameters_and_those_before_the_path() {
    let simulator = Simulator::start();
    let server = setup(&simulator, [false, false]).serve();
    for named in [
        Named { interface: Some(OTHER_APP), para: Some(APP), path: APP },
        Named { interface: None, para: Some(OTHER_APP), path: APP },
    ] {
        let answer = log_in(&server, &simulator.code_in(OTHER_APP, "person"), named);
        assert_eq!(answer.code, 0, "{named:?}: {answer:?}");
    }
}

#[test]
fn a_request_that_names_no_app_means_the_default_one() {
    let simulator = Simulator::start();
    let server = setup(&simulator, [false, true]).serve();
    let code = simulator.code_in(OTHER_APP, "person");
    assert_eq!(log_in(&server, &code, Named::default()).line(), "0 NEW_SESSION_SUCCESS");
}

#[test]
fn without_a_default_app_one_must_be_named() {
    let simulator = Simulator::start();
    let setup = setup(&simulator, [false, false]);
    let server = setup.serve();
    let answer = log_in(&server, "code", Named::default());
    assert_eq!(answer.code, 1012);
    assert!(answer.message.starts_with("NO_APPID: "), "{answer:?}");
    // A check knows the session's app by itself.
    let session = log_in(&server, &simulator.code_in(OTHER_APP, "person"), IN_PATH).session();
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
}

#[test]
fn an_unknown_app_is_never_taken_for_another() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    let server = setup.serve();
    let unknown = "wx0000000000000000";
    for named in [
        Named { interface: Some(unknown), ..Named::default() },
        Named { para: Some(unknown), ..Named::default() },
        Named { path: unknown, ..Named::default() },
    ] {
        let answer = log_in(&server, &simulator.code("person"), named);
        assert_eq!(answer.code, 1012, "{named:?}: {answer:?}");
    }
    let session = server.session(&simulator.code("person"));
    assert_eq!(check(&server, &session, Named { path: unknown, ..Named::default() }).code, 60012);
}

#[test]
fn a_server_without_apps_says_so() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).with("apps = []").serve();
    server.program.stderr.wait_for_text("mina-auth app add");
    assert_eq!(server.log_in("code").code, 1012);
}

#[test]
fn the_same_openid_in_two_apps_is_two_users() {
    let simulator = Simulator::start();
    let setup = setup(&simulator, [true, false]);
    let server = setup.serve();
    let own = server.session(&simulator.code("person"));
    let other = log_in(&server, &simulator.code_in(OTHER_APP, "person"), IN_PATH);
    assert_eq!(other.line(), "0 NEW_SESSION_SUCCESS");
    let other = other.session();
    assert_ne!(own.id, other.id);
    for session in [&own, &other] {
        assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS");
    }
    let answer = check(&server, &own, IN_PATH);
    assert_eq!(answer.line(), "60012 AUTH_FAIL: the session belongs to another app");
    let listed = setup.sessions(&["--openid", "person"]);
    let apps: HashSet<_> = listed.iter().map(|row| row["app"].as_str().unwrap()).collect();
    assert_eq!(apps, HashSet::from([APP, OTHER_APP]));
    assert_eq!(setup.sessions(&["--openid", "person", "--app", APP])[0]["id"], *own.id);
}

#[test]
fn a_code_of_another_app_is_no_code() {
    let simulator = Simulator::start();
    let server = setup(&simulator, [true, false]).serve();
    assert_eq!(server.log_in(&simulator.code_in(OTHER_APP, "person")).code, 40029);
}

#[test]
fn a_second_login_replaces_the_first() {
    let server = Setup::new(WeChat::of_anybody().address).serve();
    let first = server.session("person");
    assert_eq!(server.check(&first).line(), "0 AUTH_SUCCESS");
    let second = server.log_in("person");
    assert_eq!(second.line(), "0 UPDATE_SESSION_SUCCESS");
    let second = second.session();
    assert_eq!(first.id, second.id);
    assert_ne!(first.skey, second.skey);
    assert_eq!(server.check(&first).line(), "60012 AUTH_FAIL: unknown id or wrong skey");
    assert_eq!(server.check(&second).line(), "0 AUTH_SUCCESS");
}

#[test]
fn with_three_sessions_per_user_the_oldest_goes() {
    let setup = Setup::new(WeChat::of_anybody().address).with("sessions.per_user = 3");
    let server = setup.serve();
    let sessions: Vec<_> = (0..5)
        .map(|_| {
            let answer = server.log_in("person");
            assert_eq!(answer.line(), "0 NEW_SESSION_SUCCESS");
            let session = answer.session();
            assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
            session
        })
        .collect();
    let codes: Vec<_> = sessions.iter().map(|session| server.check(session).code).collect();
    assert_eq!(codes, [60012, 60012, 0, 0, 0]);
    assert_eq!(setup.sessions(&["--openid", "person"]).len(), 3);
}

#[test]
fn with_no_limit_every_session_stays() {
    let server = Setup::new(WeChat::of_anybody().address).with("sessions.per_user = 0").serve();
    let sessions: Vec<_> = (0..5).map(|_| server.session("person")).collect();
    for session in &sessions {
        assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS");
    }
}

/// Every write of an app makes the other nodes forget what they have in memory.
#[test]
fn a_start_writes_the_apps_that_have_changed() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address);
    let writes = |setup: &Setup| -> i64 {
        setup.serve().stop();
        let database = rusqlite::Connection::open(setup.path("mina-auth.db")).unwrap();
        let count = "SELECT seq FROM sqlite_sequence WHERE name = 'mina_event'";
        database.query_row(count, [], |row| row.get(0)).unwrap()
    };
    let once = writes(&setup);
    assert_eq!(writes(&setup), once);
    let app = format!(r#"apps = [{{ appid = "{APP}", secret = "{OTHER_SECRET}" }}]"#);
    assert_eq!(writes(&setup.with(&app)), once + 1);
}
