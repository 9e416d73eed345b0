//! The express lane: requests as nearly all clients send them.
//!
//! hyper serves whatever HTTP/1 there is, and pays for it with a map of headers, a channel for
//! the body and a response that is taken apart again. Nearly every request here is a POST of a
//! few hundred bytes, its length in front, or a GET with nothing behind the head. `httparse`,
//! which is hyper's parser too, reads the head of such a one where it lies, and the answer is
//! written as it stands. At the first request that is out of the ordinary the connection goes to
//! hyper, for good, with all that was read of it.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BytesMut};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::address::Peer;
use super::connections::{Activity, Phase};

/// How many bytes of room a read has: more than any check is long.
const ROOM: usize = 2048;

/// A longer piece of a head is for hyper, which knows how long a head may be.
const LONGEST_PIECE: usize = 2 * ROOM;

/// How many headers a request may have.
const MAX_HEADERS: usize = 32;

/// What is said when answering a request panicked.
pub const FAILED: &str = "the server failed; its log says where\n";

/// What is served in the lane.
pub trait Express: Send + Sync {
    /// What is kept of a head until the request is answered.
    type Request<'a>: Copy + Send;

    /// How long a body may be, bytes; longer ones are left to hyper.
    fn longest_body(&self) -> usize;

    /// What a head asks for; `None` leaves it to hyper, and so the connection.
    fn read<'a>(&self, head: &Head<'_, 'a>) -> Option<Self::Request<'a>>;

    /// Answers a request.
    fn answer<'a>(
        &'a self,
        peer: Peer,
        request: Self::Request<'a>,
        body: &'a [u8],
        reply: Reply<'a>,
    ) -> impl Future<Output = Sent> + Send;
}

/// The head of an ordinary request. Of the headers those that frame it are settled already.
#[derive(Debug)]
pub struct Head<'h, 'a> {
    /// GET, HEAD or POST.
    pub method: &'a str,
    /// Letters, digits, and `/`, `_`, `-` and `.`.
    pub path: &'a str,
    /// What follows the question mark, if there is one.
    pub query: &'a str,
    headers: &'h [httparse::Header<'a>],
}

impl<'a> Head<'_, 'a> {
    /// The values of the headers of this name, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |header: &&httparse::Header<'_>| {
            header.name.len() == name.len() && header.name.eq_ignore_ascii_case(name)
        };
        self.headers.iter().filter(is_named).map(|header| header.value)
    }
}

/// Answers requests for as long as they are ordinary. Returns what was read of the one that is
/// not, or `None` when the connection is done with.
pub async fn serve<H: Express, S: AsyncRead + AsyncWrite + Unpin>(
    handler: &H,
    date: &Date,
    stream: &mut S,
    peer: Peer,
    activity: &Activity,
) -> Option<BytesMut> {
    let longest = handler.longest_body();
    let mut received = BytesMut::new();
    let mut answers = Answers::default();
    loop {
        let found = Ordinary::find(&received, longest, |head| handler.read(head));
        let Ordinary { request, body, is_head, closes, length } = match found {
            Found::Whole(request) => request,
            other => {
                let waits = match other {
                    Found::Nothing => true,
                    Found::Piece => {
                        activity.begin_head();
                        true
                    }
                    Found::Head => {
                        activity.begin_body();
                        true
                    }
                    Found::Whole(_) | Found::Other => false,
                };
                answers.write(stream).await?;
                if !waits {
                    return Some(received);
                }
                receive(stream, &mut received, activity).await?;
                continue;
            }
        };
        activity.begin(Phase::Answering);
        let sent = {
            let Answers { written, next } = &mut answers;
            let reply = Reply { out: next, is_head, closes, activity, date };
            // Where it stands: moved into a wrapper, all of it would be copied.
            let mut answering = pin!(handler.answer(peer, request, body, reply));
            match poll_fn(|cx| Poll::Ready(poll_caught(answering.as_mut(), cx))).await {
                Poll::Ready(sent) => sent,
                Poll::Pending => {
                    // It takes a while: those before it need not wait.
                    write(stream, written).await?;
                    poll_fn(|cx| poll_caught(answering.as_mut(), cx)).await
                }
            }
        };
        // The panic's hook has logged it.
        let Sent { closes } = sent.unwrap_or_else(|| write_failure(&mut answers.next));
        answers.take_next();
        received.advance(length);
        activity.begin(Phase::Idle);
        if closes {
            answers.write(stream).await?;
            // A client that went away first is its own business.
            let _ = stream.shutdown().await;
            return None;
        }
        // What a long one took is not kept for the short ones.
        if received.is_empty() && received.capacity() > 2 * ROOM {
            received = BytesMut::new();
        }
    }
}

/// Polls a future; `None` when that panics.
fn poll_caught<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    }
}

/// The answers to requests that came together, which are written together.
#[derive(Debug, Default)]
struct Answers {
    /// Whole ones, to be written.
    written: Vec<u8>,
    /// The one that is being made.
    next: Vec<u8>,
}

impl Answers {
    /// Puts the answer that was made behind the others.
    fn take_next(&mut self) {
        if self.written.is_empty() {
            std::mem::swap(&mut self.written, &mut self.next);
        } else {
            self.written.append(&mut self.next);
        }
    }

    /// Writes what there is; `None` when nobody is there to take it.
    async fn write<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Option<()> {
        write(stream, &mut self.written).await
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, answers: &mut Vec<u8>) -> Option<()> {
    if answers.is_empty() {
        return Some(());
    }
    stream.write_all(answers).await.ok()?;
    stream.flush().await.ok()?;
    answers.clear();
    answers.shrink_to(2 * ROOM);
    Some(())
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
enum Found<'a, R> {
    Nothing,
    /// A piece of a head, as the last of many requests that came together is.
    Piece,
    /// The head of an ordinary request; its body is not all there yet.
    Head,
    Whole(Ordinary<'a, R>),
    /// Something for hyper.
    Other,
}

/// A request such as nearly all are.
#[derive(Debug, PartialEq, Eq)]
struct Ordinary<'a, R> {
    request: R,
    body: &'a [u8],
    /// Whether the answer goes without its body.
    is_head: bool,
    /// Whether the client wants the connection closed after the answer.
    closes: bool,
    /// How long it is, head and body.
    length: usize,
}

impl<'a, R> Ordinary<'a, R> {
    fn find(
        received: &'a [u8],
        longest: usize,
        read: impl FnOnce(&Head<'_, 'a>) -> Option<R>,
    ) -> Found<'a, R> {
        if received.is_empty() {
            return Found::Nothing;
        }
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        let start = match parsed.parse_with_uninit_headers(received, &mut headers) {
            Ok(httparse::Status::Complete(start)) => start,
            Ok(httparse::Status::Partial) if received.len() < LONGEST_PIECE => return Found::Piece,
            Ok(httparse::Status::Partial) | Err(_) => return Found::Other,
        };
        let Some((head, Framing { closes, length })) = read_head(&parsed) else {
            return Found::Other;
        };
        let Some(request) = read(&head).filter(|_| length <= longest) else {
            return Found::Other;
        };
        let length = start + length;
        match received.get(start..length) {
            Some(body) => {
                let is_head = head.method == "HEAD";
                Found::Whole(Self { request, body, is_head, closes, length })
            }
            None => Found::Head,
        }
    }
}

/// What the headers say of the request itself.
struct Framing {
    closes: bool,
    /// How long the body is.
    length: usize,
}

/// A head and its framing; `None` when there is anything to it that hyper knows better.
fn read_head<'h, 'a>(request: &'h httparse::Request<'_, 'a>) -> Option<(Head<'h, 'a>, Framing)> {
    let method = request.method.filter(|method| matches!(*method, "GET" | "HEAD" | "POST"))?;
    if request.version != Some(1) {
        return None;
    }
    let target = request.path?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_simple =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.');
    // RFC 3986, 3.4; a fragment and what hyper refuses are among the others.
    let is_of_query = |byte: u8| is_simple(byte) || b"%=&+?,;:@!$'()*~".contains(&byte);
    let is_path = path.starts_with('/') && path.bytes().all(is_simple);
    if !is_path || !query.bytes().all(is_of_query) {
        return None;
    }
    let (mut length, mut closes) = (None, false);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            6 if is("expect") => return None,
            7 if is("upgrade") || is("trailer") => return None,
            10 if is("connection") => {
                closes = header.value.eq_ignore_ascii_case(b"close");
                if !closes && !header.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
            }
            14 if is("content-length") => {
                if length.is_some() {
                    return None;
                }
                length = Some(read_length(header.value)?);
            }
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    // A POST says how long it is; of the others hyper takes those with a body.
    let length = match method {
        "POST" => length?,
        _ => length.filter(|length| *length > 0).map_or(Some(0), |_| None)?,
    };
    let head = Head { method, path, query, headers: &*request.headers };
    Some((head, Framing { closes, length }))
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

/// Where the answer to a request goes. It is written as hyper writes it.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    is_head: bool,
    closes: bool,
    activity: &'a Activity,
    date: &'a Date,
}

/// Says that an answer was written.
#[derive(Debug)]
pub struct Sent {
    closes: bool,
}

impl Reply<'_> {
    /// Writes the status line and headers that are the same in every such answer, each with the end
    /// of its line. Comes first, where it is known when the program is built.
    pub fn start(&mut self, head: &'static str) {
        self.out.extend_from_slice(head.as_bytes());
    }

    /// Writes the status line. Comes first.
    pub fn status(&mut self, status: StatusCode) {
        let reason = status.canonical_reason().unwrap_or_default();
        for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes a header, whose value can be one.
    pub fn header(&mut self, name: &'static str, value: &str) {
        debug_assert!(value.bytes().all(|byte| byte >= b' '), "it would end the header");
        for part in [name, ": ", value, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes the rest, of an answer made at this time. The body is never assembled: its parts are
    /// copied from where they stand.
    #[must_use]
    pub fn end(self, at: SystemTime, parts: &[&str]) -> Sent {
        let closes = self.closes || self.activity.is_to_finish();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let out = self.out;
        if closes {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\ndate: ");
        self.date.with(at, |date| out.extend_from_slice(date.as_bytes()));
        out.extend_from_slice(b"\r\n\r\n");
        if !self.is_head {
            out.reserve(length);
            for part in parts.iter().filter(|part| !part.is_empty()) {
                out.extend_from_slice(part.as_bytes());
            }
        }
        Sent { closes }
    }
}

/// Writes the answer to a request whose answering panicked, in the place of what there is of it.
fn write_failure(out: &mut Vec<u8>) -> Sent {
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n");
    out.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n\r\n");
    out.extend_from_slice(FAILED.as_bytes());
    Sent { closes: true }
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
    use std::io;
    use std::sync::Arc;

    use tokio::io::ReadBuf;

    use super::*;
    use crate::net::connections::Connections;
    use crate::net::door::Door;

    const LONGEST: usize = 100;

    /// Serves what is below `/here/`, and takes the rest of the path along.
    fn read<'a>(head: &Head<'_, 'a>) -> Option<&'a str> {
        head.path.strip_prefix("/here/")
    }

    fn find(request: &str) -> Found<'_, &str> {
        Ordinary::find(request.as_bytes(), LONGEST, read)
    }

    #[test]
    fn an_ordinary_request_is_found() {
        let request = "POST /here/there?x=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\n\
                       connection: Keep-Alive\r\nContent-Length: 2\r\n\r\n";
        let whole = format!("{request}{{}}");
        let expected = Ordinary {
            request: "there",
            body: b"{}",
            is_head: false,
            closes: false,
            length: whole.len(),
        };
        assert_eq!(find(&format!("{whole}POST")), Found::Whole(expected));
        assert_eq!(find(&format!("{request}{{")), Found::Head);
        assert_eq!(find(&request[..request.len() - 1]), Found::Piece);
        let long = format!("GET /here/ HTTP/1.1\r\nA: {}", "b".repeat(LONGEST_PIECE));
        assert_eq!(find(&long), Found::Other);
        assert_eq!(find(""), Found::Nothing);
        for (method, headers) in
            [("GET", ""), ("HEAD", "Content-Length: 0\r\n"), ("GET", "Connection: close\r\n")]
        {
            let request = format!("{method} /here/ HTTP/1.1\r\n{headers}\r\n");
            let expected = Ordinary {
                request: "",
                body: b"",
                is_head: method == "HEAD",
                closes: headers.contains("close"),
                length: request.len(),
            };
            assert_eq!(find(&format!("{request}GET")), Found::Whole(expected), "{request}");
        }
    }

    #[test]
    fn headers_are_found_by_their_names() {
        let request = "GET /here/ HTTP/1.1\r\nA: 1\r\nab: 2\r\na: 3\r\n\r\n";
        let mut values = Vec::new();
        let found = Ordinary::find(request.as_bytes(), LONGEST, |head| {
            values.extend(head.values("A").map(<[u8]>::to_vec));
            Some(())
        });
        assert!(matches!(found, Found::Whole(_)));
        assert_eq!(values, [b"1", b"3"]);
    }

    #[test]
    fn anything_else_is_left_to_hyper() {
        let ordinary = ("POST /here/ HTTP/1.1", "Content-Length: 0");
        let request = |(line, headers): (&str, &str)| format!("{line}\r\n{headers}\r\n\r\n");
        assert!(matches!(find(&request(ordinary)), Found::Whole(_)));
        for line in [
            "PUT /here/ HTTP/1.1",
            "POST /here/ HTTP/1.0",
            "POST / HTTP/1.1",
            "POST /here/%20 HTTP/1.1",
            "POST http://a/here/ HTTP/1.1",
            "POST /here/#a HTTP/1.1",
            "POST /here/?a#b HTTP/1.1",
            "POST /here/?a<b HTTP/1.1",
            "POST /here/?a\"b HTTP/1.1",
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
        for headers in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            assert_eq!(find(&request(("GET /here/ HTTP/1.1", headers))), Found::Other, "{headers}");
        }
        let many = vec!["A: b"; MAX_HEADERS + 1].join("\r\n");
        assert_eq!(find(&request((ordinary.0, &many))), Found::Other);
    }

    /// Says what it was asked, and panics when that is `panic`.
    struct Parrot;

    impl Express for Parrot {
        type Request<'a> = &'a str;

        fn longest_body(&self) -> usize {
            LONGEST
        }

        fn read<'a>(&self, head: &Head<'_, 'a>) -> Option<&'a str> {
            read(head)
        }

        async fn answer<'a>(
            &'a self,
            _: Peer,
            request: &'a str,
            body: &'a [u8],
            mut reply: Reply<'a>,
        ) -> Sent {
            reply.status(StatusCode::OK);
            assert_ne!(request, "panic");
            if request == "slow" {
                tokio::task::yield_now().await;
            }
            reply.end(UNIX_EPOCH, &[request, std::str::from_utf8(body).unwrap()])
        }
    }

    /// What the parrot says to these bytes, and what it left to hyper.
    fn converse(sent: &str) -> (String, Option<BytesMut>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let pass = Arc::new(Door::new(Vec::new(), 1, 0)).enter(Peer::Unix).unwrap();
            let ticket = Arc::new(Connections::default()).enter(pass);
            let (mut client, mut server) = tokio::io::duplex(4096);
            client.write_all(sent.as_bytes()).await.unwrap();
            let (date, activity) = (Date::default(), ticket.activity());
            let left = serve(&Parrot, &date, &mut server, Peer::Unix, &activity).await;
            drop(server);
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            (answers, left)
        })
    }

    #[test]
    fn answers_are_written_as_hyper_writes_them() {
        let (answers, left) = converse(
            "GET /here/a HTTP/1.1\r\n\r\nHEAD /here/b HTTP/1.1\r\n\r\n\
             POST /here/c HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nd",
        );
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        let answer = |close, length, body| {
            format!("HTTP/1.1 200 OK\r\n{close}content-length: {length}\r\n{date}\r\n{body}")
        };
        let expected =
            [answer("", 1, "a"), answer("", 1, ""), answer("connection: close\r\n", 2, "cd")];
        assert_eq!(answers, expected.concat());
        assert_eq!(left, None, "the connection is done with");
    }

    /// A client that counts what is written to it.
    struct Counted<S> {
        stream: S,
        writes: usize,
    }

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes += 1;
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// In how many writes these requests are answered, which come together.
    fn writes(requests: &[&str]) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let pass = Arc::new(Door::new(Vec::new(), 1, 0)).enter(Peer::Unix).unwrap();
            let ticket = Arc::new(Connections::default()).enter(pass);
            let (mut client, server) = tokio::io::duplex(1 << 16);
            client.write_all(requests.concat().as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut counted = Counted { stream: server, writes: 0 };
            let (date, activity) = (Date::default(), ticket.activity());
            assert_eq!(serve(&Parrot, &date, &mut counted, Peer::Unix, &activity).await, None);
            let writes = counted.writes;
            drop(counted);
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), requests.len());
            writes
        })
    }

    #[test]
    fn requests_that_came_together_are_answered_together() {
        let short = "GET /here/a HTTP/1.1\r\n\r\n";
        assert_eq!(writes(&[short; 16]), 1);
        // Whoever waits holds up those behind it and none before.
        let slow = "GET /here/slow HTTP/1.1\r\n\r\n";
        assert_eq!(writes(&[short, short, slow, short]), 2);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_handed_over() {
        let (answers, left) = converse("GET /here/ HTTP/1.1\r\n\r\nGET /there HTTP/1.1\r\n\r\n");
        assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
        assert_eq!(left.as_deref(), Some(&b"GET /there HTTP/1.1\r\n\r\n"[..]));
    }

    #[test]
    fn a_panic_is_answered() {
        let (answer, left) = converse("GET /here/panic HTTP/1.1\r\n\r\n");
        assert_eq!(left, None, "the connection is done with");
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with(FAILED), "{answer}");
    }
}
