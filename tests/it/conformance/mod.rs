//! The reference cases of `tests/data/cases.json`: what Tencent's own server answered, and how
//! this one must. The test plays WeChat with the codes of the file.

mod matcher;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use self::matcher::Variables;
use crate::support::http::{self, Response};
use crate::support::wechat::Question;
use crate::support::{Reply, Setup, WeChat};

const CASES: &str = include_str!("../../data/cases.json");

const KEYS: [&str; 5] = ["returnCode", "returnMessage", "returnData", "version", "componentName"];

/// Makes a test for each store of the list: its name and its URL.
macro_rules! on_every_store {
    ($($store:ident => $url:expr,)*) => {
        $(#[test]
        fn $store() {
            all_cases_pass(&$url);
        })*
    };
}

on_every_store! {
    sqlite => "sqlite:reference.db",
    memory => "memory:",
    mysql => crate::mariadb::Mariadb::shared().database_now().url,
}

#[derive(Deserialize)]
struct Cases {
    appid: String,
    secret: String,
    codes: serde_json::Map<String, Value>,
    #[serde(rename = "cases")]
    list: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Step {
    json: Option<Value>,
    body: Option<String>,
    body_hex: Option<String>,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    chunked: bool,
    sleep: f64,
    status: u16,
    expect: Value,
    expect_headers: BTreeMap<String, String>,
    save: BTreeMap<String, String>,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            json: None,
            body: None,
            body_hex: None,
            method: "POST".into(),
            path: "/mina_auth/".into(),
            headers: BTreeMap::new(),
            chunked: false,
            sleep: 0.0,
            status: 200,
            expect: Value::Object(serde_json::Map::new()),
            expect_headers: BTreeMap::new(),
            save: BTreeMap::new(),
        }
    }
}

fn all_cases_pass(url: &str) {
    let cases: Arc<Cases> = Arc::new(serde_json::from_str(CASES).unwrap());
    let shared = Arc::clone(&cases);
    let wechat = WeChat::start(move |question| shared.reply(question));
    let (appid, secret) = (&cases.appid, &cases.secret);
    let setup = Setup::new(wechat.address).with(&format!(
        r#"
        storage.url = "{url}"
        apps = [{{ appid = "{appid}", secret = "{secret}" }}]
        "#
    ));
    let server = setup.serve();
    let failures: Vec<String> = cases
        .list
        .iter()
        .filter_map(|case| {
            Some(format!("{}: {}", case.name, cases.play(case, server.address).err()?))
        })
        .collect();
    assert_eq!(cases.list.len(), 101);
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

impl Cases {
    /// What WeChat says of a code.
    fn reply(&self, question: &Question) -> Reply {
        let code = question.code();
        if question.path != "/sns/jscode2session" {
            return Reply::text(404, "not found");
        } else if question.get("appid") != self.appid {
            return Reply::errcode(40013, "invalid appid");
        } else if question.get("secret") != self.secret {
            return Reply::errcode(40125, "invalid appsecret");
        } else if question.get("grant_type") != "authorization_code" {
            return Reply::errcode(40002, "invalid grant_type");
        }
        let by_prefix = || {
            let prefixes = self.codes.keys().filter_map(|key| key.strip_suffix('*'));
            let longest =
                prefixes.filter(|prefix| code.starts_with(prefix)).max_by_key(|p| p.len());
            longest.map(|prefix| &self.codes[&format!("{prefix}*")])
        };
        let Some(reply) = self.codes.get(code).or_else(by_prefix) else {
            return Reply::errcode(40029, "invalid code");
        };
        std::thread::sleep(Duration::from_millis(reply["delay_ms"].as_u64().unwrap_or(0)));
        let body = match reply.get("json").and_then(Value::as_object) {
            Some(json) => {
                let with_code = |value: &Value| {
                    if value == "$code" { Value::from(code) } else { value.clone() }
                };
                let json = json.iter().map(|(name, value)| (name.clone(), with_code(value)));
                Value::Object(json.collect()).to_string()
            }
            None => reply["text"].as_str().unwrap_or_default().to_owned(),
        };
        let status = reply["status"].as_u64().unwrap_or(200).try_into().unwrap();
        let kind = reply["type"].as_str().unwrap_or("text/plain").to_owned();
        Reply { status, headers: vec![("Content-Type", kind)], body }
    }

    /// Plays the steps of a case in order.
    fn play(&self, case: &Case, server: SocketAddr) -> Result<(), String> {
        let mut variables: Variables = [
            ("run".into(), "1".into()),
            ("appid".into(), self.appid.clone().into()),
            ("secret".into(), self.secret.clone().into()),
        ]
        .into();
        for (number, step) in case.steps.iter().enumerate() {
            std::thread::sleep(Duration::from_secs_f64(step.sleep));
            let response = http::send(server, step.request(&variables));
            step.examine(&response, &mut variables).map_err(|problem| {
                let answer = String::from_utf8_lossy(&response.body);
                format!("step {number}: {problem}; answer: {answer:.300}")
            })?;
        }
        Ok(())
    }
}

impl Step {
    fn request(&self, variables: &Variables) -> Vec<u8> {
        let body = match (&self.body_hex, &self.body, &self.json) {
            (Some(hex), _, _) => unhex(hex),
            (_, Some(body), _) => matcher::filled_in_text(body, variables).into_bytes(),
            (_, _, Some(json)) => matcher::filled_in(json, variables).to_string().into_bytes(),
            (None, None, None) => Vec::new(),
        };
        let mut headers = BTreeMap::from([("Content-Type", "application/json;charset=utf-8")]);
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let headers: Vec<_> = headers.into_iter().collect();
        if self.chunked {
            http::chunked_request(&self.method, &self.path, &headers, &body, 7)
        } else {
            http::request(&self.method, &self.path, &headers, &body)
        }
    }

    /// Compares the answer with what is expected and saves what later steps need of it.
    fn examine(&self, response: &Response, variables: &mut Variables) -> Result<(), String> {
        if response.status != self.status {
            return Err(format!("HTTP status {}", response.status));
        }
        let answer: Value = serde_json::from_slice(&response.body).map_err(|e| e.to_string())?;
        let expected = matcher::filled_in(&self.expect, variables);
        matcher::compare(&expected, &answer, variables, "$")?;
        let keys: Vec<_> =
            answer.as_object().into_iter().flat_map(|answer| answer.keys()).collect();
        if keys != KEYS {
            return Err(format!("the keys are {keys:?}"));
        }
        for (name, pattern) in &self.expect_headers {
            let value = response.header(&name.to_lowercase());
            if !Regex::new(pattern).unwrap().is_match(value) {
                return Err(format!("the header {name} is `{value}`"));
            }
        }
        for (name, path) in &self.save {
            let found = path.split('.').fold(&answer, |value, key| &value[key]);
            variables.insert(name.clone(), found.clone());
        }
        Ok(())
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}
