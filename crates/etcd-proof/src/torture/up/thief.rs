//! A thief of ports: takes one the moment it may, keeps it, and may answer there as an etcd would.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wait;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Takes connections and says nothing.
    Silent,
    /// Says that all is well, as a foreign etcd.
    Etcd,
    /// Says things that are no HTTP.
    Babble,
}

/// What a thief does.
pub(super) struct Plan {
    pub(super) host: Ipv4Addr,
    pub(super) manner: Manner,
    /// Before that it does not even try.
    pub(super) not_before: Duration,
}

pub(super) struct Thief {
    /// 0: none yet.
    taken: Arc<AtomicU16>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Thief {
    /// Sets out. `which` tells the port, once it is known.
    pub(super) fn start(plan: Plan, which: impl Fn() -> Option<u16> + Send + 'static) -> Self {
        let (taken, over) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, stop) = (Arc::clone(&taken), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                let port = which().filter(|_| began.elapsed() >= plan.not_before);
                let listener = port.and_then(|port| TcpListener::bind((IpAddr::V4(plan.host), port)).ok());
                if let Some(listener) = listener {
                    tell.store(port.unwrap_or_default(), Ordering::SeqCst);
                    serve(&listener, plan.manner, &stop);
                    return;
                }
                wait::pause(Duration::from_micros(50));
            }
        });
        Self { taken, over, thread: Some(thread) }
    }

    /// The port that it has.
    pub(super) fn taken(&self) -> Option<u16> {
        Some(self.taken.load(Ordering::SeqCst)).filter(|port| *port != 0)
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(listener: &TcpListener, manner: Manner, over: &AtomicBool) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let mut open = Vec::new();
    while !over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((client, _)) => open.extend(answer(client, manner)),
            Err(_) => wait::pause(Duration::from_millis(1)),
        }
    }
}

/// Answers one request; what is to wait for ever is handed back.
fn answer(mut client: TcpStream, manner: Manner) -> Option<TcpStream> {
    let mut request = [0; 1024];
    client.set_nonblocking(false).and_then(|()| client.set_read_timeout(Some(Duration::from_millis(100)))).ok()?;
    if manner == Manner::Silent {
        return Some(client);
    }
    let read = client.read(&mut request).ok()?;
    let request = String::from_utf8_lossy(request.get(..read)?).into_owned();
    let body = match request.split(' ').nth(1).unwrap_or_default() {
        path if path.starts_with("/health") => r#"{"health":"true"}"#,
        "/version" => r#"{"etcdserver":"3.7.2","etcdcluster":"3.7.0"}"#,
        _ => "[]",
    };
    let length = body.len();
    let text = match manner {
        Manner::Etcd => format!(
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 14841639068965178418\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
        _ => "\u{0}\u{1}SSH-2.0-thief\r\n".repeat(100),
    };
    drop(client.write_all(text.as_bytes()));
    None
}
