//! No token, secret, key or phone number gets out.

use super::*;

#[test]
fn nothing_of_it_is_in_a_log_or_a_number() {
    const NUMBER: &str = "13812345678";
    let wechat = WeChat::start(|question| match question.path.as_str() {
        "/cgi-bin/stable_token" => {
            Reply::json(&json!({ "access_token": "the-secret-token", "expires_in": 7200 }))
        }
        "/wxa/business/getuserphonenumber" => Reply::json(&json!({
            "errcode": 0,
            "phone_info": { "phoneNumber": NUMBER, "purePhoneNumber": NUMBER, "countryCode": "86" },
        })),
        "/wxa/echo" => Reply::errcode(43101, &format!("{question:?}")),
        "/wxa/broken" => Reply::hang_up(),
        "/wxa/checksession" => Reply::errcode(87009, &format!("{question:?}")),
        _ => Reply::person(question.code()),
    });
    let setup = setup(wechat.address);
    let server = setup.serve();
    let login = json_of(&http::post(server.address, "/v1/login", r#"{"code":"ann"}"#));
    let bearer = format!("Bearer {}", login["token"].as_str().unwrap());
    let headers = [("Authorization", bearer.as_str())];
    let request = http::request("POST", "/v1/phone", &headers, br#"{"code":"phone-code"}"#);
    let phone = http::send(server.address, request);
    assert!(phone.text().contains(NUMBER), "{phone:?}");
    let echoed = ask(&server, "GET", "api/wxa/echo?secret=callers-secret", "");
    assert!(!echoed.text().contains("the-secret-token"), "{echoed:?}");
    ask(&server, "GET", "api/wxa/broken?secret=callers-secret", "");
    ask(&server, "GET", "api/cgi-bin/token?appid=x&secret=callers-secret", "");
    ask(&server, "POST", "users/ann/session-key/check", "");
    ask(&server, "GET", &format!("key/{KEY_IN_URL}/api/wxa/broken"), "");
    let numbers = http::get(server.admin, "/metrics").text().to_owned();
    assert!(numbers.contains("wechat/api") && numbers.contains("getuserphonenumber"), "{numbers}");
    let command_line = server.program.proc("cmdline");
    let written = server.stop();
    let written = written.stdout + &written.stderr;
    assert!(written.contains("wechat/api"), "{written}");
    let files = ["mina-auth.db", "mina-auth.db-wal"]
        .map(|file| std::fs::read(setup.path(file)).unwrap_or_default())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for secret in [
        "the-secret-token",
        "callers-secret",
        SECRET,
        KEY,
        KEY_IN_URL,
        NUMBER,
        "phone-code",
        crate::support::wechat::SESSION_KEY,
    ] {
        for place in [&numbers, &command_line, &written, &files[0], &files[1]] {
            assert!(!place.contains(secret), "`{secret}` is in:\n{place}");
        }
    }
}
