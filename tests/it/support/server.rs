//! `mina-auth serve` with a configuration and a directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use toml::Table;

use super::http::{self, Response};
use super::program::{Finished, Program, mina_auth};
use super::{APP, PATIENCE, SECRET, eventually};

pub const LOGIN: &str = "qcloud.cam.id_skey";
pub const CHECK: &str = "qcloud.cam.auth";
pub const DECRYPT: &str = "qcloud.cam.decrypt";
pub const INITDATA: &str = "qcloud.cam.initdata";

/// A configuration in a directory of its own, where the programs that use it run as well.
#[derive(Debug)]
pub struct Setup {
    directory: TempDir,
    settings: Table,
}

impl Setup {
    /// One app, an embedded database and free ports.
    pub fn new(wechat: SocketAddr) -> Self {
        let settings = format!(
            r#"
            server.listen = "127.0.0.1:0"
            admin.listen = "127.0.0.1:0"
            storage.url = "sqlite:mina-auth.db"
            wechat.base_url = "http://{wechat}"
            apps = [{{ appid = "{APP}", secret = "{SECRET}" }}]
            "#
        );
        let empty = Self { directory: tempfile::tempdir().unwrap(), settings: Table::new() };
        empty.with(&settings)
    }

    /// The same with these settings, TOML.
    #[must_use]
    pub fn with(mut self, settings: &str) -> Self {
        merge(&mut self.settings, settings.parse().unwrap());
        std::fs::write(self.config(), self.settings.to_string()).unwrap();
        self
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("mina-auth.toml")
    }

    /// A path in the directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = mina_auth(arguments);
        command.arg("--config").arg(self.config()).current_dir(self.directory.path());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, "")
    }

    /// Runs a command with this text as its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Finished {
        Program::start_with(&mut self.command(arguments), input).finish()
    }

    pub fn serve(&self) -> Server {
        Server::start(&mut self.command(&["serve"]))
    }

    /// Waits until a running server has heard of all that happened before: of a session with this
    /// code that another process ends.
    pub fn let_it_follow(&self, server: &Server, code: &str) {
        let marker = server.session(code);
        assert_eq!(server.check(&marker).code, 0);
        self.run(&["session", "revoke", "--id", &marker.id]).succeeded();
        let heard = || (server.check(&marker).code == 60012).then_some(());
        eventually(PATIENCE, "the server reads the change feed", heard);
    }

    /// What `session list --json` says.
    pub fn sessions(&self, arguments: &[&str]) -> Vec<Value> {
        let listed = self.run(&[&["session", "list", "--json"], arguments].concat());
        serde_json::from_value(listed.succeeded().json()).unwrap()
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key).and_then(toml::Value::as_table_mut), value) {
            (Some(table), toml::Value::Table(value)) => merge(table, value),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub program: Program,
    /// Where the protocol is served.
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Server {
    pub fn start(command: &mut Command) -> Self {
        let program = Program::start(command);
        let (address, admin) = (program.address("protocol"), program.address("admin"));
        Self { program, address, admin }
    }

    /// Ends the server as an operator does and returns all that it wrote.
    pub fn stop(self) -> Finished {
        self.program.signal("TERM");
        self.program.finish().succeeded()
    }

    /// Calls an interface.
    pub fn call(&self, interface: &str, para: &Value) -> Answer {
        self.call_in("", &json!({ "interfaceName": interface, "para": para }))
    }

    /// Calls an interface at the path of an app.
    pub fn call_in(&self, path_app: &str, interface: &Value) -> Answer {
        let path = format!("/mina_auth/{path_app}");
        Answer::read(&http::post(self.address, &path, &envelope(interface)))
    }

    pub fn log_in(&self, code: &str) -> Answer {
        self.call(LOGIN, &json!({ "code": code }))
    }

    pub fn check(&self, session: &Session) -> Answer {
        self.call(CHECK, &session.para())
    }

    /// Has every thread of the server read what was sent to it before: connections are spread
    /// over the threads, and each thread reads in the order of arrival.
    pub fn let_it_read(&self) {
        for _ in 0..64 {
            assert_eq!(self.call(CHECK, &json!({ "id": "", "skey": "" })).code, 60012);
        }
    }

    /// The session that a login with this code gives.
    #[track_caller]
    pub fn session(&self, code: &str) -> Session {
        self.log_in(code).session()
    }
}

/// The whole body of a request.
pub fn envelope(interface: &Value) -> String {
    json!({ "version": 1, "componentName": "MA", "interface": interface }).to_string()
}

/// The bytes of a login request.
pub fn login_request(code: &str) -> Vec<u8> {
    login_request_to("/mina_auth/", &[], code)
}

/// The bytes of a login request to a path, with these headers.
pub fn login_request_to(path: &str, headers: &[(&str, &str)], code: &str) -> Vec<u8> {
    let body = envelope(&json!({ "interfaceName": LOGIN, "para": { "code": code } }));
    http::request("POST", path, headers, body.as_bytes())
}

/// The answer of an interface.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

impl Answer {
    #[track_caller]
    pub fn read(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{response:?}");
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        let code = answer["returnCode"].as_i64().unwrap();
        let message = answer["returnMessage"].as_str().unwrap().to_owned();
        Self { code, message, data: answer["returnData"].clone() }
    }

    /// The session that a login gave.
    #[track_caller]
    pub fn session(&self) -> Session {
        assert_eq!(self.code, 0, "{self:?}");
        let text = |name| self.data[name].as_str().unwrap().to_owned();
        Session { id: text("id"), skey: text("skey") }
    }

    /// The code and the message on one line.
    pub fn line(&self) -> String {
        format!("{} {}", self.code, self.message)
    }
}

/// A session as a client keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: String,
    pub skey: String,
}

impl Session {
    /// The parameters that name it.
    pub fn para(&self) -> Value {
        json!({ "id": self.id, "skey": self.skey })
    }

    /// The same session for somebody who does not know its skey.
    #[must_use]
    pub fn with_wrong_skey(&self) -> Self {
        Self { id: self.id.clone(), skey: self.skey.chars().rev().collect() }
    }
}
