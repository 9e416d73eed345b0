//! How the server is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::clock;
use crate::operations::Operations;
use crate::store::cached::Trust;

pub async fn show(State(operations): State<Arc<Operations>>) -> Json<Value> {
    let store = operations.store();
    let now = clock::now();
    let cache = store.numbers(now);
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "store": match store.trust(now) {
            Trust::Full => "ready",
            Trust::Stale => "degraded",
            Trust::None => "away",
        },
        "change_feed_lag_seconds": cache.feed_lag,
        "wechat": if operations.wechat().is_left_alone() { "unreachable" } else { "ready" },
        "apps": store.apps().iter().count(),
        "cached_sessions": cache.sessions,
        "cache_bytes": cache.bytes,
        "cache_hits": cache.hits,
        "cache_misses": cache.misses,
        "visits_waiting": cache.visits_waiting,
        "logins_in_flight": operations.logins_in_flight(),
    }))
}
