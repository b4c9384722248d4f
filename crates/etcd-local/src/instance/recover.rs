//! The way out when most members' data is gone: one member that has data becomes the cluster, and the others join it anew. What
//! only the lost members had is lost. The cluster's id stays. If this ends in the middle, it can be given again, until a
//! majority has data: then `up` does the rest.

use super::Instance;
use super::member_error::MemberError;
use super::members::{begin_operations, voters};
use super::spawn_members::{prepare, start_stopped};
use super::start::{StartError, Up};
use crate::binary::Binary;
use crate::data::{DataError, Marker};
use crate::reporter::Event;
use crate::server::membership;

impl Instance {
    /// Makes a cluster of the data of one member, and has the others join it with new data. For an instance that has lost its
    /// quorum for good.
    ///
    /// # Errors
    /// If most members have their data, this member has none, data is not ours, or a server does not start.
    pub fn recover_from(&self, name: &str) -> Result<Up, StartError> {
        self.find_member::<StartError>(name)?;
        let _operation = self.begin_operation()?;
        let (members, member) = self.find_member::<StartError>(name)?;
        members.iter().try_for_each(Self::create_dir)?;
        let _operations = begin_operations(&members)?;
        let others: Vec<&Self> = members.iter().filter(|other| other.dir != member.dir).collect();
        self.check_recoverable(&members, &member)?;
        let binary = self.binary_again(member.saved()?.as_ref())?;
        let recovered = self.start_as_only_member(&member, &others, &binary).and_then(|origin| {
            let join = |other: &&Self| self.join_again(&members, &member, other, &origin, &binary);
            others.iter().try_for_each(join)
        });
        // What runs now goes on, also if the rest failed.
        self.record_stopped_members(&members);
        recovered?;
        let status = self.record_and_describe(&members)?;
        Ok(Up { status, started: true })
    }

    fn check_recoverable(&self, members: &[Self], member: &Self) -> Result<(), StartError> {
        if member.is_learner() {
            let (instance, member) = (self.name.clone(), member.builder.member());
            return Err(MemberError::Learner { instance, member }.into());
        }
        let mut with_data = 0;
        for one in voters(members) {
            let data = one.own_data(&one.data_path()?)?;
            let has_data = data.is_some_and(|data| data.has_members());
            with_data += usize::from(has_data);
            if one.dir == member.dir && !has_data {
                let (instance, member) = (self.name.clone(), member.builder.member());
                return Err(MemberError::DataGone { instance, member, data_dir: one.data_path()? }.into());
            }
        }
        let members = voters(members).count();
        match with_data > members / 2 {
            true => Err(MemberError::HasQuorum { instance: self.name.clone(), with_data, members }.into()),
            false => Ok(()),
        }
    }

    /// What marks the cluster's data. The data of the others is put away first: with it, they would not start any more.
    fn start_as_only_member(&self, member: &Self, others: &[&Self], binary: &Binary) -> Result<Marker, StartError> {
        let mut away = Vec::new();
        for other in others {
            let (_, _lock, record) = other.stop(other.observe()?)?;
            other.record_stopped(record)?;
            let path = other.data_path()?;
            away.extend(
                other
                    .own_data(&path)?
                    .map(|data| Ok::<_, StartError>((data.move_away(&other.dir)?, path)))
                    .transpose()?,
            );
        }
        let (_, lock, record) = member.stop(member.observe()?)?;
        let record = member.record_stopped(record)?;
        let mut alone = member.clone();
        alone.builder = alone.builder.arg("--force-new-cluster");
        let prepared = prepare(self, std::slice::from_ref(member), vec![(&alone, lock, record)], binary, true);
        let started = prepared.and_then(|stopped| {
            let origin = stopped.iter().find_map(|one| one.data.marker.clone());
            let path = stopped.first().map(|one| one.data.path.clone()).unwrap_or_default();
            start_stopped(self, stopped, binary)?;
            origin.ok_or_else(|| DataError::NotOurs(path).into())
        });
        started.inspect_err(|_| {
            // As it was.
            away.into_iter().for_each(|(old, path)| drop(old.put_back(&path)));
        })
    }

    fn join_again(
        &self,
        members: &[Self],
        member: &Self,
        other: &Self,
        origin: &Marker,
        binary: &Binary,
    ) -> Result<(), StartError> {
        let (instance, name) = (self.name.clone(), other.builder.member());
        self.builder.reporter.report(&Event::Replacing { instance, member: name.clone() });
        let (_, lock, _) = other.stop(other.observe()?)?;
        let endpoint = member.ports().client_url();
        let by = &*self.builder.membership;
        let current = membership::add(by, &endpoint, &other.ports().peer_url(), other.is_learner());
        let current = current.map_err(|source| MemberError::Refused { member: name, source })?;
        let path = other.data_path()?;
        other.join(members, &current, &path, origin, binary, lock)?;
        other.finish_wiping(&path);
        Ok(())
    }
}
