//! A rolling upgrade: members that run are stopped and started with another program one after the other, the leader last. So a
//! majority serves all the time, and what etcd has acknowledged stays.

use etcd_workspace::Record;
use semver::Version;

use super::Instance;
use super::member_error::MemberError;
use super::members::leader_last;
use super::observe::probe;
use super::spawn_members::{prepare, start_stopped};
use super::start::StartError;
use crate::binary::{Binary, Wanted};
use crate::file;
use crate::server::readiness::Probe;
use crate::wait::{Deadline, until};

/// Whether a member runs with another etcd than the one that was plainly asked for.
pub(super) fn is_asked_for(instance: &Instance, members: &[Instance]) -> Result<bool, StartError> {
    for member in members {
        if running(member)?.map_or(Ok(false), |record| is_other(instance, &record))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a member that runs has another etcd than the one that was plainly asked for.
fn is_other(instance: &Instance, record: &Record) -> Result<bool, StartError> {
    Ok(match &instance.builder.requested.version {
        None => false,
        Some(wanted @ Wanted::At(_)) => !file::is_same(&instance.builder.binaries().find(wanted)?.path, &record.binary),
        Some(wanted) => !wanted.accepts(&record.version),
    })
}

/// The record of a member, if it runs.
fn running(member: &Instance) -> Result<Option<Record>, StartError> {
    let seen = member.look()?;
    Ok(seen.record.clone().filter(|_| !seen.is_stopped()))
}

/// Refuses what etcd cannot do: going back, and leaving out a minor version.
pub(super) fn check_step(instance: &Instance, members: &[Instance], to: &Version) -> Result<(), StartError> {
    let minor = |version: &Version| (version.major, version.minor);
    for member in members {
        let Some(Record { version: from, .. }) = running(member)? else { continue };
        let (instance, to) = (instance.name.clone(), to.clone());
        if minor(&from) > minor(&to) {
            return Err(MemberError::Downgrade { instance, from, to }.into());
        }
        if from.major != to.major || to.minor > from.minor + 1 {
            return Err(MemberError::Jump { instance, from, to }.into());
        }
    }
    Ok(())
}

/// Starts each member that runs with another program with this one. The caller has the operation locks of all.
pub(super) fn roll(instance: &Instance, members: &[Instance], binary: &Binary) -> Result<(), StartError> {
    for member in leader_last(members) {
        let Some(record) = running(member)? else { continue };
        // What was asked for may not have been found, and another one instead.
        if file::is_same(&binary.path, &record.binary) || !is_other(instance, &record)? {
            continue;
        }
        wait_for_others(instance, members, member)?;
        member.hand_over_leadership(members);
        let (_, lock, record) = member.stop(member.observe()?)?;
        let record = member.record_stopped(record)?;
        instance.record_stopped_members(members);
        let stopped = prepare(instance, members, vec![(member, lock, record)], binary, true)?;
        start_stopped(instance, stopped, binary)?;
    }
    Ok(())
}

/// A member is stopped only while all others are ready.
fn wait_for_others(instance: &Instance, members: &[Instance], member: &Instance) -> Result<(), StartError> {
    let others: Vec<_> = members.iter().filter(|other| other.dir != member.dir).collect();
    let is_ready = |other: &&&Instance| -> Result<bool, StartError> {
        Ok(running(other)?.is_some_and(|record| matches!(probe(&record), Probe::Ready { .. })))
    };
    let ready = until(Deadline::after(instance.builder.start_timeout), || -> Result<_, StartError> {
        for other in &others {
            if !is_ready(&other)? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let not_ready = || MemberError::OthersNotReady { instance: instance.name.clone(), member: member.builder.member() };
    Ok(ready.ok_or_else(not_ready)?)
}
