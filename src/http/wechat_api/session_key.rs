//! What a business server may have done with a user's session_key.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::error::{Error, json_answer};
use super::path::KeyWork;
use crate::http::Shared;
use crate::http::body::AnswerBody;
use crate::http::v1::problem;
use crate::json::Value;
use crate::net::connections::{Activity, Phase};
use crate::session::{App, OpenId};

/// Answers a call for a session_key to be checked, reset or signed with.
pub async fn answer(
    shared: &Shared,
    activity: &Activity,
    app: &Arc<App>,
    (open_id, work): (&str, KeyWork),
    (head, body): (&Parts, Incoming),
) -> Result<Response<AnswerBody>, Error> {
    if head.method != Method::POST {
        let problem = "a session_key is checked, reset and signed with by POST";
        return Err(problem::Error::Http(StatusCode::METHOD_NOT_ALLOWED, problem).into());
    }
    let open_id = percent_decode_str(open_id).decode_utf8_lossy();
    let open_id = OpenId::from(&*open_id);
    let body = shared.bodies.read(body).await.map_err(problem::Error::from)?;
    activity.begin(Phase::Answering);
    let operations = &shared.operations;
    Ok(json_answer(match work {
        KeyWork::Check => {
            let is_valid = operations.check_session_key(app, &open_id).await?;
            format!(r#"{{"valid":{is_valid}}}"#)
        }
        KeyWork::Reset => {
            operations.reset_session_key(app, open_id).await?;
            r#"{"reset":true}"#.to_owned()
        }
        KeyWork::Sign => {
            let object = Value::parse(&body.bytes).ok().filter(|value| value.is_object());
            let object = object.ok_or(problem::Error::NotJson)?;
            let data = object.get("data").and_then(Value::as_str);
            let data = data.ok_or(problem::Error::Member("data"))?;
            let signature = operations.sign_with_session_key(app, &open_id, &data).await?;
            format!(r#"{{"signature":"{signature}"}}"#)
        }
    }))
}
