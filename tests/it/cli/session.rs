//! `mina-auth session`

use std::time::Instant;

use serde_json::json;

use crate::support::server::LOGIN;
use crate::support::wechat::{SESSION_KEY, encrypt};
use crate::support::{
    APP, OTHER_APP, OTHER_SECRET, PATIENCE, SECRET, Server, Session, Setup, WeChat,
    assert_most_are_soon, eventually, refusing_address,
};

fn serve() -> (Setup, Server) {
    let setup = Setup::new(WeChat::of_anybody().address);
    let server = setup.serve();
    (setup, server)
}

fn is_over(server: &Server, session: &Session) -> Option<()> {
    (server.check(session).code == 60012).then_some(())
}

#[test]
fn sessions_are_listed_by_user_by_id_and_all() {
    let (setup, server) = serve();
    let [ann, ben] = ["ann", "ben"].map(|person| server.session(person));
    assert_eq!(setup.sessions(&[]).len(), 2);
    assert_eq!(setup.sessions(&["--openid", "ann"])[0]["id"], *ann.id);
    assert_eq!(setup.sessions(&["--id", &ben.id])[0]["openid"], "ben");
    assert_eq!(setup.sessions(&["--openid", "nobody"]).len(), 0);
    assert_eq!(setup.sessions(&["--openid", "ann", "--app", OTHER_APP]).len(), 0);
    let row = &setup.sessions(&["--openid", "ann", "--app", APP])[0];
    assert_eq!((&row["app"], &row["state"]), (&json!(APP), &json!("valid")));
    let table = setup.run(&["session", "list"]).succeeded().stdout;
    assert!(table.contains(&ann.id) && table.contains(&ben.id), "{table}");
}

#[test]
fn an_expired_session_is_listed_as_such() {
    let app =
        format!("apps = [{{ appid = \"{APP}\", secret = \"{SECRET}\", session_duration = 0 }}]");
    let setup = Setup::new(WeChat::of_anybody().address).with(&app);
    let server = setup.serve();
    let session = server.session("person");
    eventually(PATIENCE, "it expires", || is_over(&server, &session));
    assert_eq!(setup.sessions(&[])[0]["state"], "expired");
}

#[test]
fn a_session_is_shown_with_its_profile_and_without_its_keys() {
    let (setup, server) = serve();
    let (data, iv) = encrypt(json!({ "nickName": "Nick" }));
    let para = json!({ "code": "person", "encrypt_data": data, "iv": iv });
    let session = server.call(LOGIN, &para).session();
    let shown = setup.run(&["session", "show", "--openid", "person", "--json"]).succeeded();
    assert_eq!(shown.json()[0]["user_info"]["nickName"], "Nick");
    let shown_as_text = setup.run(&["session", "show", "--id", &session.id]).succeeded();
    assert!(shown_as_text.stdout.contains("Nick"), "{shown_as_text:?}");
    for key in [&session.skey, SESSION_KEY] {
        assert!(!shown.stdout.contains(key) && !shown_as_text.stdout.contains(key));
    }
    let line = setup.run(&["session", "show", "--id", "none"]).failed_in_one_line();
    assert!(line.contains("there is no such session"), "{line}");
}

#[test]
fn a_running_server_sees_the_end_of_a_users_sessions() {
    let (setup, server) = serve();
    let [ann, ben] = ["ann", "ben"].map(|person| server.session(person));
    assert_eq!((server.check(&ann).code, server.check(&ben).code), (0, 0));
    let revoked = setup.run(&["session", "revoke", "--openid", "ann", "--json"]).succeeded();
    assert_eq!(revoked.json(), json!({ "revoked": [ann.id] }));
    eventually(PATIENCE, "the session is over", || is_over(&server, &ann));
    assert_eq!(server.check(&ann).line(), "60012 AUTH_FAIL: unknown id or wrong skey");
    assert_eq!(server.check(&ben).line(), "0 AUTH_SUCCESS");
    // The user may come back, to a session with another id.
    let again = server.log_in("ann");
    assert_eq!(again.line(), "0 NEW_SESSION_SUCCESS");
    assert_ne!(again.session().id, ann.id);
}

#[test]
fn a_running_server_sees_the_end_of_a_session_soon() {
    let (setup, server) = serve();
    let round = |n| {
        let session = server.session(&format!("o{n}"));
        assert_eq!(server.check(&session).code, 0);
        setup.run(&["session", "revoke", "--id", &session.id]).succeeded();
        let revoked = Instant::now();
        eventually(PATIENCE, "the session is over", || is_over(&server, &session));
        revoked.elapsed()
    };
    assert_most_are_soon((0..15).map(round).collect());
}

#[test]
fn a_running_server_sees_the_end_of_one_session() {
    let setup = Setup::new(WeChat::of_anybody().address).with("sessions.per_user = 0");
    let server = setup.serve();
    let [phone, tablet] = [(); 2].map(|()| server.session("ann"));
    assert_eq!((server.check(&phone).code, server.check(&tablet).code), (0, 0));
    let revoked = setup.run(&["session", "revoke", "--id", &phone.id]).succeeded();
    assert_eq!(revoked.stderr, "revoked 1 session(s)\n");
    eventually(PATIENCE, "the session is over", || is_over(&server, &phone));
    assert_eq!(server.check(&tablet).line(), "0 AUTH_SUCCESS");
    let line = setup.run(&["session", "revoke", "--id", &phone.id]);
    assert_eq!(line.code, Some(1));
}

#[test]
fn a_users_sessions_end_in_one_app_alone_when_it_is_named() {
    let other = format!(
        r#"apps = [
            {{ appid = "{APP}", secret = "{SECRET}", default = true }},
            {{ appid = "{OTHER_APP}", secret = "{OTHER_SECRET}" }},
        ]"#
    );
    let setup = Setup::new(WeChat::of_anybody().address).with(&other);
    let server = setup.serve();
    let login = json!({ "interfaceName": LOGIN, "para": { "code": "ann" } });
    let [here, there] = [APP, OTHER_APP].map(|app| server.call_in(app, &login).session());
    setup.run(&["session", "revoke", "--openid", "ann", "--app", OTHER_APP]).succeeded();
    eventually(PATIENCE, "the session is over", || is_over(&server, &there));
    assert_eq!(server.check(&here).line(), "0 AUTH_SUCCESS");
}

#[test]
fn a_store_that_is_in_memory_or_absent_is_said_to_be() {
    let setup = Setup::new(refusing_address());
    let commands: [&[&str]; 3] = [
        &["session", "list"],
        &["session", "show", "--openid", "ann"],
        &["session", "revoke", "--openid", "ann"],
    ];
    for arguments in commands {
        let line = setup.run(arguments).failed_in_one_line();
        assert!(line.contains("there is no database at `mina-auth.db`"), "{line}");
    }
    assert!(!setup.path("mina-auth.db").exists(), "to look is not to create");
    let setup = setup.with("storage.url = \"memory:\"");
    for arguments in commands {
        let line = setup.run(arguments).failed_in_one_line();
        assert!(line.contains("only the server itself has that store"), "{line}");
    }
}
