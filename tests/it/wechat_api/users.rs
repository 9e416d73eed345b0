//! Phone numbers and session_keys.

use super::*;

/// Logs in and returns the token of the session.
fn log_in(server: &Server, simulator: &Simulator, openid: &str) -> String {
    let body = json!({ "code": simulator.code(openid) }).to_string();
    let login = json_of(&http::post(server.address, "/v1/login", &body));
    login["token"].as_str().unwrap_or_else(|| panic!("{login}")).to_owned()
}

/// A code of the phone button.
fn press(simulator: &Simulator, openid: &str) -> String {
    let body = json!({ "openid": openid, "phoneNumber": "13812345678" }).to_string();
    let pressed = json_of(&http::post(simulator.address, "/sim/phone", &body));
    pressed["code"].as_str().unwrap().to_owned()
}

fn phone(server: &Server, token: &str, code: &str) -> Response {
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    let body = json!({ "code": code }).to_string();
    http::send(server.address, http::request("POST", "/v1/phone", &headers, body.as_bytes()))
}

#[test]
fn a_phone_number_is_its_users_and_had_once() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let [ann, bob] = ["oAnn", "oBob"].map(|openid| log_in(&server, &simulator, openid));
    let code = press(&simulator, "oAnn");
    let refused = phone(&server, &bob, &code);
    assert_eq!((refused.status, &json_of(&refused)["errcode"]), (422, &40029.into()));
    let given = phone(&server, &ann, &code);
    let number = json!({
        "phoneNumber": "13812345678", "purePhoneNumber": "13812345678", "countryCode": "86"
    });
    assert_eq!((given.status, json_of(&given)), (200, number));
    let again = phone(&server, &ann, &code);
    assert_eq!((again.status, &json_of(&again)["errcode"]), (422, &40163.into()));
    assert_eq!(phone(&server, "a.b", &code).status, 401);
    assert_eq!(http::post(server.address, "/v1/phone", "{}").status, 401);
    // A token that is dead is no reason to press the button again.
    tokens(&simulator, &json!({ "kill": true }));
    assert_eq!(phone(&server, &ann, &press(&simulator, "oAnn")).status, 200);
    let off = setup(simulator.address).with("api.phone = false").serve();
    let ann = log_in(&off, &simulator, "oAnn");
    assert_eq!(phone(&off, &ann, "x").status, 404);
}

#[test]
fn a_number_that_may_have_been_charged_is_not_asked_for_again() {
    let wechat = WeChat::start(|question| match question.path.as_str() {
        "/cgi-bin/stable_token" => Reply::json(&json!({ "access_token": "the-token" })),
        "/wxa/business/getuserphonenumber" => Reply::hang_up(),
        _ => Reply::person(question.code()),
    });
    let server = setup(wechat.address).serve();
    let login = json_of(&http::post(server.address, "/v1/login", r#"{"code":"ann"}"#));
    let response = phone(&server, login["token"].as_str().unwrap(), "c");
    assert_eq!(response.status, 503);
    assert_eq!(json_of(&response)["outcome_unknown"], true, "{response:?}");
    let is_call = |path: &str| path == "/wxa/business/getuserphonenumber";
    assert_eq!(wechat.questions().iter().filter(|question| is_call(&question.path)).count(), 1);
}

#[test]
fn a_session_key_is_checked_reset_and_signed_with() {
    let simulator = Simulator::start();
    let setup = setup(simulator.address);
    let [server, other] = [setup.serve(), setup.serve()];
    let session = log_in(&server, &simulator, "oAnn");
    let work = |server: &Server, work: &str, body: &str| {
        let response = ask(server, "POST", &format!("users/oAnn/session-key/{work}"), body);
        (response.status, json_of(&response))
    };
    let sign = |server| work(server, "sign", r#"{"data":"你"}"#);
    assert_eq!(work(&server, "check", ""), (200, json!({ "valid": true })));
    let before = sign(&server);
    assert_eq!(before.1["signature"].as_str().unwrap().len(), 64);
    assert_eq!(sign(&other), before);
    assert_eq!(work(&server, "reset", ""), (200, json!({ "reset": true })));
    assert_ne!(sign(&server), before);
    assert_eq!(sign(&other), sign(&server));
    assert_eq!(work(&other, "check", ""), (200, json!({ "valid": true })));
    // The phone logs in elsewhere: the stored key is no longer WeChat's.
    simulator.code("oAnn");
    assert_eq!(work(&server, "check", ""), (200, json!({ "valid": false })));
    let lost = work(&server, "reset", "");
    assert_eq!((lost.0, &lost.1["errcode"]), (502, &87009.into()));
    // The session has nothing to do with it.
    let headers = [("Authorization", &*format!("Bearer {session}"))];
    let request = http::request("GET", "/v1/session", &headers, b"");
    assert_eq!(http::send(server.address, request).status, 200);

    let nobody = ask(&server, "POST", "users/oNobody/session-key/check", "");
    assert_eq!(nobody.status, 404, "{nobody:?}");
    assert_eq!(work(&server, "sign", "{}").0, 400);
    assert_eq!(ask(&server, "GET", "users/oAnn/session-key/check", "").status, 405);
    assert_eq!(ask(&server, "POST", "users/oAnn/session-key", "").status, 404);
}
