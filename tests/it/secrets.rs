//! No secret gets out, whatever goes well or wrong: into a log, an answer that is not its owner's,
//! the output of a command, or the list of processes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::support::server::{CHECK, DECRYPT, INITDATA, LOGIN};
use crate::support::wechat::{self, Question, SESSION_KEY};
use crate::support::{
    APP, Answer, OTHER_APP, Reply, Server, Setup, Simulator, WeChat, http, refusing_address,
};

/// Secrets with characters that a URL cannot hold as they are.
const SECRET: &str = "the+app/secret=of&the first";
const WRONG_SECRET: &str = "a+wrong/secret=of&the second";

/// The password of the tests' own MariaDB.
const DATABASE_PASSWORD: &str = "s@cret";

const ACCESS_KEY: &str = "the+key/of=the&endpoint";

/// Settings that are secrets themselves.
const SECRET_SETTINGS: &[(&str, &str)] = &[
    ("server.access_key", ACCESS_KEY),
    ("admin.token", "the+token/of=the&admin listener"),
    ("secrets.keys", "tHeKeY0fTheDatabase0123456789+/abcdefghijko="),
];

/// A server with every secret that there is, and all that came out of it.
struct Watched {
    setup: Setup,
    server: Server,
    /// Nobody is told.
    secrets: Vec<String>,
    /// The client alone is told, or said it.
    private: Vec<String>,
    answers: Vec<String>,
}

impl Watched {
    /// A server with two apps; WeChat knows the secret of the first.
    fn start(storage: &str, wechat: SocketAddr) -> Self {
        let mut setup = Setup::new(wechat).with(&format!(
            r#"
            log.level = "debug"
            storage.url = "{storage}"
            wechat.timeout = "300ms"
            apps = [
                {{ appid = "{APP}", secret = "{SECRET}", default = true }},
                {{ appid = "{OTHER_APP}", secret = "{WRONG_SECRET}" }},
            ]
            "#
        ));
        let mut secrets = [SECRET, WRONG_SECRET, SESSION_KEY, DATABASE_PASSWORD].to_vec();
        for (setting, secret) in SECRET_SETTINGS {
            setup = setup.with(&format!("{setting} = \"{secret}\""));
            secrets.push(secret);
        }
        let server = setup.serve();
        let secrets = secrets.into_iter().map(str::to_owned).collect();
        Self { setup, server, secrets, private: Vec::new(), answers: Vec::new() }
    }

    /// Takes note of what the log must not have.
    fn keep(&mut self, private: impl Into<String>) -> String {
        self.private.push(private.into());
        self.private.last().unwrap().clone()
    }

    fn call(&mut self, interface: &str, para: &Value) -> Answer {
        self.call_in("", interface, para)
    }

    fn call_in(&mut self, app: &str, interface: &str, para: &Value) -> Answer {
        let call = json!({ "interfaceName": interface, "para": para });
        let answer = self.server.call_in(&with_key(app), &call);
        self.answers.push(format!("{} {}", answer.line(), answer.data));
        answer
    }

    /// A login that keeps its code from the log.
    fn log_in(&mut self, code: &str) -> Answer {
        let code = self.keep(code);
        self.call(LOGIN, &json!({ "code": code }))
    }

    /// Looks everywhere.
    fn assert_kept(self) {
        let process = PathBuf::from(format!("/proc/{}", self.server.program.id()));
        let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        assert_absent(&self.secrets, "the arguments", &read(process.join("cmdline")));
        assert_absent(&self.secrets, "the environment", &read(process.join("environ")));
        for thread in process.join("task").read_dir().unwrap() {
            let children = read(thread.unwrap().path().join("children"));
            assert_eq!(children, "", "a child would have an environment too");
        }
        for path in ["/health/live", "/health/ready", "/metrics", "/"] {
            let response = http::get(self.server.admin, path);
            assert_absent(&self.secrets, path, response.text());
        }
        assert_absent(&self.secrets, "an answer", &self.answers.join("\n"));
        let commands: [&[&str]; 7] = [
            &["config", "show"],
            &["check"],
            &["app", "list", "--json"],
            &["app", "show", APP],
            &["session", "list"],
            &["session", "show", "--openid", "person", "--json"],
            &["session", "revoke", "--openid", "person", "--json"],
        ];
        for command in commands {
            let said = self.setup.run(command);
            assert_absent(&self.secrets, &command.join(" "), &(said.stdout + &said.stderr));
        }
        let written = self.server.stop();
        let written = written.stdout + &written.stderr;
        assert!(written.contains("\"request\""), "{written}");
        assert_absent(&self.secrets, "the log", &written);
        assert_absent(&self.private, "the log", &written);
    }
}

/// Asserts that none of these is there, as it is or as URLs and JSON write it.
fn assert_absent(secrets: &[String], place: &str, written: &str) {
    for secret in secrets {
        let encoded: String = percent_encoded(secret);
        let in_json = Value::from(secret.as_str()).to_string();
        for needle in [secret.as_str(), &encoded, in_json.trim_matches('"')] {
            assert!(!written.contains(needle), "`{needle}` is in {place}:\n{written}");
        }
    }
}

/// A WeChat that goes wrong in every way it can, and repeats secrets where it can.
fn answer(question: &Question) -> Reply {
    let (secret, code) = (question.get("secret"), question.code());
    if secret != SECRET {
        return Reply::errcode(40125, &format!("invalid appsecret {secret}, rid: 1"));
    }
    let url = format!("/sns/jscode2session?secret={secret}&js_code={code}");
    match code.split_once("-code-").map_or("", |(kind, _)| kind) {
        "bad" => Reply::errcode(40029, "invalid code, rid: 1"),
        "blocked" => Reply::errcode(40226, "code blocked, rid: 1"),
        "busy" => Reply::errcode(-1, "system error, rid: 1"),
        "ill" => Reply::text(500, url),
        "html" => Reply::text(200, url),
        "keyless" => Reply::json(&json!({ "openid": "person", "errmsg": secret })),
        "nameless" => Reply::json(&json!({ "session_key": SESSION_KEY })),
        "gone" => Reply::hang_up(),
        "moved" => {
            let headers = vec![("Location", url)];
            Reply { status: 302, headers, body: String::new() }
        }
        _ => Reply::person("person"),
    }
}

/// A path as a business server calls it.
fn with_key(path: &str) -> String {
    format!("{path}?key={}", percent_encoded(ACCESS_KEY))
}

fn percent_encoded(text: &str) -> String {
    let mut url: reqwest::Url = "http://wechat".parse().unwrap();
    url.query_pairs_mut().append_pair("", text);
    url.query().unwrap().trim_start_matches('=').to_owned()
}

/// Makes a test for each store of the list: its name and its URL.
macro_rules! on_every_store {
    ($($store:ident => $url:expr,)*) => {
        $(#[test]
        fn $store() {
            a_whole_run_keeps_its_secrets(&$url);
        })*
    };
}

on_every_store! {
    sqlite => "sqlite:mina-auth.db",
    memory => "memory:",
    mysql => Mariadb::shared().database_now().url,
}

fn a_whole_run_keeps_its_secrets(storage: &str) {
    let wechat = WeChat::start(answer);
    let mut run = Watched::start(storage, wechat.address);
    let (data, iv) = wechat::encrypt(json!({ "nickName": "Nick Nickname", "city": "Cityville" }));
    run.private.extend([data.clone(), iv.clone(), "Nick Nickname".into(), "Cityville".into()]);

    let code = run.keep("good-code-0123456789");
    let para = json!({ "code": code, "encrypt_data": data, "iv": iv });
    let answer = run.call(LOGIN, &para);
    assert_eq!(answer.data["user_info"]["nickName"], "Nick Nickname", "{answer:?}");
    let session = answer.session();
    run.private.extend([session.skey.clone(), session.with_wrong_skey().skey]);
    assert_eq!(run.call(CHECK, &session.para()).code, 0);
    assert_eq!(run.call(CHECK, &session.with_wrong_skey().para()).code, 60012);

    let sealed = |encrypted: &str| {
        let mut para = session.para();
        para["encrypt_data"] = encrypted.into();
        para["iv"] = iv.as_str().into();
        para
    };
    assert_eq!(run.call(DECRYPT, &sealed(&data)).code, 0);
    let garbage = run.keep("Z2FyYmFnZSB0aGF0IGlzIG5vdCBvcGVuIGRhdGE=");
    assert_eq!(run.call(DECRYPT, &sealed(&garbage)).code, 60021);
    let code = run.keep("good-code-with-garbage");
    let para = json!({ "code": code, "encrypt_data": garbage, "iv": iv });
    assert_eq!(run.call(LOGIN, &para).code, 60021);

    for kind in ["bad", "blocked", "busy", "ill", "html", "keyless", "nameless", "gone", "moved"] {
        assert_ne!(run.log_in(&format!("{kind}-code-0123456789")).code, 0, "{kind}");
    }
    let code = run.keep("good-code-for-the-other-app");
    assert_eq!(run.call_in(OTHER_APP, LOGIN, &json!({ "code": code })).code, 1007);

    malformed_calls(&mut run);
    run.assert_kept();
}

/// Calls that fail before anything is done.
fn malformed_calls(run: &mut Watched) {
    let code = run.keep("code-of-a-malformed-call");
    let para = json!({ "id": [], "code": code, "skey": code, "encrypt_data": { "iv": code } });
    for interface in [LOGIN, CHECK, DECRYPT, INITDATA, &code] {
        assert_ne!(run.call(interface, &para).code, 0, "{interface}");
    }
    let body = format!("{{\"interface\":{{\"para\":{{\"code\":\"{code}\"");
    let path = with_key("/mina_auth/");
    assert_eq!(http::post(run.server.address, &path, &body).status, 200);
    assert_eq!(http::post(run.server.address, &format!("{path}{code}"), &body).status, 401);
    let path = format!("/mina_auth/{code}/x?skey={code}");
    assert_eq!(http::post(run.server.address, &path, &body).status, 404);
}

#[test]
fn a_wechat_that_is_down_does_not_bring_secrets_out() {
    let mut run = Watched::start("sqlite:mina-auth.db", refusing_address());
    assert_eq!(run.log_in("good-code-0123456789").code, 1005);
    run.assert_kept();
}

#[test]
fn a_database_that_is_down_does_not_bring_secrets_out() {
    let wechat = WeChat::start(answer);
    let mut mariadb = Mariadb::start();
    let mut run = Watched::start(&mariadb.database_now().url, wechat.address);
    let session = run.log_in("good-code-0123456789").session();
    run.keep(&session.skey);
    mariadb.stop();
    assert_eq!(run.log_in("good-code-9876543210").code, 1006);
    assert_eq!(run.call(CHECK, &session.with_wrong_skey().para()).code, 1001);
    run.assert_kept();
}

#[test]
fn the_faults_of_the_simulator_do_not_bring_secrets_out() {
    let simulator = Simulator::knowing(&[(APP, SECRET)]);
    let mut run = Watched::start("sqlite:mina-auth.db", simulator.address);
    for faults in [
        json!({}),
        json!({ "errcode": -1 }),
        json!({ "errcode": 40243 }),
        json!({ "status": 503 }),
        json!({ "drop": true }),
        json!({ "latency_ms": 2000 }),
    ] {
        simulator.faults(&faults);
        let profile = json!({ "nickName": "Nick Nickname" });
        let phone = simulator.phone(&json!({ "openid": "person", "profile": profile }));
        let [code, data, iv] =
            ["code", "encryptedData", "iv"].map(|name| phone[name].as_str().unwrap());
        run.private.extend([code, data, iv, "Nick Nickname"].map(str::to_owned));
        let para = json!({ "code": code, "encrypt_data": data, "iv": iv });
        let is_well = faults == json!({});
        assert_eq!(run.call(LOGIN, &para).code == 0, is_well, "{faults}");
    }
    run.assert_kept();
}
