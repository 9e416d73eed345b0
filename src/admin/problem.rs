//! Errors of the admin listener: the problems of the plain API.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::causes::with_causes;
use crate::clock;
use crate::http::v1::answer::Answer;
use crate::http::v1::problem::{Error, Problem};
use crate::operations::failure::Failure;
use crate::store::StoreError;

/// A request that is not done, and why.
#[derive(Debug)]
pub struct Refused(Problem);

impl Refused {
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Problem::of_status(status, detail))
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl Refused {
    pub const fn status(&self) -> StatusCode {
        self.0.status
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl From<StoreError> for Refused {
    /// Whoever has the token may hear the cause: the operator is the one to settle it.
    fn from(error: StoreError) -> Self {
        let detail = format!("the database did not do it: {}", with_causes(&error));
        let mut problem = Error::from(Failure::Storage(error.into())).problem();
        problem.detail = detail.into();
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Answer::Problem(self.0).into_response(clock::wall(), false).map(Body::new)
    }
}
