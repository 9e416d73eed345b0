//! What every store must do, as named cases: one test for each case and backend.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::import::Imported;
use super::{Change, Changes, Expiry, Selection, Store, Whose};
use crate::session::{
    App, Lifetime, Login, Session, SessionId, SignedIn, Skey, StoredSkey, User, Visit,
};

mod secrets;
mod stats;
mod users;

pub(crate) use secrets::{a_reseal_ends_and_loses_nothing, reseal, secrets_move_to_the_first_key};
pub(crate) use stats::{
    stats_are_added_once, stats_are_pruned_step_by_step, stats_of_nodes_add_up,
    users_are_counted_and_the_most_of_a_day_is_kept,
};
pub(crate) use users::{
    a_session_key_is_replaced_if_it_is_still_the_old_one, an_erased_user_is_gone,
    users_are_found_by_what_is_known_of_them, users_are_listed_page_by_page,
};

const APP: &str = "wx0123456789abcdef";
const OTHER_APP: &str = "wxfedcba9876543210";

/// Makes one test of each case for a backend, whose `$open` makes an empty store, and whatever
/// must outlive it.
macro_rules! store_tests {
    ($open:expr) => {
        $crate::store::contract::store_tests! { $open =>
            apps_are_kept_and_replaced,
            a_default_app_is_the_only_default,
            a_removed_app_takes_its_sessions_along,
            an_unknown_session_is_none,
            a_first_login_makes_a_session,
            a_second_login_keeps_the_id_and_kills_the_skey,
            an_skey_is_kept_as_a_hash,
            a_login_reports_the_sessions_it_touched,
            two_first_logins_at_once_leave_one_session,
            many_logins_at_once_are_all_there,
            a_profile_is_kept_by_a_login_without_one,
            a_profile_is_stored_whole,
            the_session_key_before_the_newest_is_kept,
            several_sessions_per_user_have_a_limit,
            no_limit_keeps_all_sessions,
            a_lower_limit_keeps_the_newest_session,
            devices_and_others_leave_one_another_alone,
            a_profile_belongs_to_the_user,
            users_of_two_apps_are_two_users,
            ids_compare_byte_for_byte,
            text_of_every_kind_comes_back,
            visits_move_forward_only,
            a_visit_with_a_replaced_skey_is_not_written,
            sessions_are_listed_newest_first,
            sessions_are_selected_by_user_and_app,
            a_revoked_session_is_gone,
            a_revoked_login_leaves_a_later_one,
            a_revocation_reaches_the_user_or_the_session_only,
            a_user_logs_in_again_after_a_revocation,
            expired_sessions_are_purged_and_others_stay,
            a_purge_goes_through_all_slices,
            the_change_feed_ends,
            an_import_is_the_same_twice,
            an_import_never_overwrites_a_newer_login,
            an_import_does_not_bring_back_what_was_ended,
            a_reseal_ends_and_loses_nothing,
            users_are_listed_page_by_page,
            users_are_found_by_what_is_known_of_them,
            an_erased_user_is_gone,
            a_session_key_is_replaced_if_it_is_still_the_old_one,
            stats_of_nodes_add_up,
            stats_are_added_once,
            stats_are_pruned_step_by_step,
            users_are_counted_and_the_most_of_a_day_is_kept,
        }
    };
    ($open:expr => $($case:ident,)+) => {
        mod store_contract {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    // Bound to a name, so that what the store stands on outlives it.
                    let (store, _guard) = $open;
                    $crate::store::contract::$case(store).await;
                }
            )+
        }
    };
}
pub(crate) use store_tests;

fn app(appid: &str) -> App {
    App {
        appid: appid.into(),
        secret: "secret".into(),
        lifetime: Lifetime::default(),
        is_default: false,
    }
}

/// A login of a user at a second; its id and skey are named after that.
fn login(open_id: &str, now: i64) -> Login {
    Login {
        appid: APP.into(),
        open_id: open_id.into(),
        union_id: None,
        session_key: "a2V5".into(),
        profile: None,
        new_id: format!("id-{open_id}-{now}").into(),
        skey: format!("skey-{open_id}-{now}").into(),
        now,
        per_user: 1,
    }
}

async fn sign_in(store: &dyn Store, login: Login) -> SignedIn {
    store.sign_in(login).await.expect("the login is written")
}

async fn session(store: &dyn Store, id: &SessionId) -> Option<Session> {
    store.session(id).await.expect("the session can be read")
}

async fn has_skey(store: &dyn Store, id: &SessionId, skey: &Skey) -> bool {
    session(store, id).await.is_some_and(|session| session.skey.matches(skey.as_str()))
}

fn visit(session: &Session, time: i64) -> Visit {
    Visit { id: session.id.clone(), skey: session.skey.clone(), time, row: session.row }
}

fn everyone() -> Selection {
    Selection { appid: None, whose: Whose::Everyone }
}

async fn count(store: &dyn Store) -> usize {
    store.sessions(&everyone(), 10_000).await.expect("sessions can be listed").len()
}

pub(crate) async fn apps_are_kept_and_replaced(store: Arc<dyn Store>) {
    store.put_app(&app(OTHER_APP)).await.expect("the app is written");
    store.put_app(&app(APP)).await.expect("the app is written");
    let lifetime = Lifetime { login_days: 7, idle_seconds: 60 };
    let changed = App { secret: "秘密 123".into(), lifetime, ..app(APP) };
    store.put_app(&changed).await.expect("the app is written");
    let apps = store.apps().await.expect("apps can be read");
    assert_eq!(apps.iter().map(|app| app.appid.as_str()).collect::<Vec<_>>(), [APP, OTHER_APP]);
    assert_eq!(apps[0].secret.expose_secret(), "秘密 123");
    assert_eq!(apps[0].lifetime, lifetime);
    assert!(!apps[0].is_default);
}

pub(crate) async fn a_default_app_is_the_only_default(store: Arc<dyn Store>) {
    for appid in [APP, OTHER_APP] {
        let app = App { is_default: true, ..app(appid) };
        store.put_app(&app).await.expect("the app is written");
    }
    let apps = store.apps().await.expect("apps can be read");
    assert_eq!(apps.iter().map(|app| app.is_default).collect::<Vec<_>>(), [false, true]);
}

pub(crate) async fn a_removed_app_takes_its_sessions_along(store: Arc<dyn Store>) {
    for appid in [APP, OTHER_APP] {
        store.put_app(&app(appid)).await.expect("the app is written");
    }
    let gone = sign_in(&*store, login("o1", 1)).await.id;
    let stays = sign_in(&*store, Login { appid: OTHER_APP.into(), ..login("o2", 1) }).await.id;
    assert!(store.remove_app(&APP.into()).await.expect("the app is removed"));
    assert!(!store.remove_app(&APP.into()).await.expect("nothing is removed"));
    assert!(session(&*store, &gone).await.is_none());
    assert!(session(&*store, &stays).await.is_some());
    assert_eq!(store.apps().await.expect("apps can be read").len(), 1);
    assert!(sign_in(&*store, login("o1", 2)).await.is_new);
}

pub(crate) async fn an_unknown_session_is_none(store: Arc<dyn Store>) {
    for id in ["", "nobody", "' OR '1'='1", "%"] {
        assert!(session(&*store, &id.into()).await.is_none(), "{id}");
    }
}

pub(crate) async fn a_first_login_makes_a_session(store: Arc<dyn Store>) {
    let login = Login { union_id: Some("u1".into()), ..login("o1", 1_700_000_000) };
    let signed_in = sign_in(&*store, login.clone()).await;
    assert!(signed_in.is_new);
    assert_eq!(signed_in.id, login.new_id);
    let session = session(&*store, &signed_in.id).await.expect("the session is there");
    assert_eq!(session.id, login.new_id);
    assert!(session.skey.matches(login.skey.as_str()));
    assert_eq!((&session.appid, &session.open_id), (&login.appid, &login.open_id));
    assert_eq!((session.created, session.last_visit), (1_700_000_000, 1_700_000_000));
    assert_eq!(session.user.union_id.as_deref(), Some("u1"));
    assert_eq!(session.user.session_key.expose_secret(), "a2V5");
    assert_eq!(session.user.profile, signed_in.profile);
    assert!(signed_in.profile.contains(r#""openId":"o1""#));
}

pub(crate) async fn a_second_login_keeps_the_id_and_kills_the_skey(store: Arc<dyn Store>) {
    let first = sign_in(&*store, login("o1", 10)).await;
    let second = sign_in(&*store, login("o1", 20)).await;
    assert!(!second.is_new);
    assert_eq!(first.id, second.id);
    let session = session(&*store, &first.id).await.expect("the session is there");
    assert!(session.skey.matches("skey-o1-20"));
    assert_eq!((session.created, session.last_visit), (20, 20));
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn an_skey_is_kept_as_a_hash(store: Arc<dyn Store>) {
    sign_in(&*store, login("o1", 10)).await;
    import(&*store, &[foreign("a", "o2", 10)]).await;
    for id in ["id-o1-10", "a"] {
        let stored = session(&*store, &id.into()).await.expect("the session is there").skey;
        assert_eq!(stored, stored.hashed());
        assert!(!stored.matches(&stored.text()), "a stolen hash is no key");
    }
}

pub(crate) async fn a_login_reports_the_sessions_it_touched(store: Arc<dyn Store>) {
    let first = sign_in(&*store, login("o1", 10)).await;
    assert!(first.touched.is_empty());
    let second = sign_in(&*store, login("o1", 20)).await;
    assert_eq!(second.touched, [first.id]);
}

pub(crate) async fn two_first_logins_at_once_leave_one_session(store: Arc<dyn Store>) {
    for round in 0..20 {
        let open_id = format!("o{round}");
        let [a, b] = [login(&open_id, 1), login(&open_id, 2)];
        let (a_in, b_in) = tokio::join!(store.sign_in(a.clone()), store.sign_in(b.clone()));
        let (a_in, b_in) = (a_in.expect("a logs in"), b_in.expect("b logs in"));
        assert_eq!(a_in.id, b_in.id);
        assert_ne!(a_in.is_new, b_in.is_new);
        let user = Selection { appid: None, whose: Whose::User(open_id.as_str().into()) };
        let left = store.sessions(&user, 10).await.expect("sessions can be listed");
        assert_eq!(left.len(), 1);
        let winner = if a_in.is_new { &b } else { &a };
        assert!(left[0].skey.matches(winner.skey.as_str()), "the later login wins");
    }
}

pub(crate) async fn many_logins_at_once_are_all_there(store: Arc<dyn Store>) {
    let logins = (0..200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { sign_in(&*store, login(&format!("o{n}"), n)).await.id })
    });
    for id in futures_util::future::join_all(logins).await {
        let id = id.expect("the login does not panic");
        assert!(session(&*store, &id).await.is_some());
    }
    assert_eq!(count(&*store).await, 200);
}

pub(crate) async fn a_profile_is_kept_by_a_login_without_one(store: Arc<dyn Store>) {
    let profile = Some(r#"{"nickName":"小明😀","openId":"o1"}"#.to_owned());
    sign_in(&*store, Login { profile: profile.clone(), ..login("o1", 1) }).await;
    let second = sign_in(&*store, login("o1", 2)).await;
    assert_eq!(Some(second.profile), profile);
}

pub(crate) async fn a_profile_is_stored_whole(store: Arc<dyn Store>) {
    let long = "长".repeat(20_000);
    let profile = format!(r#"{{"openId":"o1","big":12345678901234567890.50,"text":"{long}"}}"#);
    let login = Login { profile: Some(profile.clone()), ..login("o1", 1) };
    let id = sign_in(&*store, login).await.id;
    let stored = session(&*store, &id).await.expect("the session is there").user.profile;
    assert_eq!(stored, profile);
}

pub(crate) async fn the_session_key_before_the_newest_is_kept(store: Arc<dyn Store>) {
    for (now, key) in [(1, "k1"), (2, "k2"), (3, "k2")] {
        sign_in(&*store, Login { session_key: key.into(), ..login("o1", now) }).await;
    }
    let user = session(&*store, &"id-o1-1".into()).await.expect("the session is there").user;
    assert_eq!(user.session_key.expose_secret(), "k2");
    assert_eq!(user.previous_session_key.expect("one is kept").expose_secret(), "k1");
}

pub(crate) async fn several_sessions_per_user_have_a_limit(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for now in 1..=3 {
        let signed_in = sign_in(&*store, Login { per_user: 2, ..login("o1", now) }).await;
        assert!(signed_in.is_new);
        ids.push(signed_in.id);
    }
    assert!(session(&*store, &ids[0]).await.is_none(), "the oldest goes");
    for (id, now) in ids[1..].iter().zip(2..) {
        assert!(has_skey(&*store, id, &login("o1", now).skey).await);
    }
}

pub(crate) async fn no_limit_keeps_all_sessions(store: Arc<dyn Store>) {
    for now in 1..=5 {
        sign_in(&*store, Login { per_user: 0, ..login("o1", now) }).await;
    }
    assert_eq!(count(&*store).await, 5);
}

pub(crate) async fn a_lower_limit_keeps_the_newest_session(store: Arc<dyn Store>) {
    for now in 1..=3 {
        sign_in(&*store, Login { per_user: 0, ..login("o1", now) }).await;
    }
    let last = sign_in(&*store, login("o1", 4)).await;
    assert_eq!(last.id.as_str(), "id-o1-3");
    assert_eq!(last.touched.len(), 3);
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn devices_and_others_leave_one_another_alone(store: Arc<dyn Store>) {
    let on_device = |now: u8| Login {
        new_id: SessionId::of_device([now; 16]),
        per_user: 2,
        ..login("o1", now.into())
    };
    let other = sign_in(&*store, login("o1", 1)).await.id;
    let mut devices = Vec::new();
    for now in 2..=4 {
        let signed_in = sign_in(&*store, on_device(now)).await;
        assert!(signed_in.is_new && signed_in.id.is_of_device());
        devices.push(signed_in.id);
    }
    assert!(session(&*store, &devices[0]).await.is_none(), "the oldest goes");
    let again = sign_in(&*store, login("o1", 5)).await;
    assert_eq!((again.id, again.is_new), (other, false));
    for (id, now) in devices[1..].iter().zip(3..) {
        assert!(has_skey(&*store, id, &on_device(now).skey).await);
    }
    let only = Login { per_user: 1, ..on_device(6) };
    assert!(sign_in(&*store, only).await.is_new);
    assert_eq!(count(&*store).await, 2);
}

pub(crate) async fn a_profile_belongs_to_the_user(store: Arc<dyn Store>) {
    let first = sign_in(&*store, Login { per_user: 2, ..login("o1", 1) }).await;
    let profile = Some(r#"{"openId":"o1","nickName":"New"}"#.to_owned());
    let second = Login { per_user: 2, profile, ..login("o1", 2) };
    let second = sign_in(&*store, second).await;
    let seen = session(&*store, &first.id).await.expect("the session is there").user.profile;
    assert_eq!(seen, second.profile);
    assert_eq!(second.touched, [first.id]);
}

pub(crate) async fn users_of_two_apps_are_two_users(store: Arc<dyn Store>) {
    let one = sign_in(&*store, login("o1", 1)).await;
    let other = Login { appid: OTHER_APP.into(), new_id: "other".into(), ..login("o1", 2) };
    let other = sign_in(&*store, other).await;
    assert!(other.is_new);
    assert_ne!(one.id, other.id);
    assert!(has_skey(&*store, &one.id, &login("o1", 1).skey).await);
}

pub(crate) async fn ids_compare_byte_for_byte(store: Arc<dyn Store>) {
    let users = ["oAbc", "oabc", "oAbc ", "oÀbc"];
    for open_id in users {
        assert!(sign_in(&*store, login(open_id, 1)).await.is_new, "{open_id:?}");
    }
    assert_eq!(count(&*store).await, users.len());
    for id in ["ID-oAbc-1", "id-oAbc-1 ", "id-oABC-1", "id-oAbc-1\0", " id-oAbc-1"] {
        assert!(session(&*store, &id.into()).await.is_none(), "{id:?}");
    }
    let user = Selection { appid: None, whose: Whose::User("oabc".into()) };
    let revoked = store.revoke(&user).await.expect("the user's sessions are revoked");
    assert_eq!(revoked, [SessionId::from("id-oabc-1")]);
}

pub(crate) async fn text_of_every_kind_comes_back(store: Arc<dyn Store>) {
    let open_id = "u-&=+%#?/ é😀\"'<>;\\";
    let profile = format!(r#"{{"nickName":"小明😀👨‍👩‍👧 \\ ' \" \u0000","openId":{open_id:?}}}"#);
    let login = Login {
        union_id: Some("ü'\\".into()),
        profile: Some(profile.clone()),
        new_id: "i1".into(),
        ..login(open_id, 1)
    };
    sign_in(&*store, login).await;
    let session = session(&*store, &"i1".into()).await.expect("the session is there");
    assert_eq!(session.open_id.as_str(), open_id);
    assert_eq!(session.user.union_id.as_deref(), Some("ü'\\"));
    assert!(session.user.profile.starts_with(&profile[..profile.len() - 1]));
}

pub(crate) async fn visits_move_forward_only(store: Arc<dyn Store>) {
    let id = sign_in(&*store, login("o1", 100)).await.id;
    for (time, expected) in [(150, 150), (120, 150), (151, 151)] {
        let visit = visit(&session(&*store, &id).await.expect("the session is there"), time);
        store.touch(vec![visit]).await.expect("visits are written");
        let session = session(&*store, &id).await.expect("the session is there");
        assert_eq!((session.created, session.last_visit), (100, expected));
    }
}

pub(crate) async fn a_visit_with_a_replaced_skey_is_not_written(store: Arc<dyn Store>) {
    let id = sign_in(&*store, login("o1", 100)).await.id;
    let before = session(&*store, &id).await.expect("the session is there");
    sign_in(&*store, login("o1", 110)).await;
    let late = visit(&before, 500);
    let unknown = Visit { id: "nobody".into(), skey: StoredSkey::read("x"), time: 500, row: 0 };
    store.touch(vec![late, unknown]).await.expect("visits are written");
    assert_eq!(session(&*store, &id).await.expect("the session is there").last_visit, 110);
}

pub(crate) async fn sessions_are_listed_newest_first(store: Arc<dyn Store>) {
    for (open_id, now) in [("o1", 10), ("o2", 30), ("o3", 20)] {
        sign_in(&*store, login(open_id, now)).await;
    }
    let listed = store.sessions(&everyone(), 2).await.expect("sessions can be listed");
    let users: Vec<_> = listed.iter().map(|session| session.open_id.as_str()).collect();
    assert_eq!(users, ["o2", "o3"]);
}

pub(crate) async fn sessions_are_selected_by_user_and_app(store: Arc<dyn Store>) {
    sign_in(&*store, login("o1", 1)).await;
    sign_in(&*store, login("o2", 1)).await;
    let other = Login { appid: OTHER_APP.into(), new_id: "other".into(), ..login("o1", 2) };
    sign_in(&*store, other).await;
    let selected = async |appid: Option<&str>, whose| {
        let selection = Selection { appid: appid.map(Into::into), whose };
        store.sessions(&selection, 10).await.expect("sessions can be listed").len()
    };
    assert_eq!(selected(None, Whose::User("o1".into())).await, 2);
    assert_eq!(selected(Some(APP), Whose::User("o1".into())).await, 1);
    assert_eq!(selected(Some(APP), Whose::Everyone).await, 2);
    assert_eq!(selected(None, Whose::Session("other".into())).await, 1);
    assert_eq!(selected(Some(APP), Whose::Session("other".into())).await, 0);
}

pub(crate) async fn a_revoked_session_is_gone(store: Arc<dyn Store>) {
    let id = sign_in(&*store, login("o1", 1)).await.id;
    let selection = Selection { appid: None, whose: Whose::Session(id.clone()) };
    let revoked = store.revoke(&selection).await.expect("it is revoked");
    assert_eq!(revoked, std::slice::from_ref(&id));
    assert!(session(&*store, &id).await.is_none());
    assert!(store.revoke(&selection).await.expect("nothing is revoked").is_empty());
}

pub(crate) async fn a_revoked_login_leaves_a_later_one(store: Arc<dyn Store>) {
    let revoke = async |id: &SessionId, skey: Skey| {
        let whose = Whose::Login(id.clone(), skey.stored());
        store.revoke(&Selection { appid: None, whose }).await.expect("it is answered")
    };
    let [first, second] = [login("o1", 1), login("o1", 2)];
    let id = sign_in(&*store, first.clone()).await.id;
    assert_eq!(sign_in(&*store, second.clone()).await.id, id);
    assert!(revoke(&id, first.skey).await.is_empty());
    assert!(has_skey(&*store, &id, &second.skey).await);
    assert_eq!(revoke(&id, second.skey).await, std::slice::from_ref(&id));
    assert!(session(&*store, &id).await.is_none());
}

pub(crate) async fn a_revocation_reaches_the_user_or_the_session_only(store: Arc<dyn Store>) {
    for now in 1..=2 {
        sign_in(&*store, Login { per_user: 0, ..login("o1", now) }).await;
    }
    sign_in(&*store, login("o2", 1)).await;
    let user = Selection { appid: Some(APP.into()), whose: Whose::User("o1".into()) };
    assert_eq!(store.revoke(&user).await.expect("they are revoked").len(), 2);
    assert_eq!(count(&*store).await, 1);
}

pub(crate) async fn a_user_logs_in_again_after_a_revocation(store: Arc<dyn Store>) {
    let profile = Some(r#"{"openId":"o1","nickName":"Kept"}"#.to_owned());
    let first = sign_in(&*store, Login { profile, ..login("o1", 1) }).await;
    let selection = Selection { appid: None, whose: Whose::Session(first.id) };
    store.revoke(&selection).await.expect("it is revoked");
    let again = sign_in(&*store, login("o1", 2)).await;
    assert!(again.is_new);
    assert_eq!(again.profile, first.profile);
}

pub(crate) async fn expired_sessions_are_purged_and_others_stay(store: Arc<dyn Store>) {
    for (open_id, now) in [("old", 100), ("unused", 500), ("fresh", 1000)] {
        sign_in(&*store, login(open_id, now)).await;
    }
    let other = Login { appid: OTHER_APP.into(), ..login("other", 1) };
    sign_in(&*store, other).await;
    let old = session(&*store, &"id-old-100".into()).await.expect("the session is there");
    store.touch(vec![visit(&old, 1000)]).await.expect("visits are written");
    let expiry = [Expiry { appid: APP.into(), created_before: 200, visited_before: 600 }];
    let purged = store.purge(&expiry, "").await.expect("sessions are purged");
    assert_eq!((purged.removed, purged.next), (2, None));
    let left = store.sessions(&everyone(), 10).await.expect("sessions can be listed");
    let users: Vec<_> = left.iter().map(|session| session.open_id.as_str()).collect();
    assert_eq!(users, ["fresh", "other"]);
}

pub(crate) async fn a_purge_goes_through_all_slices(store: Arc<dyn Store>) {
    let logins = (0..6000).map(|n| store.sign_in(login(&format!("o{n}"), n % 2)));
    futures_util::future::try_join_all(logins).await.expect("the logins are written");
    let expiry = [Expiry { appid: APP.into(), created_before: 1, visited_before: 1 }];
    let (mut removed, mut cursor) = (0, Some(String::new()));
    while let Some(from) = cursor {
        let purged = store.purge(&expiry, &from).await.expect("sessions are purged");
        removed += purged.removed;
        cursor = purged.next;
    }
    assert_eq!(removed, 3000);
    assert_eq!(count(&*store).await, 3000);
}

/// What a single process sees of the feed; that another one's changes are in it is for the tests
/// of the backends that other processes can open.
pub(crate) async fn the_change_feed_ends(store: Arc<dyn Store>) {
    let id = sign_in(&*store, login("o1", 1)).await.id;
    let selection = Selection { appid: None, whose: Whose::Session(id.clone()) };
    store.revoke(&selection).await.expect("it is revoked");
    let first = store.changes().await.expect("the feed can be read");
    if let Changes::These(changes) = first {
        assert!(changes.iter().all(|change| *change == Change::Session(id.clone())));
    }
    let second = store.changes().await.expect("the feed can be read");
    assert_eq!(second, Changes::These(Vec::new()));
}

/// A session of another database, made at a second; its skey is named after that.
fn foreign(id: &str, open_id: &str, created: i64) -> Session {
    Session {
        id: id.into(),
        skey: StoredSkey::read(&format!("skey-{created}")),
        appid: APP.into(),
        open_id: open_id.into(),
        created,
        last_visit: created + 5,
        row: 0,
        user: User {
            union_id: None,
            session_key: "a2V5".into(),
            previous_session_key: None,
            profile: format!(r#"{{"openId":"{open_id}","nickName":"at {created}"}}"#),
        },
    }
}

async fn import(store: &dyn Store, sessions: &[Session]) -> Vec<Imported> {
    store.import(sessions.to_vec()).await.expect("the sessions are imported")
}

pub(crate) async fn an_import_is_the_same_twice(store: Arc<dyn Store>) {
    // Two rows of one user, as the PHP server's race makes them.
    let there = [foreign("a", "o1", 10), foreign("b", "o1", 20), foreign("c", "o2", 20)];
    assert_eq!(import(&*store, &there).await, [Imported::Added; 3]);
    assert_eq!(import(&*store, &there).await, [Imported::Known; 3]);
    for id in ["a", "b"] {
        let session = session(&*store, &id.into()).await.expect("the session is there");
        assert_eq!(session.last_visit, session.created + 5);
        assert!(session.user.profile.contains("at 20"));
    }
    let later = [foreign("c", "o2", 30)];
    assert_eq!(import(&*store, &later).await, [Imported::Renewed]);
    assert!(has_skey(&*store, &"c".into(), &"skey-30".into()).await);
    assert_eq!(count(&*store).await, 3);
}

pub(crate) async fn an_import_never_overwrites_a_newer_login(store: Arc<dyn Store>) {
    let there = [foreign("a", "o1", 10)];
    import(&*store, &there).await;
    sign_in(&*store, login("o1", 20)).await;
    assert_eq!(import(&*store, &there).await, [Imported::Known]);
    assert!(has_skey(&*store, &"a".into(), &"skey-o1-20".into()).await);
    sign_in(&*store, login("o2", 20)).await;
    let late = [foreign("b", "o2", 10)];
    assert_eq!(import(&*store, &late).await, [Imported::Superseded]);
    assert!(session(&*store, &"b".into()).await.is_none());
}

pub(crate) async fn an_import_does_not_bring_back_what_was_ended(store: Arc<dyn Store>) {
    let there = [foreign("a", "o1", 10)];
    import(&*store, &there).await;
    let selection = Selection { appid: None, whose: Whose::User("o1".into()) };
    store.revoke(&selection).await.expect("it is revoked");
    assert_eq!(import(&*store, &there).await, [Imported::Superseded]);
    assert_eq!(count(&*store).await, 0);
}
