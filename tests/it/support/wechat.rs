//! A WeChat of the tests' own, which says what a test wants it to say.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::http::Head;
use super::{APP, Gate, PATIENCE};

/// A session_key as WeChat gives one: the one of WeChat's published example.
pub const SESSION_KEY: &str = "tiihtNczf5v6AKRyjwEUhQ==";

/// A request to WeChat, decoded.
#[derive(Debug, Clone)]
pub struct Question {
    pub path: String,
    query: HashMap<String, String>,
}

impl Question {
    /// A parameter of the query, empty when it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub fn code(&self) -> &str {
        self.get("js_code")
    }

    fn read(head: &Head) -> Self {
        let target = head.first.split(' ').nth(1).unwrap_or_default();
        // A proxy is sent the whole URL.
        let base: reqwest::Url = "http://wechat".parse().unwrap();
        let url = base.join(target).unwrap();
        let mut query = HashMap::new();
        for (name, value) in url.query_pairs() {
            query.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self { path: url.path().to_owned(), query }
    }
}

/// What WeChat answers.
#[derive(Debug)]
pub struct Reply {
    /// 0 closes the connection without an answer.
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    /// A connection that is closed.
    pub fn hang_up() -> Self {
        Self::text(0, "")
    }

    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("Content-Type", "text/plain".into())], body: body.into() }
    }

    pub fn json(body: &Value) -> Self {
        Self::text(200, body.to_string())
    }

    /// A code that stands for this person.
    pub fn person(openid: &str) -> Self {
        Self::json(&json!({ "openid": openid, "session_key": SESSION_KEY }))
    }

    pub fn errcode(errcode: i64, errmsg: &str) -> Self {
        Self::json(&json!({ "errcode": errcode, "errmsg": errmsg }))
    }
}

/// A listening WeChat. Its threads end with the tests.
#[derive(Debug)]
pub struct WeChat {
    pub address: SocketAddr,
    asked: Arc<Asked>,
}

type Asked = (Mutex<Vec<Question>>, Condvar);

impl WeChat {
    /// Starts a WeChat; every request has a thread of its own, so `answer` may take its time.
    pub fn start(answer: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Asked> = Arc::default();
        let (shared, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                // A client that goes away is its own business.
                thread::spawn(move || converse(stream, &asked, &*answer).ok());
            }
        });
        Self { address, asked }
    }

    /// A WeChat in which every code stands for a person of the same name.
    pub fn of_anybody() -> Self {
        Self::start(|question| Reply::person(question.code()))
    }

    /// The same, but it answers nobody before the gate is open.
    pub fn behind(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::start(move |question| {
            gate.pass();
            Reply::person(question.code())
        })
    }

    pub fn questions(&self) -> Vec<Question> {
        self.asked.0.lock().unwrap().clone()
    }

    /// Waits until so many requests have come in.
    pub fn wait_for_questions(&self, count: usize) {
        let (asked, changed) = &*self.asked;
        let waiting = |asked: &mut Vec<Question>| asked.len() < count;
        let waited = changed.wait_timeout_while(asked.lock().unwrap(), PATIENCE, waiting);
        assert!(!waited.unwrap().1.timed_out(), "WeChat was not asked {count} times");
    }
}

fn converse(
    mut stream: TcpStream,
    asked: &Asked,
    answer: &dyn Fn(&Question) -> Reply,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut reader)? {
        let question = Question::read(&head);
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        reader.read_exact(&mut vec![0; length])?;
        asked.0.lock().unwrap().push(question.clone());
        asked.1.notify_all();
        let reply = answer(&question);
        if reply.status == 0 {
            break;
        }
        let (length, body) = (reply.body.len(), reply.body);
        let mut response = format!("HTTP/1.1 {} -\r\nContent-Length: {length}\r\n", reply.status);
        for (name, value) in &reply.headers {
            write!(response, "{name}: {value}\r\n").unwrap();
        }
        write!(response, "\r\n{body}").unwrap();
        stream.write_all(response.as_bytes())?;
    }
    Ok(())
}

/// What a phone sends for a person, encrypted under [`SESSION_KEY`]: the data and the iv.
pub fn encrypt(mut data: Value) -> (String, String) {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    let key = BASE64_STANDARD.decode(SESSION_KEY).unwrap().try_into().unwrap();
    let iv = [7; 16];
    data["watermark"] = json!({ "timestamp": 1_477_314_187, "appid": APP });
    let data = mina_auth::wechat::open_data::encrypt(key, iv, data.to_string().as_bytes());
    (data, BASE64_STANDARD.encode(iv))
}
