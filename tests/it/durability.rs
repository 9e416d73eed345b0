//! A login that was answered is never lost.

use std::sync::Mutex;
use std::thread;

use serde_json::json;

use crate::support::server::{LOGIN, envelope};
use crate::support::{Answer, PATIENCE, Session, Setup, WeChat, eventually, http};

#[test]
fn a_login_is_there_after_sigkill_the_moment_it_is_answered() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address);
    let mut sessions: Vec<Session> = Vec::new();
    for round in 0..5 {
        let mut server = setup.serve();
        for session in &sessions {
            assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS", "round {round}");
        }
        sessions.push(server.session(&format!("person-{round}")));
        server.program.kill();
    }
    let server = setup.serve();
    for session in &sessions {
        assert_eq!(server.check(session).line(), "0 AUTH_SUCCESS");
    }
}

#[test]
fn of_many_logins_at_once_all_that_were_answered_are_there_after_sigkill() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address);
    let mut server = setup.serve();
    let address = server.address;
    let answered = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..4 {
            let answered = &answered;
            scope.spawn(move || {
                for number in 0.. {
                    let para = json!({ "code": format!("person-{thread}-{number}") });
                    let body = envelope(&json!({ "interfaceName": LOGIN, "para": para }));
                    let Some(response) = http::try_post(address, "/mina_auth/", &body) else {
                        break;
                    };
                    answered.lock().unwrap().push(Answer::read(&response).session());
                }
            });
        }
        let enough = || (answered.lock().unwrap().len() >= 40).then_some(());
        eventually(PATIENCE, "forty logins are answered", enough);
        server.program.kill();
    });
    let server = setup.serve();
    for session in answered.into_inner().unwrap() {
        assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    }
}
