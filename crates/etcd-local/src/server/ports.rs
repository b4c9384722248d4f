//! A member's ports, and who has a port that is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use etcd_workspace::TlsScope;

use super::readiness::{self, is_encrypted};
use crate::process::Running;

/// Where a member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) host: IpAddr,
    pub(crate) client: u16,
    pub(crate) peer: u16,
    /// Where it answers us in plain HTTP; only a member with TLS has one. One that is for tests answers everything there, and
    /// others nothing but how they are.
    pub(crate) metrics: Option<u16>,
    pub(crate) tls: TlsScope,
}

impl Ports {
    /// The ports that a record names.
    pub(crate) fn recorded(endpoint: &str, peer_url: &str, metrics_url: Option<&str>) -> Option<Self> {
        let (client, peer) = (address_of(endpoint)?, address_of(peer_url)?);
        let metrics = match metrics_url {
            Some(url) => Some(address_of(url)?.port()),
            None => None,
        };
        let tls = TlsScope { clients: is_encrypted(endpoint), peers: is_encrypted(peer_url) };
        Some(Self { host: client.ip(), client: client.port(), peer: peer.port(), metrics, tls })
    }

    pub(crate) fn client_url(&self) -> String {
        url(self.tls.clients, SocketAddr::new(self.host, self.client))
    }

    pub(crate) fn peer_url(&self) -> String {
        url(self.tls.peers, SocketAddr::new(self.host, self.peer))
    }

    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.metrics.map(|port| format!("http://{}", SocketAddr::new(Self::metrics_host(self.host), port)))
    }

    /// Where it answers us in plain HTTP.
    pub(crate) fn plain_url(&self) -> String {
        self.metrics_url().unwrap_or_else(|| self.client_url())
    }

    /// Who may reach a server from elsewhere has certificates; this is for its own machine.
    pub(crate) fn metrics_host(host: IpAddr) -> IpAddr {
        if host.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }
}

fn url(is_encrypted: bool, address: SocketAddr) -> String {
    format!("{}://{address}", if is_encrypted { "https" } else { "http" })
}

/// The address in a URL of ours.
pub(crate) fn address_of(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?.parse().ok()
}

/// A member of a cluster, as its peers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) ports: Ports,
}

impl Address {
    /// Whether it is one of several members, and does not vote.
    pub(crate) fn is_learner(&self) -> bool {
        etcd_workspace::is_learner(&self.name)
    }
}

/// Which of a member's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// For clients, 2379 by default.
    Client,
    /// For other members, 2380 by default.
    Peer,
    /// For us, if anybody speaks TLS; any.
    Metrics,
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Metrics => "metrics",
        })
    }
}

/// Who has a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The listening process, if the system lets us know.
    pub pid: Option<u32>,
    /// Its program.
    pub exe: Option<PathBuf>,
    /// The version, if an etcd answers there, and soon.
    pub etcd: Option<String>,
    /// The directory of the instance whose server it is, `.etcd/NAME` of some workspace.
    pub instance_dir: Option<PathBuf>,
    /// Whether the lock file in that directory was deleted: nothing there leads to the server any more.
    pub is_orphan: bool,
}

impl Holder {
    /// Finds out who listens on `addr`.
    #[must_use]
    pub fn of(addr: SocketAddr) -> Self {
        let pid = crate::os::listener(addr);
        let running = pid.and_then(|pid| Running::with_pid(pid).ok().flatten());
        let exe = running.map(|running| running.identity.exe).filter(|exe| !exe.as_os_str().is_empty());
        let (instance_dir, is_orphan) = pid.and_then(etcd_workspace::instance_dir).unzip();
        let etcd = readiness::server_version_soon(&format!("http://{addr}"));
        Self { pid, exe, etcd, instance_dir, is_orphan: is_orphan.unwrap_or(false) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.exe) {
            (Some(pid), Some(exe)) => write!(f, "pid {pid} ({})", exe.display())?,
            (Some(pid), None) => write!(f, "pid {pid}")?,
            (None, _) => f.write_str("a process that cannot be seen")?,
        }
        if let Some(version) = &self.etcd {
            write!(f, ", an etcd {version}")?;
        }
        match &self.instance_dir {
            Some(dir) if self.is_orphan => {
                write!(f, ", the server of `{}`, whose lock file was deleted", dir.display())
            }
            Some(dir) => write!(f, ", the server of `{}`", dir.display()),
            None if self.etcd.is_some() && self.pid.is_some() => f.write_str(" that this instance did not start"),
            // Who started a process that cannot be seen is not known.
            None => Ok(()),
        }
    }
}

/// A free port for a server that may be stopped and started again: below those that systems give to connections and to all who ask for any port, so that
/// hardly anybody takes it while the server is stopped. Least of all does another of our servers: processes that begin soon
/// after each other look at different ports. `None`: none was found soon.
pub(crate) fn lasting(host: IpAddr, owner: Owner) -> Option<(u16, TcpListener)> {
    const ATTEMPTS: usize = 20;
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    (0..ATTEMPTS).find_map(|_| {
        let port = lasting_port(owner, std::process::id(), LOOKS.fetch_add(1, Ordering::Relaxed));
        Some((port, TcpListener::bind(SocketAddr::new(host, port)).ok()?))
    })
}

/// Whose a lasting port is. Each kind has a range of its own: a member may be stopped for long while many others start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// An instance of one member.
    Alone,
    /// One of several members of an instance.
    Member,
    /// An ephemeral etcd; tests kill it and start it again.
    Ephemeral,
}

impl Owner {
    /// The first of its ports, and how many it has. Linux gives others ports from 32,768 on, other systems from 49,152. The
    /// tests of these crates take theirs from the last 2,048 below.
    fn range(self) -> (u16, u16) {
        match self {
            Self::Alone => (16_384, 4_096),
            Self::Member => (20_480, 6_144),
            Self::Ephemeral => (26_624, 4_096),
        }
    }
}

/// Where a process looks the first time, the second, and so on.
fn lasting_port(owner: Owner, pid: u32, look: u32) -> u16 {
    /// How often a process looks before it looks where the next one has looked: three members have six ports.
    const LOOKS: u16 = 6;
    let (first, count) = owner.range();
    let step = u32::from(count / LOOKS + 1);
    let place = pid.wrapping_add(look.wrapping_mul(step)) % u32::from(count);
    first + u16::try_from(place).unwrap_or_default()
}

/// Whether the port is free.
pub(crate) fn is_free(host: IpAddr, port: u16) -> io::Result<bool> {
    let addr = SocketAddr::new(host, port);
    match TcpListener::bind(addr).map(drop) {
        // Windows admits us beside a wildcard that serves the same address, and gives us its clients.
        Ok(()) => Ok(!cfg!(windows) || crate::os::listener(addr).is_none()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        // Windows says so if the port's owner does not share it, and also of ports that Windows itself reserves.
        Err(error) if cfg!(windows) && error.kind() == io::ErrorKind::PermissionDenied => {
            crate::os::listener(addr).map(|_| false).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn processes_that_begin_soon_after_each_other_look_at_different_ports() {
        let of_owner =
            |owner| (65_000..65_500).flat_map(move |pid| (0..6).map(move |look| lasting_port(owner, pid, look)));
        let looks = [Owner::Alone, Owner::Member, Owner::Ephemeral].into_iter().flat_map(of_owner);
        let looks = looks.collect::<HashSet<_>>();
        assert_eq!(looks.len(), 3 * 500 * 6);
        assert!(looks.iter().all(|port| (16_384..30_720).contains(port)));
    }
}
