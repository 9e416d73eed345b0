//! WeChat is down: after a while logins do not wait for it any more.

use serde_json::json;

use crate::support::{PATIENCE, Reply, Server, Setup, Simulator, WeChat, eventually};

const LEFT_ALONE: &str =
    "1005 WEIXIN_NET_ERR: WeChat cannot be reached; not tried again for a few seconds";

/// How many attempts it takes, at least half of them failures.
const ENOUGH: usize = 20;

/// Logs in so often, and expects to be told that WeChat failed each time.
fn fail_to_log_in(server: &Server, times: usize, code: &str) {
    for _ in 0..times {
        let answer = server.log_in(code);
        assert_eq!(answer.code, 1005, "{answer:?}");
        assert_ne!(answer.line(), LEFT_ALONE);
    }
}

#[test]
fn in_an_outage_logins_fail_at_once_checks_go_on_and_all_is_well_when_it_is_over() {
    let simulator = Simulator::start();
    let server = Setup::new(simulator.address).serve();
    let session = server.session(&simulator.code("person"));
    simulator.faults(&json!({ "drop": true }));
    // The login above is one of the attempts that it takes.
    fail_to_log_in(&server, ENOUGH - 1, "code");
    // From now on nobody waits for WeChat, however slow it is.
    simulator.faults(&json!({ "latency_ms": 60_000 }));
    let code = simulator.code("person");
    for _ in 0..5 {
        assert_eq!(server.log_in(&code).line(), LEFT_ALONE);
        assert_eq!(server.check(&session).code, 0);
    }
    simulator.faults(&json!({}));
    // The code was never sent: it is as good as before.
    eventually(PATIENCE, "a trial finds WeChat well", || {
        let answer = server.log_in(&code);
        (answer.line() != LEFT_ALONE).then(|| answer.session())
    });
    for _ in 0..ENOUGH {
        assert_eq!(server.log_in(&simulator.code("person")).code, 0);
    }
    let log = server.stop().stderr;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines(r#""level":"ERROR","message":"WeChat cannot be reached: logins fail"#), 1);
    assert_eq!(lines(r#""message":"WeChat can be reached again""#), 1);
}

#[test]
fn an_http_status_of_a_server_in_trouble_is_an_outage_too() {
    let wechat = WeChat::start(|_| Reply::text(502, "<html>"));
    let server = Setup::new(wechat.address).serve();
    fail_to_log_in(&server, ENOUGH, "code");
    assert_eq!(server.log_in("code").line(), LEFT_ALONE);
    assert_eq!(wechat.questions().len(), ENOUGH);
}

#[test]
fn what_wechat_answers_is_no_outage_however_little_it_helps() {
    let wechat = WeChat::start(|question| match question.code() {
        "frequent" => Reply::errcode(45011, "api minute-quota reach limit"),
        "garbage" => Reply::text(200, "<html>"),
        _ => Reply::text(403, ""),
    });
    let server = Setup::new(wechat.address).serve();
    for code in ["frequent", "garbage", "forbidden"] {
        for _ in 0..=ENOUGH {
            assert_ne!(server.log_in(code).line(), LEFT_ALONE);
        }
    }
    assert_eq!(wechat.questions().len(), 3 * (ENOUGH + 1));
}

#[test]
fn while_most_logins_succeed_it_is_no_outage() {
    let wechat = WeChat::start(|question| match question.code() {
        "unlucky" => Reply::hang_up(),
        code => Reply::person(code),
    });
    let server = Setup::new(wechat.address).serve();
    for _ in 0..ENOUGH {
        assert_eq!(server.log_in("lucky").code, 0);
        assert_eq!(server.log_in("lucky").code, 0);
        fail_to_log_in(&server, 1, "unlucky");
    }
}
