//! A TCP proxy that breaks connections: all at once, or after so many bytes of answers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};

pub(super) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

#[derive(Default)]
struct Shared {
    target: Mutex<String>,
    closed: AtomicBool,
    /// Bytes of answers until the next cut; 0: no cut.
    budget: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(super) fn start(endpoint: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        // The thread ends with this process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                drop(serving.serve(client));
            }
        });
        let proxy = Self { shared, port };
        proxy.lead_to(endpoint);
        Ok(proxy)
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where new connections go.
    pub(super) fn lead_to(&self, endpoint: &str) {
        endpoint.trim_start_matches("http://").clone_into(&mut locked(&self.shared.target));
    }

    /// Cuts all connections.
    pub(super) fn cut(&self) {
        for stream in locked(&self.shared.open).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Cuts one connection after so many more bytes of answers: within an answer.
    pub(super) fn cut_after(&self, bytes: usize) {
        self.shared.budget.store(bytes, SeqCst);
    }

    /// Cuts all connections and takes no new ones, until [`Proxy::open`].
    pub(super) fn close(&self) {
        self.shared.closed.store(true, SeqCst);
        self.cut();
    }

    pub(super) fn open(&self) {
        self.shared.closed.store(false, SeqCst);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        if self.closed.load(SeqCst) {
            return Ok(());
        }
        let target = locked(&self.target).clone();
        let server = TcpStream::connect(target)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            locked(&self.open).push(stream.try_clone()?);
        }
        let (back, forth) = (client.try_clone()?, server.try_clone()?);
        for (from, to, answers) in [(client, server, false), (forth, back, true)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.copy(from, to, answers));
        }
        // If the proxy was closed meanwhile, these connections were not cut.
        if self.closed.load(SeqCst) {
            locked(&self.open).drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
        Ok(())
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let budget = if answers { self.budget.load(SeqCst) } else { 0 };
            let is_last = budget > 0 && budget <= read;
            let send = if is_last { budget } else { read };
            if budget > 0 {
                self.budget.store(budget.saturating_sub(read), SeqCst);
            }
            if to.write_all(buffer.get(..send).unwrap_or_default()).is_err() || is_last {
                break;
            }
        }
        for stream in [from, to] {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
