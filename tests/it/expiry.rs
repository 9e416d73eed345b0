//! Sessions end to the second.

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

/// What was done in this second; `None` when it was over before the work was done, and nobody
/// knows by which second the server judged.
fn within<T>(second: i64, work: impl FnOnce() -> T) -> Option<T> {
    wait_until(second);
    let done = work();
    (clock::now() == second).then_some(done)
}

/// Does again what a busy machine took too long for, with a number of its own each time.
fn in_time<T>(attempt: impl Fn(u32) -> Option<T>) -> T {
    (0..10).find_map(attempt).expect("the machine is not this slow ten times")
}

const UNUSED: &str = "60012 AUTH_FAIL: unused too long";
const TOO_OLD: &str = "60012 AUTH_FAIL: logged in too long ago";
const WRONG: &str = "60012 AUTH_FAIL: unknown id or wrong skey";

#[test]
fn an_unused_session_ends_to_the_second() {
    let wechat = WeChat::of_anybody();
    let server = setup(&wechat, "session_duration = 2").serve();
    let line = |session: &Session| server.check(session).line();
    in_time(|n| {
        let start = begin_a_second();
        let people = ["kept", "left"].map(|person| format!("{person}{n}"));
        let sessions = || people.each_ref().map(|person| server.session(person));
        let [kept, left] = within(start, sessions)?;
        assert_eq!(within(start + 2, || line(&kept))?, "0 AUTH_SUCCESS");
        assert_eq!(within(start + 3, || line(&left))?, UNUSED);
        assert_eq!(line(&left.with_wrong_skey()), WRONG);
        // The check made it live on.
        assert_eq!(within(start + 4, || line(&kept))?, "0 AUTH_SUCCESS");
        // And nothing brings a session back but a login, which keeps the id.
        let start = begin_a_second();
        let again = within(start, || server.log_in(&people[1]))?;
        assert_eq!(again.line(), "0 UPDATE_SESSION_SUCCESS");
        let again = again.session();
        assert_eq!(again.id, left.id);
        assert_eq!(within(start + 1, || line(&again))?, "0 AUTH_SUCCESS");
        assert_eq!(line(&left), WRONG);
        Some(())
    });
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
    let (session, last) = in_time(|n| {
        let start = begin_a_second();
        let session = within(start, || server.session(&format!("person{n}")))?;
        for second in start + 1..=start + 4 {
            assert_eq!(within(second, || server.check(&session).line())?, "0 AUTH_SUCCESS");
        }
        Some((session, start + 4))
    });
    eventually(PATIENCE, "the visit is written", || {
        (last_visit(&setup, &session) == last).then_some(())
    });
    wait_until(clock::now() + 3);
    assert_eq!(server.check(&session).line(), UNUSED);
    server.stop();
    assert_eq!(last_visit(&setup, &session), last, "a refused check is no visit");
}

fn last_visit(setup: &Setup, session: &Session) -> i64 {
    let sessions = setup.sessions(&["--id", &session.id]);
    let visit = humantime::parse_rfc3339(sessions[0]["last_visit"].as_str().unwrap());
    clock::seconds(visit.unwrap())
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
    let session = in_time(|_| {
        let start = begin_a_second();
        let log_in_and_check = || {
            let session = server.session("person");
            (server.check(&session).line(), session)
        };
        let (line, session) = within(start, log_in_and_check)?;
        assert_eq!(line, "0 AUTH_SUCCESS");
        assert_eq!(within(start + 1, || server.check(&session).line())?, TOO_OLD);
        Some(session)
    });
    assert_eq!(server.check(&session.with_wrong_skey()).line(), WRONG);
}

#[test]
fn expiry_counts_from_the_last_visit_after_a_restart_too() {
    const DURATION: i64 = 6;
    let wechat = WeChat::of_anybody();
    let setup = setup(&wechat, &format!("session_duration = {DURATION}"));
    in_time(|n| {
        let server = setup.serve();
        let start = begin_a_second();
        let session = within(start, || server.session(&format!("person{n}")))?;
        let visit = start + DURATION - 1;
        assert_eq!(within(visit, || server.check(&session).line())?, "0 AUTH_SUCCESS");
        server.stop();
        let server = setup.serve();
        wait_until(start + DURATION + 1);
        let line = server.check(&session).line();
        if clock::now() > visit + DURATION {
            return None;
        }
        assert_eq!(line, "0 AUTH_SUCCESS");
        wait_until(clock::now() + DURATION + 1);
        assert_eq!(server.check(&session).line(), UNUSED);
        Some(())
    });
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
