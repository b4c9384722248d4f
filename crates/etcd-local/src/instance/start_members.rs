//! The start of an instance of several members: those that do not run are started, one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use etcd_workspace::Record;

use super::members::{begin_operations, has_bootstrapped, runs_any};
use super::observe::{Presence, Server};
use super::spawn::Starting;
use super::start::{StartError, Up};
use super::{Instance, State};
use crate::binary::Binary;
use crate::data::{self, DataDir, cluster};
use crate::lock::Lock;
use crate::os::Lifetime;
use crate::server::election;
use crate::server::launch::{self, Durability, Ready};
use crate::server::ports::{Address, PortKind, Ports};
use crate::wait::Deadline;

/// How often ports are looked up until no two are the same.
const ATTEMPTS: usize = 20;

/// A member that does not run, and what its start needs.
struct Stopped<'a> {
    member: &'a Instance,
    lock: Lock,
    data: DataDir,
}

/// A member that was spawned.
struct Spawned<'a> {
    member: &'a Instance,
    starting: Starting,
    data: DataDir,
}

/// Makes sure that every member of this instance runs and is ready.
pub(super) fn up(instance: &Instance, addresses: &[Address]) -> Result<Up, StartError> {
    if !is_unused(instance, addresses)? {
        check_created(instance, addresses)?;
        let status = instance.status()?;
        let is_ready = status.members.iter().all(|member| member.state == State::Ready);
        let record = instance.saved()?;
        if is_ready && record.as_ref().is_some_and(|record| record.cluster_id.is_some() && record.pids == status.pids) {
            instance.check_requested(&status, record.as_ref())?;
            return Ok(Up { status, started: false });
        }
    }
    create_and_start(instance, addresses.len())
}

/// Creates the members of an instance of one member that has no data, and starts them.
pub(super) fn create(instance: &Instance) -> Result<Up, StartError> {
    let count = instance.builder.members;
    let data = DataDir::find(&instance.next_data_dir(instance.saved()?.as_ref()))?;
    if data.is_some_and(|data| data.has_members()) || instance.status_of_member()?.state != State::Stopped {
        return Err(cannot_change(instance, "--members", "1", &count.to_string()));
    }
    create_and_start(instance, count)
}

/// Starts the members; those of an instance that was never used have their ports chosen anew.
fn create_and_start(instance: &Instance, count: usize) -> Result<Up, StartError> {
    const STARTS: usize = 5;
    instance.check_ports()?;
    // Found, or chosen, before anything is created.
    let binary = instance.builder.binaries().find(&instance.builder.settings.wanted)?;
    let count = instance.builder.requested.members.unwrap_or(count);
    if !instance.dir.exists() {
        choose_addresses(instance, count)?;
    }
    instance.create_dir()?;
    let _operation = instance.begin_operation()?;
    // Another command may have created them meanwhile.
    let addresses = match instance.addresses()? {
        Some(addresses) if !is_unused(instance, &addresses)? => addresses,
        Some(_) if count == 1 => return Err(cannot_change(instance, "--members", "several", "1")),
        _ => choose_addresses(instance, count)?,
    };
    check_created(instance, &addresses)?;
    let (instance, mut addresses) = with_tls(instance, addresses)?;
    for _ in 1..STARTS {
        match start(&instance, &addresses, &binary) {
            // Somebody took a port between our look and etcd's bind. With other ports it is another cluster.
            Err(error) if error.is_port_taken() && was_never_ready(&instance, &addresses)? => {
                forget_data(&instance, &addresses)?;
                addresses = choose_addresses(&instance, count)?;
            }
            result => return result,
        }
    }
    start(&instance, &addresses, &binary)
}

/// Whether no member runs or has data of a cluster: then nothing depends on its members' number and ports.
fn is_unused(instance: &Instance, addresses: &[Address]) -> Result<bool, StartError> {
    let was_ready = instance.saved()?.is_none_or(|record| record.cluster_id.is_some());
    let is_stopped = || Ok::<_, StartError>(instance.status()?.state == State::Stopped);
    Ok(!was_ready && !has_bootstrapped(&instance.members(addresses))? && is_stopped()?)
}

fn cannot_change(instance: &Instance, what: &'static str, has: &str, asked: &str) -> StartError {
    let (has, asked) = (has.to_owned(), asked.to_owned());
    StartError::Created { instance: instance.name.clone(), what, has, asked }
}

/// The first member has the ports that are set, the others have any. Those are looked up one after the other: a port that
/// was free for one member may be found again for another.
fn choose_addresses(instance: &Instance, count: usize) -> Result<Vec<Address>, StartError> {
    let mut ports = Vec::new();
    for _ in 0..ATTEMPTS {
        ports = launch::free_ports_of_members(instance.builder.settings.host, count, instance.builder.tls.is_some())?;
        if let Some(first) = ports.first_mut() {
            *first = instance.choose_ports(None)?;
        }
        if are_distinct(ports.iter().copied()) {
            break;
        }
    }
    Ok((1..).zip(ports).map(|(number, ports)| Address { name: format!("m{number}"), ports }).collect())
}

fn are_distinct(ports: impl IntoIterator<Item = Ports>) -> bool {
    let mut seen = BTreeSet::new();
    let each = |ports: Ports| [Some(ports.client), Some(ports.peer), ports.metrics].into_iter().flatten();
    ports.into_iter().flat_map(each).all(|port| seen.insert(port))
}

/// The instance and its members with TLS as it is asked for; beside members that run, as those were started. The ports for
/// metrics may change with each start.
fn with_tls(instance: &Instance, mut addresses: Vec<Address>) -> Result<(Instance, Vec<Address>), StartError> {
    let status = instance.status()?;
    if status.state != State::Stopped {
        instance.check_tls(&status)?;
        return Ok((instance.with_tls_of(instance.saved()?.as_ref()), addresses));
    }
    let (host, has_tls) = (instance.builder.settings.host, instance.builder.tls.is_some());
    for _ in 0..ATTEMPTS {
        let free = launch::free_ports_of_members(host, addresses.len(), has_tls)?;
        addresses.iter_mut().zip(free).for_each(|(address, free)| address.ports.metrics = free.metrics);
        if are_distinct(addresses.iter().map(|address| address.ports)) {
            break;
        }
    }
    Ok((instance.clone(), addresses))
}

/// Whether nothing was ever written to it: what its members have may go.
fn was_never_ready(instance: &Instance, addresses: &[Address]) -> Result<bool, StartError> {
    match instance.saved()? {
        Some(record) => Ok(record.cluster_id.is_none()),
        None => Ok(!has_bootstrapped(&instance.members(addresses))?),
    }
}

/// Deletes what members that were never ready have written.
fn forget_data(instance: &Instance, addresses: &[Address]) -> Result<(), StartError> {
    for member in instance.members(addresses) {
        let path = member.next_data_dir(member.saved()?.as_ref());
        if let Some(data) = member.own_data(&path)? {
            data.put_away(&member.dir)?;
            member.finish_wiping(&path);
        }
    }
    Ok(())
}

/// The number of members and their places were decided when they were created.
fn check_created(instance: &Instance, addresses: &[Address]) -> Result<(), StartError> {
    let asked = &instance.builder.requested;
    let first = addresses.first().map(|address| address.ports);
    let saved = instance.saved()?.filter(|record| !record.members.is_empty() && record.cluster_id.is_some());
    let dir = saved.map(|record| record.data_dir);
    let differs = |what, has: Option<String>, asked: Option<String>| match (has, asked) {
        (Some(has), Some(asked)) if has != asked => Err(cannot_change(instance, what, &has, &asked)),
        _ => Ok(()),
    };
    let number = |port: Option<u16>| port.map(|port| port.to_string());
    differs("--members", Some(addresses.len().to_string()), asked.members.map(|members| members.to_string()))?;
    differs("--port", number(first.map(|ports| ports.client)), number(asked.port))?;
    differs("--peer-port", number(first.map(|ports| ports.peer)), number(asked.peer_port))?;
    let shown = |dir: &std::path::PathBuf| dir.display().to_string();
    differs("--data-dir", dir.as_ref().map(shown), asked.data_dir.as_ref().map(shown))
}

/// Starts the members that do not run, and waits for all. The caller has the instance's operation lock.
pub(super) fn start(instance: &Instance, addresses: &[Address], found_binary: &Binary) -> Result<Up, StartError> {
    const ATTEMPTS: usize = 3;
    let members = instance.members(addresses);
    let is_any_ready = instance.saved()?.is_some_and(|record| record.cluster_id.is_some());
    members.iter().try_for_each(Instance::create_dir)?;
    let _operations = begin_operations(&members)?;
    let mut started = false;
    for _ in 0..ATTEMPTS {
        let found = members.iter().map(Instance::observe).collect::<Result<Vec<_>, _>>()?;
        refuse_orphans(&members, &found)?;
        // Members that run keep their program, and so do those beside them.
        let binary = match runs_any(&found) {
            true => instance.binary_again(found.iter().find_map(Presence::record))?,
            false => found_binary.clone(),
        };
        let (mut servers, mut absent) = (Vec::new(), Vec::new());
        for (member, presence) in members.iter().zip(found) {
            match presence {
                Presence::Present(server) => servers.push((member, server)),
                Presence::Absent { lock, record } => absent.push((member, lock, record)),
            }
        }
        let stopped = prepare(instance, &members, absent, &binary, is_any_ready)?;
        if let Some(record) = instance.compose(&members, Some(&binary))? {
            instance.save(&record)?;
        }
        started |= !stopped.is_empty();
        let began = Instant::now();
        start_stopped(instance, stopped, &binary)?;
        if await_servers(servers)? {
            return finish(instance, &members, began.elapsed().as_millis(), started);
        }
    }
    Err(StartError::Unstable { instance: instance.name.clone() })
}

fn refuse_orphans(members: &[Instance], found: &[Presence]) -> Result<(), StartError> {
    for (member, presence) in members.iter().zip(found) {
        if let Presence::Present(Server { record, processes, is_orphan: true }) = presence {
            return Err(member.orphaned(record.as_ref(), processes));
        }
    }
    Ok(())
}

/// Checks the data and the ports of members before any is started.
fn prepare<'a>(
    instance: &Instance,
    members: &[Instance],
    absent: Vec<(&'a Instance, Lock, Option<Record>)>,
    binary: &Binary,
    was_ready: bool,
) -> Result<Vec<Stopped<'a>>, StartError> {
    if !absent.is_empty() {
        instance.builder.report_exposure();
    }
    let token = match token(members)? {
        Some(token) => token,
        None => data::fresh_token()?,
    };
    let peer_urls: Vec<String> = members.iter().map(|member| member.ports().peer_url()).collect();
    // Checked for all before anything is created for one.
    for (member, _, record) in &absent {
        let path = member.next_data_dir(record.as_ref());
        let found = DataDir::find(&path)?;
        let (of, name) = (instance.name.clone(), member.builder.member());
        if was_ready && !found.as_ref().is_some_and(DataDir::has_members) {
            return Err(StartError::MemberDataGone { instance: of, member: name, data_dir: path });
        }
        let is_other = |data: &DataDir| data.marker.as_ref().is_none_or(|marker| marker.cluster_token != token);
        if found.as_ref().is_some_and(is_other) {
            return Err(StartError::OtherCluster { instance: of, member: name, data_dir: path });
        }
        let ports = member.ports();
        launch::claim_port(ports.host, ports.client, PortKind::Client)
            .and_then(|()| launch::claim_port(ports.host, ports.peer, PortKind::Peer))
            .map_err(|source| StartError::MemberPort { instance: of, member: name, source: Box::new(source) })?;
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

/// The token of the cluster, of the first member that has data.
fn token(members: &[Instance]) -> Result<Option<String>, StartError> {
    for member in members {
        let data = DataDir::find(&member.next_data_dir(member.saved()?.as_ref()))?;
        if let Some(marker) = data.and_then(|data| data.marker) {
            return Ok(Some(marker.cluster_token));
        }
    }
    Ok(None)
}

fn start_stopped(instance: &Instance, stopped: Vec<Stopped<'_>>, binary: &Binary) -> Result<(), StartError> {
    let mut spawned = Vec::new();
    let ready = spawn_all(instance, stopped, binary, &mut spawned);
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            // A call that fails leaves no server that it started.
            for Spawned { member, starting, data } in &mut spawned {
                starting.note_failed_use(member, data);
                drop(starting.launched.child.running.kill());
            }
            return Err(error);
        }
    };
    for (Spawned { member, starting, mut data }, ready) in spawned.into_iter().zip(ready) {
        starting.finish(member, &mut data, ready)?;
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
            before.starting.launched.wait_for_peer_port(timeout)?;
            // Nobody else asks: the first election would come after a second, and a second election would lose writes.
            if is_new && spawned.len() == count / 2 + 1 {
                request_election(spawned, first_election, &is_starting);
            }
        }
        let starting = member.spawn(binary, lock, &mut data, member.ports(), Lifetime::Detached, false)?;
        spawned.push(Spawned { member, starting, data });
    }
    let begin = |one: &Spawned<'_>| one.starting.launched.begin_wait(timeout);
    let mut waits = spawned.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
    loop {
        let mut ready = Vec::new();
        for (one, wait) in spawned.iter_mut().zip(&mut waits) {
            ready.extend(one.starting.launched.look(wait)?);
        }
        if ready.len() == spawned.len() {
            return Ok(ready);
        }
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

/// Waits for the members that ran before. `false`: one has ended.
fn await_servers(servers: Vec<(&Instance, Server)>) -> Result<bool, StartError> {
    let mut are_ready = true;
    for (member, server) in servers {
        are_ready &= member.await_running(server)?.is_some();
    }
    Ok(are_ready)
}

fn finish(instance: &Instance, members: &[Instance], took: u128, started: bool) -> Result<Up, StartError> {
    if let Some(record) = instance.compose(members, None)? {
        let cluster_id = members.iter().find_map(|member| member.saved().ok().flatten()?.cluster_id);
        let ready_ms = if started { u64::try_from(took).ok() } else { record.ready_ms };
        instance.save(&Record { cluster_id, ready_ms, ..record })?;
    }
    for member in members {
        member.finish_wiping(&member.next_data_dir(member.saved()?.as_ref()));
    }
    let status = instance.status()?;
    instance.check_requested(&status, instance.saved()?.as_ref())?;
    Ok(Up { status, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_members_have_a_port_in_common() {
        let host = std::net::Ipv4Addr::LOCALHOST.into();
        let ports = |client, peer| Ports { host, client, peer, metrics: Some(client + 10) };
        assert!(are_distinct([ports(1, 2), ports(3, 4)]));
        assert!(!are_distinct([ports(1, 2), ports(3, 1)]));
        assert!(!are_distinct([ports(1, 2), ports(3, 11)]));
    }
}
