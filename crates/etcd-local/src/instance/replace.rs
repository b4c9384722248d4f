//! Replacing a member whose data is gone: the cluster forgets the member, and a new one of the same name and ports joins, which
//! gets all keys from the others. The cluster's id stays. Whatever ends this in the middle, the member has no data then, and
//! the next call begins again.

use std::path::{Path, PathBuf};

use super::Instance;
use super::member_error::MemberError;
use super::members::voters;
use super::observe::probe;
use super::spawn_members::{Stopped, marker, peer_urls_at_first, start_stopped};
use super::start::{StartError, Up};
use crate::binary::Binary;
use crate::data::{DataDir, DataError, Marker};
use crate::lock::Lock;
use crate::reporter::Event;
use crate::server::health::HealthError;
use crate::server::membership::{self, Membership};
use crate::server::readiness::Probe;

/// Another member, which is ready.
struct Helper {
    endpoint: String,
    binary: Binary,
}

impl Instance {
    /// Replaces one of several members by a new one of the same name, which gets all keys from the others: those that do not run
    /// are started. Its data, if it has some, is deleted.
    ///
    /// # Errors
    /// If there is no such member, the others are not a majority or refuse, its data is not ours or another cluster's, or the
    /// new member does not start. If nothing was changed in the cluster, the member keeps its data.
    pub fn replace_member(&self, name: &str) -> Result<Up, StartError> {
        self.find_member::<StartError>(name)?;
        let _operation = self.begin_operation()?;
        let (members, member) = self.find_member::<StartError>(name)?;
        for other in members.iter().filter(|other| other.dir != member.dir) {
            let _of_other = other.begin_operation()?;
            // Whether enough of them run, is looked at later.
            drop(self.start_one(&members, other));
        }
        member.create_dir()?;
        let _of_member = member.begin_operation()?;
        let replaced = self.replace(&members, &member);
        self.record_stopped_members(&members);
        replaced?;
        let status = self.record_and_describe(&members)?;
        Ok(Up { status, started: true })
    }

    /// The caller has the operation locks of the instance and of the member.
    pub(super) fn replace(&self, members: &[Self], member: &Self) -> Result<(), StartError> {
        let others: Vec<Self> = members.iter().filter(|other| other.dir != member.dir).cloned().collect();
        let Helper { endpoint, binary } = self.helper(member, &others)?;
        let path = member.data_path()?;
        let origin = self.check_replaceable(member, &others, &path, &endpoint)?;
        let by = &*self.builder.membership;
        let (name, instance) = (member.builder.member(), self.name.clone());
        self.builder.reporter.report(&Event::Replacing { instance, member: name.clone() });
        member.hand_over_leadership(&others);
        let (_, lock, record) = member.stop(member.observe()?)?;
        member.record_stopped(record)?;
        self.record_stopped_members(members);
        let old = member.own_data(&path)?.map(|data| data.move_away(&member.dir)).transpose()?;
        let peer_url = member.ports().peer_url();
        if let Err(source) = forget(by, &endpoint, &peer_url) {
            if let (HealthError::Refused { .. }, Some(old)) = (&source, old) {
                // The cluster knows it still: it can go on.
                old.put_back(&path)?;
            }
            return Err(refused(&name, source));
        }
        // As long as the cluster counts on others that are gone, too, etcd 3.6 adds none.
        for gone in others.iter().filter(|other| other.is_gone()) {
            forget(by, &endpoint, &gone.ports().peer_url()).map_err(|source| refused(&name, source))?;
        }
        let current = membership::add(by, &endpoint, &peer_url, member.is_learner());
        let current = current.map_err(|source| refused(&name, source))?;
        member.join(members, &current, &path, &origin, &binary, lock)?;
        member.finish_wiping(&path);
        Ok(())
    }

    /// A member that is ready, among a majority that is.
    fn helper(&self, member: &Self, others: &[Self]) -> Result<Helper, StartError> {
        let mut ready = Vec::new();
        for other in voters(others) {
            let seen = other.look()?;
            let record = seen.record.as_ref().filter(|_| !seen.is_stopped()).cloned();
            ready.extend(record.filter(|record| matches!(probe(record), Probe::Ready { .. })));
        }
        let members = voters(others).count() + usize::from(!member.is_learner());
        match ready.first() {
            Some(first) if ready.len() > members / 2 => {
                let endpoint = first.endpoints.first().cloned().unwrap_or_default();
                Ok(Helper { endpoint, binary: self.binary_again(Some(first))? })
            }
            _ => Err(MemberError::NoMajority {
                instance: self.name.clone(),
                member: member.builder.member(),
                ready: ready.len(),
                members,
            }
            .into()),
        }
    }

    /// What marks the data of the cluster, if its members are ours, it can be asked, and the member's data may be deleted.
    fn check_replaceable(
        &self,
        member: &Self,
        others: &[Self],
        path: &Path,
        endpoint: &str,
    ) -> Result<Marker, StartError> {
        let (instance, name) = (self.name.clone(), member.builder.member());
        let own_token = member.own_data(path)?.and_then(|data| data.marker).map(|marker| marker.cluster_token);
        let origin = match (marker(others)?, own_token) {
            (Some(origin), None) => origin,
            (Some(origin), Some(own)) if own == origin.cluster_token => origin,
            (_, Some(_)) => {
                return Err(MemberError::OtherCluster { instance, member: name, data_dir: path.to_owned() }.into());
            }
            // Somebody else created the cluster: what its id would be is not known.
            (None, None) => return Err(DataError::NotOurs(path.to_owned()).into()),
        };
        let listed = self.builder.membership.list(endpoint).map_err(|source| refused(&name, source))?;
        let ours: Vec<String> = others.iter().chain([member]).map(|member| member.ports().peer_url()).collect();
        match listed.iter().flat_map(|listed| &listed.peer_urls).find(|url| !ours.contains(url)) {
            Some(url) => Err(MemberError::Stranger { instance, member: name, peer_url: url.clone() }.into()),
            None => Ok(origin),
        }
    }

    /// Whether the member does not run and has no data.
    fn is_gone(&self) -> bool {
        let has_data = || {
            let path = self.data_path().ok()?;
            Some(DataDir::find(&path).ok()?.is_some_and(|data| data.has_members()))
        };
        self.look().is_ok_and(|seen| seen.is_stopped()) && has_data() == Some(false)
    }

    /// Where the member's data is, or was.
    pub(super) fn data_path(&self) -> Result<PathBuf, StartError> {
        let record = self.saved()?;
        Ok(self.builder.settings.data_dir.clone().unwrap_or_else(|| self.data_dir_of(record.as_ref())))
    }

    /// Starts the member on new data, in a cluster that expects it and has members at these URLs.
    pub(super) fn join(
        &self,
        members: &[Self],
        current: &[String],
        path: &Path,
        origin: &Marker,
        binary: &Binary,
        lock: Lock,
    ) -> Result<(), StartError> {
        let mut joining = self.clone();
        // etcd compares this list with the cluster's own.
        let addresses = members.iter().filter_map(Self::address);
        joining.cluster = addresses.filter(|address| current.contains(&address.ports.peer_url())).cloned().collect();
        joining.builder = joining.builder.arg("--initial-cluster-state=existing");
        let mut data = DataDir::create(path, &self.dir, origin.cluster_token.clone())?;
        if origin.has_users {
            data.has_users()?;
        }
        data.claim(&peer_urls_at_first(members), &binary.version)?;
        start_stopped(self, vec![Stopped { member: &joining, lock, data }], binary)
    }
}

/// Has the cluster forget the member at this URL, if there is one.
fn forget(by: &dyn Membership, endpoint: &str, peer_url: &String) -> Result<(), HealthError> {
    for old in by.list(endpoint)?.iter().filter(|listed| listed.peer_urls.contains(peer_url)) {
        membership::remove(by, endpoint, old.id)?;
    }
    Ok(())
}

fn refused(member: &str, source: HealthError) -> StartError {
    MemberError::Refused { member: member.to_owned(), source }.into()
}
