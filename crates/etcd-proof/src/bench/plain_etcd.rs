//! An etcd as a user starts it by hand, alone or as a cluster: with ports and a directory, and no other flag.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Setup;
use crate::{wait, workspace};

/// The name of the other side: the same etcd, started by hand.
pub(super) const PLAIN: &str = "plain etcd";
/// Longer than etcd takes to end.
const GRACE: Duration = Duration::from_secs(10);

/// A data directory, and the program.
pub(super) struct PlainEtcd {
    dir: PathBuf,
    etcd: PathBuf,
}

impl PlainEtcd {
    pub(super) fn new(setup: &Setup<'_>, etcd: &Path) -> Result<Self> {
        Ok(Self { dir: setup.scratch.subdir("plain")?, etcd: etcd.to_owned() })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts etcd, and returns at its first healthy answer.
    pub(super) fn start(&self) -> Result<PlainServer> {
        self.start_members(1)?.pop().context("no server was started")
    }

    /// Starts so many members at once, and returns when all are healthy.
    pub(super) fn start_members(&self, members: usize) -> Result<Vec<PlainServer>> {
        let ports = workspace::free_ports_of_members(members)?;
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let name = |index: usize| if index == 0 { "default".to_owned() } else { format!("m{index}") };
        let peers: Vec<_> = ports.iter().map(|(_, peer)| url(peer)).collect();
        let cluster = peers.iter().enumerate().map(|(index, peer)| format!("{}={peer}", name(index)));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let began = Instant::now();
        let mut servers = Vec::new();
        for (index, ((client, _), peer)) in ports.iter().zip(&peers).enumerate() {
            let child = self.spawn(&name(index), &url(client), peer, &cluster)?;
            servers.push(PlainServer { child, url: url(client), ready_ms: 0.0 });
        }
        for server in &mut servers {
            wait::until("the plain etcd is healthy", wait::TIMEOUT, || {
                if let Some(status) = server.child.try_wait()? {
                    bail!("the plain etcd ended: {status}");
                }
                Ok(is_healthy(&server.url))
            })?;
            server.ready_ms = began.elapsed().as_secs_f64() * 1e3;
        }
        Ok(servers)
    }

    fn spawn(&self, name: &str, client: &str, peer: &str, cluster: &str) -> Result<Child> {
        let data = if name == "default" { self.data() } else { self.dir.join(name) };
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let mut command = Command::new(&self.etcd);
        workspace::remove_settings(&mut command);
        command
            .args([format!("--name={name}"), format!("--data-dir={}", data.display())])
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster={cluster}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command.spawn()?)
    }
}

impl Drop for PlainEtcd {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A running plain etcd. Dropped, it is ended by SIGTERM.
pub(super) struct PlainServer {
    child: Child,
    pub(super) url: String,
    /// From spawn to the first healthy answer.
    pub(super) ready_ms: f64,
}

impl PlainServer {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let terminated = Command::new("kill").arg(self.child.id().to_string()).status();
        let ended = || Ok(self.child.try_wait()?.is_some());
        if !terminated.is_ok_and(|status| status.success()) || wait::until("etcd has ended", GRACE, ended).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn is_healthy(url: &str) -> bool {
    let answer = minreq::get(format!("{url}/health")).with_timeout(5).send();
    answer.is_ok_and(|answer| answer.as_str().is_ok_and(|body| body.contains(r#""health":"true""#)))
}

/// The space that a directory's files take.
pub(super) fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { allocated(&metadata) };
    }
    Ok(bytes)
}

/// The space that a file takes may differ from its length.
#[cfg(unix)]
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    /// The unit of `st_blocks`, whatever the file system's own is.
    const BLOCK: u64 = 512;
    std::os::unix::fs::MetadataExt::blocks(metadata) * BLOCK
}

#[cfg(not(unix))]
fn allocated(metadata: &std::fs::Metadata) -> u64 {
    metadata.len()
}
