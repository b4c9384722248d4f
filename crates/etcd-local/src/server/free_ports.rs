//! Chooses ports for servers whose ports are not set. Client and peer ports come from a range that operating systems do not hand
//! out to other programs. Each chosen port has a claim: a file in the cache, which all workspaces of a user share, with the
//! directory of the instance or ephemeral etcd that uses the port. A claimed port is not chosen for another server, even while
//! its own server is stopped.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_workspace::{RECORD, Record, TlsScope};

use super::launch_error::LaunchError;
use super::ports::{Ports, address_of};

/// The ports of instances. Linux hands out ports from 32,768 on, other systems from 49,152.
pub(crate) const OF_INSTANCES: Range<u16> = 16_384..24_576;
/// The ports of ephemeral etcds. They have their own range because ephemeral etcds of other users and caches, whose claims are
/// not visible here, must not take the port of an instance. The ports above this range are for the tests of these crates.
pub(crate) const OF_EPHEMERAL: Range<u16> = 24_576..30_720;

/// Chooses ports.
pub(crate) struct FreePorts {
    pub(crate) range: Range<u16>,
    pub(crate) host: IpAddr,
    pub(crate) tls: TlsScope,
    /// The directory of the instance or ephemeral etcd that uses the ports.
    pub(crate) owner: PathBuf,
    /// The directory of the claims. `None` if there is no cache directory; then only ports that are in use are avoided.
    pub(crate) claims: Option<PathBuf>,
}

impl FreePorts {
    /// Free ports for one member. Another process can take one before etcd does; the launch then fails with
    /// [`LaunchError::PortTaken`], and the caller chooses again.
    pub(crate) fn of_one(&self) -> Result<Ports, LaunchError> {
        Ok(self.hold()?.0)
    }

    /// Free ports for each of several members.
    pub(crate) fn of_members(&self, members: usize) -> Result<Vec<Ports>, LaunchError> {
        // The sockets stay open until all ports are chosen, so that no port is chosen twice.
        let found = (0..members).map(|_| self.hold()).collect::<Result<Vec<_>, _>>()?;
        Ok(found.iter().map(|(ports, _)| *ports).collect())
    }

    fn hold(&self) -> Result<(Ports, [TcpListener; 3]), LaunchError> {
        let (host, tls) = (self.host, self.tls);
        let port = || self.find_and_claim(host).map_or_else(|| any_port(host), Ok);
        let ((client, one), (peer, other)) = (port()?, port()?);
        // An instance chooses its metrics port again at each start, so the port needs no claim.
        let (metrics, third) = any_port(Ports::metrics_host(host))?;
        Ok((Ports { host, client, peer, metrics: tls.is_any().then_some(metrics), tls }, [one, other, third]))
    }

    /// Finds a free port and claims it. `None` after too many attempts.
    fn find_and_claim(&self, host: IpAddr) -> Option<(u16, TcpListener)> {
        const ATTEMPTS: usize = 100;
        static ATTEMPT: AtomicU32 = AtomicU32::new(0);
        (0..ATTEMPTS).find_map(|_| {
            let port = candidate(&self.range, std::process::id(), ATTEMPT.fetch_add(1, Ordering::Relaxed));
            let addr = SocketAddr::new(host, port);
            // Windows lets us listen beside a process that listens on all addresses.
            if cfg!(windows) && crate::os::listener(addr).is_some() {
                return None;
            }
            let socket = TcpListener::bind(addr).ok()?;
            self.claim(port).then_some((port, socket))
        })
    }

    /// Claims a port. `false` if the port belongs to another instance or ephemeral etcd.
    pub(crate) fn claim(&self, port: u16) -> bool {
        let (Some(claims), Some(owner)) = (&self.claims, self.owner.to_str()) else { return true };
        try_claim(claims, port, owner).unwrap_or(true)
    }
}

fn try_claim(claims: &Path, port: u16, owner: &str) -> io::Result<bool> {
    /// Longer than any path that systems take.
    const LONGEST: u64 = 64 * 1024;
    fs::create_dir_all(claims)?;
    let path = claims.join(port.to_string());
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut before = Vec::new();
    Read::take(&file, LONGEST).read_to_end(&mut before)?;
    if before == owner.as_bytes() {
        return Ok(true);
    }
    if std::str::from_utf8(&before).is_ok_and(|before| uses(Path::new(before), port)) {
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(owner.as_bytes())?;
    Ok(true)
}

/// Whether the instance or ephemeral etcd in this directory uses the port. Before its first start, an instance has no record, and
/// an ephemeral etcd never has one: then the claim alone decides.
fn uses(dir: &Path, port: u16) -> bool {
    if !dir.is_absolute() || !dir.is_dir() {
        return false;
    }
    let Ok(Some(record)) = Record::read(&dir.join(RECORD)) else { return true };
    let of_members = record.members.iter().flat_map(|member| [&member.endpoint, &member.peer_url]);
    let mut urls = record.endpoints.iter().chain([&record.peer_url]).chain(of_members);
    urls.any(|url| address_of(url).is_some_and(|address| address.port() == port))
}

/// The port that a process tries at its `attempt`. Processes that start soon after each other try different ports.
fn candidate(range: &Range<u16>, pid: u32, attempt: u32) -> u16 {
    /// The distance between two attempts of a process. It is larger than the number of processes that a busy machine starts
    /// in a second, and leaves room for 15 attempts; seven members need 14 ports.
    const STEP: u32 = 385;
    let offset = pid.wrapping_add(attempt.wrapping_mul(STEP)) % u32::from(range.end - range.start);
    range.start + u16::try_from(offset).unwrap_or_default()
}

fn any_port(host: IpAddr) -> Result<(u16, TcpListener), LaunchError> {
    let addr = SocketAddr::new(host, 0);
    let bound = TcpListener::bind(addr).and_then(|socket| Ok((socket.local_addr()?.port(), socket)));
    bound.map_err(|source| LaunchError::Listen { addr, source })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn processes_that_start_soon_after_each_other_try_different_ports() {
        for range in [OF_INSTANCES, OF_EPHEMERAL] {
            let attempts = (65_000..65_384).flat_map(|pid| (0..15).map(move |attempt| (pid, attempt)));
            let ports = attempts.map(|(pid, attempt)| candidate(&range, pid, attempt)).collect::<HashSet<_>>();
            assert_eq!(ports.len(), 384 * 15);
            assert!(ports.iter().all(|port| range.contains(port)));
        }
    }

    #[test]
    fn a_claimed_port_is_refused_until_its_owner_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let chooser = |owner: &str| {
            fs::create_dir_all(path(owner)).unwrap();
            let (host, tls) = ([127, 0, 0, 1].into(), TlsScope { clients: false, peers: false });
            FreePorts { range: OF_INSTANCES, host, tls, owner: path(owner), claims: Some(path("cache/ports")) }
        };
        let (one, other) = (chooser("one"), chooser("other"));
        assert!(one.claim(20_000) && one.claim(20_000) && other.claim(20_001));
        assert!(!other.claim(20_000), "it has no record yet");
        let record = path("one").join(RECORD);
        fs::write(&record, r#"{"schema": 99}"#).unwrap();
        assert!(!other.claim(20_000), "a newer version knows which ports it has");
        fs::remove_dir_all(path("one")).unwrap();
        assert!(other.claim(20_000), "it is gone");
        for odd in ["", "relative", "\0"] {
            fs::write(path("cache/ports/20002"), odd).unwrap();
            assert!(other.claim(20_002), "{odd:?}");
        }
        fs::remove_dir_all(path("cache")).unwrap();
        fs::write(path("cache"), "no directory").unwrap();
        assert!(other.claim(20_003));
    }
}
