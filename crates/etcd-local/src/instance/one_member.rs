//! Stopping and starting one of several members, while the others go on.

use super::member_error::MemberError;
use super::members::voters;
use super::observe::{ObserveError, Presence};
use super::spawn_members::{prepare, start_stopped, start_without_majority};
use super::start::{StartError, Up};
use super::stop::{Down, StopError};
use super::{Instance, Status};
use crate::binary::Binary;
use crate::lock::Lock;

use etcd_workspace::Record;

impl Instance {
    /// Stops one of several members. Its data stays, and the other members go on: if it leads, it hands the leadership over
    /// first. Without a majority of its members, etcd takes no write.
    ///
    /// # Errors
    /// If there is no such member, or its server lives on.
    pub fn stop_member(&self, name: &str) -> Result<Down, StopError> {
        self.find_member::<StopError>(name)?;
        let _operation = self.begin_operation()?;
        let (members, member) = self.find_member::<StopError>(name)?;
        member.hand_over_leadership(&members);
        let down = member.stop_one_of_several()?;
        self.record_stopped_members(&members);
        Ok(down)
    }

    /// Starts one of several members on the data that it has, and waits until it is ready. If most members do not run, none can
    /// be ready: then it waits until the member answers the others.
    ///
    /// # Errors
    /// If there is no such member, its data is gone, or it does not start.
    pub fn start_member(&self, name: &str) -> Result<Up, StartError> {
        self.find_member::<StartError>(name)?;
        let _operation = self.begin_operation()?;
        let (members, member) = self.find_member::<StartError>(name)?;
        member.create_dir()?;
        let _of_member = member.begin_operation()?;
        let started = self.start_one(&members, &member)?;
        let status = self.record_and_describe(&members)?;
        Ok(Up { status, started })
    }

    /// All members, and the one of this name.
    pub(super) fn find_member<E: From<ObserveError> + From<MemberError>>(
        &self,
        name: &str,
    ) -> Result<(Vec<Self>, Self), E> {
        let instance = || self.name.clone();
        let Some(addresses) = self.addresses()? else {
            return Err(MemberError::OneMember { instance: instance() }.into());
        };
        let members = self.with_tls_of(self.saved()?.as_ref()).members(&addresses);
        let found = members.iter().find(|member| member.builder.member() == name).cloned();
        let names = || members.iter().map(|member| member.builder.member()).collect();
        let no_such = || MemberError::NoSuchMember { instance: instance(), member: name.to_owned(), members: names() };
        let member = found.ok_or_else(no_such)?;
        Ok((members, member))
    }

    /// Whether it was started by this call.
    pub(super) fn start_one(&self, members: &[Self], member: &Self) -> Result<bool, StartError> {
        const ATTEMPTS: usize = 3;
        for _ in 0..ATTEMPTS {
            let others = voters(members).filter(|other| other.dir != member.dir).map(Self::look);
            let others = others.collect::<Result<Vec<_>, _>>()?;
            let running: Vec<_> = others.iter().filter(|seen| !seen.is_stopped()).collect();
            let own = usize::from(!member.is_learner());
            let has_majority = running.len() + own > (others.len() + own) / 2;
            match member.observe()? {
                // One that ends instead of becoming ready is started by the next attempt.
                Presence::Present(server) => {
                    if !has_majority || member.await_running(server)?.is_some() {
                        return Ok(false);
                    }
                }
                Presence::Absent { lock, record } => {
                    let of_others = running.iter().find_map(|seen| seen.record.as_ref());
                    let binary = self.binary_again(of_others.or(record.as_ref()))?;
                    self.start_absent(members, (member, lock, record), &binary, has_majority)?;
                    return Ok(true);
                }
            }
        }
        Err(StartError::Unstable { instance: self.name.clone() })
    }

    fn start_absent(
        &self,
        members: &[Self],
        absent: (&Self, Lock, Option<Record>),
        binary: &Binary,
        has_majority: bool,
    ) -> Result<(), StartError> {
        let was_ready = self.saved()?.is_some_and(|record| record.cluster_id.is_some());
        let stopped = prepare(self, members, vec![absent], binary, was_ready)?;
        match has_majority {
            true => start_stopped(self, stopped, binary),
            false => start_without_majority(self, stopped, binary),
        }
    }

    /// Writes the instance's record anew, as the members are.
    pub(super) fn record_and_describe(&self, members: &[Self]) -> Result<Status, StartError> {
        if let Some(record) = self.compose(members, None)? {
            self.save(&record)?;
        }
        Ok(self.status()?)
    }
}
