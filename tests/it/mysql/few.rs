//! A server on a database that gives fewer connections than `storage.max_connections`.

use std::thread;

use serde_json::{Value, json};

use super::on;
use crate::mariadb::Mariadb;
use crate::support::WeChat;
use crate::support::server::CHECK;

#[test]
fn few_connections_serve_many_callers_and_are_said_once() {
    const CALLERS: usize = 40;
    const TIMES: usize = 25;
    let wechat = WeChat::of_anybody();
    let database = Mariadb::shared().database_now();
    let name = &database.name;
    database.run_now(&format!(
        "CREATE USER few_{name}@'%' IDENTIFIED BY 'pw' WITH MAX_USER_CONNECTIONS 7;
         GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON {name}.* TO few_{name}@'%'"
    ));
    let url = database.url_for(&format!("few_{name}:pw"));
    let setup = on(&database, wechat.address).with(&format!("storage.url = \"{url}\""));
    let server = setup.serve();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let server = &server;
            scope.spawn(move || {
                for n in 0..TIMES {
                    assert_eq!(server.log_in(&format!("o{caller}-{n}")).code, 0);
                    let unknown = json!({ "id": format!("{caller}-{n}"), "skey": "unknown" });
                    assert_eq!(server.call(CHECK, &unknown).code, 60012);
                }
            });
        }
    });
    let log = server.stop().stderr;
    let said: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["max_connections"] == 16)
        .collect();
    let [said] = &said[..] else { panic!("not once: {said:#?}") };
    assert_eq!(said["level"], "WARN");
    let cause = said["cause"].as_str().unwrap();
    assert!(cause.contains("1226"), "{cause}");
}
