//! A code works once: requests with the same one share an exchange with WeChat.

use std::thread;

use serde_json::json;

use crate::support::server::{LOGIN, login_request};
use crate::support::{
    APP, Gate, OTHER_APP, OTHER_SECRET, PATIENCE, Reply, SECRET, Setup, WeChat, eventually, http,
};

#[test]
fn requests_with_one_code_at_once_make_one_exchange_and_get_one_answer() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let setup = Setup::new(wechat.address);
    let server = setup.serve();
    let mut connections: Vec<_> = (0..8).map(|_| http::Connection::open(server.address)).collect();
    for connection in &mut connections {
        connection.send(login_request("code"));
    }
    server.let_it_read();
    gate.open();
    let answers: Vec<_> =
        connections.iter_mut().map(|connection| connection.read().text().to_owned()).collect();
    assert!(answers[0].contains("NEW_SESSION_SUCCESS"), "{}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(wechat.questions().len(), 1);

    // Nothing is remembered: the same code is WeChat's business again.
    assert_eq!(server.log_in("code").line(), "0 UPDATE_SESSION_SUCCESS");
    assert_eq!(wechat.questions().len(), 2);
}

#[test]
fn different_codes_and_the_same_code_in_two_apps_are_exchanged_apart() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let setup = Setup::new(wechat.address).with(&format!(
        r#"
        [[apps]]
        appid = "{APP}"
        secret = "{SECRET}"
        [[apps]]
        appid = "{OTHER_APP}"
        secret = "{OTHER_SECRET}"
        "#
    ));
    let server = setup.serve();
    thread::scope(|scope| {
        for (app, code) in [(APP, "a"), (APP, "b"), (OTHER_APP, "a")] {
            let server = &server;
            scope.spawn(move || {
                let login = json!({ "interfaceName": LOGIN, "para": { "code": code } });
                assert_eq!(server.call_in(app, &login).code, 0);
            });
        }
        wechat.wait_for_questions(3);
        gate.open();
    });
    assert_eq!(setup.sessions(&[]).len(), 3);
}

#[test]
fn a_failed_exchange_is_shared_and_forgotten_as_well() {
    let gate = Gate::default();
    let wechat = {
        let gate = gate.clone();
        WeChat::start(move |_| {
            gate.pass();
            Reply::errcode(40029, "invalid code")
        })
    };
    let server = Setup::new(wechat.address).serve();
    let mut connections = [(); 3].map(|()| http::Connection::open(server.address));
    for connection in &mut connections {
        connection.send(login_request("code"));
    }
    server.let_it_read();
    gate.open();
    for connection in &mut connections {
        assert!(connection.read().text().contains("WEIXIN_CODE_ERR"));
    }
    assert_eq!(wechat.questions().len(), 1);
    assert_eq!(server.log_in("code").code, 40029);
    assert_eq!(wechat.questions().len(), 2);
}

#[test]
fn a_login_is_written_though_its_client_went_away() {
    let gate = Gate::default();
    let wechat = WeChat::behind(&gate);
    let setup = Setup::new(wechat.address);
    let server = setup.serve();
    let mut connection = http::Connection::open(server.address);
    connection.send(login_request("impatient"));
    wechat.wait_for_questions(1);
    drop(connection);
    server.let_it_read();
    gate.open();
    eventually(PATIENCE, "the login is written", || {
        (setup.sessions(&["--openid", "impatient"]).len() == 1).then_some(())
    });
}
