//! The janitor of an ephemeral directory: a tiny shell that outlives a killed owner just long enough to
//! remove the directory, and, where the system has no parent-death signal, the server. It waits on a pipe
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
    /// `$1` is the directory, `$2` the server. The server is ended only while it is the process that it was
    /// at the beginning: same pid, same start. On Linux the kernel has ended it by then.
    const SCRIPT: &str = r#"
        trap '' HUP INT TERM
        started=$(ps -o lstart= -p "$2" 2>/dev/null)
        read -r dismissed && exit 0
        if [ -n "$started" ] && [ "$(ps -o lstart= -p "$2" 2>/dev/null)" = "$started" ]; then kill -KILL "$2"; fi
        tries=0
        while [ "$tries" -lt 50 ]; do
            rm -rf -- "$1/data" 2>/dev/null && rm -rf -- "$1" 2>/dev/null && [ ! -e "$1" ] && exit 0
            tries=$((tries + 1))
            sleep 0.1
        done"#;

    pub(crate) fn start(dir: &Path, server: u32) -> io::Result<Self> {
        use std::process::{Command, Stdio};

        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(Self::SCRIPT).arg("etcd-local-janitor").arg(dir).arg(server.to_string());
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        crate::os::detach(&mut command);
        Ok(Self { process: command.spawn()? })
    }

    /// Sends it away with nothing to do.
    pub(crate) fn dismiss(mut self) {
        self.say_done();
    }

    fn say_done(&mut self) {
        use std::io::Write;

        if let Some(mut pipe) = self.process.stdin.take() {
            let _ = pipe.write_all(b"\n");
        }
        let _ = self.process.wait();
    }
}

#[cfg(unix)]
impl Drop for Janitor {
    fn drop(&mut self) {
        self.say_done();
    }
}

/// A job object ends the server here; the directory goes with the next sweep.
#[cfg(windows)]
impl Janitor {
    #[expect(clippy::unnecessary_wraps, reason = "Unix can fail here")]
    pub(crate) fn start(_: &Path, _: u32) -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn dismiss(self) {}
}
