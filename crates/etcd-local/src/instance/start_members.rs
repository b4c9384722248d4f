//! The start of an instance of several members: those that do not run are started, one after the other.

use std::collections::BTreeSet;
use std::time::Instant;

use etcd_workspace::Record;
use semver::Version;

use super::member_error::MemberError;
use super::members::{begin_operations, has_bootstrapped, runs_any, voters};
use super::observe::{Presence, Server};
use super::spawn_members::{prepare, start_stopped};
use super::start::{StartError, Up};
use super::{Instance, State, upgrade};
use crate::binary::Binary;
use crate::data::DataDir;
use crate::lock::Lock;
use crate::server::free_ports::OF_INSTANCES;
use crate::server::ports::{Address, Ports};

/// How often ports are looked up until no two are the same.
const ATTEMPTS: usize = 20;

/// Makes sure that every member of this instance runs and is ready.
pub(super) fn up(instance: &Instance, addresses: &[Address]) -> Result<Up, StartError> {
    if !is_unused(instance, addresses)? {
        check_created(instance, addresses)?;
        let status = instance.status()?;
        let is_ready = status.members.iter().all(|member| member.state == State::Ready);
        let record = instance.saved()?;
        let is_recorded =
            record.as_ref().is_some_and(|record| record.cluster_id.is_some() && record.pids == status.pids);
        if is_ready && is_recorded && !upgrade::is_asked_for(instance, &instance.members(addresses))? {
            instance.check_requested(&status, record.as_ref())?;
            return Ok(Up { status, started: false });
        }
    }
    create_and_start(instance, Size::of(addresses))
}

/// Creates the members of an instance of one member that has no data, and starts them.
pub(super) fn create(instance: &Instance) -> Result<Up, StartError> {
    let Size { voters, learners } = Size { voters: 1, learners: instance.builder.settings.learners }.asked(instance);
    let data = DataDir::find(&instance.next_data_dir(instance.saved()?.as_ref()))?;
    if data.is_some_and(|data| data.has_members()) || instance.status_of_member()?.state != State::Stopped {
        return Err(match voters {
            1 => cannot_change(instance, "--learners", "0", &learners.to_string()),
            voters => cannot_change(instance, "--members", "1", &voters.to_string()),
        });
    }
    create_and_start(instance, Size { voters, learners })
}

/// How many members an instance has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Size {
    voters: usize,
    learners: usize,
}

impl Size {
    fn of(addresses: &[Address]) -> Self {
        let learners = addresses.iter().filter(|address| address.is_learner()).count();
        Self { voters: addresses.len() - learners, learners }
    }

    /// As it was plainly asked for.
    fn asked(self, instance: &Instance) -> Self {
        let asked = &instance.builder.requested;
        Self { voters: asked.members.unwrap_or(self.voters), learners: asked.learners.unwrap_or(self.learners) }
    }

    /// etcd before 3.6 has one learner at most.
    fn check(self, instance: &Instance, binary: &Binary) -> Result<(), MemberError> {
        let (instance, version) = (instance.name.clone(), binary.version.clone());
        match self.learners > 1 && version < Version::new(3, 6, 0) {
            true => Err(MemberError::OneLearner { instance, version, learners: self.learners }),
            false => Ok(()),
        }
    }
}

/// Starts the members; those of an instance that was never used have their ports chosen anew.
fn create_and_start(instance: &Instance, before: Size) -> Result<Up, StartError> {
    const STARTS: usize = 5;
    instance.check_ports()?;
    // Found, or chosen, before anything is created.
    let binary = instance.builder.binaries().find(&instance.builder.settings.wanted)?;
    let size = before.asked(instance);
    size.check(instance, &binary)?;
    if !instance.dir.exists() {
        choose_addresses(instance, size)?;
    }
    instance.create_dir()?;
    let _operation = instance.begin_operation()?;
    // Another command may have created them meanwhile.
    let addresses = match instance.addresses()? {
        Some(addresses) if !is_unused(instance, &addresses)? => addresses,
        Some(_) if size == (Size { voters: 1, learners: 0 }) => {
            return Err(cannot_change(instance, "--members", "several", "1"));
        }
        _ => choose_addresses(instance, size)?,
    };
    check_created(instance, &addresses)?;
    let (instance, mut addresses) = with_tls(instance, addresses)?;
    for _ in 1..STARTS {
        match start(&instance, &addresses, &binary) {
            // Somebody took a port between our look and etcd's bind. With other ports it is another cluster.
            Err(error) if error.is_port_taken() && was_never_ready(&instance, &addresses)? => {
                forget_data(&instance, &addresses)?;
                addresses = choose_addresses(&instance, size)?;
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
fn choose_addresses(instance: &Instance, Size { voters, learners }: Size) -> Result<Vec<Address>, StartError> {
    let free = instance.builder.free_ports(OF_INSTANCES, &instance.dir);
    let mut ports = Vec::new();
    for _ in 0..ATTEMPTS {
        ports = free.of_members(voters + learners)?;
        if let Some(first) = ports.first_mut() {
            *first = instance.choose_ports(None)?;
        }
        if are_distinct(ports.iter().copied()) {
            break;
        }
    }
    let names = (1..=voters).map(|number| format!("m{number}")).chain((1..).map(|number| format!("l{number}")));
    Ok(names.zip(ports).map(|(name, ports)| Address { name, ports }).collect())
}

fn are_distinct(ports: impl IntoIterator<Item = Ports>) -> bool {
    let mut seen = BTreeSet::new();
    let each = |ports: Ports| [Some(ports.client), Some(ports.peer), ports.metrics].into_iter().flatten();
    ports.into_iter().flat_map(each).all(|port| seen.insert(port))
}

/// The instance and its members with TLS as it is asked for; beside members that run, as those were started. Members know each
/// other by URL, so that their peers have TLS as they were created. The ports for metrics may change with each start.
fn with_tls(instance: &Instance, mut addresses: Vec<Address>) -> Result<(Instance, Vec<Address>), StartError> {
    let status = instance.status()?;
    if status.state != State::Stopped {
        instance.check_tls(&status)?;
        return Ok((instance.with_tls_of(instance.saved()?.as_ref()), addresses));
    }
    let mut again = instance.clone();
    let has_tls_peers = addresses.iter().any(|address| address.ports.tls.peers);
    if has_tls_peers && instance.builder.peer_tls.is_none() {
        again.builder.peer_tls = instance.with_tls_of(instance.saved()?.as_ref()).builder.peer_tls;
    } else if !has_tls_peers && instance.builder.peer_tls.is_some() {
        return Err(cannot_change(instance, "peers in", "plain text", "TLS"));
    }
    let free = again.builder.free_ports(OF_INSTANCES, &again.dir);
    for _ in 0..ATTEMPTS {
        let found = free.of_members(addresses.len())?;
        for (Address { ports, .. }, free) in addresses.iter_mut().zip(found) {
            (ports.metrics, ports.tls) = (free.metrics, free.tls);
        }
        if are_distinct(addresses.iter().map(|address| address.ports)) {
            break;
        }
    }
    Ok((again, addresses))
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
    let Size { voters, learners } = Size::of(addresses);
    differs("--members", Some(voters.to_string()), asked.members.map(|members| members.to_string()))?;
    differs("--learners", Some(learners.to_string()), asked.learners.map(|learners| learners.to_string()))?;
    differs("--port", number(first.map(|ports| ports.client)), number(asked.port))?;
    differs("--peer-port", number(first.map(|ports| ports.peer)), number(asked.peer_port))?;
    let shown = |dir: &std::path::PathBuf| dir.display().to_string();
    differs("--data-dir", dir.as_ref().map(shown), asked.data_dir.as_ref().map(shown))
}

/// Starts the members that do not run, and waits for all. The caller has the instance's operation lock.
pub(super) fn start(instance: &Instance, addresses: &[Address], found_binary: &Binary) -> Result<Up, StartError> {
    const ATTEMPTS: usize = 3;
    let members = instance.members(addresses);
    let was_ready = instance.saved()?.is_some_and(|record| record.cluster_id.is_some());
    members.iter().try_for_each(Instance::create_dir)?;
    let _operations = begin_operations(&members)?;
    let mut started = false;
    for _ in 0..ATTEMPTS {
        let found = members.iter().map(Instance::observe).collect::<Result<Vec<_>, _>>()?;
        refuse_orphans(&members, &found)?;
        let is_upgrade = upgrade::is_asked_for(instance, &members)?;
        if is_upgrade {
            upgrade::check_step(instance, &members, &found_binary.version)?;
        }
        // Members that run keep their program, and so do those beside them.
        let binary = match runs_any(&found) && !is_upgrade {
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
        let gone = take_gone(&mut absent, instance, &members, was_ready)?;
        let stopped = prepare(instance, &members, absent, &binary, was_ready)?;
        if let Some(record) = instance.compose(&members, Some(&binary))? {
            instance.save(&record)?;
        }
        started |= !stopped.is_empty() || !gone.is_empty();
        let began = Instant::now();
        start_stopped(instance, stopped, &binary)?;
        if await_servers(servers)? {
            if !gone.is_empty() || is_upgrade {
                // What runs now goes on, also if the rest fails.
                record_ready(instance, &members, began.elapsed().as_millis(), started)?;
            }
            gone.into_iter().try_for_each(|member| instance.replace(&members, member))?;
            if is_upgrade {
                upgrade::roll(instance, &members, found_binary)?;
                started = true;
            }
            return finish(instance, &members, began.elapsed().as_millis(), started);
        }
    }
    Err(StartError::Unstable { instance: instance.name.clone() })
}

/// Takes out the members that had data and have none, and learners that never had any, which the others have join.
fn take_gone<'a>(
    absent: &mut Vec<(&'a Instance, Lock, Option<Record>)>,
    instance: &Instance,
    members: &[Instance],
    was_ready: bool,
) -> Result<Vec<&'a Instance>, StartError> {
    let mut gone = Vec::new();
    for (member, lock, record) in std::mem::take(absent) {
        let data = DataDir::find(&member.next_data_dir(record.as_ref()))?;
        match data.is_some_and(|data| data.has_members()) || !(was_ready || member.is_learner()) {
            true => absent.push((member, lock, record)),
            false => gone.push(member),
        }
    }
    let is_gone = |member: &&Instance| gone.iter().any(|gone| gone.dir == member.dir);
    let (lost, left): (Vec<_>, Vec<_>) = voters(members).partition(is_gone);
    if left.len() > lost.len() {
        return Ok(gone);
    }
    let members = left.len() + lost.len();
    let names = |members: Vec<&Instance>| members.iter().map(|member| member.builder.member()).collect();
    let (instance, gone, left) = (instance.name.clone(), names(lost), names(left));
    Err(MemberError::QuorumLost { instance, gone, left, members }.into())
}

fn refuse_orphans(members: &[Instance], found: &[Presence]) -> Result<(), StartError> {
    for (member, presence) in members.iter().zip(found) {
        if let Presence::Present(Server { record, processes, is_orphan: true }) = presence {
            return Err(member.orphaned(record.as_ref(), processes));
        }
    }
    Ok(())
}

/// Waits for the members that ran before. `false`: one has ended.
fn await_servers(servers: Vec<(&Instance, Server)>) -> Result<bool, StartError> {
    let mut are_ready = true;
    for (member, server) in servers {
        are_ready &= member.await_running(server)?.is_some();
    }
    Ok(are_ready)
}

fn record_ready(instance: &Instance, members: &[Instance], took: u128, started: bool) -> Result<(), StartError> {
    if let Some(record) = instance.compose(members, None)? {
        let cluster_id = members.iter().find_map(|member| member.saved().ok().flatten()?.cluster_id);
        let ready_ms = if started { u64::try_from(took).ok() } else { record.ready_ms };
        instance.save(&Record { cluster_id, ready_ms, ..record })?;
    }
    Ok(())
}

fn finish(instance: &Instance, members: &[Instance], took: u128, started: bool) -> Result<Up, StartError> {
    record_ready(instance, members, took, started)?;
    for member in members {
        member.finish_wiping(&member.next_data_dir(member.saved()?.as_ref()));
    }
    let status = instance.status()?;
    instance.check_requested(&status, instance.saved()?.as_ref())?;
    Ok(Up { status, started })
}

#[cfg(test)]
mod tests {
    use etcd_workspace::TlsScope;

    use super::*;

    #[test]
    fn no_two_members_have_a_port_in_common() {
        let host = std::net::Ipv4Addr::LOCALHOST.into();
        let ports = |client, peer| Ports { host, client, peer, metrics: Some(client + 10), tls: TlsScope::default() };
        assert!(are_distinct([ports(1, 2), ports(3, 4)]));
        assert!(!are_distinct([ports(1, 2), ports(3, 1)]));
        assert!(!are_distinct([ports(1, 2), ports(3, 11)]));
    }
}
