//! Health checks, on the admin listener.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::clock;
use crate::operations::Operations;
use crate::store::cached::Trust;
use tokio::sync::watch;

/// `GET /health/live` and `GET /health/ready`; `stop` is true once the server drains.
pub fn router(operations: Arc<Operations>, stop: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(async move || ready(&operations, *stop.borrow())))
}

fn ready(operations: &Operations, stopping: bool) -> (StatusCode, &'static str) {
    if stopping {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match operations.store().trust(clock::now()) {
        Trust::Full => (StatusCode::OK, "ready\n"),
        Trust::Stale => {
            (StatusCode::OK, "degraded: the store cannot be read; known sessions check out\n")
        }
        Trust::None => (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n"),
    }
}
