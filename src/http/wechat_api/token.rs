//! The access token, for who calls WeChat directly.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::time::Instant;

use super::error::{Error, json_answer};
use crate::http::Shared;
use crate::http::body::AnswerBody;
use crate::http::v1::problem;
use crate::json::{self, Value};
use crate::net::connections::{Activity, Phase};
use crate::operations::failure::Failure;
use crate::session::App;
use crate::wechat::client::ExchangeError;
use crate::wechat::token::Token;
use secrecy::ExposeSecret as _;

/// Answers a request for the token; one that tells of a dead token is answered with the next.
pub async fn answer(
    shared: &Shared,
    activity: &Activity,
    app: &Arc<App>,
    (head, body): (&Parts, Incoming),
) -> Result<Response<AnswerBody>, Error> {
    if ![Method::GET, Method::HEAD, Method::POST].contains(&head.method) {
        let problem = "a token is asked for by GET or POST";
        return Err(problem::Error::Http(StatusCode::METHOD_NOT_ALLOWED, problem).into());
    }
    let body = shared.bodies.read(body).await.map_err(problem::Error::from)?;
    activity.begin(Phase::Answering);
    let wechat = shared.operations.wechat();
    let object = Value::parse(&body.bytes).ok();
    let dead = object.as_ref().and_then(|object| object.get("dead")?.as_scalar());
    let token = match dead {
        Some(dead) => wechat.token_after(app, &dead).await,
        None => wechat.token(app).await,
    };
    answer_with(token)
}

/// Answers an SDK that takes this for WeChat, whatever it says.
pub async fn answer_sdk(shared: &Shared, app: &Arc<App>) -> Result<Response<AnswerBody>, Error> {
    answer_with(shared.operations.wechat().token(app).await)
}

fn answer_with(token: Result<Token, ExchangeError>) -> Result<Response<AnswerBody>, Error> {
    let token = token.map_err(Failure::NoToken)?;
    let mut body = String::from(r#"{"access_token":"#);
    json::push_string(&mut body, token.text.expose_secret());
    body.push_str(r#","expires_in":"#);
    body.push_str(itoa::Buffer::new().format(token.expires_in(Instant::now())));
    body.push('}');
    Ok(json_answer(body))
}
