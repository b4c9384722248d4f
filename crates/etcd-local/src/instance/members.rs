//! An instance of several members. Each is an instance of its own, in a directory of its name below the instance's: its
//! lock, log, record and data are those of any instance. The instance's own record lists them all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_workspace::{
    Identity, InstanceError, MemberRecord, RECORD, Record, SCHEMA_2, TlsFiles, TlsScope, member_names,
};

use super::observe::{ObserveError, Presence, Seen, probe};
use super::record;
use super::start::StartError;
use super::stop::{Down, StopError};
use super::{Instance, MemberStatus, State, Status};
use crate::binary::Binary;
use crate::builder::Requested;
use crate::data::DataDir;
use crate::file::cannot;
use crate::lock::Lock;
use crate::reporter::Event;
use crate::server::election;
use crate::server::leader::{self, View};
use crate::server::ports::{Address, Ports};
use crate::server::readiness::Probe;
use crate::settings::Port;
use crate::wait::Deadline;

impl Instance {
    pub(super) fn refuse_several_members(&self) -> Result<(), StartError> {
        match self.addresses()? {
            Some(_) => Err(StartError::SeveralMembers { instance: self.name.clone() }),
            None => Ok(()),
        }
    }

    /// Writes the record anew, as the members are. `false`: the instance has one member.
    pub(super) fn record_members(&self) -> Result<bool, StartError> {
        let Some(addresses) = self.addresses()? else { return Ok(false) };
        if let Some(record) = self.compose(&self.members(&addresses), None)? {
            self.save(&record)?;
        }
        Ok(true)
    }

    /// The members, by the record, else by their own directories; `None`: the instance has one.
    pub(super) fn addresses(&self) -> Result<Option<Vec<Address>>, ObserveError> {
        let path = self.record_path();
        let damaged = |reason: &str| {
            ObserveError::Record(InstanceError::Damaged { path: path.clone(), reason: reason.to_owned() })
        };
        if let Some(record) = self.saved()? {
            if record.members.is_empty() {
                return Ok(None);
            }
            let address = |member: &MemberRecord| {
                let MemberRecord { name, endpoint, peer_url, metrics_url, .. } = member;
                address(name, endpoint, peer_url, metrics_url.as_deref())
            };
            let addresses: Option<Vec<_>> = record.members.iter().map(address).collect();
            return addresses.map(Some).ok_or_else(|| damaged("a member's URL is not valid"));
        }
        let names = member_names(&self.dir).map_err(cannot("list", &self.dir))?;
        let mut addresses = Vec::new();
        for name in names {
            let record = record::peek(&self.dir.join(&name).join(RECORD))?;
            let found = record.and_then(|record| {
                address(&name, record.endpoints.first()?, &record.peer_url, record.metrics_url.as_deref())
            });
            addresses.push(found.ok_or_else(|| damaged(&format!("it is missing, and so is that of member `{name}`")))?);
        }
        Ok((!addresses.is_empty()).then_some(addresses))
    }

    /// The record as the file says it.
    pub(super) fn saved(&self) -> Result<Option<Record>, ObserveError> {
        Ok(record::peek(&self.record_path())?)
    }

    pub(super) fn members(&self, addresses: &[Address]) -> Vec<Self> {
        addresses.iter().map(|address| self.member(address, addresses)).collect()
    }

    fn member(&self, Address { name, ports }: &Address, addresses: &[Address]) -> Self {
        let mut builder = self.builder.clone();
        builder.learners = addresses.iter().filter(|address| address.is_learner()).count();
        let cluster = addresses.iter().filter(|address| !address.is_learner() || address.name == *name);
        // What was asked for is compared with the instance, which may upgrade its members.
        builder.requested = Requested::default();
        builder.settings.host = ports.host;
        builder.settings.port = Some(Port::Fixed(ports.client));
        builder.settings.peer_port = Some(Port::Fixed(ports.peer));
        builder.settings.member = Some(name.clone());
        builder.settings.data_dir = builder.settings.data_dir.map(|dir| dir.join(name));
        Self {
            dir: self.dir.join(name),
            name: format!("{}/{name}", self.name),
            builder,
            cluster: cluster.cloned().collect(),
        }
    }

    /// Whether this is one of several members, and does not vote.
    pub(super) fn is_learner(&self) -> bool {
        self.address().is_some_and(Address::is_learner)
    }

    /// Where this one of several members listens.
    pub(super) fn address(&self) -> Option<&Address> {
        self.cluster.iter().find(|address| Some(&address.name) == self.builder.settings.member.as_ref())
    }

    /// The directory that the data of all members is in.
    pub(super) fn data_of_members(&self, members: &[Self]) -> PathBuf {
        let of_first = members.first().map(|first| {
            let record = first.saved().ok().flatten();
            Some(first.data_dir_of(record.as_ref())).filter(|dir| *dir != first.own_data_dir())
        });
        of_first.flatten().and_then(|dir| dir.parent().map(Path::to_owned)).unwrap_or_else(|| self.dir.clone())
    }

    pub(super) fn status_of_members(&self, members: &[Self]) -> Result<Status, ObserveError> {
        let found = members.iter().map(Self::status_of_member).collect::<Result<Vec<_>, _>>()?;
        let record = self.saved()?;
        let is_learner = |(member, _): &(&Self, &Status)| member.is_learner();
        let (learners, voters): (Vec<_>, Vec<_>) = members.iter().zip(&found).partition(is_learner);
        let states = |of: &[(&Self, &Status)]| of.iter().map(|(_, status)| status.state).collect::<Vec<_>>();
        let mut status = self.describe(None, &[], state_of_members(&states(&voters), &states(&learners)));
        status.answers = voters.iter().any(|(_, status)| status.answers);
        status.endpoints = voters.iter().flat_map(|(_, status)| status.endpoints.clone()).collect();
        status.pids = found.iter().flat_map(|status| status.pids.clone()).collect();
        status.version = found.iter().find_map(|status| status.version.clone());
        status.binary = found.iter().find_map(|status| status.binary.clone());
        status.data_dir = self.data_of_members(members);
        status.password_file = found.iter().find_map(|status| status.password_file.clone());
        status.tls = found.iter().find_map(|status| status.tls.clone());
        status.peer_tls = found.iter().find_map(|status| status.peer_tls.clone());
        status.cluster_id = found.iter().find_map(|status| status.cluster_id);
        status.ready_ms = record.and_then(|record| record.ready_ms);
        status.log = members.first().map_or_else(|| self.log(), Self::log);
        let member = |(member, status): (&Self, Status)| MemberStatus {
            name: member.builder.member(),
            learner: member.is_learner(),
            state: status.state,
            endpoint: status.endpoints.into_iter().next().unwrap_or_default(),
            metrics_url: status.metrics_url,
            pids: status.pids,
            data_dir: status.data_dir,
            log: status.log,
        };
        status.members = members.iter().zip(found).map(member).collect();
        Ok(status)
    }

    /// The record of all members, as they are now. Without a program it is the members' own.
    pub(super) fn compose(&self, members: &[Self], binary: Option<&Binary>) -> Result<Option<Record>, ObserveError> {
        let seen = look(members)?;
        let before = self.saved()?;
        let records: Vec<Option<&Record>> = seen.iter().map(|seen| seen.record.as_ref()).collect();
        let member = |((member, record), seen): ((&Self, &Option<&Record>), &Seen)| MemberRecord {
            name: member.builder.member(),
            endpoint: member.ports().client_url(),
            peer_url: member.ports().peer_url(),
            metrics_url: member.ports().metrics_url(),
            data_dir: member.next_data_dir(*record),
            log: member.log(),
            pids: seen.processes().iter().map(|running| running.identity.pid).collect(),
            process: seen.processes().first().map(|running| Identity::clone(&running.identity)),
            learner: member.is_learner(),
        };
        let data_dir = self.data_of_members(members);
        let members: Vec<_> = members.iter().zip(&records).zip(&seen).map(member).collect();
        let of_binary = binary.map(|binary| (binary.version.clone(), binary.path.clone()));
        let of_records =
            || records.iter().flatten().next().map(|record| (record.version.clone(), record.binary.clone()));
        let (Some((version, binary)), Some(first)) = (of_binary.or_else(of_records), members.first().cloned()) else {
            return Ok(None);
        };
        Ok(Some(Record {
            schema: SCHEMA_2,
            instance: self.name.clone(),
            endpoints: members.iter().filter(|member| !member.learner).map(|member| member.endpoint.clone()).collect(),
            peer_url: first.peer_url,
            member: first.name,
            version,
            binary,
            data_dir,
            log: first.log,
            cluster_id: match &before {
                Some(before) => before.cluster_id,
                None => records.iter().flatten().find_map(|record| record.cluster_id),
            },
            pids: members.iter().flat_map(|member| member.pids.clone()).collect(),
            process: None,
            ready_ms: before.and_then(|before| before.ready_ms),
            password_file: records.iter().flatten().find_map(|record| record.password_file.clone()),
            tls: records.iter().flatten().find_map(|record| record.tls.clone()),
            peer_tls: records.iter().flatten().find_map(|record| record.peer_tls.clone()),
            metrics_url: None,
            members,
        }))
    }

    /// This instance, with or without TLS as its members were started.
    pub(super) fn with_tls_of(&self, record: Option<&Record>) -> Self {
        let files =
            |dir: fn(&Record) -> &Option<PathBuf>| record.and_then(|record| dir(record).clone()).map(TlsFiles::in_dir);
        let mut again = self.clone();
        again.builder.tls = files(|record| &record.tls);
        again.builder.peer_tls = files(|record| &record.peer_tls);
        again
    }

    /// Where this member listens.
    pub(super) fn ports(&self) -> Ports {
        let (host, tls) = (self.builder.settings.host, TlsScope::default());
        self.address().map_or(Ports { host, client: 0, peer: 0, metrics: None, tls }, |address| address.ports)
    }

    /// Kills the servers of all members, the leader's last. What etcd has acknowledged is on the disks of most members,
    /// because it is written there before. Asked to end, each would take a second and more.
    pub(super) fn stop_members(&self, members: &[Self]) -> Result<Down, StopError> {
        let mut stopped = Vec::new();
        for member in leader_last(members) {
            stopped.extend(member.stop_one_of_several()?.stopped);
        }
        self.record_stopped_members(members);
        Ok(Down { stopped, data_dir: self.data_of_members(members) })
    }

    /// Kills the server of this member. The record of all members is the caller's.
    pub(super) fn stop_one_of_several(&self) -> Result<Down, StopError> {
        if !self.dir.is_dir() {
            return Ok(Down { stopped: Vec::new(), data_dir: self.data_dir() });
        }
        let _operation = self.begin_operation()?;
        let (stopped, _lock, record) = self.stop(self.observe()?)?;
        let data_dir = self.data_dir_of(record.as_ref());
        if let Err(error) = self.record_stopped(record) {
            self.report_unrecorded(&error);
        }
        Ok(Down { stopped, data_dir })
    }

    /// Writes the record of all members after some were stopped. Their locks say that already.
    pub(super) fn record_stopped_members(&self, members: &[Self]) {
        match self.compose(members, None) {
            Ok(Some(record)) => {
                if let Err(error) = self.save(&record) {
                    self.report_unrecorded(&error);
                }
            }
            Ok(None) => {}
            Err(error) => self.report_unrecorded(&error),
        }
    }

    /// Has another member lead, if this member does: else nobody would until an election timeout has passed. A member that
    /// cannot be asked is not waited for.
    pub(super) fn hand_over_leadership(&self, members: &[Self]) {
        let view = |member: &Self| leader::view(&member.ports().client_url(), None).ok();
        let own = match view(self) {
            Some(own) if own.leader == own.member => own,
            Some(_) => return,
            None => return self.have_another_elected(members),
        };
        let follows = |other: &View| other.cluster == own.cluster && other.leader == own.member;
        let others = voters(members).filter(|other| other.dir != self.dir);
        if let Some(other) = others.filter_map(view).find(follows) {
            drop(leader::transfer(&self.ports().client_url(), None, other.member));
        }
    }

    /// The same if etcd answers only those who have a certificate or a user: through the ports for peers, unless these have
    /// TLS, too.
    fn have_another_elected(&self, members: &[Self]) {
        const TIMEOUT: Duration = Duration::from_secs(1);
        let leads = || leader::leads(&self.ports().plain_url());
        let cluster_id = self.saved().ok().flatten().and_then(|record| record.cluster_id);
        let Some(cluster_id) = cluster_id.filter(|_| !self.ports().tls.peers && leads()) else { return };
        let serves = |other: &&&Self| {
            let seen = other.look().ok().filter(|seen| !seen.is_stopped());
            seen.and_then(|seen| seen.record).is_some_and(|record| matches!(probe(&record), Probe::Ready { .. }))
        };
        let others: Vec<_> = voters(members).filter(|other| other.dir != self.dir).collect();
        let other = others.iter().find(serves);
        if let Some(other) = other {
            election::request_handover(&other.ports().peer_url(), cluster_id, Deadline::after(TIMEOUT), leads);
        }
    }

    fn report_unrecorded(&self, error: &dyn std::error::Error) {
        self.builder.reporter.report(&Event::Unrecorded { record: self.record_path(), reason: error.to_string() });
    }
}

/// The members that vote.
pub(super) fn voters(members: &[Instance]) -> impl Iterator<Item = &Instance> {
    members.iter().filter(|member| !member.is_learner())
}

fn look(members: &[Instance]) -> Result<Vec<Seen>, ObserveError> {
    members.iter().map(Instance::look).collect()
}

/// Locks each member's directory for a change.
pub(super) fn begin_operations(members: &[Instance]) -> Result<Vec<Lock>, StartError> {
    members.iter().map(|member| Ok(member.begin_operation()?)).collect()
}

fn address(name: &str, endpoint: &str, peer_url: &str, metrics_url: Option<&str>) -> Option<Address> {
    Some(Address { name: name.to_owned(), ports: Ports::recorded(endpoint, peer_url, metrics_url)? })
}

/// From the states of the members that vote, and of the learners.
fn state_of_members(states: &[State], learners: &[State]) -> State {
    let count = |wanted: State| states.iter().filter(|state| **state == wanted).count();
    let majority = states.len() / 2 + 1;
    let [ready, stopped, hidden, orphaned] = [State::Ready, State::Stopped, State::Hidden, State::Orphaned].map(count);
    match () {
        () if ready >= majority => State::Ready,
        () if stopped == states.len() && learners.iter().all(|state| *state == State::Stopped) => State::Stopped,
        () if orphaned > 0 => State::Orphaned,
        () if hidden > 0 => State::Hidden,
        () if states.len() - stopped < majority => State::NoQuorum,
        () => State::Starting,
    }
}

/// The members, the leader last: then no other is elected while they end. Only a member that answers is asked who leads.
pub(super) fn leader_last(members: &[Instance]) -> Vec<&Instance> {
    let leads = |member: &&Instance| leader::leads(&member.ports().plain_url());
    let (leaders, mut others): (Vec<_>, Vec<_>) = members.iter().partition(leads);
    others.extend(leaders);
    others
}

/// Whether members have data of the cluster already: then its ports stay.
pub(super) fn has_bootstrapped(members: &[Instance]) -> Result<bool, StartError> {
    for member in members {
        let path = member.next_data_dir(member.saved()?.as_ref());
        if DataDir::find(&path)?.is_some_and(|data| data.has_members()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is a server among them.
pub(super) fn runs_any(found: &[Presence]) -> bool {
    found.iter().any(|presence| matches!(presence, Presence::Present(_)))
}
