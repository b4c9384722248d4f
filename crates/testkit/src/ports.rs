//! Free ports for tests: for servers that a test starts, and for endpoints on which no process listens.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A free port on 127.0.0.1. The operating system and etcd-local do not choose ports from this range, and tests that run at the
/// same time get different ports, so the port stays free until the test uses it.
///
/// # Panics
///
/// If all ports of the range are taken.
#[must_use]
pub fn free_port() -> u16 {
    /// Above the ports of etcd-local, below the ports that Linux hands out.
    const FIRST: u16 = 30_720;
    const COUNT: u16 = 2_048;
    /// How many ports the tests of one process can take before they reach those of the next process.
    const PER_PROCESS: u32 = 8;
    static ATTEMPT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(PER_PROCESS);
    let mut ports = (0..COUNT).map(|_| {
        let offset = first.wrapping_add(ATTEMPT.fetch_add(1, Ordering::Relaxed)) % u32::from(COUNT);
        FIRST + u16::try_from(offset).unwrap()
    });
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
