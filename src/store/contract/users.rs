//! Users as an operator sees them.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::{APP, OTHER_APP, app, login, session, sign_in};
use crate::session::{Login, SessionId};
use crate::store::users::{Account, Erased, Users};
use crate::store::{ReplacedKey, Store};

async fn list(store: &dyn Store, which: &Users, limit: u32) -> Vec<Account> {
    store.users(which, limit).await.expect("users can be listed")
}

fn names(users: &[Account]) -> Vec<(&str, &str)> {
    users.iter().map(|user| (user.appid.as_str(), user.open_id.as_str())).collect()
}

/// Two apps with three users each, of whom one has the same unionid in both.
async fn fill(store: &dyn Store) {
    for appid in [APP, OTHER_APP] {
        store.put_app(&app(appid)).await.expect("the app is written");
        for open_id in ["o2", "o1", "O1"] {
            let union_id = (open_id == "o2").then(|| "u2".to_owned());
            let mut login = Login { appid: appid.into(), union_id, ..login(open_id, 1) };
            login.new_id = format!("{appid}-{open_id}").into();
            sign_in(store, login).await;
        }
    }
}

pub async fn users_are_listed_page_by_page(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let mut which = Users::default();
    let mut pages = Vec::new();
    loop {
        let page = list(store, &which, 2).await;
        let Some(last) = page.last() else { break };
        which.after = Some((last.appid.clone(), last.open_id.clone()));
        pages.push(page);
        if pages.len() == 2 {
            // One that comes and one that goes meanwhile leave the others where they are.
            sign_in(store, login("o0", 2)).await;
            store.erase(&APP.into(), &"O1".into()).await.expect("the user is erased");
        }
    }
    let all: Vec<_> = pages.iter().flatten().cloned().collect();
    let of = |appid| ["O1", "o1", "o2"].map(|open_id| (appid, open_id));
    assert_eq!(names(&all), [of(APP), of(OTHER_APP)].concat());
    assert_eq!(all[2].union_id.as_deref(), Some("u2"));
    assert!(all[0].profile.contains("O1"), "{:?}", all[0]);
}

pub async fn users_are_found_by_what_is_known_of_them(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let find = async |which: Users| {
        let found = list(store, &which, 10).await;
        names(&found).iter().map(|(a, o)| format!("{a} {o}")).collect::<Vec<_>>()
    };
    let both = |open_id: &str| [APP, OTHER_APP].map(|appid| format!("{appid} {open_id}"));
    let by_open_id = Users { open_id: Some("o1".into()), ..Users::default() };
    assert_eq!(find(by_open_id.clone()).await, both("o1"), "byte for byte");
    let in_one = Users { appid: Some(OTHER_APP.into()), ..by_open_id };
    assert_eq!(find(in_one).await, both("o1")[1..]);
    let by_union_id = Users { union_id: Some("u2".into()), ..Users::default() };
    assert_eq!(find(by_union_id).await, both("o2"));
    let nobody = Users { union_id: Some("u3".into()), ..Users::default() };
    assert!(find(nobody).await.is_empty());
    let of_app = Users { appid: Some(APP.into()), ..Users::default() };
    assert_eq!(find(of_app).await.len(), 3);
}

pub async fn an_erased_user_is_gone(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let id = format!("{APP}-o1").into();
    let erased = store.erase(&APP.into(), &"o1".into()).await.expect("the user is erased");
    assert_eq!(erased, Erased { was_known: true, sessions: vec![format!("{APP}-o1").into()] });
    assert!(session(store, &id).await.is_none());
    let left = list(store, &Users::default(), 10).await;
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(session(store, &format!("{OTHER_APP}-o1").into()).await.is_some());
    let again = store.erase(&APP.into(), &"o1".into()).await.expect("there is nobody");
    assert_eq!(again, Erased::default());
    // Whoever comes back is somebody new.
    let back = sign_in(store, Login { per_user: 2, ..login("o1", 9) }).await;
    assert!(back.is_new);
}

pub async fn a_session_key_is_replaced_if_it_is_still_the_old_one(store: Arc<dyn Store>) {
    let store = &*store;
    fill(store).await;
    let id: SessionId = format!("{APP}-o1").into();
    let replace = async |open_id: &str, old: &str, new: &str| {
        let (appid, open_id) = (APP.into(), open_id.into());
        let replaced = ReplacedKey { appid, open_id, old: old.into(), new: new.into() };
        store.replace_session_key(replaced).await.expect("the key is replaced or not")
    };
    assert!(replace("o1", "a2V5", "bmV3").await);
    assert!(!replace("o1", "a2V5", "bmV3ZXI=").await, "a login came between");
    assert!(!replace("o9", "a2V5", "bmV3").await, "there is nobody");
    let user = session(store, &id).await.expect("the session stays").user;
    let previous = user.previous_session_key.expect("there was another");
    assert_eq!((user.session_key.expose_secret(), previous.expose_secret()), ("bmV3", "a2V5"));
    let other = session(store, &format!("{OTHER_APP}-o1").into()).await.expect("it is there");
    assert_eq!(other.user.session_key.expose_secret(), "a2V5");
}
