//! An HTTP server that answers as a test says, well or badly. Only on the loopback interface.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// One way to answer a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Content(Vec<u8>),
    /// The content in pieces of this size, with pauses.
    Slowly(Vec<u8>, usize),
    Status(u16),
    /// Never.
    Silence,
    /// Headers, then a byte every 100 ms.
    Drip,
    /// All that is promised but the last byte.
    CutOff(Vec<u8>),
    Redirect(String),
    /// A promise of this many bytes.
    Promise(u64),
    /// The content, without saying how long it is.
    Unannounced(Vec<u8>),
}

/// A server that runs until it is dropped.
pub(crate) struct Mirror {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Mirror {
    /// Answers each request by its path.
    pub(crate) fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (requests, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mirror =
            Self { address: listener.local_addr().unwrap(), requests: requests.clone(), stopped: stopped.clone() };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, requests, stopped) = (answer.clone(), requests.clone(), stopped.clone());
                std::thread::spawn(move || {
                    // A client that was killed breaks the connection, which is its right.
                    let _ = serve(stream.unwrap(), answer.as_ref(), &requests, &stopped);
                });
            }
        });
        mirror
    }

    /// Answers every request alike.
    pub(crate) fn always(answer: Answer) -> Self {
        Self::start(move |_| answer.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    answer: &(dyn Fn(&str) -> Answer + Send + Sync),
    requests: &AtomicUsize,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    let mut client = Client { stream, stopped };
    match answer(&path) {
        Answer::Content(content) => {
            client.head("200 OK", &format!("Content-Length: {}", content.len()))?;
            client.stream.write_all(&content)
        }
        Answer::Slowly(content, size) => {
            client.head("200 OK", &format!("Content-Length: {}", content.len()))?;
            content.chunks(size).try_for_each(|piece| {
                client.stream.write_all(piece)?;
                client.pause(Duration::from_millis(2)).map(drop)
            })
        }
        Answer::Status(status) => client.head(&format!("{status} No"), "Content-Length: 0"),
        Answer::Silence => client.pause_forever(),
        Answer::Drip => {
            client.head("200 OK", "Content-Length: 1000000")?;
            while client.pause(Duration::from_millis(100))? {
                client.stream.write_all(b".")?;
            }
            Ok(())
        }
        Answer::CutOff(content) => {
            client.head("200 OK", &format!("Content-Length: {}", content.len()))?;
            client.stream.write_all(content.split_last().map_or(&[], |(_, most)| most))
        }
        Answer::Redirect(to) => client.head("302 Found", &format!("Content-Length: 0\r\nLocation: {to}")),
        Answer::Promise(length) => {
            client.head("200 OK", &format!("Content-Length: {length}"))?;
            client.pause_forever()
        }
        Answer::Unannounced(content) => {
            client.head("200 OK", "X-Length: unknown")?;
            client.stream.write_all(&content)
        }
    }
}

struct Client<'a> {
    stream: TcpStream,
    stopped: &'a AtomicBool,
}

impl Client<'_> {
    fn head(&mut self, status: &str, header: &str) -> std::io::Result<()> {
        write!(self.stream, "HTTP/1.1 {status}\r\nConnection: close\r\n{header}\r\n\r\n")
    }

    /// False once the client is gone or the test is over: it waits for bytes that a client never sends.
    fn pause(&mut self, pause: Duration) -> std::io::Result<bool> {
        self.stream.set_read_timeout(Some(pause))?;
        let client_is_gone = self.stream.read(&mut [0]).is_ok();
        Ok(!client_is_gone && !self.stopped.load(Ordering::SeqCst))
    }

    fn pause_forever(&mut self) -> std::io::Result<()> {
        while self.pause(Duration::from_millis(100))? {}
        Ok(())
    }
}
