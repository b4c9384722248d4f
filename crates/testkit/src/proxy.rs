//! A TCP proxy in front of an etcd, which breaks connections, refuses them, cuts off one member from another, and holds back
//! or delays requests.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A proxy. Its threads end with the process.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<String>,
    connections: Mutex<Vec<Arc<Connection>>>,
    /// The members whose connections are refused.
    cut_off: Mutex<Vec<String>>,
    /// Connections that are still to be refused.
    refusals: AtomicUsize,
    is_closed: AtomicBool,
    /// Requests are held back.
    is_held: AtomicBool,
    /// A request is there that is held back.
    has_held: AtomicBool,
    /// Pieces of requests that pass all the same.
    passes: AtomicUsize,
    /// Bytes of answers until requests are held back; 0: not planned.
    hold_after: AtomicUsize,
    /// Bytes of answers until one connection is cut; 0: not planned.
    cut_after: AtomicUsize,
    /// Each connection is cut after fewer bytes of answers than this; 0: none is.
    cut_within: AtomicUsize,
    cuts: AtomicUsize,
    random: AtomicU64,
    /// Milliseconds that each piece of a request waits.
    delay: AtomicU64,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The member that sends the requests, if it is a member.
    sender: Mutex<String>,
}

impl Connection {
    fn cut(&self) {
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The header in which a member tells its peers its id, in hexadecimal digits.
const SENDER: &[u8] = b"X-Server-From: ";

/// The member that sends this, if it says so: it does at the beginning of each request.
fn sender(request: &[u8]) -> Option<String> {
    let at = request.windows(SENDER.len()).position(|bytes| bytes == SENDER)? + SENDER.len();
    let id = request.get(at..)?.iter().take_while(|byte| byte.is_ascii_hexdigit());
    Some(id.map(|byte| char::from(*byte)).collect())
}

impl Proxy {
    /// Listens on a free port of loopback and leads to `endpoint`, an `http://` URL.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn start(endpoint: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { random: AtomicU64::new(0x9e37_79b9_7f4a_7c15), ..Shared::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _ = serving.serve(client);
            }
        });
        let proxy = Self { shared, port };
        proxy.lead_to(endpoint);
        Ok(proxy)
    }

    /// The proxy's own endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where new connections go.
    pub fn lead_to(&self, endpoint: &str) {
        endpoint.trim_start_matches("http://").clone_into(&mut locked(&self.shared.target));
    }

    /// Refuses the next connections.
    pub fn refuse(&self, connections: usize) {
        self.shared.refusals.store(connections, SeqCst);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts one connection after so many more bytes of answers.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.cut_after.store(bytes, SeqCst);
    }

    /// From now on, cuts connections after fewer than `most` bytes of answers, every other time within 64 KiB; 0 stops that.
    pub fn cut_within(&self, most: usize) {
        self.shared.cut_within.store(most, SeqCst);
    }

    /// How many connections were cut in the middle of their answers.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(SeqCst)
    }

    /// Cuts all connections and takes no new ones, until [`Proxy::open`].
    pub fn close(&self) {
        self.shared.is_closed.store(true, SeqCst);
        self.cut();
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.shared.is_closed.store(false, SeqCst);
    }

    /// Cuts the connections of an etcd member to the one behind this proxy, and takes none from there, until
    /// [`Proxy::reconnect`]. Connections of others go on.
    pub fn cut_off(&self, member: u64) {
        let member = format!("{member:x}");
        locked(&self.shared.cut_off).push(member.clone());
        let connections = locked(&self.shared.connections);
        connections.iter().filter(|one| *locked(&one.sender) == member).for_each(|one| one.cut());
    }

    /// Takes the connections of all members again.
    pub fn reconnect(&self) {
        locked(&self.shared.cut_off).clear();
    }

    /// Holds back requests, until [`Proxy::release`].
    pub fn hold(&self) {
        self.shared.is_held.store(true, SeqCst);
    }

    /// The same once so many bytes of answers have passed.
    pub fn hold_after(&self, bytes: usize) {
        self.shared.hold_after.store(bytes, SeqCst);
    }

    /// Whether requests are held back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.shared.is_held.load(SeqCst)
    }

    /// Whether a request has come that is held back.
    #[must_use]
    pub fn has_held(&self) -> bool {
        self.shared.has_held.load(SeqCst)
    }

    /// Lets requests pass again.
    pub fn release(&self) {
        self.shared.is_held.store(false, SeqCst);
        self.shared.has_held.store(false, SeqCst);
    }

    /// Lets one piece of a request pass that is held back.
    pub fn pass_one(&self) {
        self.shared.has_held.store(false, SeqCst);
        self.shared.passes.store(1, SeqCst);
    }

    /// Each piece of a request waits so long, in whole milliseconds.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let is_refused = self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_refused || self.is_closed.load(SeqCst) {
            return Ok(());
        }
        let target = locked(&self.target).clone();
        let server = TcpStream::connect(target)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let connection = Arc::new(Connection { client, server, sender: Mutex::default() });
        let mut connections = locked(&self.connections);
        // Those that have ended have no threads.
        connections.retain(|connection| Arc::strong_count(connection) > 1);
        connections.push(Arc::clone(&connection));
        drop(connections);
        for are_answers in [false, true] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            std::thread::spawn(move || shared.copy(&connection, are_answers));
        }
        // If the proxy was closed meanwhile, these connections were not among those that were cut.
        if self.is_closed.load(SeqCst) {
            self.cut();
        }
        Ok(())
    }

    fn copy(&self, connection: &Connection, are_answers: bool) {
        let (mut from, mut to) = match are_answers {
            false => (&connection.client, &connection.server),
            true => (&connection.server, &connection.client),
        };
        let mut buffer = vec![0; 1 << 16];
        let mut left = None;
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let send = if are_answers { self.until_cut(read, &mut left) } else { read };
            if are_answers {
                self.hold_when_planned(send);
            } else {
                self.hold_back();
                if self.is_cut_off(connection, buffer.get(..send).unwrap_or_default()) {
                    break;
                }
            }
            let is_sent = to.write_all(buffer.get(..send).unwrap_or_default()).is_ok();
            if send < read || left == Some(0) {
                self.cuts.fetch_add(1, SeqCst);
                break;
            }
            if !is_sent {
                break;
            }
        }
        connection.cut();
    }

    fn is_cut_off(&self, connection: &Connection, request: &[u8]) -> bool {
        if let Some(sender) = sender(request) {
            *locked(&connection.sender) = sender;
        }
        locked(&self.cut_off).contains(&*locked(&connection.sender))
    }

    /// How many of these bytes of answers pass; then the connection is cut, if `left` is 0.
    fn until_cut(&self, bytes: usize, left: &mut Option<usize>) -> usize {
        let most = self.cut_within.load(SeqCst);
        if most > 0 {
            let before = *left.get_or_insert_with(|| self.below(most));
            let passing = bytes.min(before);
            *left = Some(before - passing);
            return passing;
        }
        let before = self.cut_after.load(SeqCst);
        self.cut_after.store(before.saturating_sub(bytes), SeqCst);
        if before > 0 && before <= bytes {
            *left = Some(0);
            return before;
        }
        bytes
    }

    fn hold_when_planned(&self, passing: usize) {
        let left = self.hold_after.load(SeqCst);
        self.hold_after.store(left.saturating_sub(passing), SeqCst);
        if left > 0 && left <= passing {
            self.is_held.store(true, SeqCst);
        }
    }

    fn hold_back(&self) {
        let delay = Duration::from_millis(self.delay.load(SeqCst));
        if !delay.is_zero() {
            std::thread::park_timeout(delay);
        }
        while self.is_held.load(SeqCst) && self.passes.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err()
        {
            self.has_held.store(true, SeqCst);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn cut(&self) {
        locked(&self.connections).drain(..).for_each(|connection| connection.cut());
    }

    /// A number from 1 to `most`, every other time to 64 KiB at most.
    fn below(&self, most: usize) -> usize {
        let mut random = self.random.load(SeqCst);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.store(random, SeqCst);
        let most = if random >> 63 == 0 { most } else { most.min(1 << 16) };
        1 + usize::try_from(random).unwrap_or_default() % most
    }
}
