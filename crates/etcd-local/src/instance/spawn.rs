//! The spawn of one server of an instance, and what is written down once the server is ready. The wait in between is the
//! caller's, who may wait for several servers at once.

use std::slice;

use etcd_workspace::{Record, SCHEMA, SCHEMA_2};
use semver::Version;

use super::start::StartError;
use super::{Instance, State, Status};
use crate::binary::Binary;
use crate::data::DataDir;
use crate::file::cannot;
use crate::lock::Lock;
use crate::os::Lifetime;
use crate::server::launch::{Durability, Launch, Launched, Ready};
use crate::server::log;
use crate::server::ports::{Address, Ports};

/// A server that was spawned, and may not be ready yet.
pub(super) struct Starting {
    pub(super) launched: Launched,
    record: Record,
    version: Version,
    log_from: u64,
}

impl Instance {
    pub(super) fn spawn(
        &self,
        binary: &Binary,
        lock: Lock,
        data: &mut DataDir,
        ports: Ports,
        lifetime: Lifetime,
        asks_for_election: bool,
    ) -> Result<Starting, StartError> {
        let member = Address { name: self.builder.member(), ports };
        let has_users = data.marker.as_ref().is_some_and(|marker| marker.has_users);
        let record = Record {
            schema: if ports.metrics.is_some() || has_users { SCHEMA_2 } else { SCHEMA },
            instance: self.name.clone(),
            endpoints: vec![ports.client_url()],
            peer_url: ports.peer_url(),
            member: member.name.clone(),
            version: binary.version.clone(),
            binary: binary.path.clone(),
            data_dir: data.path.clone(),
            log: self.log(),
            cluster_id: data.marker.as_ref().and_then(|marker| marker.cluster_id),
            pids: Vec::new(),
            process: None,
            ready_ms: None,
            password_file: has_users.then(|| self.password_file()),
            tls: self.builder.tls.as_ref().map(|files| files.dir().to_owned()),
            peer_tls: self.builder.peer_tls.as_ref().map(|files| files.dir().to_owned()),
            metrics_url: ports.metrics_url(),
            members: Vec::new(),
        };
        // Written before the spawn: whoever comes after our sudden end knows where to look.
        self.save(&record)?;
        log::rotate(&self.log()).map_err(cannot("rotate", &self.log()))?;
        let launch = Launch {
            binary,
            member: &member,
            cluster: match self.cluster.as_slice() {
                [] => slice::from_ref(&member),
                cluster => cluster,
            },
            learners: self.builder.learners,
            data,
            durability: Durability::Synced,
            lifetime,
            asks_for_election,
            tls: self.builder.tls.as_ref(),
            peer_tls: self.builder.peer_tls.as_ref(),
            extra_args: &self.builder.extra_args,
            log: &self.log(),
            env: &self.builder.env,
        };
        let (log_from, version) = (self.log().metadata().map_or(0, |log| log.len()), binary.version.clone());
        match launch.spawn(lock) {
            Ok(launched) => Ok(Starting { launched, record, version, log_from }),
            Err(error) => {
                note_failed_use(self, data, &version, log_from);
                Err(error.into())
            }
        }
    }
}

impl Starting {
    pub(super) fn note_failed_use(&self, instance: &Instance, data: &mut DataDir) {
        note_failed_use(instance, data, &self.version, self.log_from);
    }

    /// Writes down that the server is ready. If that fails, the server is ended.
    pub(super) fn finish(
        &self,
        instance: &Instance,
        data: &mut DataDir,
        Ready { cluster_id, version, took }: Ready,
    ) -> Result<Status, StartError> {
        let mut record = self.record.clone();
        let running = &self.launched.child.running;
        instance.note_use(data, &version).inspect_err(|_| drop(running.kill()))?;
        let identity = running.identity.clone();
        record.cluster_id = Some(cluster_id);
        record.version = version;
        record.pids = vec![identity.pid];
        record.process = Some(identity);
        record.ready_ms = u64::try_from(took.as_millis()).ok();
        // A full disk, say. A call that fails leaves no server.
        instance.save(&record).inspect_err(|_| drop(running.kill()))?;
        Ok(instance.describe(Some(record), slice::from_ref(running), State::Ready))
    }
}

impl Starting {
    /// Writes down that the server runs, which cannot be ready while most members do not run.
    pub(super) fn leave(self, instance: &Instance) -> Result<(), StartError> {
        let running = &self.launched.child.running;
        let identity = running.identity.clone();
        let record = Record { pids: vec![identity.pid], process: Some(identity), ..self.record };
        instance.save(&record).inspect_err(|_| drop(running.kill()))
    }
}

/// A start that fails may have come so far that an older etcd cannot read the data. If this cannot be written, etcd itself
/// refuses what is older.
fn note_failed_use(instance: &Instance, data: &mut DataDir, version: &Version, log_from: u64) {
    if log::has_set_cluster_version(&instance.log(), log_from) {
        let _ = instance.note_use(data, version);
    }
}
