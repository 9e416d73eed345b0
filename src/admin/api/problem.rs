//! What goes wrong, as RFC 9457 has it.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// Why a call of the API failed.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// The return code of the Wafer protocol, where it has one for this.
    code: Option<u32>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), code: None }
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl From<StoreError> for Problem {
    /// The log says why: `the store cannot be read`.
    fn from(error: StoreError) -> Self {
        tracing::warn!(
            cause = crate::causes::with_causes(&error),
            "a call of the admin API failed"
        );
        let detail = "the database cannot be reached";
        Self { code: Some(1001), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, code } = self;
        let title = status.canonical_reason().unwrap_or_default();
        let kind = code.map_or("about:blank".to_owned(), |code| format!("urn:mina-auth:{code}"));
        let mut problem = json!({
            "type": kind, "title": title, "status": status.as_u16(), "detail": detail,
        });
        if let Some(code) = code {
            problem["code"] = code.into();
        }
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, problem.to_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, 1.into());
        }
        response
    }
}
