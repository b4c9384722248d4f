//! Forged state: records, markers and locks with random bytes, other processes, other workspaces' data. No command signals
//! a process that is not ours, touches data that is not ours, or panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use etcd_local::Status;
use serde_json::{Map, Value, json};

use super::record;
use crate::torture::rng::Rng;
use crate::torture::workspace::TortureWorkspace;
use crate::torture::{Outcome, Round};

const MARKER: &str = "data/.etcd-local.json";
const COMMANDS: [&[&str]; 8] = [
    &["etcd-status"],
    &["etcd-down"],
    &["etcd-reset", "--yes"],
    &["etcd-up"],
    &["etcd-logs", "-n", "5"],
    &["doctor"],
    &["env"],
    &["etcd-up", "--etcd", "3.7.2"],
];

pub(super) fn run(round: &mut Round<'_>) -> Result<Outcome> {
    let (mine, other) = (round.workspace("mine")?, round.workspace("other")?);
    let bystanders = Bystanders::new(&mine, &other)?;
    if round.rng.one_in(2) {
        mine.down()?;
    }
    let forged = forge(&mut round.rng, &mine, &bystanders)?;
    for _ in 0..3 {
        mine.call(round.rng.choose(COMMANDS))?.ends_with(&[0, 1, 2, 3, 4])?;
        bystanders.check_untouched(&other)?;
    }
    forged.as_deref().map_or(Ok(()), remove_forged)?;
    // Whatever was forged, a running server is found and ended.
    mine.down()?;
    bystanders.check_untouched(&other)?;
    other.down()?;
    Ok(Outcome::Completed)
}

/// What must not be touched.
struct Bystanders {
    process: Process,
    others: Status,
    precious: PathBuf,
}

/// A process that is not ours.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Bystanders {
    fn new(mine: &TortureWorkspace<'_>, other: &TortureWorkspace<'_>) -> Result<Self> {
        mine.up()?;
        let others = other.up()?;
        record::put(&others, "v")?;
        let precious = mine.path("precious");
        fs::create_dir(&precious)?;
        fs::write(precious.join("file"), "precious")?;
        let mut sleep = Command::new("sleep");
        let process = sleep.arg("600").env("TMPDIR", mine.path("tmp")).stdin(Stdio::null()).spawn()?;
        Ok(Self { process: Process(process), others, precious })
    }

    fn check_untouched(&self, other: &TortureWorkspace<'_>) -> Result<()> {
        let pid = self.process.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Ended, or stopped.
        let was_signalled = stat.is_empty() || [") Z ", ") X ", ") T "].iter().any(|state| stat.contains(state));
        ensure!(!was_signalled, "the bystander, pid {pid}, was signalled: {stat}");
        ensure!(other.servers() == self.others.pids, "the other workspace's server is gone");
        ensure!(record::get(&self.others)?.as_deref() == Some("v"), "the other workspace's data is gone");
        let precious = fs::read_to_string(self.precious.join("file")).unwrap_or_default();
        ensure!(precious == "precious", "a file that is not ours says `{precious}`");
        Ok(())
    }

    /// The whole identity of the bystander, as a record has it.
    fn identity(&self) -> Result<Value> {
        let pid = self.process.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(") ").context("no stat")?.1;
        let started: u64 = fields.split(' ').nth(19).context("no start")?.parse()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let exe = fs::read_link(format!("/proc/{pid}/exe"))?;
        Ok(json!({"pid": pid, "started": started, "boot": boot.trim(), "exe": exe}))
    }
}

/// Forges something. Gives the path of what no command may be able to replace.
fn forge(rng: &mut Rng, mine: &TortureWorkspace<'_>, bystanders: &Bystanders) -> Result<Option<PathBuf>> {
    let instance = mine.instance();
    match rng.choose([0, 0, 0, 0, 0, 1, 2, 3]) {
        0 => {
            let record = instance.join("instance.json");
            fs::write(&record, forged_record(rng, &instance, bystanders)?)?;
            return Ok(Some(record));
        }
        1 => {
            let marker = instance.join(MARKER);
            fs::write(&marker, damaged(rng, &fs::read(&marker)?))?;
        }
        2 => {
            for lock in ["op.lock", "member.lock"] {
                fs::write(instance.join(lock), random_bytes(rng))?;
            }
        }
        _ => {
            // A directory or a link in place of a file.
            let path = instance.join(rng.choose(["instance.json", "op.lock"]));
            fs::remove_file(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
            if rng.one_in(2) {
                fs::create_dir(&path)?;
            } else {
                std::os::unix::fs::symlink(&bystanders.precious, &path)?;
            }
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Removes what commands leave alone, as their hints say: a directory or link in place of a file, a newer version's record.
fn remove_forged(path: &Path) -> Result<()> {
    let schema = || serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok()?.get("schema")?.as_u64();
    if path.is_symlink() || schema().is_some_and(|schema| schema > 1) {
        fs::remove_file(path)?;
    } else if path.is_dir() {
        fs::remove_dir(path)?;
    }
    Ok(())
}

fn random_bytes(rng: &mut Rng) -> Vec<u8> {
    let length = rng.index(0..400);
    rng.bytes(length)
}

/// Truncated, with some bytes changed, or random.
fn damaged(rng: &mut Rng, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    match rng.choose([0, 1, 2]) {
        0 => text.truncate(rng.index(0..=text.len())),
        1 => rng.corrupt(&mut text, 3),
        _ => text = random_bytes(rng),
    }
    text
}

fn forged_record(rng: &mut Rng, instance: &Path, bystanders: &Bystanders) -> Result<Vec<u8>> {
    let text = fs::read(instance.join("instance.json"))?;
    if rng.one_in(3) {
        return Ok(damaged(rng, &text));
    }
    let mut record: Map<String, Value> = serde_json::from_slice(&text)?;
    let mut set = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
    let others_pid = bystanders.others.pids.first().copied().unwrap_or_default();
    for _ in 0..rng.index(1..4) {
        match rng.choose([0, 1, 2, 3, 4, 5, 6, 7]) {
            // The other process, with its whole identity.
            0 => {
                set("pids", json!([bystanders.process.0.id()]));
                let identity = bystanders.identity()?;
                set("binary", identity.get("exe").cloned().unwrap_or_default());
                set("process", identity);
            }
            // By its pid only, as if the pid had been reused.
            1 => {
                let pid = bystanders.process.0.id();
                set("process", json!({"pid": pid, "started": 1, "boot": "", "exe": "/bin/sleep"}));
            }
            2 => {
                let pid = rng.choose([0, 1, std::process::id(), others_pid, u32::MAX]);
                set("pids", json!([pid]));
                set("process", json!({"pid": pid, "started": 7, "boot": "b", "exe": "/sbin/init"}));
            }
            // Data that is not ours, or no data.
            3 => {
                let dirs = [
                    bystanders.others.data_dir.clone(),
                    bystanders.precious.clone(),
                    "/".into(),
                    "".into(),
                    "..".into(),
                ];
                set("data_dir", json!(dirs.get(rng.index(0..dirs.len()))));
            }
            4 => {
                let noise = vec!["http://[::1]:99999".to_owned(), "\u{0}".to_owned()];
                let forged = if rng.one_in(2) { bystanders.others.endpoints.clone() } else { noise };
                set("endpoints", json!(forged));
            }
            5 => set("endpoints", json!([])),
            6 => set("schema", rng.choose([0, 2, 4_000_000_000_u32]).into()),
            _ => set("log", json!(bystanders.precious.join("file"))),
        }
    }
    Ok(serde_json::to_vec(&record)?)
}
