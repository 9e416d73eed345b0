//! The express lane: requests as the clients of this protocol send them.
//!
//! hyper serves whatever HTTP/1 there is, and pays for it with a map of headers, a channel for
//! the body and a response that is taken apart again. Nearly every request here is a POST of a
//! few hundred bytes, its length in front. `httparse`, which is hyper's parser too, reads the head
//! of such a one where it lies, and the answer is written as it stands. At the first request that
//! is out of the ordinary the connection goes to hyper, for good, with all that was read of it.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, BytesMut};
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::access_key::AccessKey;
use super::address::Peer;
use super::bodies;
use super::connections::{Activity, Phase};
use super::listener::FAILED;
use super::mina_auth::{Public, appid_of};
use crate::protocol::{self, CHECKED_END, CHECKED_START, Failure, Success};

/// How many bytes of room a read has: more than any check is long.
const ROOM: usize = 2048;

/// How many headers a request may have.
const MAX_HEADERS: usize = 32;

/// Answers requests for as long as they are ordinary. Returns what was read of the one that is
/// not, or `None` when the connection is done with.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    public: &Public,
    stream: &mut S,
    peer: Peer,
    activity: &Activity,
) -> Option<BytesMut> {
    let key = public.endpoint.access_key.as_ref();
    let longest = public.endpoint.bodies.max.min(bodies::SHORT);
    let mut received = BytesMut::new();
    let mut answer = Vec::new();
    loop {
        let request = match Ordinary::find(&received, key, longest) {
            Found::Whole(request) => request,
            Found::Other => return Some(received),
            Found::Nothing => {
                receive(stream, &mut received, activity).await?;
                continue;
            }
            Found::Head => {
                activity.begin_body();
                receive(stream, &mut received, activity).await?;
                continue;
            }
        };
        let Ordinary { appid, proxied, body, closes, length } = request;
        activity.begin(Phase::Answering);
        let exchange = public.exchange(appid, || peer.is_local() && !proxied, body);
        // The panic's hook logs it.
        let exchanged = AssertUnwindSafe(exchange).catch_unwind().await.ok();
        let closes = closes || exchanged.is_none() || activity.is_to_finish();
        match exchanged {
            Some((outcome, at)) => {
                public.date.with(at, |date| write_answer(&mut answer, &outcome, date, closes));
            }
            None => write_failure(&mut answer),
        }
        received.advance(length);
        activity.begin(Phase::Idle);
        stream.write_all(&answer).await.ok()?;
        stream.flush().await.ok()?;
        if closes {
            // A client that went away first is its own business.
            let _ = stream.shutdown().await;
            return None;
        }
        // What a long one took is not kept for the short ones.
        if received.is_empty() && received.capacity() > 2 * ROOM {
            received = BytesMut::new();
        }
        answer.clear();
        answer.shrink_to(2 * ROOM);
    }
}

/// Reads more; `None` when there is nothing more to read, or the server is to stop first.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut BytesMut,
    activity: &Activity,
) -> Option<()> {
    let is_idle = received.is_empty();
    received.reserve(ROOM);
    let mut reading = pin!(stream.read_buf(received));
    let read = poll_fn(|cx| {
        if is_idle && activity.is_to_finish() {
            return Poll::Ready(Ok(0));
        }
        reading.as_mut().poll(cx)
    });
    read.await.ok().filter(|count| *count > 0).map(drop)
}

/// What stands at the front of what was read.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    Nothing,
    /// The head of an ordinary request; its body is not all there yet.
    Head,
    Whole(Ordinary<'a>),
    /// Something for hyper.
    Other,
}

/// A request such as nearly all are.
#[derive(Debug, PartialEq, Eq)]
struct Ordinary<'a> {
    /// The app in the path.
    appid: &'a str,
    /// Whether a proxy says that it speaks for somebody else.
    proxied: bool,
    body: &'a [u8],
    /// Whether the client wants the connection closed after the answer.
    closes: bool,
    /// How long it is, head and body.
    length: usize,
}

impl<'a> Ordinary<'a> {
    fn find(received: &'a [u8], key: Option<&AccessKey>, longest: usize) -> Found<'a> {
        if received.is_empty() {
            return Found::Nothing;
        }
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut []);
        // A head that comes in pieces is as rare as a wrong one.
        let Ok(httparse::Status::Complete(start)) =
            head.parse_with_uninit_headers(received, &mut headers)
        else {
            return Found::Other;
        };
        let Some(Head { appid, proxied, length, closes }) = Head::read(&head, key) else {
            return Found::Other;
        };
        if length > longest {
            return Found::Other;
        }
        let length = start + length;
        match received.get(start..length) {
            Some(body) => Found::Whole(Self { appid, proxied, body, closes, length }),
            None => Found::Head,
        }
    }
}

/// The head of a request such as nearly all are.
struct Head<'a> {
    appid: &'a str,
    proxied: bool,
    closes: bool,
    /// How long the body is.
    length: usize,
}

impl<'a> Head<'a> {
    /// `None` when there is anything to it that hyper knows better.
    fn read(request: &httparse::Request<'_, 'a>, key: Option<&AccessKey>) -> Option<Self> {
        if (request.method, request.version) != (Some("POST"), Some(1)) {
            return None;
        }
        let target = request.path?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_simple =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
        let appid = appid_of(path).filter(|_| path.bytes().all(is_simple))?;
        let (mut length, mut proxied, mut closes) = (None, false, false);
        let mut has_key = key.is_none_or(|key| key.is_in_query(query));
        for header in request.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                6 if is("expect") => return None,
                7 if is("upgrade") || is("trailer") => return None,
                9 if is("forwarded") => proxied = true,
                10 if is("connection") => {
                    closes = header.value.eq_ignore_ascii_case(b"close");
                    if !closes && !header.value.eq_ignore_ascii_case(b"keep-alive") {
                        return None;
                    }
                }
                13 if is("authorization") => {
                    has_key = has_key || key.is_some_and(|key| key.is_in_basic(header.value));
                }
                14 if is("content-length") => {
                    if length.is_some() {
                        return None;
                    }
                    length = Some(read_length(header.value)?);
                }
                15 if is("x-forwarded-for") => proxied = true,
                17 if is("transfer-encoding") => return None,
                _ => {}
            }
        }
        // Who has no key is told so by the other way.
        length.filter(|_| has_key).map(|length| Self { appid, proxied, closes, length })
    }
}

/// The number of a `Content-Length`, which is digits and nothing else.
fn read_length(value: &[u8]) -> Option<usize> {
    if value.is_empty() || value.len() > 9 {
        return None;
    }
    value.iter().try_fold(0, |length, digit| {
        digit.is_ascii_digit().then(|| length * 10 + usize::from(digit - b'0'))
    })
}

/// Writes an answer as hyper does. A successful check is never assembled: the profile is copied
/// from where it stands in memory.
pub fn write_answer(
    out: &mut Vec<u8>,
    outcome: &Result<Success, Failure>,
    date: &str,
    closes: bool,
) {
    let text;
    let parts = match outcome {
        Ok(Success::Checked(known)) => [CHECKED_START, known.profile(), CHECKED_END],
        outcome => {
            text = protocol::answered(outcome);
            [&text, "", ""]
        }
    };
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.put(&b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n"[..]);
    out.put(&b"content-length: "[..]);
    out.put(itoa::Buffer::new().format(length).as_bytes());
    out.put(&b"\r\ndate: "[..]);
    out.put(date.as_bytes());
    out.put(if closes { &b"\r\nconnection: close\r\n\r\n"[..] } else { b"\r\n\r\n" });
    for part in parts {
        out.put(part.as_bytes());
    }
}

/// Writes the answer to a request whose answering panicked.
fn write_failure(out: &mut Vec<u8>) {
    out.put(&b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n"[..]);
    out.put(&b"content-type: text/plain; charset=utf-8\r\n\r\n"[..]);
    out.put(FAILED.as_bytes());
}

/// The date as HTTP writes it, made once a second.
#[derive(Debug, Default)]
pub struct Date(Mutex<(u64, String)>);

impl Date {
    /// Calls `use_it` with the date of an instant.
    fn with<T>(&self, at: SystemTime, use_it: impl FnOnce(&str) -> T) -> T {
        let second = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if date.0 != second || date.1.is_empty() {
            *date = (second, httpdate::fmt_http_date(at));
        }
        use_it(&date.1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::connections::Connections;
    use crate::http::door::Door;
    use crate::http::mina_auth::MinaAuth;
    use crate::http::refusals::Refusals;
    use crate::limits::RequestLimits;
    use crate::operations::{Operations, SessionSettings};
    use crate::session::Lifetime;
    use crate::store::cached::{CacheSettings, Cached};
    use crate::store::memory::Memory;
    use crate::telemetry::{Level, Log, LogFormat, RequestLog};
    use crate::wechat::client;

    const LONGEST: usize = 100;

    fn find(request: &str) -> Found<'_> {
        Ordinary::find(request.as_bytes(), None, LONGEST)
    }

    #[test]
    fn a_request_as_the_sdks_send_it_is_ordinary() {
        let request = "POST /mina_auth/wx1?x=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\n\
                       connection: Keep-Alive\r\nContent-Length: 2\r\n\r\n";
        let whole = format!("{request}{{}}");
        let expected = Ordinary {
            appid: "wx1",
            proxied: true,
            body: b"{}",
            closes: false,
            length: whole.len(),
        };
        assert_eq!(find(&format!("{whole}POST")), Found::Whole(expected));
        assert_eq!(find(&format!("{request}{{")), Found::Head);
        assert_eq!(find(""), Found::Nothing);
    }

    #[test]
    fn anything_else_is_left_to_hyper() {
        let ordinary = ("POST /mina_auth/ HTTP/1.1", "Content-Length: 0");
        let request = |(line, headers): (&str, &str)| format!("{line}\r\n{headers}\r\n\r\n");
        assert!(matches!(find(&request(ordinary)), Found::Whole(_)));
        for line in [
            "GET /mina_auth/ HTTP/1.1",
            "POST /mina_auth/ HTTP/1.0",
            "POST / HTTP/1.1",
            "POST /mina_auth/%20 HTTP/1.1",
            "POST http://a/mina_auth/ HTTP/1.1",
            "POST /mina_auth/#a HTTP/1.1",
            "POST",
            "PRI * HTTP/2.0",
        ] {
            assert_eq!(find(&request((line, ordinary.1))), Found::Other, "{line}");
        }
        for headers in [
            "Host: a",
            "Content-Length: 101",
            "Content-Length: +1",
            "Content-Length: ",
            "Content-Length: 1,1",
            "Content-Length: 99999999999999999999",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "Content-Length: 0\r\nTRANSFER-ENCODING: identity",
            "Content-Length: 0\r\nExpect: 100-continue",
            "Content-Length: 0\r\nConnection: Upgrade",
            "Content-Length: 0\r\nConnection: close, te",
            "Content-Length: 0\r\nUpgrade: h2c",
            "Content-Length: 0\r\n folded",
            "Content-Length : 0",
        ] {
            assert_eq!(find(&request((ordinary.0, headers))), Found::Other, "{headers}");
        }
        let many = vec!["A: b"; MAX_HEADERS + 1].join("\r\n");
        assert_eq!(find(&request((ordinary.0, &many))), Found::Other);
    }

    #[test]
    fn who_has_no_key_is_told_so_by_hyper() {
        let key = AccessKey::new("k".into());
        let mut requests = ["?key=k", "?key=x", ""]
            .map(|query| format!("POST /mina_auth/{query} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        requests[2] = requests[2].replace("\r\n\r\n", "\r\nAuthorization: Basic Oms=\r\n\r\n");
        let found = requests.each_ref().map(|request| {
            matches!(Ordinary::find(request.as_bytes(), Some(&key), LONGEST), Found::Whole(_))
        });
        assert_eq!(found, [true, false, true]);
    }

    #[test]
    fn an_answer_is_the_wires_bytes() {
        let mut out = Vec::new();
        let date = Date::default();
        date.with(UNIX_EPOCH, |date| write_answer(&mut out, &Ok(Success::AppSet), date, true));
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n\
            content-length: 104\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nconnection: close\r\n\r\n\
            {\"returnCode\":0,\"returnMessage\":\"INIT_APPINFO_SUCCESS\",\"returnData\":\"\",\
            \"version\":1,\"componentName\":\"MA\"}";
        assert_eq!(String::from_utf8(out).unwrap(), answer);
    }

    /// The endpoint on a runtime without timers, where to refuse somebody panics.
    async fn nervous() -> Public {
        let second = std::time::Duration::from_secs(1);
        let settings = CacheSettings { max_bytes: 0, max_stale: 60, touch_interval: 60 };
        let store = Cached::open(Arc::new(Memory::default()), settings, 0).await.unwrap();
        let wechat = client::Settings { base_urls: Vec::new(), timeout: second, proxy: None };
        let limits = RequestLimits { requests: 0, logins_per_second: 0, decrypt_failures: 0 };
        let sessions = SessionSettings { per_user: 1, touch_sync: false };
        let wechat = client::Client::new(wechat).unwrap();
        let endpoint = MinaAuth {
            operations: Arc::new(Operations::new(store, wechat, sessions, limits)),
            bodies: bodies::Bodies::new(1024, 1024),
            initdata: false,
            default_lifetime: Lifetime::default(),
            access_key: None,
            refusals: Arc::new(Refusals::new("test")),
        };
        let log = RequestLog::new(&Log { level: Level::Error, format: LogFormat::Json });
        Public { endpoint: Arc::new(endpoint), log, date: Date::default() }
    }

    #[test]
    fn a_panic_is_answered() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(async {
            let public = nervous().await;
            let pass = Arc::new(Door::new(Vec::new(), 1, 0)).enter(Peer::Unix).unwrap();
            let ticket = Arc::new(Connections::default()).enter(pass);
            let (mut client, mut server) = tokio::io::duplex(4096);
            let body =
                r#"{"interface":{"interfaceName":"qcloud.cam.auth","para":{"id":"a","skey":"b"}}}"#;
            let head =
                format!("POST /mina_auth/ HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            client.write_all((head + body).as_bytes()).await.unwrap();
            let left = serve(&public, &mut server, Peer::Unix, &ticket.activity()).await;
            assert_eq!(left, None, "the connection is done with");
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with(FAILED), "{answer}");
    }
}
