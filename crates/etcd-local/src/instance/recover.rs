//! The way out when most members' data is gone: one member that has data becomes the cluster, and the others join it anew. What
//! only the lost members had is lost. The cluster's id stays. If this ends in the middle, it can be given again, until a
//! majority has data: then `up` does the rest.

use super::Instance;
use super::member_error::MemberError;
use super::members::begin_operations;
use super::spawn_members::{prepare, start_stopped};
use super::start::{StartError, Up};
use crate::binary::Binary;
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
        let recovered = self.start_as_only_member(&member, &others, &binary).and_then(|token| {
            others.iter().try_for_each(|other| self.join_again(&member, other, token.clone(), &binary))
        });
        // What runs now goes on, also if the rest failed.
        self.record_stopped_members(&members);
        recovered?;
        let status = self.record_and_describe(&members)?;
        Ok(Up { status, started: true })
    }

    fn check_recoverable(&self, members: &[Self], member: &Self) -> Result<(), StartError> {
        let mut with_data = 0;
        for one in members {
            let data = one.own_data(&one.data_path()?)?;
            let has_data = data.is_some_and(|data| data.has_members());
            with_data += usize::from(has_data);
            if one.dir == member.dir && !has_data {
                let (instance, member) = (self.name.clone(), member.builder.member());
                return Err(MemberError::DataGone { instance, member, data_dir: one.data_path()? }.into());
            }
        }
        match with_data > members.len() / 2 {
            true => {
                Err(MemberError::HasQuorum { instance: self.name.clone(), with_data, members: members.len() }.into())
            }
            false => Ok(()),
        }
    }

    /// The token of the cluster. The data of the others is put away first: with it, they would not start any more.
    fn start_as_only_member(&self, member: &Self, others: &[&Self], binary: &Binary) -> Result<String, StartError> {
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
            let token = stopped.iter().find_map(|one| Some(one.data.marker.as_ref()?.cluster_token.clone()));
            start_stopped(self, stopped, binary).map(|()| token.unwrap_or_default())
        });
        started.inspect_err(|_| {
            // As it was.
            away.into_iter().for_each(|(old, path)| drop(old.put_back(&path)));
        })
    }

    fn join_again(&self, member: &Self, other: &Self, token: String, binary: &Binary) -> Result<(), StartError> {
        let (instance, name) = (self.name.clone(), other.builder.member());
        self.builder.reporter.report(&Event::Replacing { instance, member: name.clone() });
        let (_, lock, _) = other.stop(other.observe()?)?;
        let endpoint = member.ports().client_url();
        let added = membership::add(&endpoint, &other.ports().peer_url()).and_then(|()| membership::list(&endpoint));
        let listed = added.map_err(|source| MemberError::Refused { member: name, source })?;
        let current: Vec<String> = listed.into_iter().flat_map(|listed| listed.peer_urls).collect();
        let path = other.data_path()?;
        other.join(&current, (&path, token), binary, lock)?;
        other.finish_wiping(&path);
        Ok(())
    }
}
