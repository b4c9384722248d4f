//! An etcd as a user starts it by hand: with ports and a directory, and no other flag.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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
        let (client, peer) = workspace::free_ports()?;
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let log = File::create(self.dir.join("log"))?;
        let mut command = Command::new(&self.etcd);
        workspace::remove_settings(&mut command);
        command
            .arg(format!("--data-dir={}", self.data().display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=default={peer}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        let mut server = PlainServer { child: command.spawn()?, url: client, ready_ms: 0.0 };
        wait::until("the plain etcd is healthy", wait::TIMEOUT, || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the plain etcd ended: {status}");
            }
            Ok(is_healthy(&server.url))
        })?;
        server.ready_ms = began.elapsed().as_secs_f64() * 1e3;
        Ok(server)
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
}

impl Drop for PlainServer {
    fn drop(&mut self) {
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
