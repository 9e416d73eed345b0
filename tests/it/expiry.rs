//! Sessions end to the second.

use std::thread;
use std::time::Duration;

use mina_auth::clock;

use crate::support::{APP, PATIENCE, SECRET, Session, Setup, WeChat, eventually};

/// A set-up whose sessions live this long.
fn setup(wechat: &WeChat, durations: &str) -> Setup {
    let app = format!("apps = [{{ appid = \"{APP}\", secret = \"{SECRET}\", {durations} }}]");
    Setup::new(wechat.address).with(&app)
}

/// Waits until the clock shows this second.
fn wait_until(second: i64) {
    eventually(PATIENCE, "the clock gets there", || (clock::now() >= second).then_some(()));
}

/// Waits for the beginning of a second, so that what follows is done within it.
fn begin_a_second() -> i64 {
    let next = clock::now() + 1;
    wait_until(next);
    next
}

const UNUSED: &str = "60012 AUTH_FAIL: unused too long";
const TOO_OLD: &str = "60012 AUTH_FAIL: logged in too long ago";
const WRONG: &str = "60012 AUTH_FAIL: unknown id or wrong skey";

#[test]
fn an_unused_session_ends_to_the_second() {
    let wechat = WeChat::of_anybody();
    let server = setup(&wechat, "session_duration = 2").serve();
    let start = begin_a_second();
    let [kept, left] = ["kept", "left"].map(|person| server.session(person));
    wait_until(start + 2);
    assert_eq!(server.check(&kept).line(), "0 AUTH_SUCCESS");
    wait_until(start + 3);
    assert_eq!(server.check(&left).line(), UNUSED);
    assert_eq!(server.check(&left.with_wrong_skey()).line(), WRONG);
    // The check made it live on.
    assert_eq!(server.check(&kept).line(), "0 AUTH_SUCCESS");
    // And nothing brings a session back but a login, which keeps the id.
    let again = server.log_in("left");
    assert_eq!(again.line(), "0 UPDATE_SESSION_SUCCESS");
    let again = again.session();
    assert_eq!(again.id, left.id);
    assert_eq!(server.check(&again).line(), "0 AUTH_SUCCESS");
    assert_eq!(server.check(&left).line(), WRONG);
}

#[test]
fn checks_keep_a_session_alive_when_visits_are_batched() {
    checks_keep_a_session_alive("batched");
}

#[test]
fn checks_keep_a_session_alive_when_visits_are_written_at_once() {
    checks_keep_a_session_alive("sync");
}

fn checks_keep_a_session_alive(touch: &str) {
    let wechat = WeChat::of_anybody();
    let setup =
        setup(&wechat, "session_duration = 2").with(&format!("sessions.touch = \"{touch}\""));
    let server = setup.serve();
    let session = server.session("person");
    for _ in 0..4 {
        thread::sleep(Duration::from_secs(1));
        assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    }
    // By then the visit is written, and the session is over.
    wait_until(clock::now() + 3);
    let visit = last_visit(&setup, &session);
    assert_eq!(server.check(&session).line(), UNUSED);
    server.stop();
    assert_eq!(last_visit(&setup, &session), visit, "a refused check is no visit");
}

fn last_visit(setup: &Setup, session: &Session) -> String {
    setup.sessions(&["--id", &session.id])[0]["last_visit"].as_str().unwrap().to_owned()
}

#[test]
fn a_visit_is_written_before_the_answer_when_told_so() {
    let wechat = WeChat::of_anybody();
    let setup = Setup::new(wechat.address).with("sessions.touch = \"sync\"");
    let server = setup.serve();
    let session = server.session("person");
    let login = last_visit(&setup, &session);
    begin_a_second();
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    assert!(last_visit(&setup, &session) > login);
}

#[test]
fn a_session_ends_with_its_login_however_much_it_is_used() {
    let wechat = WeChat::of_anybody();
    let server = setup(&wechat, "login_duration = 0").serve();
    let start = begin_a_second();
    let session = server.session("person");
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    wait_until(start + 1);
    assert_eq!(server.check(&session).line(), TOO_OLD);
    assert_eq!(server.check(&session.with_wrong_skey()).line(), WRONG);
}

#[test]
fn expiry_counts_from_the_last_visit_after_a_restart_too() {
    let wechat = WeChat::of_anybody();
    let setup = setup(&wechat, "session_duration = 4");
    let server = setup.serve();
    let start = begin_a_second();
    let session = server.session("person");
    wait_until(start + 2);
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    server.stop();
    let server = setup.serve();
    wait_until(start + 5);
    assert_eq!(server.check(&session).line(), "0 AUTH_SUCCESS");
    wait_until(clock::now() + 5);
    assert_eq!(server.check(&session).line(), UNUSED);
}

#[test]
fn data_of_an_expired_session_is_not_decrypted() {
    let wechat = WeChat::of_anybody();
    let server = setup(&wechat, "session_duration = 1").serve();
    let session = server.session("person");
    wait_until(clock::now() + 2);
    let mut para = session.para();
    para["encrypt_data"] = "AAAA".into();
    let answer = server.call(crate::support::server::DECRYPT, &para);
    assert_eq!(answer.line(), "60021 GET_SESSION_KEY_FAIL: unused too long");
}
