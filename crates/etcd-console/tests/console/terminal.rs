//! A terminal of our own, to see what only terminals are shown, and to type what only people type.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::cluster::{Cluster, eventually, finish};

pub(crate) struct Terminal {
    ours: File,
    theirs: String,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        // A program that had our side open, too, would not see that the terminal is closed, and outlive a test that fails.
        fcntl_setfd(&ours, FdFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let ours = File::from(ours);
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut reader, hears) = (ours.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The other side may not be open yet, or not any more: then it is an error, or the end.
            loop {
                match reader.read(&mut buffer) {
                    Ok(read @ 1..) => hears.lock().unwrap().extend_from_slice(&buffer[..read]),
                    _ => std::thread::park_timeout(std::time::Duration::from_millis(2)),
                }
            }
        });
        Self { ours, theirs, shown }
    }

    /// Our side of it for a child: stdin, stdout or stderr.
    pub(crate) fn stdio(&self) -> Stdio {
        File::options().read(true).write(true).open(&self.theirs).unwrap().into()
    }

    pub(crate) fn run(&self, command: &mut Command) -> Child {
        command.stdin(self.stdio()).stdout(self.stdio()).stderr(self.stdio()).spawn().unwrap()
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shown.lock().unwrap().clone()
    }

    /// Our side of it.
    pub(crate) fn file(&self) -> &File {
        &self.ours
    }

    pub(crate) fn press(&self, keys: &str) {
        (&self.ours).write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) {
        assert!(eventually(|| self.shown().contains(words)), "`{words}` is not shown: {}", self.shown());
    }

    pub(crate) fn type_line(&self, line: &str) {
        (&self.ours).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

#[test]
fn changes_have_colours_unless_they_are_not_wanted() {
    let cluster = Cluster::new();
    let past = cluster.revision();
    cluster.put("/c/a", "1");
    cluster.run(&["del", "/c/a", "--yes"]).ok();
    let rev = (past + 1).to_string();
    let line = ["watch", "/c/", "--prefix", "--rev", &rev, "-n", "2"];
    let shown = |no_colour: Option<&str>| {
        let terminal = Terminal::new();
        let mut command = cluster.command(&line);
        command.env_remove("NO_COLOR").envs(no_colour.map(|value| ("NO_COLOR", value)));
        let run = finish(terminal.run(&mut command));
        assert_eq!(run.code, Some(0), "{}", terminal.shown());
        terminal.wait_for("rev");
        assert!(eventually(|| terminal.shown().lines().count() >= 3));
        terminal.shown()
    };
    let coloured = shown(None);
    assert!(coloured.contains("\x1b[32mPUT\x1b[0m") && coloured.contains("\x1b[31mDEL\x1b[0m"), "{coloured:?}");
    assert_eq!(shown(Some("")).matches('\x1b').count(), coloured.matches('\x1b').count(), "an empty one is none");
    assert!(!shown(Some("1")).contains('\x1b'));
    // Nor where nobody looks.
    assert!(!cluster.run(&line).ok().stdout.contains('\x1b'));
}

#[test]
fn deleting_asks_and_takes_no_for_an_answer() {
    let cluster = Cluster::new();
    for key in ["/q/a", "/q/b"] {
        cluster.put(key, "v");
    }
    let answer = |typed: &str| {
        let terminal = Terminal::new();
        let child = terminal.run(&mut cluster.command(&["del", "/q/", "--prefix"]));
        terminal.wait_for("[y/N]");
        for word in ["/q/a", "/q/b", "Delete 2 keys at http://127.0.0.1:", "cluster "] {
            assert!(terminal.shown().contains(word), "{word}: {}", terminal.shown());
        }
        terminal.type_line(typed);
        (finish(child).code, cluster.count("/q/"))
    };
    for no in ["", "n", "yess", "/q/"] {
        assert_eq!(answer(no), (Some(4), 2), "{no}");
    }
    assert_eq!(answer("y"), (Some(0), 0));
}

/// A reader that does not read for a while makes it slow, whatever the machine.
#[test]
fn what_takes_over_a_second_shows_its_progress_on_a_terminal() {
    let cluster = Cluster::new();
    // The third page of keys is asked for when a second has passed.
    cluster.fill("/slow/", 12_000);
    let shown = |args: &[&str]| {
        let terminal = Terminal::new();
        let mut child = cluster.command(args).stderr(terminal.stdio()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 1_200 {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        let mut read = Vec::new();
        out.read_to_end(&mut read).unwrap();
        assert_eq!(finish(child).code, Some(0));
        assert_eq!(read.iter().filter(|byte| **byte == b'\n').count(), 24_000);
        terminal
    };
    let all = ["get", "/slow/", "--prefix"];
    let terminal = shown(&all);
    terminal.wait_for("keys read, ");
    assert!(shown(&["-q", "get", "/slow/", "--prefix"]).shown().is_empty());
    assert_eq!(cluster.run(&all).stderr, "", "nothing of it where nobody looks");
}
