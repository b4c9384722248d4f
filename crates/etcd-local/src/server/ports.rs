//! A member's two ports, and who has a port that is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::readiness;
use crate::process::Running;

/// Where a member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) host: IpAddr,
    pub(crate) client: u16,
    pub(crate) peer: u16,
}

impl Ports {
    pub(crate) fn client_url(&self) -> String {
        format!("http://{}", SocketAddr::new(self.host, self.client))
    }

    pub(crate) fn peer_url(&self) -> String {
        format!("http://{}", SocketAddr::new(self.host, self.peer))
    }
}

/// A member of a cluster, as its peers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) ports: Ports,
}

/// Which of a member's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// For clients, 2379 by default.
    Client,
    /// For other members, 2380 by default.
    Peer,
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Peer => "peer",
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
