//! A TCP proxy that breaks connections, after so many bytes of answers or all at once, and that can hold back what
//! is on its way to the server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    target: Mutex<String>,
    /// Connections that are still to be refused.
    refusals: AtomicUsize,
    closed: AtomicBool,
    held: AtomicBool,
    /// A request is held back.
    holds: AtomicBool,
    /// Bytes of answers until requests are held back; 0: that is not planned.
    hold_after: AtomicUsize,
    cuts: AtomicUsize,
    /// Bytes of answers until the next cut are below this, mostly by far; 0: none is to come.
    most: AtomicUsize,
    random: Mutex<u64>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target: Mutex::new(host(endpoint)),
            refusals: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            hold_after: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            random: Mutex::new(0x9e37_79b9_7f4a_7c15),
            open: Mutex::new(Vec::new()),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                serving.serve(client);
            }
        });
        Self { shared, port }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on, cuts connections after fewer than `most` bytes of answers, every other time within 64 KiB;
    /// 0 stops that.
    pub(crate) fn cut_within(&self, most: usize) {
        self.shared.most.store(most, Ordering::SeqCst);
    }

    /// Cuts all connections and takes no new ones, until [`Proxy::open`].
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.cut();
    }

    pub(crate) fn open(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }

    /// Holds back requests, until [`Proxy::release`].
    pub(crate) fn hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
    }

    /// The same once so many bytes of answers have passed.
    pub(crate) fn hold_after(&self, bytes: usize) {
        self.shared.hold_after.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Whether a request is held back.
    pub(crate) fn holds(&self) -> bool {
        self.shared.holds.load(Ordering::SeqCst)
    }

    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
        self.shared.holds.store(false, Ordering::SeqCst);
    }

    /// Cuts all connections, refuses the next ones, and leads to another server then.
    pub(crate) fn move_to(&self, endpoint: &str, refusals: usize) {
        *self.shared.target.lock().unwrap() = host(endpoint);
        self.shared.refusals.store(refusals, Ordering::SeqCst);
        self.shared.cut();
    }

    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

fn host(endpoint: &str) -> String {
    endpoint.strip_prefix("http://").unwrap().to_owned()
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) {
        let refuse = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refuse.is_ok() {
            return;
        }
        let target = self.target.lock().unwrap().clone();
        let Ok(server) = TcpStream::connect(target) else { return };
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let copies = || [client.try_clone().unwrap(), server.try_clone().unwrap()];
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        self.open.lock().unwrap().extend(copies());
        let ([back, forth], (client, server)) = (copies(), (client, server));
        for (from, to, answers) in [(client, server, false), (forth, back, true)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.copy(from, to, answers));
        }
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; 1 << 16];
        let mut budget = None;
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let most = self.most.load(Ordering::SeqCst);
            let mut send = read;
            if answers && most > 0 {
                let left = *budget.get_or_insert_with(|| self.below(most));
                send = read.min(left);
                budget = Some(left - send);
            }
            while !answers && self.held.load(Ordering::SeqCst) {
                self.holds.store(true, Ordering::SeqCst);
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            if answers {
                self.plan_to_hold(send);
            }
            if to.write_all(&buffer[..send]).is_err() {
                break;
            }
            if budget == Some(0) {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        for stream in [from, to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn plan_to_hold(&self, passing: usize) {
        let left = self.hold_after.load(Ordering::SeqCst);
        self.hold_after.store(left.saturating_sub(passing), Ordering::SeqCst);
        if left > 0 && left <= passing {
            self.held.store(true, Ordering::SeqCst);
        }
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn below(&self, most: usize) -> usize {
        let mut random = self.random.lock().unwrap();
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let most = if *random >> 63 == 0 { most } else { most.min(1 << 16) };
        1 + usize::try_from(*random % most as u64).unwrap()
    }
}
