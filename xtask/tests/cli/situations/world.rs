//! What a command meets: a workspace in some state, who calls, and the etcds beside it that nothing may happen to.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use etcd_local::Status;
use rustix::process::{Pid, Signal, kill_process};

use super::rows::{Concern, Row};
use crate::playground::{Playground, Run, TRUE, build_console, etcd, eventually, finish, gateway};

/// An etcd whose keys nothing may change, and which must live on.
struct Victim {
    status: Status,
    revision: Cell<i64>,
}

pub(super) struct World {
    pub(super) play: Playground,
    /// The workspace that commands are called in, below the playground.
    pub(super) workspace: PathBuf,
    /// The program, with arguments, that starts each command: as another user, say.
    pub(super) caller: Vec<String>,
    /// What commands are given in their environment, beside what all have.
    pub(super) vars: Vec<(&'static str, String)>,
    /// How long commands wait for an answer, in seconds: long where one comes.
    pub(super) wait: &'static str,
    /// Makes it anew what it is, before each command: where commands mend what they find.
    pub(super) spoil: fn(&Self),
    /// Whose everything in the workspace is and stays, where that is not the caller.
    pub(super) owner: Option<u32>,
    victims: Vec<Victim>,
    mounts: Vec<PathBuf>,
}

impl World {
    /// A workspace in which nothing has happened.
    pub(super) fn new() -> Self {
        etcd("3.7.2");
        let play = Playground::new();
        fs::set_permissions(play.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bin = play.path("bin");
        fs::create_dir(&bin).unwrap();
        script(&bin.join("etcdctl"), "echo \"etcdctl at $ETCDCTL_ENDPOINTS\"");
        script(&bin.join("cargo"), "");
        script(&bin.join("rustc"), "echo 'rustc 1.999.0 (0 2026-01-01)'");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        let play = play.with("PATH", path).with("ETCD_PROOF", TRUE);
        let play = play.with("ETCD_CONSOLE", build_console());
        let workspace = play.path("workspace");
        let world = Self {
            play,
            workspace,
            caller: Vec::new(),
            vars: Vec::new(),
            wait: "60",
            spoil: |_| (),
            owner: None,
            victims: Vec::new(),
            mounts: Vec::new(),
        };
        world.configure("port = \"auto\"");
        world
    }

    /// The same, with an etcd that runs and has keys; and an undo file.
    pub(super) fn running() -> (Self, Status) {
        let world = Self::new();
        let up = world.up();
        (world, up)
    }

    pub(super) fn configure(&self, metadata: &str) {
        fs::create_dir_all(&self.workspace).unwrap();
        let root = if metadata.contains("root = ") { "" } else { "root = \"/Inventory/v1\"\n" };
        let manifest = format!("[workspace]\n\n[workspace.metadata.etcd]\n{root}{metadata}\n");
        fs::write(self.workspace.join("Cargo.toml"), manifest).unwrap();
    }

    /// Starts the workspace's etcd and fills it.
    pub(super) fn up(&self) -> Status {
        let status = self.xtask(&["etcd-up", "--format", "json"]).ok().status();
        for key in ["racks/0", "racks/1", "racks/3", "Test/Standard/old"] {
            put(&status, &format!("/Inventory/v1/{key}"));
        }
        self.xtask(&["del", "/Inventory/v1/racks/0", "--yes"]).ok();
        let undo = fs::read_dir(self.workspace.join(".etcd/undo")).unwrap().next().unwrap().unwrap().path();
        fs::copy(undo, self.undo()).unwrap();
        fs::set_permissions(self.undo(), fs::Permissions::from_mode(0o644)).unwrap();
        status
    }

    /// Of a key that was deleted before.
    pub(super) fn undo(&self) -> PathBuf {
        self.play.path("undo.jsonl")
    }

    /// From now on nothing may happen to this one.
    pub(super) fn guard(&mut self, status: Status) {
        let revision = Cell::new(revision(&status));
        self.victims.push(Victim { status, revision });
    }

    pub(super) fn mounted(&mut self, at: PathBuf) {
        self.mounts.push(at);
    }

    pub(super) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let plain = self.play.command(args);
        let words: Vec<_> = self.caller.iter().map(AsRef::as_ref).chain([plain.get_program()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(plain.get_args()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.workspace).env("CARGO_MANIFEST_DIR", &self.workspace);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn xtask<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        finish(self.command(args))
    }

    /// A row's command line here.
    pub(super) fn line(&self, row: &Row) -> Vec<String> {
        let filled = row.args.iter().map(|arg| match *arg {
            "UNDO" => self.undo().to_str().unwrap().to_owned(),
            "WAIT" => self.wait.to_owned(),
            other => other.to_owned(),
        });
        [row.name.to_owned()].into_iter().chain(filled).collect()
    }

    /// Runs a row's command; then what it did that it should not have done.
    pub(super) fn run_row(&self, row: &Row) -> (Run, Vec<String>) {
        (self.spoil)(self);
        let before = self.pids();
        let strange = self.strange_files();
        let run = self.xtask(&self.line(row));
        let mut faults = Vec::new();
        if !matches!(row.concern, Concern::Stops | Concern::Wipes) && !before.is_subset(&self.pids()) {
            faults.push("it ended a server".to_owned());
        }
        let may_start = matches!(row.concern, Concern::Starts | Concern::Wipes) && run.code == Some(0);
        if !eventually(|| self.pids().difference(&before).count() <= usize::from(may_start)) {
            faults.push(format!("it left something running: {:#?}", self.play.processes()));
        }
        for Victim { status, revision: before } in &self.victims {
            let lives = status.pids.iter().all(|pid| self.pids().contains(pid));
            if !lives {
                faults.push("it ended a server that is not its own".to_owned());
                continue;
            }
            let now = revision(status);
            if before.replace(now) != now {
                faults.push("it changed keys that are not its own".to_owned());
            }
        }
        for path in self.strange_files().difference(&strange) {
            faults.push(format!("`{}` is not its owner's", path.display()));
        }
        (run, faults)
    }

    /// What is in the workspace and not its owner's.
    fn strange_files(&self) -> BTreeSet<PathBuf> {
        self.owner.iter().flat_map(|owner| of_others(&self.workspace, *owner)).collect()
    }

    /// Of all processes that have anything to do with this world.
    fn pids(&self) -> BTreeSet<u32> {
        let lines = self.play.processes();
        lines.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
        for at in self.mounts.iter().rev() {
            let _ = Command::new("umount").args(["-l".as_ref(), at.as_os_str()]).status();
        }
    }
}

/// What belongs to somebody else than this user.
fn of_others(path: &Path, owner: u32) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().flat_map(|entry| of_others(&entry.path(), owner)).collect();
    found.extend((fs::symlink_metadata(path).unwrap().uid() != owner).then(|| path.to_owned()));
    found
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn put(status: &Status, key: &str) {
    let key = base64::engine::general_purpose::STANDARD.encode(key);
    gateway(status, "kv/put", format!(r#"{{"key":"{key}","value":"dg=="}}"#));
}

fn revision(status: &Status) -> i64 {
    let answer = gateway(status, "kv/range", r#"{"key":"a2V5"}"#.to_owned());
    answer.pointer("/header/revision").and_then(|revision| revision.as_str()?.parse().ok()).unwrap_or_default()
}
