//! `mina-auth check`

use serde_json::json;

use crate::support::program::Finished;
use crate::support::{APP, OTHER_APP, OTHER_SECRET, SECRET, Setup, Simulator, refusing_address};

/// The line about an app.
#[track_caller]
fn verdict(checked: &Finished, appid: &str) -> String {
    let about = checked.stdout.lines().find(|line| line.contains(appid));
    about.unwrap_or_else(|| panic!("nothing about {appid}: {checked:?}")).to_owned()
}

#[test]
fn right_appids_and_secrets_are_said_to_be_right() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address);
    setup.run_with(&["app", "add", OTHER_APP], OTHER_SECRET).succeeded();
    let checked = setup.run(&["check"]).succeeded();
    for appid in [APP, OTHER_APP] {
        let expected = format!("ok    {appid}: WeChat accepts the appid and the secret");
        assert_eq!(verdict(&checked, appid), expected);
    }
    for line in [
        "ok    the store sqlite:mina-auth.db can be used",
        "ok    AppSecrets and session_keys are encrypted",
    ] {
        assert!(checked.stdout.lines().any(|other| other == line), "{checked:?}");
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_appid_are_told_apart() {
    let simulator = Simulator::start();
    let unknown = "wx0000000000000000";
    let setup = Setup::new(simulator.address).with(&format!(
        r#"apps = [
            {{ appid = "{APP}", secret = "{SECRET}" }},
            {{ appid = "{OTHER_APP}", secret = "{SECRET}" }},
            {{ appid = "{unknown}", secret = "{SECRET}" }},
        ]"#
    ));
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(1));
    assert!(verdict(&checked, APP).starts_with("ok "), "{checked:?}");
    let wrong = verdict(&checked, OTHER_APP);
    assert!(
        wrong.starts_with("FAIL ") && wrong.contains("the secret is not this app's"),
        "{wrong}"
    );
    let unknown = verdict(&checked, unknown);
    assert!(
        unknown.starts_with("FAIL ") && unknown.contains("does not know this appid"),
        "{unknown}"
    );
    assert!(!format!("{checked:?}").contains(SECRET));
}

#[test]
fn a_wechat_in_trouble_is_not_taken_for_a_wrong_secret() {
    let simulator = Simulator::start();
    let setup = Setup::new(simulator.address).with("wechat.timeout = \"300ms\"");
    for (faults, expected) in [
        (json!({ "errcode": 40243 }), "the AppSecret is frozen"),
        (json!({ "errcode": 40164 }), "allow-list"),
        (json!({ "errcode": -1 }), "busy"),
        (json!({ "status": 502 }), "HTTP status 502"),
        (json!({ "latency_ms": 3000 }), "no answer in time"),
    ] {
        simulator.faults(&faults);
        let checked = setup.run(&["check"]);
        assert_eq!(checked.code, Some(1), "{faults}");
        let verdict = verdict(&checked, APP);
        assert!(verdict.starts_with("FAIL ") && verdict.contains(expected), "{faults}: {verdict}");
    }
}

#[test]
fn a_wechat_that_cannot_be_reached_is_said_to_be() {
    let checked = Setup::new(refusing_address()).run(&["check"]);
    assert_eq!(checked.code, Some(1));
    let verdict = verdict(&checked, APP);
    assert!(verdict.contains("WeChat cannot be reached"), "{verdict}");
    assert!(verdict.contains("`wechat.base_url`"), "{verdict}");
    assert!(!format!("{checked:?}").contains(SECRET));
}

#[test]
fn a_server_without_apps_is_not_ready() {
    let checked = Setup::new(refusing_address()).with("apps = []").run(&["check"]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.stdout.contains("FAIL  there is no app"), "{checked:?}");
}
