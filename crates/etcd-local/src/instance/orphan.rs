//! Servers whose lock file was deleted under them, with all of `.etcd` by `git clean -fdx`, say: nothing in the workspace
//! leads to them any more, but they hold that file still, and the system knows the path that it had.

use std::path::Path;

use etcd_workspace::home;

use super::Instance;
use super::observe::Args;
use crate::process::{Running, instance_dir};
use crate::{file, os};

impl Instance {
    /// The servers of this instance whose lock file was deleted.
    pub(super) fn orphans(&self) -> Vec<Running> {
        let ours = Some((file::resolve(&self.dir), true));
        let is_ours = |pid: u32| instance_dir(pid) == ours && Args::of(pid).is_some();
        let found = os::pids().unwrap_or_default().into_iter().filter(|pid| is_ours(*pid));
        let held = found.filter_map(|pid| Running::with_pid(pid).ok().flatten());
        // Looked at again while the process is held: only now the pid cannot mean another one.
        held.filter(|running| is_ours(running.identity.pid) && !running.has_ended()).collect()
    }
}

/// The names of the instances of a workspace that have such a server.
pub(crate) fn names(workspace: &Path) -> Vec<String> {
    let home = file::resolve(&home(workspace));
    let orphaned = os::pids().into_iter().flatten().filter_map(instance_dir).filter(|(_, is_orphan)| *is_orphan);
    let ours = orphaned.filter(|(dir, _)| dir.parent() == Some(&home));
    ours.filter_map(|(dir, _)| dir.file_name()?.to_str().map(str::to_owned)).collect()
}
