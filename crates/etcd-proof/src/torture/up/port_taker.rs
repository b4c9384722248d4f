//! A thread that takes a port as soon as it is free, keeps the port, and may answer there as an etcd would.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wait;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behavior {
    /// Accepts connections and never answers.
    Silent,
    /// Answers as a healthy etcd of another cluster.
    ForeignEtcd,
    /// Answers with bytes that are not HTTP.
    Garbage,
}

/// Which address to take, and what to do there.
pub(super) struct PortPlan {
    pub(super) host: Ipv4Addr,
    pub(super) behavior: Behavior,
    /// The time before the first attempt.
    pub(super) not_before: Duration,
}

pub(super) struct PortTaker {
    /// 0: no port yet.
    taken: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PortTaker {
    /// `which` gives the port, once it is known.
    pub(super) fn start(plan: PortPlan, which: impl Fn() -> Option<u16> + Send + 'static) -> Self {
        let (taken, stop) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicBool::new(false)));
        let (port_taken, stopped) = (Arc::clone(&taken), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            while !stopped.load(Ordering::SeqCst) {
                let port = which().filter(|_| began.elapsed() >= plan.not_before);
                let listener = port.and_then(|port| TcpListener::bind((IpAddr::V4(plan.host), port)).ok());
                if let Some(listener) = listener {
                    port_taken.store(port.unwrap_or_default(), Ordering::SeqCst);
                    serve(&listener, plan.behavior, &stopped);
                    return;
                }
                wait::pause(Duration::from_micros(50));
            }
        });
        Self { taken, stop, thread: Some(thread) }
    }

    /// The port that was taken.
    pub(super) fn taken(&self) -> Option<u16> {
        Some(self.taken.load(Ordering::SeqCst)).filter(|port| *port != 0)
    }
}

impl Drop for PortTaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(listener: &TcpListener, behavior: Behavior, stop: &AtomicBool) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let mut open = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((client, _)) => open.extend(answer(client, behavior)),
            Err(_) => wait::pause(Duration::from_millis(1)),
        }
    }
}

/// Answers one request; a connection that stays open is handed back.
fn answer(mut client: TcpStream, behavior: Behavior) -> Option<TcpStream> {
    let mut request = [0; 1024];
    client.set_nonblocking(false).and_then(|()| client.set_read_timeout(Some(Duration::from_millis(100)))).ok()?;
    if behavior == Behavior::Silent {
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
    let text = match behavior {
        Behavior::ForeignEtcd => format!(
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 14841639068965178418\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
        _ => "\u{0}\u{1}SSH-2.0-other\r\n".repeat(100),
    };
    drop(client.write_all(text.as_bytes()));
    None
}
