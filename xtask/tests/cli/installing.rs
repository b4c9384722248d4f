//! Installing etcd where that does not go well: what is said, what Ctrl-C does, and who sees a mirror's password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::plain_path;
use crate::playground::{Playground, eventually};
use crate::runs::finish_child;

/// Without any etcd, with these programs on PATH before what is there.
fn without_etcd(programs: &[(&str, &str)]) -> Playground {
    let play = Playground::new();
    fs::create_dir(play.path("bin")).unwrap();
    for (name, body) in programs {
        let path = play.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (path, cache) = (format!("{}:{}", play.path("bin").display(), plain_path().display()), play.path("cache"));
    play.with("PATH", path).with("ETCD_LOCAL_CACHE", cache)
}

/// What cargo says where there is no network, in short.
const NO_NETWORK: &str = "cat >&2 <<'END'
error: failed to get `etcd-bin-vendored-linux-amd64` as a dependency of package `etcd-local-fetch v0.0.0 (/x)`

Caused by:
  download of config.json failed

Caused by:
  failed to download from `https://user:secret@registry.example/config.json`

Caused by:
  [6] Could not resolve hostname (Could not resolve host: registry.example)
END
exit 101";

#[test]
fn without_network_each_reason_is_told_once_on_a_line_of_its_own() {
    let play = without_etcd(&[("cargo", NO_NETWORK)]);
    let run = play.xtask(&["etcd-up"]).fails(1, &["no etcd satisfies `=3.7.2`", "ETCDBINPATH", "ETCD_RELEASE_MIRROR"]);
    let reason = "\n    3.7.2 from the Cargo registry: [6] Could not resolve hostname (Could not resolve host: registry.example)\n";
    assert!(run.stderr.contains(reason), "{run:#?}");
    assert_eq!(run.stderr.matches("Could not resolve hostname").count(), 1, "{run:#?}");
    assert!(run.stderr.lines().all(|line| line.chars().count() <= 160), "{run:#?}");
    assert!(!run.stderr.contains("secret") && !run.stderr.contains("metadata"), "{run:#?}");
}

#[test]
fn what_a_mirror_answers_has_a_next_step() {
    for (status, said, next) in [
        (403, "does not let this user have", "~/.netrc"),
        (404, "the server has no", "ETCDBINPATH"),
        (407, "the proxy wants to know who asks", "https_proxy"),
        (503, "has failed (HTTP 503)", "try again later"),
    ] {
        let curl = format!(
            r#"while [ "$1" != --dump-header ]; do shift; done; printf 'HTTP/1.1 {status} No\r\n' > "$2"
               echo 'curl: (22) The requested URL returned error: {status}' >&2; exit 22"#
        );
        let play =
            without_etcd(&[("curl", curl.as_str())]).with("ETCD_RELEASE_MIRROR", "https://me:secret@mirror.example");
        let run = play.xtask(&["etcd-install", "3.6.14", "--from", "release"]).fails(1, &[said, next]);
        assert!(!run.stderr.contains("secret"), "{run:#?}");
    }
    let play = without_etcd(&[]).with("ETCD_RELEASE_MIRROR", "me:secret@mirror.example");
    let run = play.xtask(&["etcd-install", "3.6.14", "--from", "release"]).fails(1, &["not a valid URL"]);
    assert!(!run.stderr.contains("secret"), "{run:#?}");
}

#[test]
fn an_etcd_that_a_variable_names_is_told_by_that_variable() {
    let play = Playground::new().with("ETCDBINPATH", "/nowhere/etcd");
    let run =
        play.xtask(&["etcd-up"]).fails(2, &["`ETCDBINPATH` does not name a working etcd", "no file `/nowhere/etcd`"]);
    assert!(!run.stderr.contains("given path"), "{run:#?}");
}

#[test]
fn a_setting_of_a_wrong_type_is_told_in_its_own_terms() {
    let play = Playground::new();
    play.configure("port = 2379.5");
    let run = play
        .xtask(&["etcd-status"])
        .fails(2, &["`2379.5` is neither a port from 1 to 65535 nor `auto`", " at line 5: `port = 2379.5`"]);
    assert!(!run.stderr.contains("enum"), "{run:#?}");
}

fn interrupt(child: &Child, times: usize) {
    for _ in 0..times {
        kill_process(Pid::from_child(child), Signal::INT).unwrap();
    }
}

/// The code that a shell has for it.
fn code(child: Child) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;

    let mut child = child;
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Says that it has begun, and works for ever, with a child of its own: the subshell has this program's command line.
const ENDLESS: &str = "(sleep 1000; :) & : > \"$0.began\"; wait";

#[test]
fn an_interrupt_ends_an_installation_and_leaves_nothing() {
    for line in
        [&["etcd-up", "--foreground"][..], &["etcd-up"], &["etcd-install"], &["run", "--ephemeral", "--", "true"]]
    {
        let play = without_etcd(&[("cargo", ENDLESS)]).with("ETCD_CONSOLE", crate::playground::TRUE);
        let child = play.command(line).spawn().unwrap();
        assert!(eventually(|| play.path("bin/cargo.began").exists()), "{line:?}");
        interrupt(&child, 1);
        assert_eq!(code(child), 130, "{line:?}");
        assert!(eventually(|| play.processes().is_empty()), "{line:?}: {:#?}", play.processes());
    }
}

/// Nothing of ours runs any more that could end the helper program.
#[test]
fn a_killed_installation_leaves_no_process() {
    let play = without_etcd(&[("cargo", ENDLESS)]);
    let mut child = play.command(&["etcd-install"]).spawn().unwrap();
    assert!(eventually(|| play.path("bin/cargo.began").exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(eventually(|| play.processes().is_empty()), "{:#?}", play.processes());
}

#[test]
fn an_interrupt_ends_a_wait_for_another_command() {
    let play = without_etcd(&[("cargo", ENDLESS)]);
    let first = play.command(&["etcd-up"]).spawn().unwrap();
    assert!(eventually(|| play.path("bin/cargo.began").exists()));
    let mut second: Command = play.command(&["etcd-up", "--foreground"]);
    let second = second.spawn().unwrap();
    // Whether it waits already or not.
    interrupt(&second, 1);
    assert_eq!(code(second), 130);
    interrupt(&first, 1);
    assert_eq!(code(first), 130);
    assert!(eventually(|| play.processes().is_empty()), "{:#?}", play.processes());
}

/// No terminal tells the build of it.
#[test]
fn an_interrupt_ends_the_build_of_a_program_too() {
    let play = without_etcd(&[("cargo", ENDLESS)]);
    let target = play.path("target");
    let play = play.with("CARGO_TARGET_DIR", target);
    let child = play.command(&["get", "key"]).spawn().unwrap();
    assert!(eventually(|| play.path("bin/cargo.began").exists()));
    interrupt(&child, 1);
    let run = finish_child(child);
    assert_eq!(run.code, Some(130), "{run:#?}");
    assert!(eventually(|| play.processes().is_empty()), "{:#?}", play.processes());
}
