//! What `read`, `delete` and `watch` share: a fresh etcd with many keys, our commands as the user calls them, etcdctl
//! where it is installed, and another client that writes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use etcd_local::Ephemeral;
use etcd_local::binary::Wanted;
use serde::Deserialize;

use super::machine::NEW;
use super::measured::{Measurement, run_ok};
use super::report::{Row, Size};
use super::workspace::BenchWorkspace;
use super::{Notes, Setup};
use crate::wait;
use crate::workspace::{self, get, put};

/// Where the keys are.
pub(super) const PREFIX: &str = "/bench/";
/// The other side.
pub(super) const ETCDCTL: &str = "etcdctl";

/// A fresh etcd, and the commands of its clients.
pub(super) struct Keyspace<'a> {
    setup: &'a Setup<'a>,
    etcd: Ephemeral,
    workspace: BenchWorkspace,
}

impl<'a> Keyspace<'a> {
    pub(super) fn new(setup: &'a Setup<'a>) -> Result<Self> {
        let builder = setup.cx.builder()?.etcd(Wanted::Exactly(NEW));
        // A million keys, written and deleted, take more than the 2 GiB of the default.
        let etcd = builder.arg("--quota-backend-bytes=8589934592").start_ephemeral()?;
        Ok(Self { setup, etcd, workspace: BenchWorkspace::new(setup, None)? })
    }

    /// With `keys` keys below [`PREFIX`].
    pub(super) fn with_keys(setup: &'a Setup<'a>, keys: u64) -> Result<Self> {
        let keyspace = Self::new(setup)?;
        keyspace.fill(keys)?;
        Ok(keyspace)
    }

    pub(super) fn fill(&self, keys: u64) -> Result<()> {
        fill(self.setup, &self.url(), keys)
    }

    /// Writes keys below another prefix.
    #[cfg(target_os = "linux")] // for `bench browse`
    pub(super) fn fill_below(&self, prefix: &str, keys: u64) -> Result<()> {
        fill_below(self.setup, &self.url(), prefix, keys)
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    pub(super) fn xtask(&self, args: &[&str]) -> Command {
        let mut command = self.workspace.command(args);
        command
            .env("ETCD_ENDPOINTS", self.url())
            .envs(self.setup.browse.iter().map(|program| ("ETCD_BROWSE", program)));
        command
    }

    /// The program that `cargo xtask` becomes, called directly.
    pub(super) fn console(&self, args: &[&str]) -> Command {
        console(self.setup, &self.url(), args)
    }

    /// `etcdctl ARGS…`, where it is installed.
    pub(super) fn etcdctl(&self, args: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.setup.installed.etcdctl.as_ref()?);
        workspace::remove_settings(&mut command);
        command.args(args).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", self.url());
        Some(command)
    }

    /// A file for what a command prints.
    pub(super) fn output(&self) -> Result<Stdio> {
        Ok(File::create(self.workspace.path(".out"))?.into())
    }

    /// What a command printed to that file.
    pub(super) fn printed(&self) -> Result<File> {
        Ok(File::open(self.workspace.path(".out"))?)
    }

    /// Writes one key through etcd's JSON gateway, without starting a process.
    pub(super) fn put(&self, key: &str) -> Result<()> {
        put(&self.url(), key, "x")
    }

    /// Returns when there is a watch: etcd counts them.
    pub(super) fn await_watch(&self) -> Result<()> {
        let url = format!("{}/metrics", self.url());
        wait::until("a watch has begun", wait::TIMEOUT, || {
            let answer = minreq::get(&url).with_timeout(10).send()?;
            let mut lines = answer.as_str()?.lines();
            let count = lines.find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "));
            Ok(count.is_some_and(|count| count.trim() != "0"))
        })
    }

    /// The one endpoint.
    pub(super) fn url(&self) -> String {
        self.etcd.endpoints().concat()
    }

    /// Another client begins to write.
    pub(super) fn load(&self) -> Result<Load> {
        let mut load = self.console(&["load", LOAD]);
        let load = Load(load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        wait::until("the other client writes", wait::TIMEOUT, || Ok(get(&self.url(), LOAD)?.is_some()))?;
        Ok(load)
    }
}

/// `etcd-console ARGS…` against an etcd.
fn console(setup: &Setup<'_>, url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(setup.console);
    workspace::remove_settings(&mut command);
    command.args(["--endpoints", url]).args(args);
    command
}

/// Writes `keys` keys below [`PREFIX`].
pub(super) fn fill(setup: &Setup<'_>, url: &str, keys: u64) -> Result<()> {
    fill_below(setup, url, PREFIX, keys)
}

fn fill_below(setup: &Setup<'_>, url: &str, prefix: &str, keys: u64) -> Result<()> {
    let mut fill = console(setup, url, &["fill", "--prefix", prefix, "--count", &keys.to_string()]);
    run_ok(fill.stdout(Stdio::null())).context("the keys could not be written")?;
    Ok(())
}

/// What the other client writes.
const LOAD: &str = "/other-client";

/// Another client, which writes until it is stopped.
pub(super) struct Load(Child);

/// How long its writes took, in milliseconds.
#[derive(Deserialize)]
pub(super) struct Latency {
    pub(super) p99: f64,
    pub(super) worst: f64,
}

impl Load {
    pub(super) fn end(mut self) -> Result<Latency> {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"\n");
        }
        let mut text = String::new();
        self.0.stdout.take().context("the other client has no stdout")?.read_to_string(&mut text)?;
        serde_json::from_str(&text).context("the other client printed no latencies")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs of ours and of etcdctl's, in turn.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) ours: Vec<Measurement>,
    pub(super) etcdctl: Vec<Measurement>,
}

impl Sides {
    /// Adds a run of etcdctl's. A failed run becomes a note, not a figure.
    pub(super) fn add_etcdctl(&mut self, what: &str, run: Measurement, notes: &mut Notes) {
        if run.success {
            self.etcdctl.push(run);
        } else {
            notes.add(format!("etcdctl failed to {what}, after {:.1} s", run.seconds));
        }
    }

    /// A row of one figure of both sides' runs; `None` if the system does not report the figure.
    pub(super) fn row(
        &self,
        what: &str,
        unit: &str,
        size: Size,
        of: impl Fn(&Measurement) -> Option<f64>,
    ) -> Result<Option<Row>> {
        let ours: Vec<f64> = self.ours.iter().filter_map(&of).collect();
        if ours.is_empty() {
            return Ok(None);
        }
        let etcdctl = self.etcdctl.iter().filter_map(&of).collect();
        Row::new(what, unit, ours)?.size(size).beside(ETCDCTL, etcdctl).map(Some)
    }
}
