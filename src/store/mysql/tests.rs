//! Tests against a real server; see tests/it/mariadb.rs.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::store::Whose;
use crate::store::cached::{CacheSettings, Cached};

#[path = "../../../tests/it/mariadb.rs"]
mod mariadb;

use mariadb::{Database, Mariadb};

const APP: &str = "wx0123456789abcdef";

fn settings(url: &str) -> Settings {
    Settings {
        url: url.parse().expect("it is a URL"),
        time_zone: None,
        legacy_appid: None,
        shared_with_php: false,
        leave_php: false,
        serves: true,
        max_connections: 8,
        timeout: Duration::from_secs(5),
    }
}

async fn open(settings: &Settings) -> Arc<Mysql> {
    Arc::new(Mysql::open(settings, true).await.expect("the store opens"))
}

async fn fresh() -> (Arc<Mysql>, Database) {
    let database = Mariadb::shared().database().await;
    (open(&settings(&database.url)).await, database)
}

crate::store::contract::store_tests!(super::fresh().await);

/// The cases again, through the cache that a server puts in front.
mod behind_the_cache {
    use super::{Arc, CacheSettings, Cached, Database, fresh};

    async fn open() -> (Arc<Cached>, Database) {
        let settings = CacheSettings { max_bytes: 1 << 20, max_stale: 60, touch_interval: 60 };
        let (store, database) = fresh().await;
        (Arc::new(Cached::open(store, settings, 0).await.expect("it opens")), database)
    }

    crate::store::contract::store_tests!(super::open().await);
}
