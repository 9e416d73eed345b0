//! The WeChat simulator: WeChat's login interface and the phones that use it, without WeChat.
//!
//! `GET /sns/jscode2session` answers as WeChat does, `POST /sim/login` plays the phone, `GET /sim/code`
//! does for a shell, and
//! `POST /sim/faults` makes WeChat slow, busy or down. The API with an access token is in `api`:
//! `POST /sim/phone` presses the phone button, `POST /sim/tokens` has tokens end. Everything is kept in memory, and bounded.

mod api;
mod buttons;
mod codes;
mod faults;
mod object;
mod people;
mod phone;
mod tokens;

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use indexmap::IndexMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use self::buttons::Buttons;
use self::codes::{Codes, Errcode, Identity};
use self::faults::{Dropped, Faults, MAX_LATENCY};
use self::people::{People, Person};
use self::phone::{LoginAnswer, LoginRequest, Phone, Random};
use self::tokens::Tokens;
use crate::recent::Recent;
use crate::session::AppId;
use crate::{clock, random};

/// How long to wait when no connection can be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a stop waits for open requests: the slowest are answered, half-sent ones are not.
const STOP_PATIENCE: Duration = MAX_LATENCY.saturating_add(Duration::from_secs(5));

/// WeChat as far as a login needs it. Clones are the same WeChat.
#[derive(Debug, Clone)]
pub struct Simulator {
    apps: Arc<IndexMap<AppId, SecretString>>,
    state: Arc<Mutex<Knowledge>>,
}

#[derive(Debug)]
struct Knowledge {
    codes: Codes,
    people: People,
    faults: Faults,
    tokens: Tokens,
    buttons: Buttons,
    /// The session_keys that are good, by app and openid.
    session_keys: SessionKeys,
}

/// The newest session_keys, of so many users.
type SessionKeys = Recent<(usize, String), String>;

const MAX_SESSION_KEYS: usize = 100_000;

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            codes: Codes::default(),
            people: People::default(),
            faults: Faults::default(),
            tokens: Tokens::default(),
            buttons: Buttons::default(),
            session_keys: Recent::new(MAX_SESSION_KEYS),
        }
    }
}

impl Simulator {
    /// Makes a WeChat that knows these apps, each with its `AppSecret`. Phones use the first one
    /// unless they name another.
    #[must_use]
    pub fn new(apps: impl IntoIterator<Item = (AppId, SecretString)>) -> Self {
        Self { apps: Arc::new(apps.into_iter().collect()), state: Arc::default() }
    }

    /// Answers on `listener` until `stop` is done, then finishes the requests that are open.
    ///
    /// # Errors
    ///
    /// When requests are still open a good minute after the stop; their connections live on.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let router = TowerToHyperService::new(self.router());
        let service = service_fn(move |request| answer_or_drop(router.clone(), request));
        let connections = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Without it answers are slower on some systems, and no less right.
            let _ = stream.set_nodelay(true);
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connections.watch(connection));
        }
        drop(listener);
        Ok(timeout(STOP_PATIENCE, connections.shutdown()).await?)
    }

    fn router(self) -> Router {
        Router::new()
            .route("/sns/jscode2session", get(code2session))
            .route("/sim/login", post(login))
            .route("/sim/code", get(code))
            .route("/sim/faults", post(set_faults))
            .merge(api::routes())
            .with_state(self)
    }

    /// What a request is told in place of the truth, as long as that is to take.
    async fn fault(&self) -> Option<Response> {
        let faults = self.state().faults;
        if !faults.hit(random::bytes()) {
            return None;
        }
        faults.delay().await;
        faults.answer(clock::now(), random::bytes())
    }

    fn state(&self) -> MutexGuard<'_, Knowledge> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who a code stands for, and uses it up. WeChat: code2Session.
    fn exchange(&self, query: &[(String, String)], now: i64) -> Result<Identity, Errcode> {
        let find = |name| Some(query.iter().find(|(key, _)| key == name)?.1.as_str());
        let find_text = |name| find(name).filter(|text| !text.is_empty());
        let appid = find_text("appid").ok_or(Errcode(41002))?;
        let (app, _, secret) = self.apps.get_full(&AppId::from(appid)).ok_or(Errcode(40013))?;
        if find_text("secret").ok_or(Errcode(41004))? != secret.expose_secret() {
            return Err(Errcode(40125));
        }
        if find("grant_type") != Some("authorization_code") {
            return Err(Errcode(40002));
        }
        let code = find("js_code").ok_or(Errcode(41008))?;
        self.state().codes.redeem(code, app, now)
    }

    /// Takes a phone in hand and logs in.
    fn login(
        &self,
        request: LoginRequest,
        now: i64,
        random: Random,
    ) -> Result<LoginAnswer, String> {
        let (app, appid) = self.app(request.appid.as_deref())?;
        if request.openid.as_deref() == Some("") {
            return Err("`openid` is empty".into());
        }
        let phone = Phone::new(appid.as_str(), request.openid, random);
        let said = Person { unionid: request.unionid, profile: request.profile };
        let mut state = self.state();
        let person = state.people.meet(app, &phone.openid, said);
        let identity = phone.identity(&person);
        let key = identity.session_key.clone();
        state.session_keys.insert((app, phone.openid.clone()), key);
        state.codes.issue(&phone.code, app, identity, now);
        drop(state);
        Ok(phone.answer(&person, request.data.as_ref(), now))
    }

    /// The app with this name, or the first one, and its place among the apps.
    fn app(&self, appid: Option<&str>) -> Result<(usize, &AppId), String> {
        let found = match appid {
            Some(appid) => {
                self.apps.get_full(&AppId::from(appid)).map(|(app, appid, _)| (app, appid))
            }
            None => self.apps.keys().enumerate().next(),
        };
        found.ok_or_else(|| match appid {
            Some(appid) => format!("the simulator knows no app `{appid}`"),
            None => "the simulator knows no app".into(),
        })
    }
}

/// Answers a request, or fails where a fault wants it: that makes hyper close the connection
/// with nothing sent, which no handler of axum can do.
async fn answer_or_drop(
    router: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response, Dropped> {
    let Ok(mut response) = router.call(request).await;
    response.extensions_mut().remove().map_or(Ok(response), Err)
}

async fn code2session(
    State(simulator): State<Simulator>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    if let Some(fault) = simulator.fault().await {
        return fault;
    }
    let now = clock::now();
    let body = match simulator.exchange(&query, now) {
        Ok(identity) => identity.to_json(),
        Err(errcode) => errcode.to_json(now, random::bytes()),
    };
    // WeChat says so of its JSON.
    ([(CONTENT_TYPE, "text/plain")], body).into_response()
}

async fn login(
    State(simulator): State<Simulator>,
    body: Bytes,
) -> Result<Json<LoginAnswer>, BadRequest> {
    let answer = simulator.login(parse(&body)?, clock::now(), Random::draw());
    answer.map(Json).map_err(BadRequest)
}

/// Plays a phone, as `/sim/login` does, of which a shell wants the code alone.
async fn code(
    State(simulator): State<Simulator>,
    Query(request): Query<CodeRequest>,
) -> Result<String, BadRequest> {
    let CodeRequest { appid, openid } = request;
    let request = LoginRequest { appid, openid, ..LoginRequest::default() };
    let answer = simulator.login(request, clock::now(), Random::draw());
    answer.map(|answer| answer.code).map_err(BadRequest)
}

/// What `/sim/code` may be asked for.
#[derive(Debug, Deserialize)]
struct CodeRequest {
    appid: Option<String>,
    openid: Option<String>,
}

/// Sets the faults and answers with them.
async fn set_faults(
    State(simulator): State<Simulator>,
    body: Bytes,
) -> Result<Json<Faults>, BadRequest> {
    let faults: Faults = parse(&body)?;
    faults.check().map_err(BadRequest)?;
    simulator.state().faults = faults;
    Ok(Json(faults))
}

/// Reads a body, whatever the request calls it; nothing at all is an empty object.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadRequest> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| BadRequest(error.to_string()))
}

/// What is wrong with a request to `/sim`.
#[derive(Debug)]
struct BadRequest(String);

impl IntoResponse for BadRequest {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({ "error": self.0 }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::wechat::open_data::OpenData;

    const APP: &str = "wx0123456789abcdef";
    const OTHER_APP: &str = "wxfedcba9876543210";

    fn simulator() -> Simulator {
        let apps = [(APP, "s1"), (OTHER_APP, "s2")];
        Simulator::new(apps.map(|(appid, secret)| (appid.into(), secret.into())))
    }

    /// A simulator on a port of its own.
    struct Server {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        stopped: JoinHandle<io::Result<()>>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, asked) = oneshot::channel();
            let stopped = tokio::spawn(simulator().serve(listener, async {
                let _ = asked.await;
            }));
            Self { address, stop, stopped }
        }

        /// Sends a request and gives all that comes back, nothing when the connection is dropped.
        async fn send(&self, method: &str, path: &str, body: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let length = body.len();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: simulator\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }

        /// Sends a body to a path below `/sim` and reads the answer's JSON.
        async fn post(&self, path: &str, body: &str) -> serde_json::Value {
            let answer = self.send("POST", path, body).await;
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
        }

        async fn exchange(&self, code: &str) -> String {
            self.send("GET", &format!("/sns/jscode2session?{}", query(APP, "s1", code)), "").await
        }
    }

    fn query(appid: &str, secret: &str, code: &str) -> String {
        format!("appid={appid}&secret={secret}&js_code={code}&grant_type=authorization_code")
    }

    /// The errcode for a query, 0 when there is none.
    fn errcode(simulator: &Simulator, query: &str, now: i64) -> i64 {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        simulator.exchange(&pairs, now).map_or_else(|Errcode(errcode)| errcode, |_| 0)
    }

    fn log_in(simulator: &Simulator, request: &str, now: i64) -> Result<LoginAnswer, String> {
        let request = parse(request.as_bytes()).map_err(|BadRequest(error)| error)?;
        simulator.login(request, now, Random::draw())
    }

    #[test]
    fn checks_what_wechat_checks() {
        let simulator = simulator();
        let code = log_in(&simulator, "", 1000).unwrap().code;
        let errcode = |query: &str| errcode(&simulator, query, 1000);
        assert_eq!(errcode(""), 41002);
        assert_eq!(errcode("appid="), 41002);
        assert_eq!(errcode(&query("wx1", "s1", &code)), 40013);
        assert_eq!(errcode(&query(APP, "", &code)), 41004);
        assert_eq!(errcode(&query(APP, "s2", &code)), 40125);
        assert_eq!(errcode(&query(OTHER_APP, "s2", &code)), 40029);
        assert_eq!(errcode(&query(APP, "s1", &code).replace("authorization", "device")), 40002);
        assert_eq!(errcode(&query(APP, "s1", &code).replace("js_code", "code")), 41008);
        assert_eq!(errcode(&query(APP, "s1", "")), 40029);
        assert_eq!(errcode(&query(APP, "s1", &code)), 0);
        assert_eq!(errcode(&query(APP, "s1", &code)), 40163);
    }

    #[test]
    fn the_same_openid_is_the_same_person_with_another_session_key() {
        let simulator = simulator();
        let first = r#"{"openid":"o1","unionid":"u1","profile":{"nickName":"n"}}"#;
        let [first, again] = [first, r#"{"openid":"o1"}"#].map(|request| {
            let answer = log_in(&simulator, request, 1000).unwrap();
            let redeemed = simulator.state().codes.redeem(&answer.code, 0, 1000).unwrap();
            (answer, redeemed)
        });
        assert_eq!(first.0.raw_data, again.0.raw_data);
        assert_eq!(again.1.unionid.as_deref(), Some("u1"));
        assert_ne!(first.1.session_key, again.1.session_key);
        assert_ne!(first.0.iv, again.0.iv);
    }

    #[test]
    fn refuses_logins_it_does_not_understand() {
        let error = |request: &str| log_in(&simulator(), request, 1000).unwrap_err();
        insta::assert_snapshot!(error(r#"{"appid":"wx1"}"#), @"the simulator knows no app `wx1`");
        insta::assert_snapshot!(error(r#"{"openId":"o1"}"#), @"unknown field `openId`, expected one of `appid`, `openid`, `unionid`, `profile`, `data` at line 1 column 9");
        insta::assert_snapshot!(error(r#"{"openid":""}"#), @"`openid` is empty");
        insta::assert_snapshot!(error(r#"{"data":[]}"#), @"expected a JSON object at line 1 column 11");
        insta::assert_snapshot!(error("{"), @"EOF while parsing an object at line 1 column 1");
        let empty = Simulator::new([]);
        insta::assert_snapshot!(log_in(&empty, "", 1000).unwrap_err(), @"the simulator knows no app");
    }

    #[tokio::test]
    async fn a_login_over_http() {
        let server = Server::start().await;
        let login = server.post("/sim/login", r#"{"data":{"phoneNumber":"1"}}"#).await;
        let answer = server.exchange(login["code"].as_str().unwrap()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"), "{head}");
        let identity: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(identity["openid"], login["openid"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let [key, data] = [text(&identity["session_key"]), text(&login["encryptedData"])];
        let data = OpenData::decrypt(&key, &data, login["iv"].as_str(), APP).unwrap();
        assert!(data.into_text().starts_with(r#"{"phoneNumber":"1","watermark":{"#));
    }

    #[tokio::test]
    async fn a_shell_gets_a_code_alone() {
        let server = Server::start().await;
        let answer = server.send("GET", "/sim/code?openid=person", "").await;
        let (_, code) = answer.split_once("\r\n\r\n").unwrap();
        assert!(server.exchange(code).await.contains(r#""openid":"person""#));
        assert!(server.send("GET", "/sim/code?appid=wx1", "").await.contains("knows no app `wx1`"));
    }

    #[tokio::test]
    async fn faults_spare_the_code_and_heal() {
        let server = Server::start().await;
        let login = server.post("/sim/login", "").await;
        let code = login["code"].as_str().unwrap();
        server.post("/sim/faults", r#"{"drop":true,"status":503}"#).await;
        assert_eq!(server.exchange(code).await, "");
        server.post("/sim/faults", r#"{"status":503,"errcode":-1}"#).await;
        let answer = server.exchange(code).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains(r#"{"errcode":-1,"errmsg":"system error, rid: "#), "{answer}");
        server.post("/sim/faults", r#"{"drop":true,"rate":0}"#).await;
        assert!(server.exchange("").await.contains("40029"));
        server.post("/sim/faults", "{}").await;
        assert!(server.exchange(code).await.contains("session_key"));
        let refused = server.post("/sim/faults", r#"{"rate":2}"#).await;
        insta::assert_snapshot!(refused, @r#"{"error":"`rate` is not within 0 to 1"}"#);
    }

    #[tokio::test]
    async fn a_stop_lets_open_requests_finish() {
        let server = Server::start().await;
        let _idle = TcpStream::connect(server.address).await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let requests = "POST /sim/faults HTTP/1.1\r\nHost: s\r\nContent-Length: 18\r\n\r\n\
                        {\"latency_ms\":200}GET /sns/jscode2session HTTP/1.1\r\nHost: s\r\n\r\n";
        stream.write_all(requests.as_bytes()).await.unwrap();
        // Once the first is answered the second is open.
        let mut first = [0; 1024];
        let length = stream.read(&mut first).await.unwrap();
        assert!(first[..length].ends_with(b"}"));
        server.stop.send(()).unwrap();
        let mut second = String::new();
        stream.read_to_string(&mut second).await.unwrap();
        assert!(second.contains("41002"), "{second}");
        server.stopped.await.unwrap().unwrap();
    }
}
