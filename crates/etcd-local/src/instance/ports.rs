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
        // The one that it had, if it is free, else any, but not the one that the other port is.
        let choose = |wanted: Port, before: Option<&String>, taken: Port| {
            let had = || {
                let addr = address_of(before?)?;
                (addr.ip() == host && ports::is_free(host, addr.port()).ok()? && free.claim(addr.port()))
                    .then_some(addr.port())
            };
            match wanted {
                Port::Fixed(port) => port,
                Port::Auto => had()
                    .filter(|port| Port::Fixed(*port) != taken)
                    .unwrap_or_else(|| if Port::Fixed(one) == taken { other } else { one }),
            }
        };
        let (wanted, wanted_peer) = (self.builder.settings.client(), self.builder.settings.peer());
        let client = choose(wanted, previous.and_then(|record| record.endpoints.first()), wanted_peer);
        let peer = choose(wanted_peer, previous.map(|record| &record.peer_url), Port::Fixed(client));
        launch::claim_port(host, client, PortKind::Client)?;
        launch::claim_port(host, peer, PortKind::Peer)?;
        Ok(Ports { host, client, peer, metrics, tls: free.tls })
    }
}
