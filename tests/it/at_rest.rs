//! What somebody gets who steals the database, and what an operator does with its keys.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::{fs, thread};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use rusqlite::Connection;
use serde_json::json;

use crate::support::server::DECRYPT;
use crate::support::wechat::encrypt;
use crate::support::{PATIENCE, Reply, SECRET, Server, Session, Setup, WeChat, eventually};

pub const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
pub const TWO: &str = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=";

/// A WeChat that gives another session_key with every login, and those that it gave.
pub fn of_many_keys() -> (WeChat, &'static Mutex<Vec<String>>) {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let given: &Mutex<Vec<String>> = Box::leak(Box::default());
    let wechat = WeChat::start(|question| {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let key =
            BASE64_STANDARD.encode([number, 0xa7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        given.lock().unwrap().push(key.clone());
        Reply::json(&json!({ "openid": question.code(), "session_key": key }))
    });
    (wechat, given)
}

/// Has people log in, twice each, and returns all that a thief of the database must not find.
pub fn secrets_of_logins(server: &Server, session_keys: &Mutex<Vec<String>>) -> Vec<String> {
    let mut secrets = vec![SECRET.to_owned()];
    for person in ["ann", "ben", "cid", "ann", "ben", "cid"] {
        let session = server.session(person);
        assert_eq!(server.check(&session).code, 0);
        secrets.push(session.skey);
    }
    secrets.extend(session_keys.lock().unwrap().iter().cloned());
    assert_eq!(secrets.len(), 1 + 6 + 6);
    secrets
}

fn hex(bytes: &[u8], before_each: &str) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + before_each + &format!("{byte:02x}"))
}

/// Asserts that none of these secrets is in some bytes, in any form that somebody would find.
#[track_caller]
pub fn assert_absent(bytes: &[u8], secrets: &[String]) {
    let mut needles = Vec::new();
    for secret in secrets {
        let raw = [
            Some(secret.clone().into_bytes()),
            BASE64_STANDARD.decode(secret).ok(),
            u128::from_str_radix(secret, 16).ok().map(|number| number.to_be_bytes().to_vec()),
        ];
        for raw in raw.into_iter().flatten() {
            let encoded = [BASE64_STANDARD.encode(&raw), BASE64_URL_SAFE.encode(&raw)];
            needles.extend(encoded.map(|text| text.trim_end_matches('=').as_bytes().to_vec()));
            needles.extend([hex(&raw, "").into_bytes(), hex(&raw, "").to_uppercase().into_bytes()]);
            needles.push(raw);
        }
    }
    let pattern: Vec<_> = needles.iter().map(|needle| hex(needle, "\\x")).collect();
    let any = regex::bytes::Regex::new(&format!("(?-u){}", pattern.join("|"))).unwrap();
    let found = any.find(bytes).map(|found| String::from_utf8_lossy(found.as_bytes()));
    assert_eq!(found, None);
}

/// What the files of the database hold.
fn stolen(setup: &Setup) -> Vec<u8> {
    let files = ["mina-auth.db", "mina-auth.db-wal", "mina-auth.db-shm"];
    let present = files.map(|name| fs::read(setup.path(name)).unwrap_or_default());
    assert!(!present[0].is_empty());
    present.concat()
}

fn stored_skey(setup: &Setup) -> String {
    let database = Connection::open(setup.path("mina-auth.db")).unwrap();
    database.query_row("SELECT skey FROM mina_session", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_stolen_database_file_holds_no_session_and_no_secret() {
    let (wechat, session_keys) = of_many_keys();
    let setup = Setup::new(wechat.address);
    let server = setup.serve();
    let secrets = secrets_of_logins(&server, session_keys);
    let running = stolen(&setup);
    server.stop();
    for bytes in [running, stolen(&setup)] {
        assert!(bytes.windows(3).any(|window| window == b"ben"), "it is the database");
        assert_absent(&bytes, &secrets);
    }
}

#[test]
fn a_stolen_hash_is_no_key() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    let session = server.session("ann");
    let hash = stored_skey(&setup);
    assert!(hash.starts_with("sha256:"), "{hash}");
    for stolen in [&*hash, hash.trim_start_matches("sha256:")] {
        let thief = Session { id: session.id.clone(), skey: stolen.to_owned() };
        assert_eq!(server.check(&thief).line(), "60012 AUTH_FAIL: unknown id or wrong skey");
        assert_eq!(server.check(&session).code, 0);
        // And once more, now that memory knows the session.
        assert_eq!(server.check(&thief).code, 60012);
    }
}

#[test]
fn a_plain_skey_of_another_program_is_good_until_the_next_login() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    let session = server.session("ann");
    server.stop();
    let database = Connection::open(setup.path("mina-auth.db")).unwrap();
    database.execute("UPDATE mina_session SET skey = 'plain'", []).unwrap();
    let server = setup.serve();
    let plain = Session { id: session.id.clone(), skey: "plain".to_owned() };
    assert_eq!(server.check(&plain).code, 0);
    assert_eq!(server.check(&session).code, 60012);
    let again = server.session("ann");
    assert_eq!(again.id, session.id);
    assert_eq!(server.check(&plain).code, 60012);
    assert_eq!(server.check(&again).code, 0);
    assert!(stored_skey(&setup).starts_with("sha256:"));
}

#[test]
fn a_key_file_is_made_once_and_for_its_owner_alone() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let key_file = setup.path("mina-auth.db.key");
    let server = setup.serve();
    server.program.stderr.wait_for_text("made a new key file");
    let key = fs::read_to_string(&key_file).unwrap();
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    let session = server.session("ann");
    let written = server.stop();
    let secret = key.lines().last().unwrap();
    assert!(secret.len() == 44 && !written.stderr.contains(secret));
    // It stays as it is, and whoever could read it is told of.
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
    let server = setup.serve();
    assert_eq!(server.check(&session).code, 0);
    assert_eq!(fs::read_to_string(&key_file).unwrap(), key);
    let written = server.stop().stderr;
    assert!(!written.contains("made a new key file"), "{written}");
    assert_eq!(written.matches("make it 0600").count(), 1, "{written}");
}

#[test]
fn without_its_key_file_a_database_is_not_opened() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    let session = server.session("ann");
    server.stop();
    let (key_file, aside) = (setup.path("mina-auth.db.key"), setup.path("aside"));
    fs::rename(&key_file, &aside).unwrap();
    for command in [&["serve"][..], &["session", "list"], &["check"], &["secrets", "rotate"]] {
        let line = setup.run(command).failed_in_one_line();
        assert!(line.contains("the key file `mina-auth.db.key` is missing"), "{line}");
    }
    assert!(!key_file.exists(), "no new one is made");
    fs::write(&key_file, ONE).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let line = setup.run(&["serve"]).failed_in_one_line();
    assert!(
        line.contains("the key file `mina-auth.db.key`") && line.contains("not have"),
        "{line}"
    );
    fs::rename(&aside, &key_file).unwrap();
    assert_eq!(setup.serve().check(&session).code, 0);
}

/// What the phone of a session encrypted is opened.
fn opens(server: &Server, session: &Session) -> bool {
    let (data, iv) = encrypt(json!({ "phoneNumber": "13580006666" }));
    let mut para = session.para();
    para["encrypt_data"] = data.into();
    para["iv"] = iv.into();
    server.call(DECRYPT, &para).code == 0
}

/// Logs users in, over and over, while `work` is done; returns the last session of each.
fn under_a_storm<T>(server: &Server, work: impl FnOnce() -> T) -> (Vec<Session>, T) {
    let done = AtomicBool::new(false);
    let storm = |thread: usize| {
        let mut sessions = HashMap::new();
        for round in 0.. {
            let person = format!("person-{thread}-{}", round % 50);
            let session = server.session(&person);
            sessions.insert(person, session);
            if done.load(Ordering::Relaxed) {
                break;
            }
        }
        sessions
    };
    thread::scope(|scope| {
        let storm = &storm;
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || storm(thread))).collect();
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        let sessions = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        (sessions.map(|(_, session)| session).collect(), outcome)
    })
}

/// Changes the key under logins: first both keys, then a rotation, then the new key alone.
pub fn rotates_under_a_storm(setup: Setup) {
    let setup = setup.with(&format!("secrets.keys = [\"{ONE}\"]"));
    let server = setup.serve();
    let idle: Vec<_> = (0..300).map(|n| server.session(&format!("idle-{n}"))).collect();
    server.stop();
    let setup = setup.with(&format!("secrets.keys = [\"{TWO}\", \"{ONE}\"]"));
    let server = setup.serve();
    let (busy, rotated) = under_a_storm(&server, || {
        let first = setup.run(&["secrets", "rotate"]).succeeded();
        eventually(PATIENCE, "nothing is left to do", || {
            let again = setup.run(&["secrets", "rotate"]).succeeded();
            again.stdout.starts_with("0 secret(s)").then_some(())
        });
        first
    });
    let count = rotated.stdout.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(count >= 300, "{rotated:?}");
    assert!(rotated.stderr.contains("may go"), "{rotated:?}");
    server.stop();
    let setup = setup.with(&format!("secrets.keys = [\"{TWO}\"]"));
    let server = setup.serve();
    for session in idle.iter().chain(&busy) {
        assert_eq!(server.check(session).code, 0);
        assert!(opens(&server, session));
    }
    server.session("the AppSecret is there too");
    server.stop();
    let line = setup.with(&format!("secrets.keys = \"{ONE}\"")).run(&["serve"]);
    let line = line.failed_in_one_line();
    assert!(line.contains("`secrets.keys` does not have"), "{line}");
}

#[test]
fn a_rotation_under_logins_loses_nothing() {
    rotates_under_a_storm(Setup::new(WeChat::of_anybody().address));
}

#[test]
fn a_key_is_changed_in_the_key_file_as_the_page_says() {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    let session = server.session("ann");
    server.stop();
    let key_file = setup.path("mina-auth.db.key");
    let old = fs::read_to_string(&key_file).unwrap();
    let new = setup.run(&["secrets", "generate"]).succeeded().stdout;
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    write(&key_file, &format!("{new}{old}"));
    let server = setup.serve();
    let rotated = setup.run(&["secrets", "rotate"]).succeeded();
    assert!(rotated.stdout.starts_with("2 secret(s)"), "{rotated:?}");
    server.stop();
    write(&key_file, &new);
    let server = setup.serve();
    assert_eq!(server.check(&session).code, 0);
    assert!(opens(&server, &session));
}
