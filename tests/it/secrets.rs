//! No secret is ever written to a log, whatever goes well or wrong.

use serde_json::{Value, json};

use crate::support::server::{CHECK, DECRYPT, INITDATA, LOGIN};
use crate::support::wechat::{self, Question, SESSION_KEY};
use crate::support::{
    APP, OTHER_APP, Reply, Server, Setup, Simulator, WeChat, http, refusing_address,
};

/// Secrets with characters that a URL cannot hold as they are.
const SECRET: &str = "the+app/secret=of&the first";
const WRONG_SECRET: &str = "a+wrong/secret=of&the second";

const DEBUG: &str = "log.level = \"debug\"";

/// A set-up with two apps; WeChat knows the secret of the first.
fn setup(wechat: std::net::SocketAddr) -> Setup {
    Setup::new(wechat).with(DEBUG).with(&format!(
        r#"
        wechat.timeout = "300ms"
        apps = [
            {{ appid = "{APP}", secret = "{SECRET}", default = true }},
            {{ appid = "{OTHER_APP}", secret = "{WRONG_SECRET}" }},
        ]
        "#
    ))
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

/// What must not be found, by and by.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn keep(&mut self, secret: impl Into<String>) -> String {
        self.0.push(secret.into());
        self.0.last().unwrap().clone()
    }

    #[track_caller]
    fn assert_absent(&self, server: Server) {
        let written = server.stop();
        let written = written.stdout + &written.stderr;
        assert!(written.contains("\"request\""), "{written}");
        for secret in &self.0 {
            let encoded: String = percent_encoded(secret);
            let in_json = Value::from(secret.as_str()).to_string();
            for needle in [secret.as_str(), &encoded, in_json.trim_matches('"')] {
                assert!(!written.contains(needle), "`{needle}` is in the log:\n{written}");
            }
        }
    }
}

fn percent_encoded(text: &str) -> String {
    let mut url: reqwest::Url = "http://wechat".parse().unwrap();
    url.query_pairs_mut().append_pair("", text);
    url.query().unwrap().trim_start_matches('=').to_owned()
}

#[test]
fn a_whole_run_logs_no_secret() {
    let wechat = WeChat::start(answer);
    let setup = setup(wechat.address);
    let server = setup.serve();
    let mut secrets = Secrets(vec![SECRET.into(), WRONG_SECRET.into(), SESSION_KEY.into()]);
    let (data, iv) = wechat::encrypt(json!({ "nickName": "Nick Nickname", "city": "Cityville" }));
    secrets.0.extend([data.clone(), iv.clone(), "Nick Nickname".into(), "Cityville".into()]);

    let code = secrets.keep("good-code-0123456789");
    let para = json!({ "code": code, "encrypt_data": data, "iv": iv });
    let answer = server.call(LOGIN, &para);
    assert_eq!(answer.data["user_info"]["nickName"], "Nick Nickname", "{answer:?}");
    let session = answer.session();
    secrets.0.extend([session.skey.clone(), session.with_wrong_skey().skey]);
    assert_eq!(server.check(&session).code, 0);
    assert_eq!(server.check(&session.with_wrong_skey()).code, 60012);

    let sealed = |encrypted: &str| {
        let mut para = session.para();
        para["encrypt_data"] = encrypted.into();
        para["iv"] = iv.as_str().into();
        para
    };
    assert_eq!(server.call(DECRYPT, &sealed(&data)).code, 0);
    let garbage = secrets.keep("Z2FyYmFnZSB0aGF0IGlzIG5vdCBvcGVuIGRhdGE=");
    assert_eq!(server.call(DECRYPT, &sealed(&garbage)).code, 60021);
    let code = secrets.keep("good-code-with-garbage");
    let para = json!({ "code": code, "encrypt_data": garbage, "iv": iv });
    assert_eq!(server.call(LOGIN, &para).code, 60021);

    for kind in ["bad", "blocked", "busy", "ill", "html", "keyless", "nameless", "gone", "moved"] {
        let code = secrets.keep(format!("{kind}-code-0123456789"));
        assert_ne!(server.log_in(&code).code, 0, "{kind}");
    }
    let code = secrets.keep("good-code-for-the-other-app");
    let login = json!({ "interfaceName": LOGIN, "para": { "code": code } });
    assert_eq!(server.call_in(OTHER_APP, &login).code, 1007);

    malformed_calls(&server, &mut secrets);
    secrets.assert_absent(server);
}

/// Calls that fail before anything is done.
fn malformed_calls(server: &Server, secrets: &mut Secrets) {
    let code = secrets.keep("code-of-a-malformed-call");
    let para = json!({ "id": [], "code": code, "skey": code, "encrypt_data": { "iv": code } });
    for interface in [LOGIN, CHECK, DECRYPT, INITDATA, &code] {
        assert_ne!(server.call(interface, &para).code, 0, "{interface}");
    }
    let body = format!("{{\"interface\":{{\"para\":{{\"code\":\"{code}\"");
    assert_eq!(http::post(server.address, "/mina_auth/", &body).status, 200);
    let path = format!("/mina_auth/{code}/x?skey={code}");
    assert_eq!(http::post(server.address, &path, &body).status, 404);
}

#[test]
fn a_wechat_that_is_down_does_not_bring_secrets_into_the_log() {
    let setup = setup(refusing_address());
    let server = setup.serve();
    let mut secrets = Secrets(vec![SECRET.into(), WRONG_SECRET.into()]);
    let code = secrets.keep("good-code-0123456789");
    assert_eq!(server.log_in(&code).code, 1005);
    secrets.assert_absent(server);
}

#[test]
fn the_faults_of_the_simulator_do_not_bring_secrets_into_the_log() {
    let simulator = Simulator::knowing(&[(APP, SECRET)]);
    let setup = setup(simulator.address);
    let server = setup.serve();
    let mut secrets = Secrets(vec![SECRET.into(), WRONG_SECRET.into()]);
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
        secrets.0.extend([code, data, iv, "Nick Nickname"].map(str::to_owned));
        let para = json!({ "code": code, "encrypt_data": data, "iv": iv });
        let is_well = faults == json!({});
        assert_eq!(server.call(LOGIN, &para).code == 0, is_well, "{faults}");
    }
    secrets.assert_absent(server);
}
