//! WeChat's API with an access token: phone numbers, session_keys, and an echo for all the rest.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::buttons::{PhoneCode, Pressed};
use super::codes::Errcode;
use super::tokens::{self, Wishes};
use super::{BadRequest, Simulator, parse};
use crate::session::AppId;
use crate::wechat::users::{hex, sign};
use crate::{clock, random};
use secrecy::ExposeSecret as _;

/// The longest body, twice as long as any of WeChat's media.
const MAX_BODY: usize = 20 << 20;

/// What the codes of mini programs look like here: a PNG of one pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01\x48\xaf\xa4\x71\0\0\0\0IEND\xaeB`\x82";

/// The parameters of a query.
type Parameters = Query<Vec<(String, String)>>;

/// The routes of the API, and those by which a test has its way with it.
pub(super) fn routes() -> Router<Simulator> {
    Router::new()
        .route("/cgi-bin/stable_token", post(stable_token))
        .route("/wxa/business/getuserphonenumber", post(phone_number))
        .route("/wxa/checksession", get(check_session))
        .route("/wxa/resetusersessionkey", get(reset_session_key))
        .route("/sim/tokens", post(wish))
        .route("/sim/phone", post(press))
        .fallback(echo)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

#[derive(Debug, Deserialize)]
struct TokenRequest {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    appid: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    force_refresh: bool,
}

async fn stable_token(State(simulator): State<Simulator>, body: Bytes) -> Response {
    answer(&simulator, async || {
        let TokenRequest { grant_type, appid, secret, force_refresh } =
            serde_json::from_slice(&body).map_err(|_| Errcode(47001))?;
        let app = simulator.apps.get_full(&AppId::from(&*appid)).ok_or(Errcode(40013))?;
        let (app, _, right) = app;
        if secret != right.expose_secret() {
            return Err(Errcode(40125));
        }
        if grant_type != "client_credential" {
            return Err(Errcode(40002));
        }
        let now = clock::now();
        simulator.state().tokens.give(app, force_refresh, new_token(), now)
    })
    .await
}

/// A token of the length that real ones have.
fn new_token() -> String {
    let random: [u8; 96] = random::bytes();
    format!("96_{}", hex(&random))
}

#[derive(Debug, Deserialize)]
struct PhoneRequest {
    code: String,
    openid: Option<String>,
}

async fn phone_number(
    State(simulator): State<Simulator>,
    Query(query): Parameters,
    body: Bytes,
) -> Response {
    answer(&simulator, async || {
        let app = app_of(&simulator, &query)?;
        let PhoneRequest { code, openid } =
            serde_json::from_slice(&body).map_err(|_| Errcode(47001))?;
        let now = clock::now();
        let number = simulator.state().buttons.redeem(&code, app, openid.as_deref(), now)?;
        let (appid, _) = simulator.apps.get_index(app).ok_or(Errcode(-1))?;
        Ok(json!({ "errcode": 0, "errmsg": "ok", "phone_info": {
            "phoneNumber": number,
            "purePhoneNumber": number,
            "countryCode": "86",
            "watermark": { "timestamp": now, "appid": appid.as_str() },
        } }))
    })
    .await
}

async fn check_session(State(simulator): State<Simulator>, Query(query): Parameters) -> Response {
    answer(&simulator, async || {
        signed(&simulator, &query).map(|_| json!({ "errcode": 0, "errmsg": "ok" }))
    })
    .await
}

async fn reset_session_key(
    State(simulator): State<Simulator>,
    Query(query): Parameters,
) -> Response {
    answer(&simulator, async || {
        let (app, openid) = signed(&simulator, &query)?;
        let key = BASE64_STANDARD.encode(random::bytes::<16>());
        simulator.state().session_keys.insert((app, openid.to_owned()), key.clone());
        Ok(json!({ "errcode": 0, "errmsg": "ok", "openid": openid, "session_key": key }))
    })
    .await
}

/// The app and the user of a request that was signed with the user's session_key.
fn signed<'a>(
    simulator: &Simulator,
    query: &'a [(String, String)],
) -> Result<(usize, &'a str), Errcode> {
    let app = app_of(simulator, query)?;
    let openid = find(query, "openid").ok_or(Errcode(40003))?;
    if find(query, "sig_method") != Some("hmac_sha256") {
        return Err(Errcode(87007));
    }
    let mut state = simulator.state();
    let key = state.session_keys.get_mut(&(app, openid.to_owned())).ok_or(Errcode(40003))?;
    let is_right = find(query, "signature") == Some(&*sign(&key.as_str().into(), b""));
    if is_right { Ok((app, openid)) } else { Err(Errcode(87009)) }
}

/// Answers whatever else is called with what was sent, when the token is good.
async fn echo(
    State(simulator): State<Simulator>,
    method: Method,
    uri: Uri,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path().starts_with("/wxa/getwxacode") && app_of(&simulator, &query).is_ok() {
        return ([(CONTENT_TYPE, "image/png")], PIXEL).into_response();
    }
    answer(&simulator, async || {
        app_of(&simulator, &query)?;
        let query: Vec<_> = query.iter().filter(|(name, _)| name != "access_token").collect();
        let headers: Value = headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        Ok(json!({
            "errcode": 0,
            "errmsg": "ok",
            "method": method.as_str(),
            "path": uri.path(),
            "query": query,
            "headers": headers,
            "length": body.len(),
            "sha256": hex(&Sha256::digest(&body)),
            "body": std::str::from_utf8(&body).ok().filter(|text| text.len() < 4096),
        }))
    })
    .await
}

/// Presses the phone button.
async fn press(
    State(simulator): State<Simulator>,
    body: Bytes,
) -> Result<Json<PhoneCode>, BadRequest> {
    let pressed: Pressed = parse(&body)?;
    let (app, _) = simulator.app(pressed.appid.as_deref()).map_err(BadRequest)?;
    let code = format!("{:032x}", u128::from_be_bytes(random::bytes()));
    simulator.state().buttons.press(&code, app, pressed, clock::now());
    Ok(Json(PhoneCode { code }))
}

/// Has tokens end, lie or run out.
async fn wish(
    State(simulator): State<Simulator>,
    body: Bytes,
) -> Result<Json<tokens::State>, BadRequest> {
    let wishes: Wishes = parse(&body)?;
    let (app, _) = simulator.app(wishes.appid.as_deref()).map_err(BadRequest)?;
    Ok(Json(simulator.state().tokens.wish(app, wishes, new_token(), clock::now())))
}

fn find<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The app whose good token a query has.
fn app_of(simulator: &Simulator, query: &[(String, String)]) -> Result<usize, Errcode> {
    let token = find(query, "access_token").unwrap_or_default();
    simulator.state().tokens.app_of(token, clock::now())
}

/// Answers as WeChat does, or as the faults want it.
async fn answer(
    simulator: &Simulator,
    work: impl AsyncFnOnce() -> Result<Value, Errcode>,
) -> Response {
    if let Some(fault) = simulator.fault().await {
        return fault;
    }
    let body = match work().await {
        Ok(answer) => answer.to_string(),
        Err(errcode) => errcode.to_json(clock::now(), random::bytes()),
    };
    ([(CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}
