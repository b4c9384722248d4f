//! `cargo xtask` itself: the alias of this workspace and of its adopters, in a small workspace whose `xtask` becomes the
//! real one. What cargo says of its own work is seen while it matters, and does not stay.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::termios::{Winsize, tcsetwinsize};

use crate::playground::{Playground, finish};
use crate::runs::terminal;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The line of `.cargo/config.toml`.
fn alias(config: &str) -> String {
    let text = fs::read_to_string(Path::new(ROOT).join(config)).unwrap();
    text.lines().find(|line| line.starts_with("xtask = ")).unwrap().to_owned()
}

fn project() -> Playground {
    let play = Playground::new();
    let write = |file: &str, text: &str| {
        fs::create_dir_all(play.path(file).parent().unwrap()).unwrap();
        fs::write(play.path(file), text).unwrap();
    };
    write(".cargo/config.toml", &format!("[alias]\n{}\n", alias(".cargo/config.toml")));
    write("Cargo.toml", "[workspace]\nmembers = [\"xtask\"]\nresolver = \"2\"\n");
    write("xtask/Cargo.toml", "[package]\nname = \"xtask\"\nedition = \"2021\"\n");
    let becomes = r#"
use std::os::unix::process::CommandExt;

fn main() {
    let mut args = std::env::args();
    let mut real = std::process::Command::new(std::env::var("REAL").unwrap());
    panic!("{}", real.arg0(args.next().unwrap()).args(args).exec());
}
"#;
    write("xtask/src/main.rs", becomes);
    play.with("REAL", env!("CARGO_BIN_EXE_xtask")).with("TERM", "xterm")
}

/// `cargo xtask ARGS…`
fn cargo(play: &Playground, args: &[&str]) -> Command {
    let like = play.command(&[""; 0]);
    let mut cargo = Command::new("cargo");
    cargo.arg("xtask").args(args).current_dir(play.dir.path()).env_clear();
    cargo.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove("CARGO_MANIFEST_DIR");
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    cargo
}

/// What is left on a terminal of 80 columns.
fn on_a_terminal(mut command: Command) -> Vec<String> {
    let (ours, theirs): (OwnedFd, Stdio) = terminal();
    tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    drop(command);
    let mut bytes = Vec::new();
    // On Linux the end of the other side is an error.
    let _ = fs::File::from(ours).read_to_end(&mut bytes);
    child.wait().unwrap();
    let mut rows: Vec<String> = Vec::new();
    for line in String::from_utf8(bytes).unwrap().split_terminator('\n') {
        let mut line = line.trim_end_matches('\r').to_owned();
        if let Some((up, rest)) = line.split_once("A\x1b[J") {
            let up: usize = up.trim_start_matches("\r\x1b[").parse().unwrap();
            rows.truncate(rows.len().checked_sub(up).unwrap());
            line = rest.to_owned();
        }
        // Colours take no room.
        let mut shown = String::new();
        for part in line.split("\x1b[") {
            shown.push_str(if shown.is_empty() && !line.starts_with('\x1b') {
                part
            } else {
                part.split_once('m').map_or("", |(_, rest)| rest)
            });
        }
        let shown: Vec<char> = shown.chars().collect();
        rows.extend(shown.chunks(80).map(|row| row.iter().collect::<String>()));
        if shown.is_empty() {
            rows.push(String::new());
        }
    }
    rows
}

#[test]
fn an_adopters_alias_is_ours() {
    let ours = alias(".cargo/config.toml");
    assert_eq!(alias("examples/adopter/.cargo/config.toml"), ours);
    assert!(fs::read_to_string(Path::new(ROOT).join("docs/adopt.md")).unwrap().contains(&ours));
}

#[test]
fn a_log_has_no_progress_bar_and_says_what_is_compiled() {
    let play = project();
    let run = finish(cargo(&play, &["etcd-status"]));
    assert_eq!(run.code, Some(3), "{run:#?}");
    assert!(run.stderr.contains("Compiling xtask") && !run.stderr.contains(['\r', '\x1b']), "{run:#?}");
}

#[test]
fn that_cargo_waits_for_another_one_is_told_meanwhile() {
    let play = project();
    finish(cargo(&play, &["etcd-status"]));
    let lock = fs::File::options().write(true).open(play.path("target/debug/.cargo-lock")).unwrap();
    lock.lock().unwrap();
    let mut child = cargo(&play, &["etcd-status"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for file lock"), "{line}");
    lock.unlock().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn on_a_terminal_nothing_of_cargos_stays_where_nothing_was_built() {
    let play = project();
    finish(cargo(&play, &["etcd-status"]));
    let long = "x".repeat(120);
    for args in [&["etcd-logs"][..], &["etcd-logs", "--instance", "a b!"], &["etcd-status", "--instance", &long]] {
        let direct = on_a_terminal(play.command(args));
        assert!(!direct.is_empty());
        // While another cargo works, ours says that it waits.
        let waited = |said: &Vec<String>| said.iter().any(|line| line.contains("Blocking waiting"));
        let said = (0..50).map(|_| on_a_terminal(cargo(&play, args))).find(|said| !waited(said));
        assert_eq!(said.as_ref(), Some(&direct), "{args:?}");
    }
}
