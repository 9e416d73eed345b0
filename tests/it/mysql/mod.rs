//! Servers on MySQL: beside the PHP server, through a restart of the database, and the way there
//! and back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::faults::SetOnDrop;
use crate::mariadb::{Database, Mariadb};
use crate::support::{
    APP, PATIENCE, SECRET, Server, Setup, Simulator, eventually, refusing_address,
};

mod at_rest;
mod few;
mod import;
mod nodes;

/// A server's set-up on a database.
pub fn on(database: &Database, wechat: SocketAddr) -> Setup {
    // A busy disk is none of these tests' concern.
    let settings = format!("storage.url = \"{}\"\nstorage.timeout = \"15s\"", database.url);
    Setup::new(wechat).with(&settings)
}

/// The tables of a PHP server with so many sessions of as many users, the last one logged in just
/// now. Their datetimes are in +08:00.
fn php_tables(sessions: u32) -> String {
    format!(
        "CREATE TABLE cAppInfo (appid varchar(200) NOT NULL, secret varchar(300) NOT NULL,
           login_duration int(11) DEFAULT '30', session_duration int(11) DEFAULT '2592000',
           qcloud_appid varchar(300) DEFAULT 'appid_qcloud', ip varchar(50) DEFAULT '0.0.0.0',
           PRIMARY KEY (appid)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
         CREATE TABLE cSessionInfo (id int(11) NOT NULL AUTO_INCREMENT, uuid varchar(100) NOT NULL,
           skey varchar(100) NOT NULL, create_time datetime NOT NULL,
           last_visit_time datetime NOT NULL, open_id varchar(100) NOT NULL,
           session_key varchar(100) NOT NULL, user_info varchar(2048) DEFAULT NULL,
           PRIMARY KEY (id), KEY auth (uuid,skey), KEY weixin (open_id,session_key))
           ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
         INSERT INTO cAppInfo SET appid = '{APP}', secret = '{SECRET}';
         INSERT INTO cSessionInfo
           (uuid, skey, create_time, last_visit_time, open_id, session_key, user_info)
           SELECT CONCAT('u', seq), CONCAT('k', seq),
             UTC_TIMESTAMP() + INTERVAL 8 HOUR - INTERVAL ({sessions} - seq) SECOND,
             UTC_TIMESTAMP() + INTERVAL 8 HOUR, CONCAT('o', seq), 'sk',
             TO_BASE64(CONCAT('{{\"openId\":\"o', seq, '\",\"nickName\":\"', REPEAT('n', 200), '\"}}'))
           FROM seq_1_to_{sessions};"
    )
}

fn checks_out(server: &Server, id: &str, skey: &str) -> bool {
    server.call(crate::support::server::CHECK, &json!({ "id": id, "skey": skey })).code == 0
}

#[test]
fn a_change_over_and_back_logs_nobody_out() {
    let simulator = Simulator::start();
    let database = Mariadb::shared().database_now();
    database.run_now(&php_tables(10));
    let name = &database.name;
    // An account with the rights that the page names.
    database.run_now(&format!(
        "CREATE USER page_{name}@'%' IDENTIFIED BY 'pw';
         GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON {name}.* TO page_{name}@'%'"
    ));
    let url = database.url_for(&format!("page_{name}:pw"));
    let setup = Setup::new(simulator.address).with(&format!("storage.url = \"{url}\""));
    // What would be done, and then it is done.
    let refusal = setup.run(&["serve"]).failed_in_one_line();
    assert!(refusal.contains("storage.time_zone"), "{refusal}");
    let shared = "storage.time_zone = \"+08:00\"\nstorage.shared_with_php = true\napps = []";
    let setup = setup.with(shared);
    let sql = setup.run(&["migrate", "--dry-run"]).succeeded().stdout;
    assert!(sql.contains("ALTER TABLE cAppInfo ADD COLUMN"), "{sql}");
    setup.run(&["migrate"]).succeeded();
    setup.run(&["check"]).succeeded();
    // Both servers side by side. The PHP server's sessions check out here.
    let server = setup.serve();
    for n in 1..=10 {
        assert!(checks_out(&server, &format!("u{n}"), &format!("k{n}")));
    }
    // What the PHP server changes counts at once.
    for round in 0..20 {
        database.run_now(&format!("UPDATE cSessionInfo SET skey = 'n{round}' WHERE uuid = 'u1'"));
        assert!(!checks_out(&server, "u1", "k1"));
        assert!(checks_out(&server, "u1", &format!("n{round}")));
    }
    database.run_now("DELETE FROM cSessionInfo WHERE uuid = 'u1'");
    assert!(!checks_out(&server, "u1", "n19"));
    // A login here is a row that the PHP server can use.
    let session = server.session(&simulator.code("o2"));
    assert_eq!(session.id, "u2");
    let php = format!(
        "UPDATE cSessionInfo SET last_visit_time = NOW() WHERE uuid = 'u2' AND skey = '{}' AND \
         user_info != '' AND FROM_BASE64(user_info) LIKE '{{%'",
        session.skey
    );
    database.run_now(&php);
    server.stop();
    // The way back, and every trace removed; and the whole thing once more.
    database.run_now(
        "ALTER TABLE cAppInfo DROP COLUMN is_default;
         ALTER TABLE cSessionInfo DROP COLUMN appid, DROP COLUMN mina_skey;
         DROP TABLE mina_user, mina_event, mina_stat, mina_stat_written, mina_setting, \
         mina_migration;",
    );
    database.run_now(&php);
    let server = setup.serve();
    assert_eq!(server.check(&session).code, 0);
    server.stop();
    // The PHP server is off for good.
    let setup = setup.with("storage.shared_with_php = false");
    let refusal = setup.run(&["serve"]).failed_in_one_line();
    assert!(refusal.contains("mina-auth migrate --leave-php"), "{refusal}");
    setup.run(&["migrate", "--leave-php"]).succeeded();
    let server = setup.serve();
    assert_eq!(server.check(&session).code, 0);
    assert!(checks_out(&server, "u3", "k3"));
    server.stop();
}

#[test]
fn a_restart_of_the_database_is_one_line_and_loses_nothing() {
    let mut mariadb = Mariadb::start();
    let database = mariadb.database_now();
    let simulator = Simulator::start();
    let setup = on(&database, simulator.address);
    let server = setup.serve();
    let known: Vec<_> =
        (0..20).map(|n| server.session(&simulator.code(&format!("known{n}")))).collect();
    // Logins are heard of through the feed once; after that the sessions stay in memory.
    setup.let_it_follow(&server, &simulator.code("marker"));
    for session in &known {
        assert_eq!(server.check(session).code, 0);
    }
    let done = AtomicBool::new(false);
    let (checks, answered) = (AtomicU32::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for session in known.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(server.check(session).code, 0, "a known session checks out");
                checks.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let answer = server.log_in(&simulator.code(&format!("new{n}")));
                match answer.code {
                    0 => answered.lock().unwrap().push(answer.session()),
                    code => assert_eq!(code, 1006),
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // The others end when this fails, too.
        let _done = SetOnDrop(&done);
        let count = || (checks.load(Ordering::Relaxed), answered.lock().unwrap().len());
        let go_on = |checked: u32, logged_in: usize| {
            let before = count();
            eventually(PATIENCE, "the server goes on", || {
                let now = count();
                (now.0 >= before.0 + checked && now.1 >= before.1 + logged_in).then_some(())
            });
        };
        go_on(20, 5);
        mariadb.stop();
        server.program.stderr.wait_for_text("the store cannot be read");
        go_on(100, 0);
        mariadb.go_on();
        server.program.stderr.wait_for_text("the store can be read again");
        go_on(20, 5);
    });
    let answered = answered.into_inner().unwrap();
    for session in known.iter().chain(&answered) {
        assert_eq!(server.check(session).code, 0, "nothing answered is lost");
    }
    let lines = server.stop().stderr;
    for said in ["the store cannot be read", "the store can be read again"] {
        assert_eq!(lines.matches(said).count(), 1, "{said}");
    }
}

#[test]
fn tables_that_are_passed_over_are_named_in_the_log() {
    let simulator = Simulator::start();
    let database = Mariadb::shared().database_now();
    database.run_now(&php_tables(1));
    database.run_now(
        "CREATE TABLE cAppinfo LIKE cAppInfo; INSERT INTO cAppinfo SELECT * FROM cAppInfo;
         CREATE TABLE cSessioninfo LIKE cSessionInfo;
         INSERT INTO cSessioninfo SELECT * FROM cSessionInfo;
         UPDATE cSessioninfo SET uuid = 'other'",
    );
    let setup = on(&database, simulator.address).with("storage.time_zone = \"+08:00\"");
    let server = setup.serve();
    assert!(checks_out(&server, "u1", "k1"));
    assert!(!checks_out(&server, "other", "k1"));
    let log = server.stop().stderr;
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.contains("in both spellings"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tables: Vec<_> = lines.iter().map(|line| line["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["cAppInfo", "cSessioninfo"]);
    assert!(lines.iter().all(|line| line["level"] == "WARN"), "{lines:?}");
}

#[test]
fn the_password_is_not_shown() {
    let database = Mariadb::shared().database_now();
    let setup = on(&database, refusing_address());
    for command in [&["config", "show"][..], &["migrate"], &["check"]] {
        let said = format!("{:?}", setup.run(command));
        assert!(!said.contains("cret@") && !said.contains("s%40cret"), "{said}");
    }
}

#[test]
fn what_does_not_go_with_the_php_server_is_refused() {
    let url = "storage.url = \"mysql://u:p@127.0.0.1:1/cAuth\"\nstorage.shared_with_php = true";
    let setup = || Setup::new(refusing_address()).with(url);
    let refusal = setup().run(&["serve"]).failed_in_one_line();
    assert!(refusal.contains("`storage.time_zone`"), "{refusal}");
    let zone = "storage.time_zone = \"+08:00\"";
    let other = "apps = [{ appid = \"a\", secret = \"b\" }, { appid = \"c\", secret = \"d\" }]";
    for (wrong, setting) in [
        ("sessions.per_user = 2", "`sessions.per_user`"),
        (other, "`apps`"),
        ("storage.timeout = \"1m\"", "`storage.timeout`"),
        ("storage.max_connections = 0", "`storage.max_connections`"),
        ("storage.time_zone = \"Asia/Shanghai\"", "`storage.time_zone`"),
    ] {
        let refusal = setup().with(zone).with(wrong).run(&["serve"]).failed_in_one_line();
        assert!(refusal.contains(setting), "{refusal}");
    }
}
