//! Ports that tests give to servers, or where nobody is to listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of 127.0.0.1 where nobody listens, and that nobody else is given soon: not the system to any connection, not an etcd
/// of ours, not a test that runs at the same time.
///
/// # Panics
///
/// If all are taken.
#[must_use]
pub fn free_port() -> u16 {
    /// Above those that etcd-local takes, below those that Linux gives to everybody.
    const FIRST: u16 = 30_720;
    const COUNT: u16 = 2_048;
    /// How many ports a test has before it looks where the next one has looked.
    const OF_A_TEST: u32 = 8;
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(OF_A_TEST);
    let mut ports = (0..COUNT).map(|_| {
        let place = first.wrapping_add(LOOKS.fetch_add(1, Ordering::Relaxed)) % u32::from(COUNT);
        FIRST + u16::try_from(place).unwrap()
    });
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
