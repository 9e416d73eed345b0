//! `mina-auth simulate`: WeChat and the phones.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::program::{Program, mina_auth};
use super::{APP, OTHER_APP, OTHER_SECRET, SECRET, http};

/// A running simulator with two apps.
#[derive(Debug)]
pub struct Simulator {
    _program: Program,
    pub address: SocketAddr,
}

impl Simulator {
    pub fn start() -> Self {
        Self::knowing(&[(APP, SECRET), (OTHER_APP, OTHER_SECRET)])
    }

    /// A simulator that knows these apps and secrets.
    pub fn knowing(apps: &[(&str, &str)]) -> Self {
        let mut command = mina_auth(&["simulate", "--listen", "127.0.0.1:0"]);
        for (appid, secret) in apps {
            command.arg("--app").arg(format!("{appid}={secret}"));
        }
        let program = Program::start(&mut command);
        let address = program.address("simulator");
        Self { _program: program, address }
    }

    /// Logs in on a phone; see `POST /sim/login`.
    pub fn phone(&self, person: &Value) -> Value {
        let response = http::post(self.address, "/sim/login", &person.to_string());
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// A code of the first app for this person.
    pub fn code(&self, openid: &str) -> String {
        self.code_in(APP, openid)
    }

    /// A code of this app for this person.
    pub fn code_in(&self, app: &str, openid: &str) -> String {
        let phone = self.phone(&json!({ "appid": app, "openid": openid }));
        phone["code"].as_str().unwrap().to_owned()
    }

    /// Makes WeChat slow, busy or down; `{}` heals it.
    pub fn faults(&self, faults: &Value) {
        let response = http::post(self.address, "/sim/faults", &faults.to_string());
        assert_eq!(response.status, 200, "{response:?}");
    }
}
