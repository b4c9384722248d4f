//! From members that do not run to members that are ready: their data and ports are checked, and they are started one after
//! the other. Which members, the caller decides, who has the locks.

use std::sync::Arc;

use etcd_workspace::Record;

use super::Instance;
use super::member_error::MemberError;
use super::members::voters;
use super::spawn::Starting;
use super::start::StartError;
use crate::binary::Binary;
use crate::data::{self, DataDir, Marker, cluster};
use crate::lock::Lock;
use crate::os::Lifetime;
use crate::server::election;
use crate::server::launch::{self, Durability, Ready};
use crate::server::launch_error::LaunchError;
use crate::server::ports::PortKind;
use crate::wait::Deadline;

/// A member that does not run, and what its start needs.
pub(super) struct Stopped<'a> {
    pub(super) member: &'a Instance,
    pub(super) lock: Lock,
    pub(super) data: DataDir,
}

/// A member that was spawned.
struct Spawned<'a> {
    member: &'a Instance,
    starting: Starting,
    data: DataDir,
}

/// Checks the data and the ports of members before any is started.
pub(super) fn prepare<'a>(
    instance: &Instance,
    members: &[Instance],
    absent: Vec<(&'a Instance, Lock, Option<Record>)>,
    binary: &Binary,
    was_ready: bool,
) -> Result<Vec<Stopped<'a>>, StartError> {
    if !absent.is_empty() {
        instance.builder.report_exposure();
    }
    let token = match marker(members)? {
        Some(marker) => marker.cluster_token,
        None => data::fresh_token()?,
    };
    let peer_urls = peer_urls_at_first(members);
    // Checked for all before anything is created for one.
    for (member, _, record) in &absent {
        let path = member.next_data_dir(record.as_ref());
        let found = DataDir::find(&path)?;
        let (of, name) = (instance.name.clone(), member.builder.member());
        if was_ready && !found.as_ref().is_some_and(DataDir::has_members) {
            return Err(MemberError::DataGone { instance: of, member: name, data_dir: path }.into());
        }
        let is_other = |data: &DataDir| data.marker.as_ref().is_none_or(|marker| marker.cluster_token != token);
        if found.as_ref().is_some_and(is_other) {
            return Err(MemberError::OtherCluster { instance: of, member: name, data_dir: path }.into());
        }
        let ports = member.ports();
        launch::claim_port(ports.host, ports.client, PortKind::Client)
            .and_then(|()| launch::claim_port(ports.host, ports.peer, PortKind::Peer))
            .map_err(|source| MemberError::Port { instance: of, member: name, source: Box::new(source) })?;
    }
    let prepare = |(member, lock, record): (&'a Instance, Lock, Option<Record>)| {
        let path = member.next_data_dir(record.as_ref());
        let mut data = match DataDir::find(&path)? {
            Some(data) => data,
            None => DataDir::create(&path, &member.dir, token.clone())?,
        };
        data.claim(&peer_urls, &binary.version)?;
        Ok(Stopped { member, lock, data })
    };
    absent.into_iter().map(prepare).collect()
}

/// The URLs that make the id of the cluster: learners join it later.
pub(super) fn peer_urls_at_first(members: &[Instance]) -> Vec<String> {
    voters(members).map(|member| member.ports().peer_url()).collect()
}

/// The marker of the cluster's data, of the first member that has data.
pub(super) fn marker(members: &[Instance]) -> Result<Option<Marker>, StartError> {
    for member in members {
        let data = DataDir::find(&member.next_data_dir(member.saved()?.as_ref()))?;
        if let Some(marker) = data.and_then(|data| data.marker) {
            return Ok(Some(marker));
        }
    }
    Ok(None)
}

/// Starts members, and waits until they are ready. If that fails, it leaves none that it started.
pub(super) fn start_stopped(instance: &Instance, stopped: Vec<Stopped<'_>>, binary: &Binary) -> Result<(), StartError> {
    let mut spawned = Vec::new();
    let finished = spawn_all(instance, stopped, binary, &mut spawned).and_then(|ready| {
        let mut members = spawned.iter_mut().zip(ready);
        members
            .try_for_each(|(Spawned { member, starting, data }, ready)| starting.finish(member, data, ready).map(drop))
    });
    finished.inspect_err(|_| {
        for Spawned { member, starting, data } in &mut spawned {
            starting.note_failed_use(member, data);
            drop(starting.launched.child.running.kill());
        }
    })
}

/// Starts members that cannot be ready while the others do not run, and waits until they answer their peers.
pub(super) fn start_without_majority(
    instance: &Instance,
    stopped: Vec<Stopped<'_>>,
    binary: &Binary,
) -> Result<(), StartError> {
    for Stopped { member, lock, mut data } in stopped {
        let mut starting = member.spawn(binary, lock, &mut data, member.ports(), Lifetime::Detached, false)?;
        starting.launched.wait_for_peer_port(instance.builder.start_timeout)?;
        starting.leave(member)?;
    }
    Ok(())
}

/// Each member is spawned when the one before answers its peers: a member that finds another's port open, but silent, waits
/// for a whole second.
fn spawn_all<'a>(
    instance: &Instance,
    stopped: Vec<Stopped<'a>>,
    binary: &Binary,
    spawned: &mut Vec<Spawned<'a>>,
) -> Result<Vec<Ready>, StartError> {
    let timeout = instance.builder.start_timeout;
    let first_election = Deadline::after(launch::no_election_before(Durability::Synced));
    let is_starting = Arc::new(());
    let is_new = stopped.iter().all(|stopped| !stopped.data.has_members());
    let count = stopped.len();
    for Stopped { member, lock, mut data } in stopped {
        if let Some(before) = spawned.last_mut() {
            before
                .starting
                .launched
                .wait_for_peer_port(timeout)
                .map_err(|error| failed(before.member, error.into()))?;
            // Nobody else asks: the first election would come after a second, and a second election would lose writes.
            if is_new && !member.ports().tls.peers && spawned.len() == count / 2 + 1 {
                request_election(spawned, first_election, &is_starting);
            }
        }
        // Only one member that is alone is asked.
        let starting = member.spawn(binary, lock, &mut data, member.ports(), Lifetime::Detached, is_new);
        let starting = starting.map_err(|error| failed(member, error))?;
        spawned.push(Spawned { member, starting, data });
    }
    let begin = |one: &Spawned<'_>| one.starting.launched.begin_wait(timeout);
    let mut waits = spawned.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut ready = Vec::new();
        for (one, wait) in spawned.iter_mut().zip(&mut waits) {
            ready.extend(one.starting.launched.look(wait).map_err(|error| failed(one.member, error.into()))?);
        }
        if ready.len() == spawned.len() {
            return Ok(ready);
        }
    }
}

/// Damaged data is replaced, which takes the member's name.
fn failed(member: &Instance, error: StartError) -> StartError {
    match error {
        StartError::Launch(source @ LaunchError::Damaged { .. }) => {
            MemberError::Damaged { member: member.builder.member(), source: Box::new(source) }.into()
        }
        error => error,
    }
}

fn request_election(spawned: &[Spawned<'_>], deadline: Deadline, is_starting: &Arc<()>) {
    let Some(Spawned { member, data, .. }) = spawned.last() else { return };
    let Some(marker) = &data.marker else { return };
    let Some(cluster_id) = marker.cluster_id else { return };
    let peer_url = member.ports().peer_url();
    let id = cluster::member_id(&peer_url, &marker.cluster_token);
    let is_wanted = Arc::downgrade(is_starting);
    let request = move || election::request_of(&peer_url, cluster_id, id, deadline, || is_wanted.strong_count() > 0);
    drop(std::thread::Builder::new().name("etcd-election".to_owned()).spawn(request));
}
