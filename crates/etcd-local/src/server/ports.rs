//! A member's ports, and who has a port that is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

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
