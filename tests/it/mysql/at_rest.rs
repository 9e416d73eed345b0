//! What stands in the tables of a MySQL database.

use super::{checks_out, on, php_tables};
use crate::at_rest::{ONE, assert_absent, of_many_keys, rotates_under_a_storm, secrets_of_logins};
use crate::mariadb::{Database, Mariadb};
use crate::support::WeChat;

/// Every row of every table, as text.
fn dump(database: &Database) -> Vec<u8> {
    let selects = database.texts_now(
        "SELECT CONCAT('SELECT CONVERT(CONCAT_WS(\\' \\', \\'', table_name, '\\', ', \
         GROUP_CONCAT(column_name SEPARATOR ', '), ') USING utf8mb4) FROM ', table_name) \
         FROM information_schema.columns WHERE table_schema = DATABASE() GROUP BY table_name",
    );
    let rows = selects.iter().flat_map(|select| database.texts_now(select));
    rows.collect::<Vec<_>>().join("\n").into_bytes()
}

#[test]
fn a_stolen_database_holds_no_session_and_no_secret() {
    let (wechat, session_keys) = of_many_keys();
    let database = Mariadb::shared().database_now();
    let setup = on(&database, wechat.address).with(&format!("secrets.keys = \"{ONE}\""));
    let server = setup.serve();
    let secrets = secrets_of_logins(&server, session_keys);
    server.stop();
    let dump = dump(&database);
    assert!(dump.windows(3).any(|window| window == b"ben"), "it is the database");
    assert_absent(&dump, &secrets);
    let checked = format!("{:?}", setup.run(&["check"]));
    assert!(checked.contains("ok    AppSecrets and session_keys are encrypted"), "{checked}");
}

#[test]
fn without_a_key_a_server_starts_and_says_what_is_plain() {
    let database = Mariadb::shared().database_now();
    let setup = on(&database, WeChat::of_anybody().address);
    let server = setup.serve();
    server.session("ann");
    let log = server.stop().stderr;
    assert_eq!(log.matches("are stored plain: set `secrets.keys`").count(), 1, "{log}");
    let checked = format!("{:?}", setup.run(&["check"]));
    assert!(checked.contains("note  AppSecrets and session_keys are stored plain"), "{checked}");
    let line = setup.run(&["secrets", "rotate"]).failed_in_one_line();
    assert!(line.contains("there is no key"), "{line}");
}

#[test]
fn a_rotation_under_logins_loses_nothing() {
    let database = Mariadb::shared().database_now();
    rotates_under_a_storm(on(&database, WeChat::of_anybody().address));
}

#[test]
fn plain_rows_of_the_php_server_are_good_until_the_next_login() {
    let wechat = WeChat::of_anybody();
    let database = Mariadb::shared().database_now();
    database.run_now(&php_tables(2));
    let settings = format!("secrets.keys = \"{ONE}\"\nstorage.time_zone = \"+08:00\"");
    let setup = on(&database, wechat.address).with(&settings);
    let server = setup.serve();
    assert!(checks_out(&server, "u1", "k1") && checks_out(&server, "u2", "k2"));
    let session = server.session("o1");
    assert_eq!(session.id, "u1");
    assert_eq!(server.check(&session).code, 0);
    assert!(!checks_out(&server, "u1", "k1"));
    let skeys = database.texts_now("SELECT skey FROM cSessionInfo ORDER BY uuid");
    assert!(skeys[0].starts_with("sha256:") && skeys[1] == "k2", "{skeys:?}");
    assert!(!checks_out(&server, "u1", &skeys[0]));
    assert!(checks_out(&server, "u2", "k2"));
}
