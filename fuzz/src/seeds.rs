//! Where the seeds come from: the reference cases.

use serde_json::Value;

/// A request of a reference case.
pub struct Step(Value);

/// The requests of the reference cases.
pub fn steps() -> Vec<Step> {
    let cases = include_str!("../../tests/data/cases.json");
    let cases: Value = serde_json::from_str(cases).expect("the cases are JSON");
    let cases = cases["cases"].as_array().into_iter().flatten();
    cases.filter_map(|case| case["steps"].as_array()).flatten().cloned().map(Step).collect()
}

impl Step {
    pub fn body(&self) -> Vec<u8> {
        let Self(step) = self;
        match (&step["body"], &step["body_hex"], &step["json"]) {
            (Value::String(text), ..) => text.clone().into_bytes(),
            (_, Value::String(hex), _) => from_hex(hex),
            (_, _, json) => json.to_string().into_bytes(),
        }
    }

    /// The request as it goes over the wire.
    pub fn request(&self) -> Vec<u8> {
        let Self(step) = self;
        let (method, path) = (step["method"].as_str(), step["path"].as_str());
        let (method, path) = (method.unwrap_or("POST"), path.unwrap_or("/mina_auth/"));
        let body = self.body();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n").into_bytes();
        for (name, value) in step["headers"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            request.extend(format!("{name}: {value}\r\n").bytes());
        }
        if step["chunked"] == true {
            let length = body.len();
            request.extend(format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n").bytes());
            request.extend(body);
            request.extend(b"\r\n0\r\n\r\n");
        } else {
            request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            request.extend(body);
        }
        request
    }

    /// A parameter, where it is text.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.0["json"]["interface"]["para"][name].as_str()
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}
