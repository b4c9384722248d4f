//! A server with data of its own, to kill, to start again and to wipe.

use std::process::Command;

use etcd_local::{Builder, Instance, Port};
use tempfile::TempDir;

use crate::version::Etcd;
use crate::wait::eventually;

/// A server that outlives its end, in a directory of its own. It goes with this value, or with the process.
pub struct Persistent {
    /// The instance.
    pub instance: Instance,
    dir: TempDir,
}

impl Persistent {
    /// Starts one of this version.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    #[must_use]
    pub fn start(etcd: Etcd) -> Self {
        Self::built(|dir| etcd.builder(dir))
    }

    /// Starts one, on free ports.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    #[must_use]
    pub fn built(builder: impl FnOnce(&std::path::Path) -> Builder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        crate::leftovers::remove_if_killed(dir.path());
        let instance = builder(dir.path()).port(Port::Auto).peer_port(Port::Auto).instance("test").unwrap();
        instance.up().unwrap();
        Self { instance, dir }
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// If the instance cannot be described.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.instance.status().unwrap().endpoints.into_iter().next().unwrap()
    }

    /// Sends a signal to it: `-KILL`, `-STOP`.
    ///
    /// # Panics
    ///
    /// If there is no process.
    pub fn signal(&self, signal: &str) {
        for pid in self.instance.status().unwrap().pids {
            assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
        }
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn up(&self) {
        assert!(eventually(|| self.instance.up().is_ok()), "the server does not come back: {:?}", self.dir);
    }

    /// Wipes it and starts it again where it was.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn reset(&self) {
        self.instance.reset().unwrap();
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        let _ = self.instance.down();
    }
}
