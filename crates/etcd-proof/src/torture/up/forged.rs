//! State that somebody forged: records, markers, locks, filled with noise, with other processes, with other workspaces'
//! data. No command signals a stranger, touches others' data, or panics.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use etcd_local::Status;
use serde_json::{Value, json};

use super::record;
use crate::torture::dice::Dice;
use crate::torture::workspace::Workspace;
use crate::torture::{Played, Round};

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

pub(super) fn play(round: &mut Round<'_>) -> Result<Played> {
    let (mine, other) = (round.workspace("mine")?, round.workspace("other")?);
    let scene = Scene::new(&mine, &other)?;
    if round.dice.once_in(2) {
        mine.down()?;
    }
    let undo = forge(&mut round.dice, &mine, &scene)?;
    for _ in 0..3 {
        mine.call(round.dice.pick(COMMANDS))?.ends_with(&[0, 1, 2, 3, 4])?;
        scene.is_untouched(&other)?;
    }
    undo()?;
    // Whatever the forgery was, what runs is found and ended.
    mine.down()?;
    scene.is_untouched(&other)?;
    other.down()?;
    Ok(Played::Through)
}

/// Who must not be touched.
struct Scene {
    bystander: Stranger,
    others: Status,
    precious: std::path::PathBuf,
}

/// A process that has nothing to do with any of it.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Scene {
    fn new(mine: &Workspace<'_>, other: &Workspace<'_>) -> Result<Self> {
        mine.up()?;
        let others = other.up()?;
        record::put(&others, "dg==")?;
        let precious = mine.path("precious");
        fs::create_dir(&precious)?;
        fs::write(precious.join("file"), "precious")?;
        let mut sleep = Command::new("sleep");
        let bystander = sleep.arg("600").env("TMPDIR", mine.path("tmp")).stdin(Stdio::null()).spawn()?;
        Ok(Self { bystander: Stranger(bystander), others, precious })
    }

    fn is_untouched(&self, other: &Workspace<'_>) -> Result<()> {
        let pid = self.bystander.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Ended, or stopped.
        let is_hurt = stat.is_empty() || [") Z ", ") X ", ") T "].iter().any(|state| stat.contains(state));
        ensure!(!is_hurt, "the bystander, pid {pid}, was signalled: {stat}");
        ensure!(other.servers() == self.others.pids, "the other workspace's server is gone");
        ensure!(record::get(&self.others)?.as_deref() == Some("dg=="), "the other workspace's data is gone");
        let precious = fs::read_to_string(self.precious.join("file")).unwrap_or_default();
        ensure!(precious == "precious", "somebody's file says `{precious}`");
        Ok(())
    }

    /// The whole identity of the bystander, as a record has it.
    fn identity(&self) -> Result<Value> {
        let pid = self.bystander.0.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(") ").context("no stat")?.1;
        let started: u64 = fields.split(' ').nth(19).context("no start")?.parse()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let exe = fs::read_link(format!("/proc/{pid}/exe"))?;
        Ok(json!({"pid": pid, "started": started, "boot": boot.trim(), "exe": exe}))
    }
}

type Undo = Box<dyn FnOnce() -> Result<()>>;

/// Forges something; what comes back takes away what no command could ever mend.
fn forge(dice: &mut Dice, mine: &Workspace<'_>, scene: &Scene) -> Result<Undo> {
    let instance = mine.instance();
    match dice.pick([0, 0, 0, 0, 0, 1, 2, 3]) {
        0 => fs::write(instance.join("instance.json"), forged_record(dice, &instance, scene)?)?,
        1 => {
            let marker = instance.join(MARKER);
            fs::write(&marker, damaged(dice, &fs::read(&marker)?))?;
        }
        2 => {
            for lock in ["op.lock", "member.lock"] {
                fs::write(instance.join(lock), noise(dice))?;
            }
        }
        _ => {
            // Something else where a file belongs.
            let path = instance.join(dice.pick(["instance.json", "op.lock"]));
            fs::remove_file(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
            if dice.once_in(2) {
                fs::create_dir(&path)?;
                return Ok(Box::new(move || match path.is_dir() {
                    true => Ok(fs::remove_dir(&path)?),
                    false => Ok(()),
                }));
            }
            std::os::unix::fs::symlink(&scene.precious, &path)?;
            return Ok(Box::new(move || match path.is_symlink() {
                true => Ok(fs::remove_file(&path)?),
                false => Ok(()),
            }));
        }
    }
    Ok(Box::new(|| Ok(())))
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    let length = dice.index(0..400);
    dice.bytes(length)
}

/// Cut short, with some bytes changed, or noise.
fn damaged(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    match dice.pick([0, 1, 2]) {
        0 => text.truncate(dice.index(0..=text.len())),
        1 => dice.scratch(&mut text, 3),
        _ => text = noise(dice),
    }
    text
}

fn forged_record(dice: &mut Dice, instance: &Path, scene: &Scene) -> Result<Vec<u8>> {
    let text = fs::read(instance.join("instance.json"))?;
    if dice.once_in(3) {
        return Ok(damaged(dice, &text));
    }
    let mut record: Value = serde_json::from_slice(&text)?;
    let set = |record: &mut Value, name: &str, value: Value| {
        if let Some(object) = record.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    let others_pid = scene.others.pids.first().copied().unwrap_or_default();
    for _ in 0..dice.index(1..4) {
        match dice.pick([0, 1, 2, 3, 4, 5, 6, 7]) {
            // The bystander, named fully and rightly.
            0 => {
                set(&mut record, "pids", json!([scene.bystander.0.id()]));
                let identity = scene.identity()?;
                set(&mut record, "binary", identity.get("exe").cloned().unwrap_or_default());
                set(&mut record, "process", identity);
            }
            // By number only, as after its pid was reused.
            1 => {
                let process = json!({"pid": scene.bystander.0.id(), "started": 1, "boot": "", "exe": "/bin/sleep"});
                set(&mut record, "process", process);
            }
            2 => {
                let pid = dice.pick([0, 1, std::process::id(), others_pid, u32::MAX]);
                set(&mut record, "pids", json!([pid]));
                set(&mut record, "process", json!({"pid": pid, "started": 7, "boot": "b", "exe": "/sbin/init"}));
            }
            // Another's data, or no data at all.
            3 => {
                let dirs = [scene.others.data_dir.clone(), scene.precious.clone(), "/".into(), "".into(), "..".into()];
                set(&mut record, "data_dir", json!(dirs.get(dice.index(0..dirs.len()))));
            }
            4 => {
                let noise = vec!["http://[::1]:99999".to_owned(), "\u{0}".to_owned()];
                let forged = if dice.once_in(2) { scene.others.endpoints.clone() } else { noise };
                set(&mut record, "endpoints", json!(forged));
            }
            5 => set(&mut record, "endpoints", json!([])),
            6 => set(&mut record, "schema", dice.pick([0, 2, 4_000_000_000_u32]).into()),
            _ => set(&mut record, "log", json!(scene.precious.join("file"))),
        }
    }
    Ok(serde_json::to_vec(&record)?)
}
