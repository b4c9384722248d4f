//! Which ports a server gets for which none are set. Those for clients and peers are below those that systems give to connections and to all who ask
//! for any port, and each is claimed: a file in the cache, which all workspaces of a user share, has the directory of the
//! instance or of the ephemeral etcd that has it. So nobody else is given the port of a server that is stopped.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_workspace::{RECORD, Record, TlsScope};

use super::launch_error::LaunchError;
use super::ports::{Ports, address_of};

/// The ports of instances. Linux gives others ports from 32,768 on, other systems from 49,152.
pub(crate) const OF_INSTANCES: Range<u16> = 16_384..24_576;
/// The ports of ephemeral etcds. Many start, also those of other users and caches, whose claims are not seen; they do not take
/// an instance's. The tests of these crates take the ports above.
pub(crate) const OF_EPHEMERAL: Range<u16> = 24_576..30_720;

/// Chooses ports.
pub(crate) struct FreePorts {
    pub(crate) range: Range<u16>,
    pub(crate) host: IpAddr,
    pub(crate) tls: TlsScope,
    /// The directory of the instance or the ephemeral etcd that gets them.
    pub(crate) owner: PathBuf,
    /// The directory of the claims; `None` without a cache. Then, or if nothing can be written there, a port is anybody's while
    /// nobody listens.
    pub(crate) claims: Option<PathBuf>,
}

impl FreePorts {
    /// Ports of one member, which nobody has now. Somebody may take one before etcd does: then the launch says so, and the
    /// caller picks again.
    pub(crate) fn of_one(&self) -> Result<Ports, LaunchError> {
        Ok(self.hold()?.0)
    }

    /// The same for each of so many members.
    pub(crate) fn of_members(&self, members: usize) -> Result<Vec<Ports>, LaunchError> {
        // Held until all are found, so that none is found twice.
        let found = (0..members).map(|_| self.hold()).collect::<Result<Vec<_>, _>>()?;
        Ok(found.iter().map(|(ports, _)| *ports).collect())
    }

    fn hold(&self) -> Result<(Ports, [TcpListener; 3]), LaunchError> {
        let (host, tls) = (self.host, self.tls);
        let port = || self.lasting(host).map_or_else(|| any_port(host), Ok);
        let ((client, one), (peer, other)) = (port()?, port()?);
        // An instance gets another with each start.
        let (metrics, third) = any_port(Ports::metrics_host(host))?;
        Ok((Ports { host, client, peer, metrics: tls.is_any().then_some(metrics), tls }, [one, other, third]))
    }

    /// A port that nobody has, claimed. `None`: none was found soon.
    fn lasting(&self, host: IpAddr) -> Option<(u16, TcpListener)> {
        const ATTEMPTS: usize = 100;
        static LOOKS: AtomicU32 = AtomicU32::new(0);
        (0..ATTEMPTS).find_map(|_| {
            let port = place(&self.range, std::process::id(), LOOKS.fetch_add(1, Ordering::Relaxed));
            let socket = TcpListener::bind(SocketAddr::new(host, port)).ok()?;
            self.claim(port).then_some((port, socket))
        })
    }

    /// Claims a port; `false`: another has claimed it, and still has it.
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
    if std::str::from_utf8(&before).is_ok_and(|before| has(Path::new(before), port)) {
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(owner.as_bytes())?;
    Ok(true)
}

/// Whether what is in this directory has the port, or will: it has no record before its first start.
fn has(dir: &Path, port: u16) -> bool {
    if !dir.is_absolute() || !dir.is_dir() {
        return false;
    }
    let Ok(Some(record)) = Record::read(&dir.join(RECORD)) else { return true };
    let of_members = record.members.iter().flat_map(|member| [&member.endpoint, &member.peer_url]);
    let mut urls = record.endpoints.iter().chain([&record.peer_url]).chain(of_members);
    urls.any(|url| address_of(url).is_some_and(|address| address.port() == port))
}

/// Where a process looks the first time, the second, and so on. Processes that begin soon after each other look at different
/// ports.
fn place(range: &Range<u16>, pid: u32, look: u32) -> u16 {
    /// So many processes begin before one looks where this one did, unless it needs more ports than five members with TLS.
    const STEP: u32 = 385;
    let place = pid.wrapping_add(look.wrapping_mul(STEP)) % u32::from(range.end - range.start);
    range.start + u16::try_from(place).unwrap_or_default()
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
    fn processes_that_begin_soon_after_each_other_look_at_different_ports() {
        for range in [OF_INSTANCES, OF_EPHEMERAL] {
            let looks = (65_000..65_384).flat_map(|pid| (0..15).map(move |look| (pid, look)));
            let looks = looks.map(|(pid, look)| place(&range, pid, look)).collect::<HashSet<_>>();
            assert_eq!(looks.len(), 384 * 15);
            assert!(looks.iter().all(|port| range.contains(port)));
        }
    }

    #[test]
    fn a_port_is_its_owners_while_that_may_need_it() {
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
