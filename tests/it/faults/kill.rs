//! SIGKILL at any moment.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mina_auth::clock;
use serde_json::{Value, json};

use super::rounds;
use crate::mariadb::Mariadb;
use crate::mysql::on;
use crate::support::server::{LOGIN, envelope};
use crate::support::{Answer, Chance, Server, Session, Setup, WeChat, http};

const CLIENTS: usize = 8;
const USERS_OF_EACH: usize = 4;

/// A user, who logs in again and again.
#[derive(Debug)]
struct User {
    openid: String,
    /// The session of the last login that was answered.
    current: Option<Session>,
    /// The one before, which that login ended.
    ended: Option<Session>,
    /// Whether the server was killed while the user was logging in: then nobody knows.
    unanswered: bool,
}

impl User {
    fn new(number: usize) -> Self {
        Self { openid: format!("o{number}"), current: None, ended: None, unanswered: false }
    }

    /// Logs in; false when there is no answer.
    fn log_in(&mut self, server: SocketAddr) -> bool {
        let login = json!({ "interfaceName": LOGIN, "para": { "code": self.openid } });
        self.unanswered = true;
        let Some(response) = http::try_post(server, "/mina_auth/", &envelope(&login)) else {
            return false;
        };
        self.unanswered = false;
        self.ended = self.current.replace(Answer::read(&response).session());
        true
    }

    /// Asserts that the restarted server knows all that the killed one has answered.
    fn verify(&mut self, server: &Server) {
        if let Some(ended) = &self.ended {
            assert_eq!(server.check(ended).code, 60012, "a session that had ended: {self:?}");
        }
        if let Some(current) = &self.current {
            let code = server.check(current).code;
            assert!(code == 0 || self.unanswered && code == 60012, "{code}: {self:?}");
        }
        if self.unanswered {
            // The login may be on its way into a database even now.
            *self = Self { openid: std::mem::take(&mut self.openid), ..Self::new(0) };
        }
    }
}

/// Kills a server at random moments while many log in.
fn nothing_answered_is_lost(setup: &Setup) {
    let mut chance = Chance::new();
    let mut users: Vec<_> = (0..CLIENTS * USERS_OF_EACH).map(User::new).collect();
    let mut answered = 0;
    for _ in 0..rounds() {
        let mut server = setup.serve();
        for user in &mut users {
            user.verify(&server);
        }
        let address = server.address;
        thread::scope(|scope| {
            let (tell, answers) = mpsc::channel();
            for users in users.chunks_mut(USERS_OF_EACH) {
                let (mut chance, tell) = (chance.branch(), tell.clone());
                scope.spawn(move || {
                    while chance.one_of(users).log_in(address) {
                        tell.send(()).unwrap();
                    }
                });
            }
            drop(tell);
            // Often right behind an answer, when it would be too early.
            answered += answers.iter().take(chance.below_size(50)).count();
            thread::sleep(Duration::from_micros(chance.below(2) * chance.below(2000)));
            server.program.kill();
            answered += answers.iter().count();
        });
    }
    let server = setup.serve();
    for user in &mut users {
        user.verify(&server);
    }
    server.stop();
    println!("{answered} logins were answered");
    assert!(answered > rounds() as usize, "it was killed before it answered anybody");
    assert!(setup.sessions(&[]).len() <= users.len(), "a user has one session");
}

#[test]
fn no_answered_login_is_lost_on_sqlite() {
    nothing_answered_is_lost(&Setup::new(WeChat::of_anybody().address));
}

#[test]
fn no_answered_login_is_lost_on_mariadb() {
    let database = Mariadb::shared().database_now();
    nothing_answered_is_lost(&on(&database, WeChat::of_anybody().address));
}

/// Kills a server in the middle of checks, and compares what it had stored of them.
fn last_visits_are_no_older_than_the_interval(setup: Setup) {
    const INTERVAL: i64 = 16;
    // What a busy machine may take to write, and less than another half of the interval.
    const SLACK: i64 = 6;
    let mut chance = Chance::new();
    let setup = setup.with(&format!("sessions.touch_interval = \"{INTERVAL}s\""));
    let mut server = setup.serve();
    let mut visits: Vec<(Session, i64)> =
        (0..20).map(|n| (server.session(&format!("o{n}")), clock::now())).collect();
    let end = Instant::now() + Duration::from_millis(25_000 + chance.below(5000));
    while Instant::now() < end {
        let (session, last_visit) = chance.one_of(&mut visits);
        *last_visit = clock::now();
        assert_eq!(server.check(session).code, 0);
        thread::sleep(Duration::from_millis(chance.below(60)));
    }
    server.program.kill();
    for (session, last_visit) in visits {
        let stored = &setup.sessions(&["--id", &session.id])[0];
        let lost = last_visit - second(&stored["last_visit"]);
        // Both were cut to whole seconds.
        assert!(lost <= INTERVAL + 1 + SLACK, "{lost} seconds: {stored}");
        assert!(second(&stored["created"]) < second(&stored["last_visit"]), "{stored}");
    }
}

fn second(time: &Value) -> i64 {
    clock::seconds(humantime::parse_rfc3339(time.as_str().unwrap()).unwrap())
}

#[test]
fn last_visits_are_no_older_than_the_interval_on_sqlite() {
    last_visits_are_no_older_than_the_interval(Setup::new(WeChat::of_anybody().address));
}

#[test]
fn last_visits_are_no_older_than_the_interval_on_mariadb() {
    let database = Mariadb::shared().database_now();
    last_visits_are_no_older_than_the_interval(on(&database, WeChat::of_anybody().address));
}
