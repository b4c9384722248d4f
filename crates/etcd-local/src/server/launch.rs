//! One launch of etcd: its flags, its ports, and the wait until it is proven ready. Used for persistent and
//! ephemeral instances alike; knows nothing of records or of who owns what.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use etcd_workspace::{ClusterId, TlsFiles};
use semver::Version;

use super::election;
use super::launch_error::LaunchError;
use super::log::{self, Damage};
use super::ports::{Address, Holder, PortKind, Ports, is_free};
use super::readiness::{Probe, Target};
use crate::binary::Binary;
use crate::data::DataDir;
use crate::env::Env;
use crate::lock::Lock;
use crate::os::Lifetime;
use crate::process::{self, Child, Spawn, Spawned};
use crate::wait::{Deadline, until};

/// How often a leader tells its followers that it lives, and after how long without that they elect another.
struct Timing {
    heartbeat_ms: u32,
    election_ms: u32,
}

/// What an idle server takes of a processor depends on the heartbeat: 2.2 % with 5 ms, 0.33 % with etcd's default, 100 ms.
/// No start waits for it, see [`election`]. The election timeout is the least that etcd allows, five heartbeats. A lease
/// lives at least seven heartbeats, in whole seconds: with a few milliseconds more, none could be as short as a second.
const ALONE: Timing = Timing { heartbeat_ms: 140, election_ms: 700 };
/// Among several members: when the leader is lost, they wait for one to two election timeouts.
const AMONG_OTHERS: Timing = Timing { heartbeat_ms: 40, election_ms: 200 };
/// The same for servers that stay for days: three members take 2.8 % of a core while idle, as with etcd's default flags,
/// which wait for an election twice as long. A restart waits for one, too: for half of this in most cases.
const AMONG_OTHERS_FOR_DAYS: Timing = Timing { heartbeat_ms: 100, election_ms: 500 };

/// For so long after the spawn of the first member of a new cluster no member stands for election by itself.
pub(crate) const fn no_election_before(durability: Durability) -> Duration {
    Duration::from_millis(among_others(durability).election_ms as u64)
}

const fn among_others(durability: Durability) -> Timing {
    match durability {
        Durability::Synced => AMONG_OTHERS_FOR_DAYS,
        Durability::Unsynced => AMONG_OTHERS,
    }
}

/// After how many writes the first etcd of a later minor version makes a snapshot. An etcd two minor versions later cannot
/// read what is in the log before that: 3.7 panics on entries of 3.5, also after 3.6 has served the data, unless 3.6 has
/// made a snapshot. With 1 writes take three times as long, until the next start.
const UPGRADE_SNAPSHOT_COUNT: u32 = 1;

/// How long every change of every key can still be read, watched from, and told after a lost connection. What came
/// before goes once an hour, and the room that it took is used again: otherwise test runs, which leave some megabytes
/// of history each, fill the database up. The first time is so long after the start.
const HISTORY: &str = "4h";

/// Hashing a password takes 70 ms with etcd's default, 10, which slows down guessing, and each login. Nobody guesses the
/// 128 random bits of ours.
const PASSWORD_COST: u32 = 4;

/// What becomes of data when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Every acknowledged write is on disk.
    Synced,
    /// Nothing is: for data that goes with its server.
    Unsynced,
}

/// Everything that a launch needs.
pub(crate) struct Launch<'a> {
    pub(crate) binary: &'a Binary,
    pub(crate) member: &'a Address,
    /// All members of its cluster, this one too.
    pub(crate) cluster: &'a [Address],
    /// How many learners its cluster will have.
    pub(crate) learners: usize,
    pub(crate) data: &'a DataDir,
    pub(crate) durability: Durability,
    pub(crate) lifetime: Lifetime,
    /// Whether a cluster's only member is asked to elect itself at once. Else it does so when its timeout has passed.
    pub(crate) asks_for_election: bool,
    /// The certificates, if its clients speak TLS.
    pub(crate) tls: Option<&'a TlsFiles>,
    /// The certificates, if its peers do. With either, its ports have one for metrics.
    pub(crate) peer_tls: Option<&'a TlsFiles>,
    pub(crate) extra_args: &'a [String],
    pub(crate) log: &'a Path,
    pub(crate) env: &'a Env,
}

/// A launch that may still become ready.
pub(crate) struct Launched {
    pub(crate) child: Child,
    expected: Option<ClusterId>,
    is_alone: bool,
    asks_for_election: bool,
    data: election::Data,
    spawned: Instant,
    context: LaunchContext,
}

/// What explains a failed launch afterwards.
struct LaunchContext {
    version: Version,
    ports: Ports,
    data: PathBuf,
    /// By which etcd, so far.
    last_used: Option<Version>,
    log: PathBuf,
    /// Where this launch's lines begin in the log.
    log_from: u64,
}

/// A wait until a launch is ready.
pub(crate) struct Wait {
    answers: Receiver<Probe>,
    deadline: Deadline,
    timeout: Duration,
    /// Why it is not ready yet.
    reason: String,
    ready: Option<Ready>,
}

/// A server that is proven ready.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) cluster_id: ClusterId,
    pub(crate) version: Version,
    pub(crate) took: Duration,
}

impl Launch<'_> {
    pub(crate) fn spawn(&self, lock: Lock) -> Result<Launched, LaunchError> {
        let (log, log_from) =
            open_log(self.log).map_err(|source| LaunchError::Log { path: self.log.to_owned(), source })?;
        if let Some((file, reason)) = self.data.damaged_file() {
            let (data, log) = (self.data.path.clone(), self.log.to_owned());
            return Err(LaunchError::Damaged { data, file: Some(file), reason: reason.to_owned(), log });
        }
        self.check_certificates()?;
        let data = if self.data.has_members() { election::Data::Existing } else { election::Data::New };
        let spawned = Instant::now();
        let child = process::spawn(Spawn {
            program: &self.binary.path,
            args: self.args(),
            lock: lock.into_file(),
            log,
            env: &self.env.for_etcd(Some(&self.binary.version)),
            lifetime: self.lifetime,
        })
        .map_err(|source| LaunchError::Spawn { binary: self.binary.path.clone(), source })?;
        let context = LaunchContext {
            version: self.binary.version.clone(),
            ports: self.member.ports,
            data: self.data.path.clone(),
            last_used: self.data.marker.as_ref().and_then(|marker| marker.newest_version.clone()),
            log: self.log.to_owned(),
            log_from,
        };
        match child {
            Spawned::Running(child) => {
                let expected = self.data.marker.as_ref().and_then(|marker| marker.cluster_id);
                let is_alone = self.cluster.len() == 1;
                let asks_for_election = self.asks_for_election && is_alone && !self.member.ports.tls.peers;
                Ok(Launched { child, expected, is_alone, asks_for_election, data, spawned, context })
            }
            Spawned::Ended(status) => Err(context.exited(status)),
        }
    }

    fn args(&self) -> Vec<String> {
        let Address { name, ports } = self.member;
        let (client, peer) = (ports.client_url(), ports.peer_url());
        let listens_at = match ports.metrics_url() {
            Some(plain) if self.durability == Durability::Unsynced => format!("{client},{plain}"),
            _ => client.clone(),
        };
        let peers = self.cluster.iter().map(|member| format!("{}={}", member.name, member.ports.peer_url()));
        let timing = if self.cluster.len() == 1 { ALONE } else { among_others(self.durability) };
        let token = self.data.marker.as_ref().map_or("etcd-cluster", |marker| &marker.cluster_token);
        let mut args = vec![
            format!("--name={name}"),
            format!("--data-dir={}", self.data.path.display()),
            format!("--listen-client-urls={listens_at}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", peers.collect::<Vec<_>>().join(",")),
            format!("--initial-cluster-token={token}"),
            format!("--heartbeat-interval={}", timing.heartbeat_ms),
            format!("--election-timeout={}", timing.election_ms),
            "--auto-compaction-mode=periodic".to_owned(),
            format!("--auto-compaction-retention={HISTORY}"),
            "--logger=zap".to_owned(), // the only one since 3.5, and not yet the default in 3.4
            "--log-outputs=stderr".to_owned(),
            format!("--bcrypt-cost={PASSWORD_COST}"),
        ];
        if self.durability == Durability::Unsynced && self.binary.version >= Version::new(3, 4, 10) {
            args.push("--unsafe-no-fsync".to_owned());
        }
        if self.cluster.len() > 1 && !self.data.has_members() && !ports.tls.peers {
            args.push("--initial-election-tick-advance=false".to_owned());
        }
        if self.data.is_upgraded_by(&self.binary.version) {
            args.push(format!("--snapshot-count={UPGRADE_SNAPSHOT_COUNT}"));
        }
        // etcd has one at most, else. Each member applies this limit by itself.
        if self.learners > 1 {
            args.push(format!("--max-learners={}", self.learners));
        }
        for (flags, files, (certificate, key)) in self.certificates() {
            args.extend([
                format!("--{flags}cert-file={}", certificate.display()),
                format!("--{flags}key-file={}", key.display()),
                format!("--{flags}trusted-ca-file={}", files.ca().display()),
                format!("--{flags}client-cert-auth"),
            ]);
        }
        // The data of others is for those with certificates.
        if let (Some(metrics), Durability::Synced) = (ports.metrics_url(), self.durability) {
            args.push(format!("--listen-metrics-urls={metrics}"));
        }
        args.extend_from_slice(self.extra_args);
        args
    }
}

impl<'a> Launch<'a> {
    /// What the names of its flags for TLS begin with, the files, and which of them it shows: for clients, and for peers.
    fn certificates(&self) -> impl Iterator<Item = (&'static str, &'a TlsFiles, (PathBuf, PathBuf))> {
        let of_clients = self.tls.map(|files| ("", files, files.server()));
        let of_peers = self.peer_tls.map(|files| ("peer-", files, files.peer()));
        of_clients.into_iter().chain(of_peers)
    }

    fn check_certificates(&self) -> Result<(), LaunchError> {
        for (_, files, (certificate, key)) in self.certificates() {
            for path in [files.ca(), certificate, key] {
                File::open(&path).map_err(|source| LaunchError::Certificate { path, source })?;
            }
        }
        Ok(())
    }
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let end = file.metadata()?.len();
    Ok((file, end))
}

impl Launched {
    /// Waits until our member answers. The child's exit ends the wait at once, and a child that did not
    /// become ready is ended.
    pub(crate) fn wait_ready(&mut self, timeout: Duration) -> Result<Ready, LaunchError> {
        let mut wait = self.begin_wait(timeout)?;
        loop {
            if let Some(ready) = self.look(&mut wait)? {
                return Ok(ready);
            }
        }
    }

    /// Begins to wait; [`Launched::look`] goes on. So several members can be waited for at once.
    pub(crate) fn begin_wait(&self, timeout: Duration) -> Result<Wait, LaunchError> {
        let deadline = Deadline::after(timeout);
        let answers = self.ask(deadline).inspect_err(|_| drop(self.child.running.kill()))?;
        Ok(Wait { answers, deadline, timeout, reason: "it has not answered".to_owned(), ready: None })
    }

    /// Looks whether our member is ready, and still lives. It takes a few milliseconds unless there is an answer.
    pub(crate) fn look(&mut self, wait: &mut Wait) -> Result<Option<Ready>, LaunchError> {
        self.hear(wait).inspect_err(|_| drop(self.child.running.kill()))?;
        Ok(wait.ready.clone())
    }

    fn hear(&mut self, wait: &mut Wait) -> Result<(), LaunchError> {
        /// How long the child's exit may go unnoticed. An answer is noticed at once.
        const LOOK: Duration = Duration::from_millis(5);
        let answer = match wait.ready {
            Some(_) => Err(RecvTimeoutError::Timeout),
            None => wait.answers.recv_timeout(LOOK.min(wait.deadline.remaining())),
        };
        let is_over = answer == Err(RecvTimeoutError::Disconnected);
        // Looked at after the answer: only a child that lives now can have given it.
        if let Some(status) = self.exit() {
            return Err(self.context.exited(status));
        }
        let LaunchContext { version, ports, log, log_from, .. } = &self.context;
        match answer {
            Ok(Probe::Ready { cluster_id, version: answered }) => {
                let version = Version::parse(&answered).unwrap_or_else(|_| version.clone());
                wait.ready = Some(Ready { cluster_id, version, took: self.spawned.elapsed() });
            }
            // With peers, a member that has committed nothing gets from them what it lacks.
            Ok(Probe::NotYet(_)) if self.is_alone && log::is_bootstrap_incomplete(log, *log_from) => {
                return Err(LaunchError::IncompleteBootstrap { log: log.clone() });
            }
            Ok(Probe::NotYet(why)) => wait.reason = why,
            Ok(Probe::Foreign(other)) => {
                wait.reason = format!("cluster {other}, which is not ours, answers on {}", ports.peer_url());
            }
            Err(_) => {}
        }
        match wait.ready.is_none() && (is_over || wait.deadline.expired()) {
            true => Err(self.not_ready(wait.timeout, wait.reason.clone())),
            false => Ok(()),
        }
    }

    /// Waits until our member answers its peers, which it may do long before there are enough of them.
    pub(crate) fn wait_for_peer_port(&mut self, timeout: Duration) -> Result<(), LaunchError> {
        self.hear_peer_port(timeout).inspect_err(|_| drop(self.child.running.kill()))
    }

    fn hear_peer_port(&mut self, timeout: Duration) -> Result<(), LaunchError> {
        let (target, expected) = (self.context.target(), self.expected);
        let mut reason = String::new();
        let is_up = until(Deadline::after(timeout), || {
            let answer = target.cluster_id();
            if let Some(status) = self.exit() {
                return Err(self.context.exited(status));
            }
            match answer {
                Ok(cluster) if expected.is_none_or(|expected| expected == cluster) => return Ok(Some(())),
                Ok(cluster) => reason = format!("cluster {cluster}, which is not ours, answers on {}", target.peer_url),
                Err(why) => reason = why,
            }
            Ok(None)
        })?;
        is_up.ok_or_else(|| self.not_ready(timeout, reason))
    }

    /// Why it counts as failed although it lives.
    fn not_ready(&self, waited: Duration, reason: String) -> LaunchError {
        LaunchError::NotReady { waited, reason, log: self.context.log.clone() }
    }

    /// Asks again and again, on a thread of its own: whoever has the port need not answer at all, and the child may end
    /// meanwhile. It stops when nobody listens any more.
    fn ask(&self, deadline: Deadline) -> Result<Receiver<Probe>, LaunchError> {
        let (target, expected) = (self.context.target(), self.expected);
        let (answer, answers) = channel();
        let asking = self.elect(deadline)?;
        let ask = move || {
            let _asking = asking;
            let _ = until(deadline, || {
                let probe = target.probe(expected);
                let is_last = matches!(probe, Probe::Ready { .. });
                let is_heard = answer.send(probe).is_ok();
                Ok::<_, Infallible>((is_last || !is_heard).then_some(()))
            });
        };
        self.spawn_thread("etcd-probe", ask)?;
        Ok(answers)
    }

    /// Has our member elect itself, on another thread: it answers no probe before that. The thread ends when what is
    /// returned is dropped.
    fn elect(&self, deadline: Deadline) -> Result<Arc<()>, LaunchError> {
        let is_wanted = Arc::new(());
        // Data that we did not create may be of a cluster of several members, who elect one by themselves.
        if let Some(cluster) = self.expected.filter(|_| self.asks_for_election) {
            let (peer, wanted, data) = (self.context.ports.peer_url(), Arc::downgrade(&is_wanted), self.data);
            self.spawn_thread("etcd-election", move || {
                election::request(&peer, cluster, data, deadline, || wanted.strong_count() > 0);
            })?;
        }
        Ok(is_wanted)
    }

    fn spawn_thread(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), LaunchError> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        let binary = || self.child.running.identity.exe.clone();
        spawned.map(drop).map_err(|source| LaunchError::Spawn { binary: binary(), source })
    }

    /// How the child ended, if it has.
    fn exit(&mut self) -> Option<ExitStatus> {
        /// How long its reaper may take to hand over the status.
        const REAPED: Duration = Duration::from_secs(10);
        match self.child.running.has_ended() {
            true => self.child.exited_within(REAPED),
            false => None,
        }
    }
}

impl LaunchContext {
    fn target(&self) -> Target {
        let Self { ports, data, .. } = self;
        Target { plain_url: ports.plain_url(), peer_url: ports.peer_url(), data_dir: data.clone() }
    }

    /// Which port somebody else has; the client port, if none any more.
    fn taken(&self) -> (SocketAddr, PortKind) {
        let Ports { host, client, peer, metrics, .. } = self.ports;
        let others = [(host, Some(peer), PortKind::Peer), (Ports::metrics_host(host), metrics, PortKind::Metrics)];
        let is_taken = |host, port| !matches!(is_free(host, port), Ok(true));
        let other = others.into_iter().find_map(|(host, port, kind)| {
            let port = port.filter(|port| is_taken(host, *port))?;
            Some((SocketAddr::new(host, port), kind))
        });
        let client = (SocketAddr::new(host, client), PortKind::Client);
        if is_taken(host, client.0.port()) { client } else { other.unwrap_or(client) }
    }

    /// An exit before readiness, explained by the log.
    fn exited(&self, status: ExitStatus) -> LaunchError {
        let reason = log::reason_of_exit(&self.log, self.log_from);
        if reason.as_ref().is_some_and(|reason| log::is_address_in_use(reason)) {
            let (address, kind) = self.taken();
            return LaunchError::PortTaken { port: address.port(), kind, holder: Holder::of(address) };
        }
        if log::is_early_election(&self.log, self.log_from) {
            return LaunchError::EarlyElection { log: self.log.clone() };
        }
        if let Some(Damage { file, reason }) = log::damage(&self.log, self.log_from) {
            return LaunchError::Damaged { data: self.data.clone(), file, reason, log: self.log.clone() };
        }
        let last_used = self.last_used.clone().filter(|last_used| *last_used < self.version).map(Box::new);
        LaunchError::Exited { version: self.version.clone(), last_used, status, reason, log: self.log.clone() }
    }
}

/// Checks that etcd could have a port, by having it for a moment; 0 is any.
///
/// # Errors
/// [`LaunchError::PortTaken`] if somebody has it, [`LaunchError::Listen`] if the system refuses for another reason.
pub fn claim_port(host: IpAddr, port: u16, kind: PortKind) -> Result<(), LaunchError> {
    match is_free(host, port) {
        Ok(true) => Ok(()),
        Ok(false) => Err(LaunchError::PortTaken { port, kind, holder: Holder::of(SocketAddr::new(host, port)) }),
        Err(source) => Err(LaunchError::Listen { addr: SocketAddr::new(host, port), source }),
    }
}
