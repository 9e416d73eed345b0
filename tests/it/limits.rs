//! What the server refuses so that the rest is served.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::Connection;
use crate::support::server::{Answer, DECRYPT, login_request};
use crate::support::{Gate, PATIENCE, Reply, Server, Session, Setup, WeChat, eventually, wechat};

const REFUSED_LOGIN: &str = "1005 WEIXIN_NET_ERR: too many logins at once";
const REFUSED_REQUEST: &str = "1001 MYSQL_ERR: too many requests at once";

/// A WeChat that keeps the logins of some people waiting until the gate is open.
fn slow_for_some(gate: &Gate) -> WeChat {
    let gate = gate.clone();
    WeChat::start(move |question| {
        if question.code().starts_with("slow") {
            gate.pass();
        }
        Reply::person(question.code())
    })
}

/// Sends a login that is not answered yet.
fn begin_login(server: &Server, code: &str) -> Connection {
    let mut connection = Connection::open(server.address);
    connection.send(login_request(code));
    connection
}

#[test]
fn logins_are_refused_first_and_checks_go_on() {
    let gate = Gate::default();
    let wechat = slow_for_some(&gate);
    let server = Setup::new(wechat.address).with("limits.requests = 4").serve();
    let known = server.session("known");
    assert_eq!(server.check(&known).code, 0);
    let mut waiting = vec![begin_login(&server, "slow-1"), begin_login(&server, "slow-2")];
    wechat.wait_for_questions(3);

    assert_eq!(server.log_in("another").line(), REFUSED_LOGIN);
    assert_eq!(server.check(&known).code, 0);
    assert_eq!(server.check(&known.with_wrong_skey()).code, 60012, "the store can be asked");
    // Who brings a code that is being exchanged waits with the first, in no place of its own.
    waiting.push(begin_login(&server, "slow-1"));
    server.let_it_read();
    assert_eq!(wechat.questions().len(), 3);

    gate.open();
    for mut connection in waiting {
        // Had anybody waited for these, they would have given up meanwhile.
        assert_eq!(Answer::read(&connection.read()).code, 0);
    }
    assert_eq!(server.log_in("another").code, 0);
    let log = server.stop().stderr;
    let refused = r#""message":"requests were refused","code":1005,"answer":"WEIXIN_NET_ERR","reason":"too many logins at once","cause":"see `limits.requests`","count":1"#;
    assert!(log.contains(refused), "{log}");
}

#[test]
fn checks_and_decryptions_are_refused_only_where_they_need_the_store() {
    let gate = Gate::default();
    let wechat = slow_for_some(&gate);
    let server = Setup::new(wechat.address).with("limits.requests = 1").serve();
    let known = server.session("known");
    assert_eq!(server.check(&known).code, 0);
    let mut waiting = begin_login(&server, "slow");
    wechat.wait_for_questions(2);

    assert_eq!(server.check(&known).code, 0);
    assert_eq!(server.check(&known.with_wrong_skey()).line(), REFUSED_REQUEST);
    assert_eq!(decrypt(&server, &known, "").line(), REFUSED_REQUEST);

    gate.open();
    assert_eq!(Answer::read(&waiting.read()).code, 0);
    assert_eq!(server.check(&known.with_wrong_skey()).code, 60012);
    assert_eq!(decrypt(&server, &known, "").code, 60021);
}

#[test]
fn a_login_keeps_its_place_though_its_client_went_away() {
    let gate = Gate::default();
    let wechat = slow_for_some(&gate);
    let server = Setup::new(wechat.address).with("limits.requests = 2").serve();
    drop(begin_login(&server, "slow"));
    wechat.wait_for_questions(1);
    server.let_it_read();
    assert_eq!(server.log_in("another").line(), REFUSED_LOGIN);
    gate.open();
    eventually(PATIENCE, "the place is free again", || {
        (server.log_in("another").code == 0).then_some(())
    });
}

#[test]
fn an_app_begins_so_many_logins_a_second_and_no_more() {
    let gate = Gate::default();
    let wechat = slow_for_some(&gate);
    let server = Setup::new(wechat.address).with("limits.logins_per_second = 1").serve();
    let begun = Instant::now();
    // The same code is one login, however often it is sent.
    let shared: Vec<_> = (0..3).map(|_| begin_login(&server, "slow")).collect();
    wechat.wait_for_questions(1);
    server.let_it_read();
    gate.open();
    for mut connection in shared {
        assert_eq!(Answer::read(&connection.read()).code, 0);
    }
    let refused = "1005 WEIXIN_NET_ERR: too many logins of this app within a second";
    let answers: Vec<_> = (0..10).map(|number| server.log_in(&number.to_string()).line()).collect();
    let admitted = answers.iter().filter(|line| *line != refused).count() as u64;
    assert!(admitted <= begun.elapsed().as_secs(), "{answers:?}");
    assert_eq!(wechat.questions().len() as u64, 1 + admitted, "the others went to WeChat");
    eventually(PATIENCE, "another second comes", || {
        (server.log_in("later").code == 0).then_some(())
    });
}

/// Has this opened for a session; the iv is the one of [`wechat::encrypt`].
fn decrypt(server: &Server, session: &Session, data: &str) -> Answer {
    let (_, iv) = wechat::encrypt(json!({}));
    let mut para = session.para();
    para["encrypt_data"] = data.into();
    para["iv"] = iv.into();
    server.call(DECRYPT, &para)
}

#[test]
fn after_too_many_failures_a_session_decrypts_nothing_until_the_next_login() {
    let wechat = WeChat::of_anybody();
    let server = Setup::new(wechat.address).with("limits.decrypt_failures = 2").serve();
    let [session, other] = ["person", "other"].map(|code| server.session(code));
    let (data, _) = wechat::encrypt(json!({ "steps": 7 }));
    let failed = "60021 GET_SESSION_KEY_SUCCESS_BUT_DECRYPT_FAIL";
    assert_eq!(decrypt(&server, &session, &data).code, 0);
    assert_eq!(decrypt(&server, &session, "garbage").line(), failed);
    assert_eq!(decrypt(&server, &session, &data).code, 0);
    assert_eq!(decrypt(&server, &session, "garbage").line(), failed);
    assert_eq!(decrypt(&server, &session, &data).line(), failed, "one message for every failure");
    assert_eq!(decrypt(&server, &other, &data).code, 0);
    assert_eq!(server.check(&session).code, 0);

    let session = server.session("person");
    assert_eq!(decrypt(&server, &session, &data).code, 0);
    let log = server.stop().stderr;
    assert_eq!(log.matches("not tried: `limits.decrypt_failures`").count(), 1, "{log}");
}

#[test]
fn a_caller_who_proved_nothing_is_refused_after_the_same_time_whatever_was_wrong() {
    let server = Setup::new(WeChat::of_anybody().address).serve();
    let session = server.session("person");
    let unknown = Session { id: session.id.chars().rev().collect(), ..session.clone() };
    let calls: [fn(&Server, &Session) -> Answer; 2] =
        [Server::check, |server, session| decrypt(server, session, "")];
    for refused in [unknown, session.with_wrong_skey()] {
        for call in calls {
            let asked = Instant::now();
            assert_ne!(call(&server, &refused).code, 0);
            assert!(asked.elapsed() >= Duration::from_millis(5), "{:?}", asked.elapsed());
        }
    }
}
