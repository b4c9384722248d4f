//! What a killed test process leaves: its directories, servers that run in them, and mounts. Destructors do not run then, so
//! a shell in a process group of its own waits for the end of the pipe that this process holds, and cleans up.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

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
exit 0
"#;

/// The shell that cleans up when this value goes, by whatever end of the process.
#[derive(Debug)]
pub struct Cleaner {
    directories: ChildStdin,
    shell: Child,
}

impl Cleaner {
    /// Starts the shell.
    ///
    /// # Panics
    ///
    /// If there is no `sh`.
    pub fn start() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", CLEANER]).current_dir("/").process_group(0);
        // A run's keeper kills what has the run's id in its environment.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().unwrap();
        Self { directories: shell.stdin.take().unwrap(), shell }
    }

    /// Has the shell remove `dir` as well.
    ///
    /// # Panics
    ///
    /// If the shell has ended.
    pub fn add(&mut self, dir: &Path) {
        writeln!(self.directories, "{}", dir.display()).unwrap();
    }

    /// Cleans up now, as at the end of the process, and waits until that is done.
    ///
    /// # Panics
    ///
    /// If the shell fails.
    pub fn clean(self) {
        let Self { directories, mut shell } = self;
        drop(directories);
        assert!(shell.wait().unwrap().success());
    }
}

/// If this process is killed, `dir` is removed, with its servers and mounts.
///
/// # Panics
///
/// If there is no `sh`.
pub fn remove_if_killed(dir: &Path) {
    static CLEANER: OnceLock<Mutex<Cleaner>> = OnceLock::new();
    CLEANER.get_or_init(|| Mutex::new(Cleaner::start())).lock().unwrap().add(dir);
}
