//! What a killed test process would leave behind: servers, mounts and directories of its playgrounds. Destructors do not
//! run then, so a shell in a process group of its own waits for the end of the pipe that this process holds, and cleans up.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::playground::{Playground, eventually, privileged};

/// Reads directories line by line. At the end of its input, it ends the processes that have one of them in their
/// arguments or environment, and removes what is mounted there, then the directory. Needs /proc: elsewhere it does nothing.
const CLEANER: &str = r#"
while IFS= read -r dir; do set -- "$@" "$dir"; done
for dir; do
    [ -d "$dir" ] && [ -d /proc/self ] || continue
    for round in 1 2 3 4 5 6 7 8 9 10; do
        found=$(cd /proc && grep -laF -e "$dir" [0-9]*/cmdline [0-9]*/environ 2>/dev/null | cut -d/ -f1 | sort -u)
        [ -n "$found" ] || break
        kill -9 $found
    done 2>/dev/null
    grep -F -e " $dir/" -e " $dir " /proc/self/mountinfo | cut -d' ' -f5 | sort -r | while IFS= read -r at; do umount -l "$at"; done
    rm -rf --one-file-system "$dir"
done
"#;

struct Cleaner {
    directories: ChildStdin,
    shell: Child,
}

impl Cleaner {
    fn start() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", CLEANER]).current_dir("/").process_group(0);
        // A run's keeper kills what has the run's id in its environment.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().unwrap();
        Self { directories: shell.stdin.take().unwrap(), shell }
    }

    fn add(&mut self, dir: &Path) {
        writeln!(self.directories, "{}", dir.display()).unwrap();
    }
}

/// If this process is killed, `dir` is removed, with its servers and mounts.
pub(crate) fn remove_if_killed(dir: &Path) {
    static CLEANER: OnceLock<Mutex<Cleaner>> = OnceLock::new();
    CLEANER.get_or_init(|| Mutex::new(Cleaner::start())).lock().unwrap().add(dir);
}

#[test]
fn a_killed_test_leaves_no_server_no_mount_and_no_directory() {
    let play = Playground::new();
    let kept = Playground::new();
    play.up(&[]);
    kept.up(&[]);
    let at = play.path("mounted");
    std::fs::create_dir(&at).unwrap();
    let is_mounted =
        privileged(&["mount", "--bind", kept.dir.path().to_str().unwrap(), at.to_str().unwrap()]).is_some();
    let mut cleaner = Cleaner::start();
    cleaner.add(play.dir.path());
    // As the end of this process does.
    drop(cleaner.directories);
    assert!(eventually(|| cleaner.shell.try_wait().unwrap().is_some()));
    assert_eq!(play.processes(), Vec::<String>::new());
    assert!(!play.dir.path().exists(), "mounted: {is_mounted}");
    assert_eq!(kept.status().state, etcd_local::State::Ready, "what was mounted is another's");
}
