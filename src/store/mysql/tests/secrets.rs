//! What stands in the tables.

use secrecy::ExposeSecret as _;

use super::*;
use crate::store::contract::reseal;

/// What a column holds, row by row.
async fn column(database: &Database, sql: &'static str) -> Vec<Option<String>> {
    let mut connection = database.connect().await;
    sqlx::query_scalar(sql).fetch_all(&mut connection).await.expect(sql)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_move_to_the_first_key() {
    let database = Mariadb::shared().database().await;
    let open = async |keys| {
        let settings = Settings { keys, ..settings(&database.url) };
        let opened = Mysql::open(&settings, true).await.map_err(|error| error.to_string());
        opened.map(|store| Arc::new(store) as Arc<dyn Store>)
    };
    crate::store::contract::secrets_move_to_the_first_key(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_secrets_are_plain_until_there_is_one() {
    let database = Mariadb::shared().database().await;
    let plain = Settings { keys: Keys::none(), ..settings(&database.url) };
    let store = open(&plain).await;
    store.put_app(&app(APP)).await.expect("the app is written");
    store.sign_in(login("o1", "k", 1)).await.expect("it is in");
    drop(store);
    assert_eq!(column(&database, "SELECT secret FROM cAppinfo").await, [Some("secret".into())]);
    let store = open(&settings(&database.url)).await;
    let session = find(&*store, "id-o1-k").await.expect("the session is there");
    assert_eq!(session.user.session_key.expose_secret(), "a2V5");
    assert_eq!(reseal(&*store).await, 2);
    for sql in ["SELECT secret FROM cAppinfo", "SELECT session_key FROM mina_user"] {
        let stored = column(&database, sql).await.remove(0).expect("it is there");
        assert!(stored.starts_with("aes256gcm:1:"), "{stored}");
    }
    let session = find(&*store, "id-o1-k").await.expect("the session is there");
    assert_eq!(session.user.session_key.expose_secret(), "a2V5");
    drop(store);
    let error = refused(&plain).await;
    assert!(error.contains("`secrets.keys` does not have"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_php_server_reads_is_plain_until_it_is_gone() {
    let database = Mariadb::shared().database().await;
    let time_zone = "+08:00".parse().ok();
    let shared = Settings { time_zone, shared_with_php: true, ..settings(&database.url) };
    let store = open(&shared).await;
    store.put_app(&app(APP)).await.expect("the app is written");
    store.sign_in(login("o1", "k", 1)).await.expect("it is in");
    database
        .run(
            "INSERT INTO cSessionInfo SET uuid = 'php', skey = 'k', open_id = 'o2', \
             create_time = '2017-07-14 10:50:00', last_visit_time = '2017-07-14 10:50:00', \
             session_key = 'sk', user_info = ''",
        )
        .await;
    reseal(&*store).await;
    let plain = "SELECT session_key FROM cSessionInfo ORDER BY uuid";
    assert_eq!(column(&database, "SELECT secret FROM cAppinfo").await, [Some("secret".into())]);
    assert_eq!(column(&database, plain).await, ["a2V5", "sk"].map(|key| Some(key.into())));
    let skeys = "SELECT skey FROM cSessionInfo ORDER BY uuid";
    assert_eq!(column(&database, skeys).await, ["k", "k"].map(|skey| Some(skey.into())));
    let own = column(&database, "SELECT session_key FROM mina_user").await;
    assert!(own[0].as_deref().is_some_and(|key| key.starts_with("aes256gcm:1:")), "{own:?}");
    drop(store);

    let alone = Settings { shared_with_php: false, leave_php: true, ..shared };
    let store = open(&alone).await;
    assert_eq!(reseal(&*store).await, 3);
    assert_eq!(reseal(&*store).await, 0);
    let left = column(&database, plain).await;
    assert_eq!(left[0].as_deref(), Some(""), "the user's own row has it");
    assert!(left[1].as_deref().is_some_and(|key| key.starts_with("aes256gcm:1:")), "{left:?}");
    for (id, key) in [("id-o1-k", "a2V5"), ("php", "sk")] {
        let session = find(&*store, id).await.expect("the session is there");
        assert_eq!(session.user.session_key.expose_secret(), key);
        assert!(session.skey.matches("k"), "nobody is logged out");
    }
    // The next login makes a hash of a plain skey, and keeps the PHP server's key.
    store.sign_in(login("o2", "new", 1_500_000_100)).await.expect("it is in");
    let session = find(&*store, "php").await.expect("the session is there");
    assert_eq!(session.skey, session.skey.hashed());
    assert_eq!(session.user.previous_session_key.expect("it is kept").expose_secret(), "sk");
}
