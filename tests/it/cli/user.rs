//! `mina-auth user`

use serde_json::{Value, json};

use crate::mariadb::Mariadb;
use crate::mysql;
use crate::support::server::LOGIN;
use crate::support::wechat::{SESSION_KEY, encrypt};
use crate::support::{
    APP, OTHER_APP, OTHER_SECRET, PATIENCE, SECRET, Setup, WeChat, eventually, refusing_address,
};

#[test]
fn a_user_is_shown_and_erased_for_good() {
    let wechat = WeChat::of_anybody().address;
    for setup in [Setup::new(wechat), mysql::on(&Mariadb::shared().database_now(), wechat)] {
        let server = setup.serve();
        let (data, iv) = encrypt(json!({ "nickName": "Nick" }));
        let para = json!({ "code": "ann", "encrypt_data": data, "iv": iv });
        let session = server.call(LOGIN, &para).session();
        let other = server.session("ben");
        let user = ["--openid", "ann"];
        let shown = setup.run(&[&["user", "show", "--json"][..], &user].concat()).succeeded();
        let row = &shown.json()[0];
        assert_eq!((&row["app"], &row["openid"]), (&json!(APP), &json!("ann")));
        assert_eq!(row["profile"]["nickName"], "Nick");
        assert_eq!(row["sessions"][0]["id"], *session.id);
        let text = setup.run(&[&["user", "show"][..], &user].concat()).succeeded().stdout;
        assert!(text.contains("Nick") && text.contains(&session.id), "{text}");
        for key in [&session.skey, SESSION_KEY] {
            assert!(!shown.stdout.contains(key) && !text.contains(key), "{shown:?}");
        }
        let erased = setup.run(&[&["user", "delete"][..], &user].concat()).succeeded();
        assert!(erased.stderr.contains("erased 1 user(s) and 1 session(s)"), "{erased:?}");
        eventually(PATIENCE, "the session is over", || {
            (server.check(&session).code == 60012).then_some(())
        });
        assert_eq!(server.check(&other).code, 0);
        let gone = setup.run(&[&["user", "show"][..], &user].concat());
        assert_eq!(gone.failed_in_one_line(), "mina-auth: there is no such user");
        assert!(setup.run(&[&["user", "delete"][..], &user].concat()).code == Some(1));
        assert_eq!(server.log_in("ann").message, "NEW_SESSION_SUCCESS", "somebody new");
    }
}

#[test]
fn a_person_is_found_in_every_app() {
    let wechat = WeChat::start(|question| {
        let identity = json!({
            "openid": question.code(), "unionid": "one-person", "session_key": SESSION_KEY,
        });
        crate::support::Reply::json(&identity)
    });
    let apps = format!(
        "apps = [{{ appid = \"{APP}\", secret = \"{SECRET}\", default = true }}, \
         {{ appid = \"{OTHER_APP}\", secret = \"{OTHER_SECRET}\" }}]"
    );
    let setup = Setup::new(wechat.address).with(&apps);
    let server = setup.serve();
    server.session("in-one");
    server.call_in(OTHER_APP, &json!({ "interfaceName": LOGIN, "para": { "code": "in-two" } }));
    let person = ["--unionid", "one-person", "--json"];
    let shown = setup.run(&[&["user", "show"][..], &person].concat()).succeeded().json();
    let openids: Vec<&Value> =
        shown.as_array().unwrap().iter().map(|user| &user["openid"]).collect();
    assert_eq!(openids, ["in-one", "in-two"]);
    let in_one = [&["user", "delete", "--app", APP][..], &person].concat();
    let erased = setup.run(&in_one).succeeded().json();
    assert_eq!(erased["erased"], json!([{ "app": APP, "openid": "in-one" }]));
    let left = setup.run(&[&["user", "show"][..], &person].concat()).succeeded().json();
    assert_eq!(left.as_array().unwrap().len(), 1);
}

#[test]
fn nobody_is_erased_without_being_named() {
    let setup = Setup::new(refusing_address());
    setup.serve().stop().succeeded();
    for command in ["show", "delete"] {
        let refused = setup.run(&["user", command]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("--openid"), "{refused:?}");
    }
}
