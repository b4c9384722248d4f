//! A program, run to its end.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use etcd_local::Status;

use crate::wait::TIMEOUT;

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it wrote to stdout, if that was a pipe.
    pub stdout: String,
    /// The same of stderr.
    pub stderr: String,
}

impl Run {
    /// Fails unless the program succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Fails unless the program exited with `code` and one error that has a next step and all of `words`, without a panic.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let errors = self.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "not one error: {self:#?}");
        assert!(self.stderr.contains("hint: "), "no next step: {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing: {self:#?}");
        }
        self
    }

    /// What `etcd-status --format json` and its kind answered.
    ///
    /// # Panics
    ///
    /// If that is not what the program printed.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Status {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs a program to its end, without input. Kills it after [`TIMEOUT`].
pub fn finish(mut command: Command) -> Run {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish_child(command.spawn().unwrap())
}

/// Waits for a program's end. Kills it after [`TIMEOUT`].
pub fn finish_child(mut child: Child) -> Run {
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    drop(child.stdin.take());
    let (sender, output) = mpsc::channel();
    std::thread::spawn(move || sender.send((stdout.join().unwrap(), stderr.join().unwrap())));
    let output = output.recv_timeout(TIMEOUT);
    if output.is_err() {
        let _ = child.kill();
    }
    let code = child.wait().unwrap().code();
    let (stdout, stderr) = output.unwrap_or_else(|_| panic!("a program was still running after {TIMEOUT:?}"));
    Run { code, stdout, stderr }
}
