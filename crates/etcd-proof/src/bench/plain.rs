//! An etcd as somebody starts it by hand: ports and a directory, and nothing else said.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Subject, patience, workspace};
use crate::wait;

/// Longer than an etcd takes to end.
const GRACE: Duration = Duration::from_secs(10);

/// A directory for one, and its program.
pub(super) struct Plain {
    dir: PathBuf,
    etcd: PathBuf,
}

impl Plain {
    pub(super) fn new(subject: &Subject<'_>, etcd: &Path) -> Result<Self> {
        Ok(Self { dir: subject.scratch.dir("plain")?, etcd: etcd.to_owned() })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts it, and returns at its first healthy answer.
    pub(super) fn start(&self) -> Result<Server> {
        let (client, peer) = free_ports()?;
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let log = File::create(self.dir.join("log"))?;
        let mut command = Command::new(&self.etcd);
        workspace::without_settings(&mut command);
        command
            .arg(format!("--data-dir={}", self.data().display()))
            .args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=default={peer}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        let mut server = Server { child: command.spawn()?, url: client, ready_ms: 0.0 };
        patience::until("the plain etcd was not healthy", || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the plain etcd ended: {status}");
            }
            Ok(is_healthy(&server.url).then_some(()))
        })?;
        server.ready_ms = began.elapsed().as_secs_f64() * 1e3;
        Ok(server)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Two ports that nobody has now.
pub(super) fn free_ports() -> Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// A running one. It ends with the scope, as somebody ends it by hand: by Ctrl-C's milder brother.
pub(super) struct Server {
    child: Child,
    pub(super) url: String,
    /// From spawn to the first healthy answer.
    pub(super) ready_ms: f64,
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let ended = || Ok(self.child.try_wait()?.is_some());
        if !asked.is_ok_and(|status| status.success()) || wait::until("etcd has ended", GRACE, ended).is_err() {
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

/// Files may be longer than what they take, and the other way about.
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
