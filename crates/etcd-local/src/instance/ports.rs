//! The ports of an instance of one member: those that are set, those that it had, or any that are free. Whether its server can
//! still have them, its start finds out.

use etcd_workspace::Record;

use super::Instance;
use crate::server::free_ports::OF_INSTANCES;
use crate::server::launch;
use crate::server::launch_error::LaunchError;
use crate::server::ports::{self, PortKind, Ports, address_of};
use crate::settings::Port;

impl Instance {
    /// Whether a port that is taken may be replaced by another.
    pub(super) fn may_move(&self) -> bool {
        let settings = &self.builder.settings;
        settings.client() == Port::Auto || settings.peer() == Port::Auto
    }

    /// Two fixed ports must be two.
    pub(super) fn check_ports(&self) -> Result<(), LaunchError> {
        match (self.builder.settings.client(), self.builder.settings.peer()) {
            (Port::Fixed(client), Port::Fixed(peer)) if client == peer => Err(LaunchError::SamePort { port: client }),
            _ => Ok(()),
        }
    }

    pub(super) fn choose_ports(&self, previous: Option<&Record>) -> Result<Ports, LaunchError> {
        let host = self.builder.settings.host;
        let free = self.builder.free_ports(OF_INSTANCES, &self.dir);
        let Ports { client: one, peer: other, metrics, .. } = free.of_one()?;
        // Each port is bound once. A second look can find it taken by this process: a child that another thread starts meanwhile
        // has a copy of the socket until it runs its own program.
        let choose = |wanted: Port, kind: PortKind, before: Option<&String>, taken: Port| {
            let had = || {
                let addr = address_of(before?)?;
                (addr.ip() == host && ports::is_free(host, addr.port()).ok()? && free.claim(addr.port()))
                    .then_some(addr.port())
            };
            match wanted {
                Port::Fixed(port) => launch::claim_port(host, port, kind).map(|()| port),
                // The one that it had, if it is free, else any, but not the one that the other port is.
                Port::Auto => Ok(had()
                    .filter(|port| Port::Fixed(*port) != taken)
                    .unwrap_or_else(|| if Port::Fixed(one) == taken { other } else { one })),
            }
        };
        let (wanted, wanted_peer) = (self.builder.settings.client(), self.builder.settings.peer());
        let (before, before_peer) =
            (previous.and_then(|record| record.endpoints.first()), previous.map(|record| &record.peer_url));
        let client = choose(wanted, PortKind::Client, before, wanted_peer)?;
        let peer = choose(wanted_peer, PortKind::Peer, before_peer, Port::Fixed(client))?;
        Ok(Ports { host, client, peer, metrics, tls: free.tls })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::settings::{Port, Settings};
    use crate::{Builder, Env};

    #[test]
    fn a_port_is_free_while_this_process_starts_others() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Builder::with_settings(Env::empty(dir.path()), dir.path(), Settings::default());
        let instance = builder.port(Port::Auto).peer_port(Port::Auto).instance("test").unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_done.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let chosen = (0..2_000).try_for_each(|_| instance.choose_ports(None).map(drop));
            is_done.store(true, Ordering::Relaxed);
            chosen.unwrap();
        });
    }
}
