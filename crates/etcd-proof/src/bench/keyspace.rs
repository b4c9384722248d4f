//! What `read`, `delete` and `watch` have: an etcd of their own, many keys in it, our commands as the user calls them,
//! etcdctl beside them where it is installed, and another client at work.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use etcd_local::Ephemeral;
use etcd_local::binary::Wanted;
use serde::Deserialize;

use super::machine::NEW;
use super::process::{Finished, succeed};
use super::report::{Row, Size};
use super::workspace::Workspace;
use super::{Notes, Subject, patience, workspace};

/// Where the keys are.
pub(super) const PREFIX: &str = "/bench/";
/// Who stands beside us.
pub(super) const ETCDCTL: &str = "etcdctl";

/// A fresh etcd, and its clients.
pub(super) struct Keyspace<'a> {
    subject: &'a Subject<'a>,
    etcd: Ephemeral,
    workspace: Workspace,
}

impl<'a> Keyspace<'a> {
    pub(super) fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let builder = subject.cx.builder()?.etcd(Wanted::Exactly(NEW));
        // A million keys, written and deleted, take more than the 2 GiB of the default.
        let etcd = builder.arg("--quota-backend-bytes=8589934592").start_ephemeral()?;
        Ok(Self { subject, etcd, workspace: Workspace::new(subject, None)? })
    }

    /// With so many keys below [`PREFIX`].
    pub(super) fn with_keys(subject: &'a Subject<'a>, keys: u64) -> Result<Self> {
        let keyspace = Self::new(subject)?;
        keyspace.fill(keys)?;
        Ok(keyspace)
    }

    pub(super) fn fill(&self, keys: u64) -> Result<()> {
        fill(self.subject, &self.url(), keys)
    }

    /// `cargo xtask ARGS…`, from where cargo would have started it.
    pub(super) fn xtask(&self, args: &[&str]) -> Command {
        let mut command = self.workspace.command(args);
        command.env("ETCD_ENDPOINTS", self.url());
        command
    }

    /// The program that `cargo xtask` becomes, called directly.
    pub(super) fn console(&self, args: &[&str]) -> Command {
        console(self.subject, &self.url(), args)
    }

    /// `etcdctl ARGS…`, where it is installed.
    pub(super) fn etcdctl(&self, args: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.subject.installed.etcdctl.as_ref()?);
        workspace::without_settings(&mut command);
        command.args(args).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", self.url());
        Some(command)
    }

    /// A file for what a command prints.
    pub(super) fn output(&self) -> Result<Stdio> {
        Ok(File::create(self.workspace.path("out"))?.into())
    }

    /// What a command printed there.
    pub(super) fn printed(&self) -> Result<File> {
        Ok(File::open(self.workspace.path("out"))?)
    }

    /// Writes one key through etcd's JSON gateway, with no process in between.
    pub(super) fn put(&self, key: &str) -> Result<()> {
        put(&self.url(), key)
    }

    /// Returns when somebody watches: etcd counts watchers.
    pub(super) fn await_watcher(&self) -> Result<()> {
        let url = format!("{}/metrics", self.url());
        patience::until("no watch began", || {
            let answer = minreq::get(&url).with_timeout(10).send()?;
            let mut counts =
                answer.as_str()?.lines().filter_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "));
            Ok(counts.any(|count| count.trim() != "0").then_some(()))
        })
    }

    /// The one endpoint.
    pub(super) fn url(&self) -> String {
        self.etcd.endpoints().concat()
    }

    /// Another client begins to write.
    pub(super) fn load(&self) -> Result<Load> {
        let mut load = self.console(&["load", "--key", LOAD]);
        let load = Load(load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        patience::until("the other client did not write", || Ok(self.has(LOAD)?.then_some(())))?;
        Ok(load)
    }

    fn has(&self, key: &str) -> Result<bool> {
        let body = format!(r#"{{"key":"{}","count_only":true}}"#, base64(key));
        let answer = minreq::post(format!("{}/v3/kv/range", self.url())).with_body(body).with_timeout(10).send()?;
        Ok(answer.as_str()?.contains(r#""count":"1""#))
    }
}

/// `etcd-console ARGS…` against an etcd.
fn console(subject: &Subject<'_>, url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(&subject.console);
    workspace::without_settings(&mut command);
    command.args(["--endpoints", url]).args(args);
    command
}

/// Writes so many keys below [`PREFIX`].
pub(super) fn fill(subject: &Subject<'_>, url: &str, keys: u64) -> Result<()> {
    let mut fill = console(subject, url, &["fill", "--prefix", PREFIX, "--count", &keys.to_string()]);
    succeed(fill.stdout(Stdio::null())).context("the keys could not be written")?;
    Ok(())
}

/// Writes one key through the JSON gateway at a URL.
pub(super) fn put(url: &str, key: &str) -> Result<()> {
    let body = format!(r#"{{"key":"{}","value":"eA=="}}"#, base64(key));
    let answer = minreq::post(format!("{url}/v3/kv/put")).with_body(body).with_timeout(10).send()?;
    ensure!(answer.status_code == 200, "`{key}` could not be written: {}", answer.as_str().unwrap_or_default());
    Ok(())
}

fn base64(text: &str) -> String {
    use base64::Engine as _;

    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What the other client writes.
const LOAD: &str = "/other-client";

/// Another client, at work until told to stop.
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
        serde_json::from_str(&text).context("the other client said no latencies")
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
    pub(super) ours: Vec<Finished>,
    pub(super) etcdctl: Vec<Finished>,
}

impl Sides {
    /// Takes a run of etcdctl's. One that failed is told of, and is no figure.
    pub(super) fn take_etcdctl(&mut self, what: &str, run: Finished, notes: &mut Notes) {
        if run.success {
            self.etcdctl.push(run);
        } else {
            notes.say(format!("etcdctl failed to {what}, after {:.1} s", run.seconds));
        }
    }

    /// A row of what both sides tell of their runs; `None` where the system does not tell.
    pub(super) fn row(
        &self,
        what: &str,
        unit: &str,
        size: Size,
        of: impl Fn(&Finished) -> Option<f64>,
    ) -> Result<Option<Row>> {
        let ours: Vec<f64> = self.ours.iter().filter_map(&of).collect();
        if ours.is_empty() {
            return Ok(None);
        }
        let etcdctl = self.etcdctl.iter().filter_map(&of).collect();
        Row::new(what, unit, ours)?.size(size).beside(ETCDCTL, etcdctl).map(Some)
    }
}
