//! Tests against a real server; see tests/it/mariadb.rs.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::session::Lifetime;
use crate::store::Whose;
use crate::store::cached::{CacheSettings, Cached};

#[expect(dead_code, reason = "the whole-server tests use more of it")]
#[path = "../../../../tests/it/mariadb.rs"]
mod mariadb;
mod max_connections;
mod migration;
mod nodes;
mod php;
mod secrets;

use mariadb::{Database, Mariadb};

const APP: &str = "wx0123456789abcdef";

/// How long the database may take, on a busy machine too.
const TIMEOUT: Duration = Duration::from_mins(1);

fn keys() -> Keys {
    let key = "0000000000000000000000000000000000000000000000000000000000000000";
    Keys::new(vec![key.parse().expect("it is a key")], "`secrets.keys`")
}

fn settings(url: &str) -> Settings {
    Settings {
        url: url.parse().expect("it is a URL"),
        keys: keys(),
        time_zone: None,
        legacy_appid: None,
        shared_with_php: false,
        leave_php: false,
        serves: true,
        max_connections: 8,
        timeout: TIMEOUT,
    }
}

async fn open(settings: &Settings) -> Arc<Mysql> {
    Arc::new(Mysql::open(settings, true).await.expect("the store opens"))
}

async fn refused(settings: &Settings) -> String {
    Mysql::open(settings, true).await.expect_err("it is refused").to_string()
}

async fn fresh() -> (Arc<Mysql>, Database) {
    let database = Mariadb::shared().database().await;
    (open(&settings(&database.url)).await, database)
}

fn app(appid: &str) -> App {
    App {
        appid: appid.into(),
        secret: "secret".into(),
        lifetime: Lifetime::default(),
        is_default: false,
    }
}

fn login(open_id: &str, skey: &str, now: i64) -> Login {
    Login {
        appid: APP.into(),
        open_id: open_id.into(),
        union_id: None,
        session_key: "a2V5".into(),
        profile: None,
        new_id: format!("id-{open_id}-{skey}").into(),
        skey: skey.into(),
        now,
        per_user: 1,
    }
}

fn of_user(open_id: &str) -> Selection {
    Selection { appid: None, whose: Whose::User(open_id.into()) }
}

async fn find(store: &dyn Store, id: &str) -> Option<Session> {
    store.session(&id.into()).await.expect("the session can be read")
}

const CACHE: CacheSettings =
    CacheSettings { max_bytes: 1 << 20, max_stale: 60, touch_interval: 60 };

crate::store::contract::store_tests!(super::fresh().await);

/// The cases again, through the cache that a server puts in front.
mod behind_the_cache {
    use super::{Arc, CACHE, Cached, Database, fresh};

    async fn open() -> (Arc<Cached>, Database) {
        let (store, database) = fresh().await;
        (Arc::new(Cached::open(store, CACHE, 0).await.expect("it opens")), database)
    }

    crate::store::contract::store_tests!(super::open().await);
}

/// The cases again, with the columns that the PHP server reads.
mod beside_php {
    use super::{Arc, Database, Mariadb, Mysql, Settings, open, settings};

    async fn shared() -> (Arc<Mysql>, Database) {
        let database = Mariadb::shared().database().await;
        let time_zone = "+08:00".parse().ok();
        let settings = Settings { time_zone, shared_with_php: true, ..settings(&database.url) };
        (open(&settings).await, database)
    }

    mod cases {
        use crate::store::contract;

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_profile_is_stored_whole() {
            let (store, _database) = super::shared().await;
            contract::a_profile_is_stored_whole(store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn text_of_every_kind_comes_back() {
            let (store, _database) = super::shared().await;
            contract::text_of_every_kind_comes_back(store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_session_key_before_the_newest_is_kept() {
            let (store, _database) = super::shared().await;
            contract::the_session_key_before_the_newest_is_kept(store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn two_first_logins_at_once_leave_one_session() {
            let (store, _database) = super::shared().await;
            contract::two_first_logins_at_once_leave_one_session(store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn visits_move_forward_only() {
            let (store, _database) = super::shared().await;
            contract::visits_move_forward_only(store).await;
        }
    }
}
