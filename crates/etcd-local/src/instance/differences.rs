//! Settings that differ from what runs: a server goes on as it was started, whatever is set later. This file compares
//! them and changes nothing.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use etcd_workspace::Record;

use super::{Instance, ObserveError};
use crate::binary::Wanted;
use crate::file::is_same;
use crate::server::ports::address_of;
use crate::settings::Port;

/// A setting that differs from what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which setting.
    pub what: &'static str,
    /// What the server runs with.
    pub running: String,
    /// What is set.
    pub set: String,
    /// Where it is set: the variable, or the manifest.
    pub by: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, running, set, by } = self;
        write!(f, "{what} {running}, not {set} ({by})")
    }
}

/// Where a setting comes from if no variable sets it.
const MANIFEST: &str = "Cargo.toml";
const MANIFEST_OR_DEFAULT: &str = "Cargo.toml or default";

impl Instance {
    /// The settings of the environment and the manifest that differ from the running server's; empty while it is stopped.
    /// The builder's setters are not compared: [`Instance::up`] refuses what differs there.
    ///
    /// # Errors
    /// If the instance's state cannot be read.
    pub fn differences(&self) -> Result<Vec<Difference>, ObserveError> {
        let seen = self.look()?;
        let record = seen.record.as_ref().filter(|_| !seen.is_stopped());
        Ok(record.map(|record| self.differences_from(record)).unwrap_or_default())
    }

    fn differences_from(&self, record: &Record) -> Vec<Difference> {
        let settings = &self.builder.settings;
        let client = record.endpoints.first().and_then(|url| address_of(url));
        let by = |variable, otherwise| match self.builder.env.var_os(variable) {
            Some(_) => variable,
            None => otherwise,
        };
        let mut found = Vec::new();
        let mut compare = |what, running: Option<String>, set: Option<String>, by| {
            if let (Some(running), Some(set)) = (running, set)
                && running != set
            {
                found.push(Difference { what, running, set, by });
            }
        };
        let port = |addr: Option<SocketAddr>| addr.map(|addr| addr.port().to_string());
        // Only ports that the user set are compared, not the defaults.
        let (set, peer_set) = (settings.port.and_then(fixed), settings.peer_port.and_then(fixed));
        compare("client port", port(client), set, by("ETCDPORTCLNT", MANIFEST));
        compare("peer port", port(address_of(&record.peer_url)), peer_set, by("ETCDPORTPEER", MANIFEST));
        let host = client.map(|addr| addr.ip().to_string());
        compare("address", host, Some(settings.host.to_string()), by("ETCDNODEADDR", "default"));
        compare("member name", Some(record.member.clone()), settings.member.clone(), by("ETCDINSTANCE", MANIFEST));
        let dir = settings.data_dir.as_ref().filter(|dir| !is_same(dir, &record.data_dir));
        compare("data directory", Some(shown(&record.data_dir)), dir.map(|dir| shown(dir)), by("ETCDDATA", MANIFEST));
        match &settings.wanted {
            Wanted::At(path) => {
                let path = if path.is_dir() {
                    path.join(format!("etcd{}", std::env::consts::EXE_SUFFIX))
                } else {
                    path.clone()
                };
                let other = Some(path).filter(|path| !is_same(path, &record.binary));
                compare("program", Some(shown(&record.binary)), other.map(|path| shown(&path)), "ETCDBINPATH");
            }
            wanted if wanted.accepts(&record.version) => {}
            wanted => compare("etcd", Some(record.version.to_string()), Some(wanted.to_string()), MANIFEST_OR_DEFAULT),
        }
        found
    }
}

fn fixed(port: Port) -> Option<String> {
    match port {
        Port::Fixed(port) => Some(port.to_string()),
        Port::Auto => None,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
