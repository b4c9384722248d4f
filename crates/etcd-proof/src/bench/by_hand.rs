//! `cargo xtask test` beside the same tests started by hand, with everything built and an etcd up: what the run, its
//! keeper, its sweep, and an ephemeral etcd add.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::process::Finished;
use super::report::{Counted, Row};
use super::workspace::Workspace;
use super::{Notes, Subject};

/// Three tests, each of which writes a key where it is told to.
const TESTS: &str = r#"
#[cfg(test)]
fn writes(name: &str) {
    use std::io::{Read, Write};
    let url = std::env::var("ETCD_ENDPOINTS").expect("ETCD_ENDPOINTS");
    let prefix = std::env::var("ETCD_TEST_PREFIX").unwrap_or("/CloudChamber/v0.1/Test/by-hand/".into());
    let body = format!("{{\"key\":\"{}\",\"value\":\"eA==\"}}", base64(&format!("{prefix}{name}/a")));
    let mut socket = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(socket, "POST /v3/kv/put HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("revision"), "{answer}");
}

#[cfg(test)]
fn base64(text: &str) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in text.as_bytes().chunks(3) {
        let at = |i: usize| three.get(i).copied().unwrap_or(0) as usize;
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            coded.push(if i <= three.len() { digits[bits >> (18 - 6 * i) & 63] as char } else { '=' });
        }
    }
    coded
}

#[test] fn one() { writes("one") }
#[test] fn two() { writes("two") }
#[test] fn three() { writes("three") }
"#;
const MANIFEST: &str = r#"[package]
name = "play"
edition = "2021"

[workspace]

[workspace.metadata.etcd]
port = "auto"
"#;

pub(super) fn measure(rounds: u32, subject: &Subject<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    if subject.installed.nextest.is_none() {
        notes.say("nextest is not installed: tests run with `cargo test`");
    }
    let project = Project::new(subject)?;
    let whole = project.through_cargo().is_some();
    if !whole {
        notes.say("cargo's own share of `cargo xtask test` is missing here, so what it adds is not judged");
    }
    let (by_hand, xtask) = (|| project.by_hand(), |args: &[&str]| project.xtask(args));
    // Everything is built, and everything is looked at once.
    by_hand()?;
    xtask(&[])?;
    xtask(&["--ephemeral"])?;
    let [mut hand, mut running, mut ephemeral, mut more, mut much_more] = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        hand.push(by_hand()?.ms());
        running.push(xtask(&[])?.ms());
        ephemeral.push(xtask(&["--ephemeral"])?.ms());
    }
    for (hand, (running, ephemeral)) in hand.iter().zip(running.iter().zip(&ephemeral)) {
        more.push(running - hand);
        much_more.push(ephemeral - hand);
    }
    let tests = Counted::Tests.of(3);
    let beside =
        |what: &str, ours| -> Result<Row> { Row::new(what, "ms", ours)?.size(tests).beside("by hand", hand.clone()) };
    Ok(vec![
        beside("`cargo xtask test`", running)?,
        Row::new("what it adds", "ms", more)?.at_most(300.0).judged_if(whole),
        beside("`cargo xtask test --ephemeral`", ephemeral)?,
        Row::new("what --ephemeral adds", "ms", much_more)?.at_most(500.0).judged_if(whole),
    ])
}

/// A small project with an etcd that is up.
struct Project<'a> {
    subject: &'a Subject<'a>,
    workspace: Workspace,
    url: String,
}

impl<'a> Project<'a> {
    fn new(subject: &'a Subject<'a>) -> Result<Self> {
        let workspace = Workspace::new(subject, None)?;
        fs::write(workspace.path("Cargo.toml"), MANIFEST)?;
        fs::create_dir(workspace.path("src"))?;
        fs::write(workspace.path("src/lib.rs"), TESTS)?;
        let url = workspace.up()?.endpoints.concat();
        Ok(Self { subject, workspace, url })
    }

    fn by_hand(&self) -> Result<Finished> {
        let mut cargo = Command::new("cargo");
        self.workspace.at_home(&mut cargo);
        let runner: &[&str] = if self.subject.installed.nextest.is_some() { &["nextest", "run"] } else { &["test"] };
        self.workspace.run(cargo.args(runner).arg("--workspace").env("ETCD_ENDPOINTS", &self.url))
    }

    /// The same tests: with arguments for the runner, no documentation tests are looked for.
    fn xtask(&self, args: &[&str]) -> Result<Finished> {
        let mut command = self.through_cargo().unwrap_or_else(|| self.workspace.command::<&str>(&[]));
        self.workspace.run(command.arg("test").args(args).args(["--", "--workspace"]))
    }

    /// `cargo xtask`, as far as it works in another workspace: cargo looks whether xtask is to be built, and starts it
    /// here. Without cargo where there is no such workspace, or no `env`.
    fn through_cargo(&self) -> Option<Command> {
        let manifest = self.subject.cx.workspace.join("xtask/Cargo.toml");
        if !cfg!(unix) || !manifest.is_file() {
            return None;
        }
        let mut cargo = Command::new("cargo");
        self.workspace.at_home(&mut cargo);
        let here = format!("CARGO_MANIFEST_DIR={}", self.workspace.path("").display());
        cargo.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
        cargo.args(["--config", &format!(r#"target."cfg(all())".runner=["env",{here:?}]"#), "--"]);
        Some(cargo)
    }
}
