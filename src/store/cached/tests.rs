use super::*;
use crate::store::memory::Memory;
use crate::store::sqlite;

const SETTINGS: CacheSettings =
    CacheSettings { max_bytes: 1 << 20, max_stale: 60, touch_interval: 60 };

async fn open() -> (Arc<Cached>, ()) {
    let memory = Arc::new(Memory::default());
    (Arc::new(Cached::open(memory, SETTINGS, 0).await.expect("it opens")), ())
}

crate::store::contract::store_tests!(super::open().await);

fn app() -> App {
    App {
        appid: "wx1".into(),
        secret: "secret".into(),
        lifetime: crate::session::Lifetime::default(),
        is_default: false,
    }
}

fn login(number: usize) -> Login {
    Login {
        appid: "wx1".into(),
        open_id: format!("o{number}").into(),
        union_id: None,
        session_key: "k".into(),
        profile: None,
        new_id: format!("{number:032x}").into(),
        skey: "skey".into(),
        now: 0,
        per_user: 1,
    }
}

#[tokio::test]
async fn under_pressure_memory_is_kept_small_and_no_session_or_visit_is_lost() {
    let settings = CacheSettings { max_bytes: SHARDS * 2_000, ..SETTINGS };
    let memory = Arc::new(Memory::default());
    let cached = Cached::open(memory, settings, 0).await.expect("it opens");
    cached.put_app(&app()).await.expect("the app is written");
    for number in 0..2_000 {
        let id = cached.sign_in(login(number)).await.expect("the login is written").id;
        let known = cached.load(id.as_str()).await.expect("it is read").expect("it is there");
        cached.visited(&known, 7);
    }
    let bytes: usize = cached.shards.iter().map(|shard| lock(shard).bytes()).sum();
    let waiting = cached.waiting.load(Ordering::Relaxed) * WAITING_BYTES;
    assert!(waiting > settings.max_bytes, "their sessions left memory: {waiting} bytes wait");
    assert!(bytes <= settings.max_bytes / 2, "{bytes} bytes");
    cached.write_all_visits().await.expect("visits are written");
    assert_eq!(cached.waiting.load(Ordering::Relaxed), 0);
    for number in 0..2_000 {
        let id = format!("{number:032x}");
        let session = cached.session(&id.as_str().into()).await.expect("it is read");
        assert_eq!(session.expect("it is there").last_visit, 7, "{id}");
    }
}

#[tokio::test]
async fn without_news_for_too_long_memory_is_not_trusted() {
    let (cached, ()) = open().await;
    cached.miss();
    assert_eq!([0, 60, 61].map(|now| cached.trust(now)), [Trust::Stale, Trust::Stale, Trust::None]);
    cached.follow(61).await.expect("the feed can be read");
    assert_eq!(cached.trust(61), Trust::Full);
}

#[tokio::test]
async fn visits_that_could_not_be_written_are_written_later() {
    let stays_in_memory = SETTINGS;
    let leaves_memory = CacheSettings { max_bytes: 0, ..SETTINGS };
    for settings in [stays_in_memory, leaves_memory] {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = directory.path().join("x.db");
        let of_sqlite = sqlite::Settings { path: path.clone(), keys: None, on_network: false };
        let store = sqlite::Sqlite::open(&of_sqlite, true).expect("the store opens");
        let cached = Cached::open(Arc::new(store), settings, 0).await.expect("it opens");
        cached.put_app(&app()).await.expect("the app is written");
        let [first, second] = [1, 2].map(login);
        let visit = async |login: &Login, now| {
            let id = login.new_id.as_str();
            let known = cached.load(id).await.expect("it is read").expect("it is there");
            cached.visited(&known, now);
        };
        for login in [&first, &second] {
            cached.sign_in(login.clone()).await.expect("the login is written");
            visit(login, 70).await;
        }

        let other = rusqlite::Connection::open(&path).expect("it opens again");
        let rename = |from, to| other.execute(&format!("ALTER TABLE {from} RENAME TO {to}"), []);
        rename("mina_visit", "away").expect("it is renamed");
        cached.write_visits().await.expect_err("there is nowhere to write");
        rename("away", "mina_visit").expect("it is renamed back");
        visit(&second, 80).await;
        cached.write_visits().await.expect("visits are written");
        for (login, last_visit) in [(first, 70), (second, 80)] {
            let session = cached.session(&login.new_id).await.expect("it is read");
            assert_eq!(session.expect("it is there").last_visit, last_visit, "{settings:?}");
        }
    }
}

#[tokio::test]
async fn under_pressure_a_session_in_use_stays_in_memory() {
    let settings = CacheSettings { max_bytes: SHARDS * 2_000, ..SETTINGS };
    let cached = Cached::open(Arc::new(Memory::default()), settings, 0).await.expect("it opens");
    cached.put_app(&app()).await.expect("the app is written");
    cached.follow(0).await.expect("the feed can be read");
    let used = cached.sign_in(login(0)).await.expect("the login is written").id;
    cached.load(used.as_str()).await.expect("it is read");
    for number in 1..2_000 {
        let id = cached.sign_in(login(number)).await.expect("the login is written").id;
        let known = cached.load(id.as_str()).await.expect("it is read").expect("it is there");
        cached.visited(&known, 7);
        let known = cached.known(used.as_str(), 7).expect("it is in memory");
        cached.visited(&known, 7);
    }
}

/// A session with this profile, as memory keeps it.
fn known(open_id: &str, union_id: Option<&str>, profile: Option<&str>) -> Known {
    let login = Login {
        open_id: open_id.into(),
        union_id: union_id.map(Into::into),
        profile: profile.map(Into::into),
        ..login(1)
    };
    let session = Session {
        id: login.new_id.clone(),
        skey: login.skey.stored(),
        appid: login.appid.clone(),
        open_id: login.open_id.clone(),
        created: 0,
        last_visit: 0,
        user: login.user(None),
        row: 0,
    };
    let known = Known::new(&session, Arc::new(app()));
    let whole = known.profile_between("<", ">").concat();
    assert_eq!(whole, format!("<{}>", session.user.profile));
    assert_eq!((known.open_id(), known.union_id()), (open_id, union_id));
    assert_eq!((known.id(), known.skey()), (session.id.as_str(), session.skey));
    known
}

#[test]
fn a_minimal_profile_costs_no_more_than_its_ids() {
    let shown = r#"{"openId":"o1","nickName":"u1 和 o1"}"#;
    let bytes = |union_id, profile| known("o1", union_id, profile).bytes();
    assert_eq!(bytes(None, None), bytes(None, Some("{}")) - 16);
    assert!(bytes(Some("u1"), None) < bytes(None, Some(shown)));
    // Whatever an id is made of, it comes back, and so does the profile.
    for open_id in ["", "o\"1", "o\n", "\u{7528}\u{6237}", "nickName", &"o".repeat(300)] {
        for union_id in [None, Some("u1"), Some("o"), Some("\"")] {
            for profile in [None, Some("{}"), Some(shown)] {
                known(open_id, union_id, profile);
            }
        }
    }
}
