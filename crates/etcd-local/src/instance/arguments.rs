//! What a server's own arguments say of it. They count more than its record.

use std::path::{Path, PathBuf};

use etcd_workspace::Record;

use crate::os;

/// What a server of ours was started with.
pub(super) struct Args {
    pub(super) member: String,
    pub(super) data_dir: PathBuf,
    pub(super) endpoint: String,
    pub(super) peer_url: String,
    pub(super) metrics_url: Option<String>,
    pub(super) tls: Option<PathBuf>,
    pub(super) peer_tls: Option<PathBuf>,
}

impl Args {
    /// `None`: the system does not show them, or they are not as we give them.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let args = os::arguments(pid)?;
        let flag =
            |name: &str| args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        let dir_of = |name: &str| flag(name).and_then(|file| Some(Path::new(&file).parent()?.to_owned()));
        Some(Self {
            member: flag("--name")?,
            data_dir: flag("--data-dir")?.into(),
            endpoint: flag("--listen-client-urls")?,
            peer_url: flag("--listen-peer-urls")?,
            metrics_url: flag("--listen-metrics-urls"),
            tls: dir_of("--cert-file"),
            peer_tls: dir_of("--peer-cert-file"),
        })
    }

    pub(super) fn are_of(&self, record: &Record) -> bool {
        (&self.member, &self.data_dir, &self.peer_url) == (&record.member, &record.data_dir, &record.peer_url)
            && (&self.metrics_url, &self.tls, &self.peer_tls) == (&record.metrics_url, &record.tls, &record.peer_tls)
            && record.endpoints.iter().eq([&self.endpoint])
    }
}
