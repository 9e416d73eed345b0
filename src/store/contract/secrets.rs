//! What every store must do with secrets.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::{APP, Login, OTHER_APP, Store, app, login, session, sign_in};
use crate::secrets::{Key, Keys};

/// Goes through all slices; returns how many secrets were encrypted anew.
pub(crate) async fn reseal(store: &dyn Store) -> u64 {
    let (mut changed, mut after) = (0, Some(String::new()));
    while let Some(slice) = after {
        let resealed = store.reseal(&slice).await.expect("secrets are encrypted");
        changed += resealed.changed;
        after = resealed.next;
    }
    changed
}

async fn session_keys(store: &dyn Store, id: &str) -> [Option<String>; 2] {
    let user = session(store, &id.into()).await.expect("the session is there").user;
    [Some(user.session_key), user.previous_session_key]
        .map(|key| key.map(|key| key.expose_secret().to_owned()))
}

pub(crate) async fn a_reseal_overwrites_no_login(store: Arc<dyn Store>) {
    const USERS: usize = 600;
    let log_in = |n: usize, key: &str| {
        let login = Login { session_key: key.into(), ..login(&format!("o{n}"), 1) };
        let store = Arc::clone(&store);
        async move { sign_in(&*store, login).await }
    };
    futures_util::future::join_all((0..USERS).map(|n| log_in(n, "k1"))).await;
    let logins = futures_util::future::join_all((0..USERS).map(|n| log_in(n, "k2")));
    tokio::join!(logins, reseal(&*store), reseal(&*store));
    assert_eq!(reseal(&*store).await, 0, "nothing is left to do");
    for n in 0..USERS {
        let keys = session_keys(&*store, &format!("id-o{n}-1")).await;
        assert_eq!(keys, ["k2", "k1"].map(|key| Some(key.to_owned())), "{n}");
    }
}

/// For the stores that another program can look into; `open` opens the same database with keys,
/// or says why it does not.
pub(crate) async fn secrets_move_to_the_first_key(
    open: impl AsyncFn(Keys) -> Result<Arc<dyn Store>, String>,
) {
    const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";
    let open = async |keys: &[&str]| {
        let keys = keys.iter().map(|key| key.parse::<Key>().expect("it is a key"));
        open(Keys::new(keys.collect(), "`secrets.keys`")).await
    };
    let store = open(&[ONE]).await.expect("it opens");
    for appid in [APP, OTHER_APP] {
        store.put_app(&app(appid)).await.expect("the app is written");
    }
    for (key, now) in [("k1", 1), ("k2", 2)] {
        let login = |n| Login { session_key: key.into(), ..login(&format!("o{n}"), now) };
        futures_util::future::join_all((0..600).map(|n| sign_in(&*store, login(n)))).await;
    }
    drop(store);
    let refused = open(&[TWO]).await.err().expect("the key in use is missing");
    assert!(refused.contains("`secrets.keys` does not have"), "{refused}");
    let store = open(&[TWO, ONE]).await.expect("it opens");
    assert_eq!(session_keys(&*store, "id-o0-1").await[1].as_deref(), Some("k1"));
    assert_eq!(reseal(&*store).await, 2 + 2 * 600);
    assert_eq!(reseal(&*store).await, 0);
    drop(store);
    let store = open(&[TWO]).await.expect("the old key may go");
    for n in 0..600 {
        let keys = session_keys(&*store, &format!("id-o{n}-1")).await;
        assert_eq!(keys, ["k2", "k1"].map(|key| Some(key.to_owned())), "{n}");
    }
    for app in store.apps().await.expect("apps can be read") {
        assert_eq!(app.secret.expose_secret(), "secret");
    }
    drop(store);
    assert!(open(&[ONE]).await.is_err(), "the database knows its new key");
}
