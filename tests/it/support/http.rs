//! HTTP/1.1 by hand: the tests send what no well-behaved client would.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A response with its whole body.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    head: Head,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.head.header(name).unwrap_or_default()
    }

    /// The body's text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The first lines of a request or response.
#[derive(Debug)]
pub struct Head {
    /// The request line or the status line.
    pub first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; `None` when the connection ends before it.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut lines = lines.into_iter();
        let first = lines.next().unwrap_or_default();
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Some(Self { first, headers: headers.collect() }))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    reader: BufReader<S>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    /// Connects from this address of the machine's own.
    pub fn open_from(own: &str, address: SocketAddr) -> Self {
        let own: IpAddr = own.parse().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(own, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(configured(socket.into()).unwrap())
    }

    fn try_open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(connect(address)?))
    }
}

/// Connects, and fails where a server hangs.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    configured(TcpStream::connect(address)?)
}

fn configured(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl<S: Read + Write> Connection<S> {
    /// HTTP over a stream of another kind.
    pub fn over(stream: S) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    pub fn stream(&self) -> &S {
        self.reader.get_ref()
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes.as_ref()).unwrap();
        self
    }

    /// Sends these bytes, if the server takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads the next response.
    pub fn read(&mut self) -> Response {
        self.try_read().unwrap().expect("the connection was closed without a response")
    }

    /// Reads the next response, to a request that asks for the head alone.
    pub fn read_head(&mut self) -> Response {
        let head = Head::read(&mut self.reader).unwrap().expect("a response");
        Response { status: status(&head), head, body: Vec::new() }
    }

    /// Reads the next response; `None` when the connection was closed before one.
    pub fn try_read(&mut self) -> io::Result<Option<Response>> {
        let Some(head) = Head::read(&mut self.reader)? else { return Ok(None) };
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Some(Response { status: status(&head), head, body }))
    }

    /// Tells whether the server has closed the connection, once it has or says something.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            // It closed without reading what had come.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

fn status(head: &Head) -> u16 {
    head.first.split(' ').nth(1).unwrap_or_default().parse().unwrap()
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = ("Content-Length", &*body.len().to_string());
    let mut bytes = head(method, path, &[headers, &[length]].concat());
    bytes.extend_from_slice(body);
    bytes
}

/// The bytes of a request whose body comes in chunks of this size.
pub fn chunked_request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    size: usize,
) -> Vec<u8> {
    let mut bytes = head(method, path, &[headers, &[("Transfer-Encoding", "chunked")]].concat());
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// The bytes of a request's head.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Sends a request on a connection of its own.
pub fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    Connection::open(address).send(request).read()
}

/// Posts a body to a path of a server that may go away; `None` when it did.
pub fn try_post(address: SocketAddr, path: &str, body: &str) -> Option<Response> {
    let mut connection = Connection::try_open(address).ok()?;
    connection.try_send(&request("POST", path, &[], body.as_bytes())).ok()?;
    connection.try_read().ok()?
}

/// Gets a path.
pub fn get(address: SocketAddr, path: &str) -> Response {
    send(address, request("GET", path, &[], b""))
}

/// Posts a body to a path, as `curl -d` does.
pub fn post(address: SocketAddr, path: &str, body: &str) -> Response {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    send(address, request("POST", path, &form, body.as_bytes()))
}
