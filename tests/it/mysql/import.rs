//! `mina-auth import`, from the database of a PHP server.

use rusqlite::Connection;

use super::{checks_out, on, php_tables};
use crate::mariadb::{Database, Mariadb};
use crate::support::program::Program;
use crate::support::{PATIENCE, Setup, Simulator, eventually};

/// A session and its user, a line for each session.
const LINES: &str = "SELECT CONCAT_WS(' ', s.uuid, s.skey, s.create_time, s.last_visit_time, \
     s.open_id, u.user_info) FROM cSessionInfo s \
     JOIN mina_user u ON u.appid = s.appid AND u.open_id = s.open_id ORDER BY s.uuid";

#[test]
fn a_wafer_database_is_imported() {
    const SESSIONS: u32 = 5_000;
    let database = Mariadb::shared().database_now();
    database.run_now(&php_tables(SESSIONS));
    database.run_now(
        "INSERT INTO cSessionInfo SET uuid = 'old', skey = 'k', open_id = 'o', session_key = '',
           create_time = '2016-01-01 00:00:00', last_visit_time = '2016-01-01 00:00:00'",
    );
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address).with("apps = []");
    let from = ["import", "--from", &database.url];
    let refusal = setup.run(&from).failed_in_one_line();
    assert!(refusal.contains("--time-zone"), "{refusal}");
    let with_zone = [&from[..], &["--time-zone", "+08:00"]].concat();
    let dry = setup.run(&[&with_zone[..], &["--dry-run"]].concat()).succeeded();
    assert!(dry.stdout.contains(&format!("{SESSIONS} sessions")), "{dry:?}");
    assert!(dry.stdout.contains("1 skipped: expired"), "{dry:?}");
    let first = setup.run(&with_zone).succeeded();
    assert!(first.stdout.contains(&format!("{SESSIONS} sessions ({SESSIONS} new)")), "{first:?}");
    let server = setup.serve();
    for n in [1, 77, SESSIONS] {
        assert!(checks_out(&server, &format!("u{n}"), &format!("k{n}")));
    }
    server.stop();
    // The database was only read.
    let sql = Setup::new(simulator.address)
        .with(&format!("storage.url = \"{}\"", database.url))
        .run(&["migrate", "--dry-run"])
        .succeeded();
    assert!(sql.stdout.contains("ALTER TABLE cSessionInfo"), "{sql:?}");
}

/// What an embedded database holds.
fn lines(setup: &Setup) -> Vec<String> {
    let connection = Connection::open(setup.path("mina-auth.db")).unwrap();
    let mut lines = connection.prepare(LINES).unwrap();
    lines.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Cuts an import off, has two users log in, and imports again: the same as an import that was
/// not cut off, but for the two.
fn cut_off_and_done_again(
    source: &Database,
    simulator: &Simulator,
    (sessions, expected): (u32, &[String]),
    target: &Setup,
    lines: impl Fn() -> Vec<String>,
) {
    let import = ["import", "--from", &source.url, "--time-zone", "+08:00"];
    target.run(&["migrate"]).succeeded();
    let mut program = Program::start(&mut target.command(&import));
    eventually(PATIENCE, "sessions are imported", || (!lines().is_empty()).then_some(()));
    program.kill();
    let there = lines().len();
    assert!(there < expected.len(), "it was not cut off");
    // One user who was imported logs in, and one who was not yet.
    let (first, last) = ("o1".to_owned(), format!("o{sessions}"));
    let server = target.serve();
    let newer = [&first, &last].map(|user| server.session(&simulator.code(user)));
    assert_eq!(newer[0].id, "u1");
    server.stop();
    let again = target.run(&import).succeeded().stdout;
    for said in [
        format!("{there} skipped: here already"),
        "1 skipped: of users who logged in or were logged out here since".to_owned(),
        format!("{} new", expected.len() - there - 1),
    ] {
        assert!(again.contains(&said), "{said}: {again}");
    }
    let others = |lines: &[String]| -> Vec<String> {
        let theirs = [format!(" {first} "), format!(" {last} ")];
        lines
            .iter()
            .filter(|line| !theirs.iter().any(|user| line.contains(user)))
            .cloned()
            .collect()
    };
    let now = lines();
    assert_eq!(now.len(), expected.len());
    assert!(others(&now) == others(expected), "the others are as if it had not been cut off");
    // Nothing is left to do.
    let again = target.run(&import).succeeded().stdout;
    assert!(again.contains("0 sessions were imported"), "{again}");
    assert!(lines() == now, "nothing was done");
    let server = target.serve();
    for session in &newer {
        assert_eq!(server.check(session).code, 0, "a newer login is not overwritten");
    }
    assert!(!checks_out(&server, &format!("u{sessions}"), &format!("k{sessions}")));
    server.stop();
}

#[test]
fn an_import_that_was_cut_off_goes_on() {
    const SESSIONS: u32 = 12_000;
    let simulator = Simulator::start();
    let source = Mariadb::shared().database_now();
    source.run_now(&php_tables(SESSIONS));
    let import = ["import", "--from", &source.url, "--time-zone", "+08:00"];
    let embedded = || Setup::new(simulator.address);
    let whole = embedded();
    whole.run(&import).succeeded();
    let target = embedded();
    let expected = (SESSIONS, &*lines(&whole));
    cut_off_and_done_again(&source, &simulator, expected, &target, || lines(&target));

    let [whole, database] = [(); 2].map(|()| Mariadb::shared().database_now());
    on(&whole, simulator.address).run(&import).succeeded();
    let target = on(&database, simulator.address);
    let expected = (SESSIONS, &*whole.texts_now(LINES));
    cut_off_and_done_again(&source, &simulator, expected, &target, || database.texts_now(LINES));
}
