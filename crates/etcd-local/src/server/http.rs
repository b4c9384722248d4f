//! Plain HTTP to a local server: one request, one answer of bounded size, within a bounded time. httparse reads the answer.
//! No small client takes the IPv6 addresses of a URL.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use httparse::{EMPTY_HEADER, Response, Status};

use crate::wait::Deadline;

/// Bytes of an answer: etcd's metrics have 180 KB. The server need not be etcd, and must not fill our memory.
const LARGEST: usize = 1024 * 1024;
/// Headers of an answer; etcd's have five.
const MOST_HEADERS: usize = 64;

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) is_success: bool,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Asks within so many seconds. The error names the URL.
pub(crate) fn get(url: &str, seconds: u64) -> Result<Answer, String> {
    send("GET", url, "", "", seconds).map_err(|error| format!("{url}: {error}"))
}

/// The same, with a body, and with a token of etcd's if there is one.
pub(crate) fn post(url: &str, body: &str, token: Option<&str>, seconds: u64) -> Result<Answer, String> {
    let header = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    send("POST", url, &header, body, seconds).map_err(|error| format!("{url}: {error}"))
}

/// A server sends no chunks to a client of HTTP/1.0.
fn send(method: &str, url: &str, header: &str, body: &str, seconds: u64) -> io::Result<Answer> {
    let deadline = Deadline::after(Duration::from_secs(seconds));
    let (host, path) = host_and_path(url).ok_or_else(|| io::Error::other("not a URL of plain HTTP with a path"))?;
    let mut stream = connect(host, deadline)?;
    let length = body.len();
    // Without `Accept`, etcd takes a request to its gateway for one of a user whose name is in the server's certificate.
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nAccept: */*\r\nContent-Length: {length}\r\n{header}\r\n");
    let request = head + body;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    stream.write_all(request.as_bytes()).map_err(silence)?;
    let (mut received, mut chunk) = (Vec::new(), [0; 32 * 1024]);
    while received.len() <= LARGEST {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        let length = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(silence)?,
        };
        received.extend_from_slice(chunk.get(..length).unwrap_or_default());
        match parse(&received, length == 0)? {
            Some(answer) => return Ok(answer),
            None if length == 0 => return Err(io::Error::other("the connection ended in the middle of an answer")),
            None => {}
        }
    }
    Err(io::Error::other(format!("the answer has more than {LARGEST} bytes")))
}

/// `HOST:PORT`, where an IPv6 address is in brackets, and what follows.
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    rest.split_at_checked(rest.find('/')?)
}

fn connect(host: &str, deadline: Deadline) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, remaining(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What is left for the next step.
fn remaining(deadline: Deadline) -> io::Result<Duration> {
    Some(deadline.remaining()).filter(|left| !left.is_zero()).ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Unix tells of a passed timeout as of a socket that would block.
fn silence(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// The whole answer; `None` if more of it is to come.
fn parse(received: &[u8], is_end: bool) -> io::Result<Option<Answer>> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(received);
    let Status::Complete(start) = parsed.map_err(|error| io::Error::other(format!("not HTTP: {error}")))? else {
        return Ok(None);
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let mut answer = Answer {
        is_success: response.code == Some(200),
        headers: response.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
        body: received.get(start..).unwrap_or_default().to_owned(),
    };
    let is_whole = match answer.header("content-length").map(str::parse) {
        Some(Ok(length)) => {
            let is_whole = answer.body.len() >= length;
            answer.body.truncate(length);
            is_whole
        }
        _ => is_end,
    };
    Ok(is_whole.then_some(answer))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that gives these pieces to its first client, then ends the connection. The URL is of an IPv6 address if it can be.
    fn server(pieces: &'static [&'static [u8]]) -> String {
        let socket = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/health?x", socket.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = socket.accept().unwrap();
            let length = stream.read(&mut [0; 4096]).unwrap();
            assert!(length > 0);
            for piece in pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        });
        url
    }

    #[test]
    fn answers_are_read_whole() {
        let in_pieces: &[&[u8]] =
            &[b"HTTP/1.1 200 OK\r\nX-Etcd-", b"Cluster-Id: 2a\r\nContent-Length: 4\r\n\r\n{", b"  }", b"rest"];
        let answer = get(&server(in_pieces), 10).unwrap();
        assert_eq!(
            (answer.is_success, answer.header("x-etcd-cluster-id"), &*answer.body),
            (true, Some("2a"), &b"{  }"[..])
        );
        let answer = get(&server(&[b"HTTP/1.0 503 No\r\n\r\n", b"why"]), 10).unwrap();
        assert_eq!((answer.is_success, &*answer.body), (false, &b"why"[..]));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        const CHUNK: &[u8] = &[b'x'; LARGEST];
        const CASES: [(&[&[u8]], &str); 4] = [
            (&[b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", b"short"], "ended in the middle"),
            (&[], "ended in the middle"),
            (&[b"SSH-2.0-server\r\n"], "not HTTP"),
            (&[b"HTTP/1.0 200 OK\r\n\r\n", CHUNK, CHUNK], "more than 1048576 bytes"),
        ];
        for (pieces, why) in CASES {
            let url = server(pieces);
            let error = get(&url, 10).map(drop).unwrap_err();
            assert!(error.starts_with(&url) && error.contains(why), "{error}");
        }
        assert!(get("https://127.0.0.1:1/", 1).map(drop).unwrap_err().contains("not a URL of plain HTTP"));
    }
}
