//! Several servers on one database.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use super::{checks_out, on, php_tables};
use crate::mariadb::{Database, Mariadb};
use crate::support::{PATIENCE, Server, Session, Setup, WeChat, assert_most_are_soon, eventually};

/// The columns of all tables, and the steps that were taken.
const SCHEMA: &str = "SELECT CONCAT_WS(' ', table_name, column_name, column_type, column_default) \
     FROM information_schema.columns WHERE table_schema = DATABASE() \
     UNION ALL SELECT CONCAT('step ', step) FROM mina_migration ORDER BY 1";

/// Starts two servers at the same moment.
fn both(a: &Setup, b: &Setup) -> [Server; 2] {
    thread::scope(|scope| {
        let (a, b) = (scope.spawn(|| a.serve()), scope.spawn(|| b.serve()));
        [a.join().unwrap(), b.join().unwrap()]
    })
}

fn stop(servers: [Server; 2]) {
    for server in servers {
        server.stop();
    }
}

#[test]
fn a_revoked_session_is_refused_by_the_others_within_a_second() {
    const ROUNDS: usize = 100;
    const AT_ONCE: usize = 5;
    let wechat = WeChat::of_anybody();
    let database = Mariadb::shared().database_now();
    let [a, b] = [(); 2].map(|()| on(&database, wechat.address));
    let [server_a, server_b] = both(&a, &b);
    let sessions: Vec<Session> = (0..ROUNDS)
        .map(|n| {
            let session = server_a.session(&format!("o{n}"));
            assert_eq!(server_b.check(&session).code, 0, "the very next moment");
            session
        })
        .collect();
    // Once the logins were heard of through the feed, sessions stay in memory.
    a.let_it_follow(&server_a, "a");
    b.let_it_follow(&server_b, "b");
    for session in &sessions {
        assert_eq!((server_a.check(session).code, server_b.check(session).code), (0, 0));
    }
    let round = |session: &Session| {
        a.run(&["session", "revoke", "--id", &session.id]).succeeded();
        let revoked = Instant::now();
        eventually(PATIENCE, "both refuse", || {
            [&server_b, &server_a]
                .iter()
                .all(|server| server.check(session).code == 60012)
                .then(|| revoked.elapsed())
        })
    };
    let times: Vec<_> = thread::scope(|scope| {
        let round = &round;
        let threads: Vec<_> = sessions
            .chunks(ROUNDS / AT_ONCE)
            .map(|sessions| scope.spawn(move || sessions.iter().map(round).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("the slowest of {ROUNDS} took {:?}", times.iter().max().unwrap());
    assert_most_are_soon(times);
    stop([server_a, server_b]);
}

#[test]
fn of_two_logins_at_once_on_two_servers_one_session_is_left() {
    const USERS: usize = 20;
    const TIMES: usize = 10;
    let wechat = WeChat::of_anybody();
    let database = Mariadb::shared().database_now();
    let [a, b] = [(); 2].map(|()| on(&database, wechat.address));
    let servers = both(&a, &b);
    for _ in 0..TIMES {
        let start = Barrier::new(2 * USERS);
        let log_in = |server: &Server, user: usize| {
            start.wait();
            server.session(&format!("o{user}"))
        };
        let mut pairs: Vec<[Session; 2]> = thread::scope(|scope| {
            let log_in = &log_in;
            let threads: Vec<_> = (0..USERS)
                .map(|user| {
                    servers.each_ref().map(|server| scope.spawn(move || log_in(server, user)))
                })
                .collect();
            threads.into_iter().map(|pair| pair.map(|thread| thread.join().unwrap())).collect()
        });
        // What each says of the two skeys; they agree once each has heard of the other's login.
        let word = |server: &Server, pair: &[Session; 2]| {
            pair.each_ref().map(|session| server.check(session).code == 0)
        };
        eventually(PATIENCE, "one session of each user is left", || {
            pairs.retain(|pair| {
                let [a, b] = servers.each_ref().map(|server| word(server, pair));
                a != b || a[0] == a[1]
            });
            pairs.is_empty().then_some(())
        });
    }
    assert_eq!(a.sessions(&[]).len(), USERS);
    stop(servers);
}

/// Starts two servers at once, and compares the tables with those that one program makes.
fn start_on(database: &Database, alone: &Database, settings: &str) -> [Server; 2] {
    let wechat = WeChat::of_anybody();
    let [a, b, alone_setup] =
        [database, database, alone].map(|at| on(at, wechat.address).with(settings));
    alone_setup.run(&["migrate"]).succeeded();
    let servers = both(&a, &b);
    assert_eq!(database.texts_now(SCHEMA), alone.texts_now(SCHEMA));
    for (at, other) in [(0, 1), (1, 0)] {
        let session = servers[at].session(&format!("new{at}"));
        assert_eq!(servers[other].check(&session).code, 0);
    }
    servers
}

#[test]
fn two_servers_start_at_once_on_an_empty_database() {
    for _ in 0..3 {
        let [database, alone] = [(); 2].map(|()| Mariadb::shared().database_now());
        let servers = start_on(&database, &alone, "");
        stop(servers);
    }
}

#[test]
fn two_servers_start_at_once_on_the_php_servers_database() {
    for _ in 0..3 {
        let [database, alone] = [(); 2].map(|()| Mariadb::shared().database_now());
        database.run_now(&php_tables(10));
        alone.run_now(&php_tables(10));
        let servers = start_on(&database, &alone, "storage.time_zone = \"+08:00\"");
        for server in &servers {
            for n in 1..=10 {
                assert!(checks_out(server, &format!("u{n}"), &format!("k{n}")));
            }
        }
        stop(servers);
    }
}
