//! A database that the PHP server made, and the PHP server beside.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret as _;
use sqlx::Row as _;

use super::*;
use crate::session::Skey;

/// The tables as the PHP server's installation makes them, with an app and four sessions of three
/// users. 1500000000 is 2017-07-14 10:40:00 in +08:00.
fn fixture(apps: &str, sessions: &str) -> String {
    let emoji = BASE64_STANDARD.encode(r#"{"openId":"oEmoji","nickName":"小明😀","gender":1}"#);
    // 2,048 characters, the longest that the column takes.
    let long = format!(r#"{{"openId":"oLong","nickName":"{}"}}"#, "x".repeat(1536 - 32));
    let long = BASE64_STANDARD.encode(long);
    format!(
        "CREATE TABLE {apps} (appid varchar(200) NOT NULL, secret varchar(300) NOT NULL,
           login_duration int(11) DEFAULT '30', session_duration int(11) DEFAULT '2592000',
           qcloud_appid varchar(300) DEFAULT 'appid_qcloud', ip varchar(50) DEFAULT '0.0.0.0',
           PRIMARY KEY (appid)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
         CREATE TABLE {sessions} (id int(11) NOT NULL AUTO_INCREMENT, uuid varchar(100) NOT NULL,
           skey varchar(100) NOT NULL, create_time datetime NOT NULL,
           last_visit_time datetime NOT NULL, open_id varchar(100) NOT NULL,
           session_key varchar(100) NOT NULL, user_info varchar(2048) DEFAULT NULL,
           PRIMARY KEY (id), KEY auth (uuid,skey), KEY weixin (open_id,session_key))
           ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
         INSERT INTO {apps} SET appid = '{APP}', secret = 'abc', ip = '10.0.0.1';
         INSERT INTO {sessions} SET uuid = 'u-emoji', skey = 'k-emoji', open_id = 'oEmoji',
           create_time = '2017-07-14 10:40:00', last_visit_time = '2017-07-14 10:40:05',
           session_key = 'sk1', user_info = '{emoji}';
         INSERT INTO {sessions} SET uuid = 'u-long', skey = 'k-long', open_id = 'oLong',
           create_time = '2017-07-14 10:40:00', last_visit_time = '2017-07-14 10:40:00',
           session_key = 'sk2', user_info = '{long}';
         INSERT INTO {sessions} SET uuid = 'u-twice-1', skey = 'k1', open_id = 'oTwice',
           create_time = '2017-07-14 10:40:00', last_visit_time = '2017-07-14 10:40:00',
           session_key = 'sk3', user_info = '';
         INSERT INTO {sessions} SET uuid = 'u-twice-2', skey = 'k2', open_id = 'oTwice',
           create_time = '2017-07-14 10:40:01', last_visit_time = '2017-07-14 10:40:01',
           session_key = 'sk3', user_info = 'bm8ganNvbg==';"
    )
}

async fn php_database(apps: &str, sessions: &str) -> (Settings, Database) {
    let database = Mariadb::shared().database().await;
    database.run(&fixture(apps, sessions)).await;
    let time_zone = "+08:00".parse().ok();
    (Settings { time_zone, ..settings(&database.url) }, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_sessions_live_on_in_either_spelling() {
    for (apps, sessions) in [("cAppinfo", "cSessionInfo"), ("cAppInfo", "cSessioninfo")] {
        let (settings, database) = php_database(apps, sessions).await;
        let store = open(&settings).await;
        let all = store.apps().await.expect("apps can be read");
        assert_eq!((all.len(), all[0].appid.as_str()), (1, APP));
        assert_eq!(all[0].secret.expose_secret(), "abc");
        let session = find(&*store, "u-emoji").await.expect("the session is there");
        assert_eq!((&*session.skey.text(), session.appid.as_str()), ("k-emoji", APP));
        assert_eq!((session.created, session.last_visit), (1_500_000_000, 1_500_000_005));
        assert_eq!(session.user.profile, r#"{"openId":"oEmoji","nickName":"小明😀","gender":1}"#);
        assert_eq!(session.user.session_key.expose_secret(), "sk1");
        let long = find(&*store, "u-long").await.expect("the session is there");
        assert_eq!(long.user.profile.len(), 1536);
        assert!(find(&*store, "U-EMOJI").await.is_none());
        for id in ["u-twice-1", "u-twice-2"] {
            let session = find(&*store, id).await.expect("the session is there");
            assert!(session.user.profile.contains(r#""openId":"oTwice""#), "{id}");
        }
        // The other spelling was not made.
        let names: Vec<String> =
            sqlx::query_scalar("SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'c%'")
                .fetch_all(&mut database.connect().await)
                .await
                .expect("the names can be read");
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_login_keeps_the_newest_of_several_rows() {
    let (settings, _database) = php_database("cAppinfo", "cSessionInfo").await;
    let store = open(&settings).await;
    let signed_in = store.sign_in(login("oTwice", "new", 1_500_000_100)).await.expect("it is in");
    assert_eq!(signed_in.id.as_str(), "u-twice-2");
    assert!(!signed_in.is_new);
    assert!(find(&*store, "u-twice-1").await.is_none());
    let session = find(&*store, "u-twice-2").await.expect("the session is there");
    assert_eq!(session.skey, Skey::from("new").stored(), "a plain skey becomes a hash");
    assert_eq!(session.created, 1_500_000_100);
    let previous = session.user.previous_session_key.expect("the PHP server's key is kept");
    assert_eq!(previous.expose_secret(), "sk3");
    // A login without a profile keeps the one that the PHP server stored.
    store.sign_in(login("oEmoji", "new", 1_500_000_100)).await.expect("it is in");
    let session = find(&*store, "u-emoji").await.expect("the session is there");
    assert!(session.user.profile.contains("小明😀"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_spellings_stand_there_the_php_codes_are_used() {
    let (settings, database) = php_database("cAppinfo", "cSessionInfo").await;
    let other = fixture("cAppInfo", "cSessioninfo").replace("u-emoji", "u-other");
    database.run(&other).await;
    let store = open(&settings).await;
    assert!(find(&*store, "u-emoji").await.is_some());
    assert!(find(&*store, "u-other").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_zone_must_be_known_and_stays() {
    let (with_zone, database) = php_database("cAppinfo", "cSessionInfo").await;
    let without = settings(&database.url);
    let error = refused(&without).await;
    assert!(error.contains("storage.time_zone"), "{error}");
    drop(open(&with_zone).await);
    // Remembered from here on.
    let store = open(&without).await;
    let session = find(&*store, "u-emoji").await.expect("the session is there");
    assert_eq!(session.created, 1_500_000_000);
    let other = Settings { time_zone: "+09:00".parse().ok(), ..without };
    let error = refused(&other).await;
    assert!(error.contains(r#""+08:00""#), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_an_appid_belong_to_the_named_app() {
    let (settings, database) = php_database("cAppinfo", "cSessionInfo").await;
    database.run("INSERT INTO cAppinfo SET appid = 'wxother', secret = 'x'").await;
    let error = refused(&settings).await;
    assert!(error.contains("storage.legacy_appid"), "{error}");
    let settings = Settings { legacy_appid: Some(APP.into()), ..settings };
    let store = open(&settings).await;
    let session = find(&*store, "u-emoji").await.expect("the session is there");
    assert_eq!(session.appid.as_str(), APP);
    // The PHP server takes the last row for its app.
    let apps = store.apps().await.expect("apps can be read");
    let defaults: Vec<_> =
        apps.iter().filter(|app| app.is_default).map(|a| a.appid.as_str()).collect();
    assert_eq!(defaults, ["wxother"]);
    let of_app = Selection { appid: Some(APP.into()), whose: Whose::Everyone };
    assert_eq!(store.sessions(&of_app, 10).await.expect("they are listed").len(), 4);
    assert_eq!(store.revoke(&of_app).await.expect("they are revoked").len(), 4);
}

async fn shared() -> (Arc<Mysql>, Settings, Database) {
    let (settings, database) = php_database("cAppinfo", "cSessionInfo").await;
    let settings = Settings { shared_with_php: true, ..settings };
    (open(&settings).await, settings, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_read_what_the_other_writes() {
    let (store, _settings, database) = shared().await;
    let profile = Some(r#"{"openId":"oEmoji","nickName":"新😀"}"#.to_owned());
    let ours = Login { profile, ..login("oEmoji", "ours", 1_500_000_100) };
    store.sign_in(ours).await.expect("it is in");
    let row = sqlx::query(
        "SELECT skey, CAST(create_time AS CHAR), session_key, user_info FROM cSessionInfo WHERE uuid = 'u-emoji'",
    );
    let row = row.fetch_one(&mut database.connect().await).await.expect("the row is there");
    let text = |at: usize| row.get::<String, _>(at);
    assert_eq!((text(0).as_str(), text(1).as_str()), ("ours", "2017-07-14 10:41:40"));
    assert_eq!(text(2), "a2V5");
    let user_info = BASE64_STANDARD.decode(text(3)).expect("it is base64");
    assert_eq!(user_info, r#"{"openId":"oEmoji","nickName":"新😀"}"#.as_bytes());

    // The PHP server logs the user in again, with a newer key and profile.
    let newer = BASE64_STANDARD.encode(r#"{"openId":"oEmoji","nickName":"PHP"}"#);
    database
        .run(&format!(
            "UPDATE cSessionInfo SET skey = 'php', session_key = 'sk9', user_info = '{newer}', \
             create_time = '2017-07-14 10:50:00', last_visit_time = '2017-07-14 10:50:00' \
             WHERE uuid = 'u-emoji'"
        ))
        .await;
    let session = find(&*store, "u-emoji").await.expect("the session is there");
    assert_eq!((&*session.skey.text(), session.created), ("php", 1_500_000_600));
    assert!(session.user.profile.contains("PHP"));
    assert_eq!(session.user.session_key.expose_secret(), "sk9");
    store.sign_in(login("oEmoji", "again", 1_500_000_700)).await.expect("it is in");
    let user = find(&*store, "u-emoji").await.expect("the session is there").user;
    assert!(user.profile.contains("PHP"));
    assert_eq!(user.previous_session_key.expect("it is kept").expose_secret(), "sk9");

    // And one that it has never seen.
    database
        .run(
            "INSERT INTO cSessionInfo SET uuid = 'u-new', skey = 'k', open_id = 'oNew', \
             create_time = '2017-07-14 10:50:00', last_visit_time = '2017-07-14 10:50:00', \
             session_key = 'x', user_info = ''",
        )
        .await;
    assert_eq!(find(&*store, "u-new").await.expect("it is there").appid.as_str(), APP);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_too_long_for_the_column_is_kept_whole() {
    let (store, _settings, database) = shared().await;
    let profile = format!(r#"{{"openId":"oBig","nickName":"{}"}}"#, "长".repeat(600));
    let big = Login { profile: Some(profile.clone()), ..login("oBig", "k", 1_500_000_100) };
    let id = store.sign_in(big).await.expect("it is in").id;
    assert_eq!(find(&*store, id.as_str()).await.expect("it is there").user.profile, profile);
    let user_info: String =
        sqlx::query_scalar("SELECT user_info FROM cSessionInfo WHERE open_id = 'oBig'")
            .fetch_one(&mut database.connect().await)
            .await
            .expect("the row is there");
    let user_info = BASE64_STANDARD.decode(user_info).expect("it is base64");
    assert!(user_info.starts_with(br#"{"openId":"oBig","nickName":"","gender":0"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_php_changes_is_refused_at_once() {
    let (store, _settings, database) = shared().await;
    let cache = CacheSettings { max_bytes: 0, ..CACHE };
    let cached = Cached::open(store, cache, 0).await.expect("it opens");
    for round in 0..20 {
        let loaded = cached.load("u-emoji").await.expect("it is read").expect("it is there");
        assert_eq!(loaded.proves("k-emoji"), round == 0);
        assert!(cached.known("u-emoji", 0).is_none(), "nothing is answered from memory");
        database
            .run(&format!("UPDATE cSessionInfo SET skey = 'k{round}' WHERE uuid = 'u-emoji'"))
            .await;
        let loaded = cached.load("u-emoji").await.expect("it is read").expect("it is there");
        assert!(loaded.proves(&format!("k{round}")));
    }
    database.run("DELETE FROM cSessionInfo WHERE uuid = 'u-emoji'").await;
    assert!(cached.load("u-emoji").await.expect("it is read").is_none());
    database.run("UPDATE cAppinfo SET secret = 'changed'").await;
    cached.follow(1).await.expect("the feed is read");
    let apps = cached.apps();
    let app = apps.find(None).expect("there is an app");
    assert_eq!(app.secret.expose_secret(), "changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_php_is_announced_and_final() {
    let (store, shared, _database) = shared().await;
    let refusal = store.put_app(&app("wxother")).await.expect_err("it is refused");
    let refusal = format!("{:#}", anyhow::Error::new(refusal));
    assert!(refusal.contains("one app only"), "{refusal}");
    let alone = Settings { shared_with_php: false, ..shared.clone() };
    let error = refused(&alone).await;
    assert!(error.contains("--leave-php") && error.contains("for good"), "{error}");
    drop(open(&Settings { leave_php: true, ..alone.clone() }).await);
    let store = open(&alone).await;
    assert!(find(&*store, "u-emoji").await.is_some());
    store.put_app(&app("wxother")).await.expect("the app is written");
    let error = refused(&shared).await;
    assert!(error.contains("left the PHP server"), "{error}");
}
