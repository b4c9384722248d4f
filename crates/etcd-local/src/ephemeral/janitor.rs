//! The janitor of an ephemeral directory: a tiny shell that outlives a killed owner just long enough to
//! remove the directory, and, where the system has no parent-death signal, the servers. It waits on a pipe
//! that closes when the owner ends, and does nothing before.

use std::io;
use std::path::Path;

/// One janitor; dropped, it goes at once.
#[derive(Debug)]
pub(crate) struct Janitor {
    #[cfg(unix)]
    process: std::process::Child,
}

#[cfg(unix)]
impl Janitor {
    /// `$1` is the directory. It reads pids, those of servers, or `done`. A server is ended only while it is the process
    /// that it was when it was named: same pid, same start.
    const SCRIPT: &str = r#"
        trap '' HUP INT TERM
        started() { ps -o lstart= -p "$1" 2>/dev/null | tr -d ' '; }
        servers=
        while read -r word; do
            [ "$word" = done ] && exit 0
            servers="$servers $word@$(started "$word")"
        done
        for server in $servers; do
            pid=${server%@*}
            start=${server#*@}
            if [ -n "$start" ] && [ "$(started "$pid")" = "$start" ]; then
                kill -KILL "$pid"
            fi
        done
        tries=0
        while [ "$tries" -lt 50 ]; do
            rm -rf -- "$1"/*/ 2>/dev/null && rm -rf -- "$1" 2>/dev/null && [ ! -e "$1" ] && exit 0
            tries=$((tries + 1))
            sleep 0.1
        done"#;

    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        use std::process::{Command, Stdio};

        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(Self::SCRIPT).arg("etcd-local-janitor").arg(dir);
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        crate::os::detach(&mut command);
        crate::os::hand_over_stdio_only(&mut command)?;
        Ok(Self { process: command.spawn()? })
    }

    /// Names a server that it is to end. Linux ends the server by itself: there, the call of `ps` would take a tenth of the
    /// processor time of a start.
    pub(crate) fn look_after(&mut self, server: u32) {
        if !cfg!(target_os = "linux") {
            self.say(&server.to_string());
        }
    }

    fn say(&mut self, word: &str) {
        use std::io::Write;

        // If it was killed, nobody hears it, and the next start sweeps.
        if let Some(pipe) = &mut self.process.stdin {
            let _ = pipe.write_all(format!("{word}\n").as_bytes());
        }
    }
}

#[cfg(unix)]
impl Drop for Janitor {
    fn drop(&mut self) {
        self.say("done");
        let _ = self.process.wait();
    }
}

/// A job object ends the server here; the directory goes with the next sweep.
#[cfg(windows)]
impl Janitor {
    #[expect(clippy::unnecessary_wraps, reason = "Unix can fail here")]
    pub(crate) fn start(_: &Path) -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn look_after(&mut self, _: u32) {}
}
