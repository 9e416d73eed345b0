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

/// Enough users for more than one slice.
const USERS: usize = 600;

/// Logs all users in at once.
async fn log_in(store: &dyn Store, session_key: &str, now: i64) {
    let login = |n| Login { session_key: session_key.into(), ..login(&format!("o{n}"), now) };
    futures_util::future::join_all((0..USERS).map(|n| sign_in(store, login(n)))).await;
}

async fn assert_session_keys(store: &dyn Store, newest_first: [&str; 2]) {
    for n in 0..USERS {
        let keys = session_keys(store, &format!("id-o{n}-1")).await;
        assert_eq!(keys, newest_first.map(|key| Some(key.to_owned())), "{n}");
    }
}

pub(crate) async fn a_reseal_ends_and_loses_nothing(store: Arc<dyn Store>) {
    log_in(&*store, "k1", 1).await;
    log_in(&*store, "k2", 2).await;
    reseal(&*store).await;
    assert_eq!(reseal(&*store).await, 0, "nothing is left to do");
    assert_session_keys(&*store, ["k2", "k1"]).await;
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
    log_in(&*store, "k1", 1).await;
    log_in(&*store, "k2", 2).await;
    drop(store);
    let refused = open(&[TWO]).await.err().expect("the key in use is missing");
    assert!(refused.contains("`secrets.keys` does not have"), "{refused}");
    let store = open(&[TWO, ONE]).await.expect("it opens");
    assert_session_keys(&*store, ["k2", "k1"]).await;
    // Logins go on meanwhile, and none of them is overwritten.
    let (changed, ()) = tokio::join!(reseal(&*store), log_in(&*store, "k3", 3));
    assert!(changed >= 2, "{changed}");
    assert_eq!(reseal(&*store).await, 0, "nothing is left to do");
    assert_session_keys(&*store, ["k3", "k2"]).await;
    drop(store);
    let store = open(&[TWO]).await.expect("the old key may go");
    assert_session_keys(&*store, ["k3", "k2"]).await;
    for app in store.apps().await.expect("apps can be read") {
        assert_eq!(app.secret.expose_secret(), "secret");
    }
    drop(store);
    assert!(open(&[ONE]).await.is_err(), "the database knows its new key");
}
