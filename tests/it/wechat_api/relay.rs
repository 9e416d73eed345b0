//! The relay.

use super::*;

#[test]
fn a_call_goes_on_as_it_came_with_the_token_put_in() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let headers = [
        ("Content-Type", "text/weird; x=1"),
        ("X-Own", "kept"),
        ("Connection", "X-Dropped"),
        ("X-Dropped", "1"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("Cookie", "a=b"),
        ("Authorization", "Bearer mine"),
    ];
    let path = "api/cgi-bin/message/send?a=1&access_token=mine&b=%E4%BD%A0%26&a=2&key=x";
    let answer = json_of(&ask_with(&server, "PUT", path, &headers, "{\"你\":1}"));
    assert_eq!(answer["method"], "PUT", "{answer}");
    assert_eq!(answer["path"], "/cgi-bin/message/send");
    assert_eq!(answer["query"], json!([["a", "1"], ["b", "你&"], ["a", "2"]]));
    assert_eq!(answer["body"], "{\"你\":1}");
    let sent = &answer["headers"];
    assert_eq!((&sent["content-type"], &sent["x-own"]), (&headers[0].1.into(), &"kept".into()));
    for dropped in ["x-dropped", "x-forwarded-for", "cookie", "authorization", "x-access-key"] {
        assert_eq!(sent.get(dropped), None, "{dropped}: {sent}");
    }
    let code = ask(&server, "POST", "api/wxa/getwxacode", "{}");
    assert_eq!((code.status, code.header("content-type")), (200, "image/png"));
    assert!(code.body.starts_with(b"\x89PNG"), "{code:?}");
}

#[test]
fn bodies_of_every_length_go_on_whole() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    for length in [0, 1, 64 * 1024, 1024 * 1024, 1024 * 1024 + 1, 9 << 20] {
        let body = "x".repeat(length);
        for is_chunked in [false, true] {
            let path = format!("/v1/wechat/{APP}/api/cgi-bin/media/upload");
            let headers = [("X-Access-Key", KEY)];
            let request = if is_chunked {
                http::chunked_request("POST", &path, &headers, body.as_bytes(), 50_000)
            } else {
                http::request("POST", &path, &headers, body.as_bytes())
            };
            let answer = json_of(&http::send(server.address, request));
            assert_eq!(answer["length"], length, "{answer}");
        }
    }
    // What is longer is refused before it comes.
    let headers = [("X-Access-Key", KEY), ("Content-Length", "10485761")];
    let head = http::head("POST", &format!("/v1/wechat/{APP}/api/x"), &headers);
    assert_eq!(json_of(&http::send(server.address, head))["errcode"], 45001);
}

#[test]
fn a_call_with_a_dead_token_is_made_once_more() {
    let simulator = Simulator::start();
    let server = setup(simulator.address).serve();
    let old = token(&server);
    tokens(&simulator, &json!({ "kill": true }));
    let answer = json_of(&ask(&server, "POST", "api/wxa/x", "{\"a\":1}"));
    assert_eq!((&answer["errcode"], &answer["body"]), (&0.into(), &"{\"a\":1}".into()), "{answer}");
    assert_ne!(token(&server), old);
}

#[test]
fn a_token_that_stays_dead_is_tried_twice_and_no_more() {
    for errcode in [40001, 40014, 42001] {
        let wechat = WeChat::start(move |question| match question.path.as_str() {
            "/cgi-bin/stable_token" => {
                Reply::json(&json!({ "access_token": format!("t{errcode}"), "expires_in": 7200 }))
            }
            _ => Reply::errcode(errcode, "dead t40001 rid: 1"),
        });
        let server = setup(wechat.address).serve();
        let answer = json_of(&ask(&server, "GET", "api/wxa/x", ""));
        assert_eq!(answer["errcode"], errcode);
        let calls = wechat.questions().iter().filter(|q| q.path == "/wxa/x").count();
        // WeChat gives the same token again, so there is nothing to try.
        assert_eq!((calls, asked_for_tokens(&wechat)), (1, 3), "{errcode}");
        if errcode == 40001 {
            assert_eq!(answer["errmsg"], "dead [access_token] rid: 1");
        }
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_not_relayed() {
    let wechat = wechat_saying(r#","expires_in":7200"#);
    let server = setup(wechat.address).with("wechat_api.paths = [\"/wxa/*\", \"sns/x\"]").serve();
    for (path, errcode) in [
        ("wxa/../sns/x", 40066),
        ("wxa/%2e%2e/sns/x", 40066),
        ("wxa//x", 40066),
        ("/wxa/x", 40066),
        ("wxa%2Fx", 40066),
        ("wxa%252Fx", 40066),
        ("wxa%5cx", 40066),
        ("http://example.com/x", 40066),
        ("https:%2F%2Fexample.com/x", 40066),
        ("wxa/x;y", 40066),
        ("", 40066),
        ("sns/jscode2session?appid=1", 48001),
        ("%73ns/x", 48001),
        ("SNS/x", 48001),
        ("cgi-bin/x", 48001),
        ("wxa/x", 0),
        ("wx%61/y", 0),
    ] {
        let answer = json_of(&ask(&server, "GET", &format!("api/{path}"), ""));
        assert_eq!(answer["errcode"], errcode, "{path}: {answer}");
    }
    let calls: Vec<_> = wechat.questions().into_iter().map(|question| question.path).collect();
    assert_eq!(calls, ["/cgi-bin/stable_token", "/wxa/x", "/wxa/y"]);
    for method in ["TRACE", "CONNECT"] {
        let response = ask(&server, method, "api/wxa/x", "");
        assert!(!response.text().contains("\"errcode\":0"), "{response:?}");
    }
}

#[test]
fn a_redirect_is_not_followed_and_takes_no_token_along() {
    let other = WeChat::start(|_| Reply::json(&json!({ "errcode": 0 })));
    let location = format!("http://{}/x?access_token=the-token", other.address);
    let wechat = WeChat::start(move |question| match question.path.as_str() {
        "/cgi-bin/stable_token" => Reply::json(&json!({ "access_token": "the-token" })),
        _ => Reply { headers: vec![("Location", location.clone())], ..Reply::text(302, "") },
    });
    let server = setup(wechat.address).serve();
    let response = ask(&server, "GET", "api/wxa/x", "");
    assert_eq!((response.status, response.header("location")), (302, ""));
    assert_eq!(other.questions().len(), 0);
}

#[test]
fn an_outcome_that_is_not_known_is_told_and_not_repeated() {
    let wechat = WeChat::start(|question| match question.path.as_str() {
        "/cgi-bin/stable_token" => Reply::json(&json!({ "access_token": "the-token" })),
        _ => Reply::hang_up(),
    });
    let server = setup(wechat.address).serve();
    let answer = json_of(&ask(&server, "POST", "api/wxa/x", "{}"));
    assert_eq!(answer["errcode"], 1005, "{answer}");
    assert_eq!(wechat.questions().len(), 2);
}

#[test]
fn calls_at_once_have_a_limit_of_their_own() {
    let gate = Gate::default();
    let held = gate.clone();
    let wechat = WeChat::start(move |question| {
        if question.path != "/cgi-bin/stable_token" {
            held.pass();
        }
        Reply::json(&json!({ "access_token": "the-token", "errcode": 0 }))
    });
    let server = setup(wechat.address).with("wechat_api.requests = 1").serve();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| json_of(&ask(&server, "GET", "api/wxa/x", "")));
        wechat.wait_for_questions(2);
        let second = json_of(&ask(&server, "GET", "api/wxa/x", ""));
        assert_eq!(second["errcode"], 45011, "{second}");
        gate.open();
        assert_eq!(first.join().unwrap()["errcode"], 0);
    });
    assert_eq!(json_of(&ask(&server, "GET", "api/wxa/x", ""))["errcode"], 0);
}
