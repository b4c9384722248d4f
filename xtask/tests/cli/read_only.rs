//! A checkout that cannot be written: what needs no instance works, and an instance is kept where a variable says.

use std::path::Path;
use std::process::Command;

use etcd_local::State;

use crate::playground::{Playground, build_console, finish};

/// A playground that is mounted read-only, with a directory for temporary files and one for state beside it.
struct Sealed {
    play: Option<Playground>,
    beside: tempfile::TempDir,
}

impl Sealed {
    /// `None` where this user may not mount.
    fn new(play: Playground) -> Option<Self> {
        let beside = tempfile::tempdir().unwrap();
        let play = play.with("TMPDIR", beside.path());
        let dir = play.dir.path().to_owned();
        let is_sealed = mount(&["--bind"], &[&dir, &dir]) && mount(&["-o", "remount,bind,ro"], &[&dir]);
        if !is_sealed {
            eprintln!("skipped: this user may not mount a directory read-only");
            return None;
        }
        Some(Self { play: Some(play), beside })
    }

    fn play(&self) -> &Playground {
        self.play.as_ref().unwrap()
    }

    fn with(mut self, name: &str, value: &Path) -> Self {
        self.play = self.play.take().map(|play| play.with(name, value));
        self
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let Some(play) = self.play.take() else { return };
        let mut umount = Command::new("umount");
        umount.arg(play.dir.path());
        finish(crate::bad_input::quiet(umount));
    }
}

fn mount(args: &[&str], dirs: &[&Path]) -> bool {
    let mut mount = Command::new("mount");
    mount.args(args).args(dirs);
    finish(crate::bad_input::quiet(mount)).code == Some(0)
}

#[test]
fn what_needs_no_instance_works_in_a_checkout_that_cannot_be_written() {
    build_console();
    let elsewhere = Playground::new();
    let there = elsewhere.up(&[]);
    let used = Playground::new();
    used.up(&[]);
    used.xtask(&["etcd-down"]).ok();
    // One that is fresh, and one that has been written before.
    for play in [Playground::new(), used] {
        let Some(sealed) = Sealed::new(play) else { return };
        let play = sealed.play();
        play.xtask(&["run", "--ephemeral", "--", "true"]).ok();
        let failed = play.xtask(&["run", "--ephemeral", "--", "false"]);
        assert_eq!(failed.code, Some(1), "{failed:?}");
        let log = failed.stderr.lines().find_map(|line| line.trim().strip_prefix("etcd log: ")).unwrap();
        assert!(Path::new(log).starts_with(sealed.beside.path()) && Path::new(log).is_file(), "{failed:?}");
        let at = there.endpoints[0].as_str();
        play.xtask(&["run", "--endpoints", at, "--", "true"]).ok();
        play.xtask(&["runs", "--endpoints", at]).ok();
        assert_eq!(play.status().state, State::Stopped);
        play.xtask(&["etcd-up"])
            .fails(1, &["Read-only file system", "hint: set ETCD_LOCAL_STATE to a writable directory"]);
        let doctor = play.xtask(&["doctor"]).stdout;
        assert!(doctor.contains("`.etcd` is not writable") && doctor.contains("ETCD_LOCAL_STATE"), "{doctor}");
    }
}

#[test]
fn an_instance_is_kept_where_the_variable_says() {
    build_console();
    let Some(sealed) = Sealed::new(Playground::new()) else { return };
    let state = sealed.beside.path().join("state");
    let sealed = sealed.with("ETCD_LOCAL_STATE", &state);
    let play = sealed.play();
    let up = play.up(&[]);
    assert!(up.data_dir.starts_with(&state) && state.join("default/instance.json").is_file(), "{up:?}");
    assert_eq!(play.status().pids, up.pids);
    let run = play.xtask(&["run", "--", "true"]).ok();
    assert!(run.stderr.contains("`default` at"), "{run:?}");
    play.xtask(&["etcd-reset", "--yes"]).ok();
    play.xtask(&["etcd-down"]).ok();
}
