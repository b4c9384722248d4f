//! `cargo xtask test` beside the same tests started with cargo, everything built and an etcd up: what the run, its keeper,
//! its sweep, and an ephemeral etcd add.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::measured::Measurement;
use super::report::{Row, Size};
use super::workspace::BenchWorkspace;
use super::{Notes, Setup};

/// Three tests. Each writes a key below the prefix that it is given.
const TESTS: &str = r#"
#[cfg(test)]
fn writes(name: &str) {
    use std::io::{Read, Write};
    let url = std::env::var("ETCD_ENDPOINTS").expect("ETCD_ENDPOINTS");
    let prefix = std::env::var("ETCD_TEST_PREFIX").unwrap_or("/Inventory/v1/Test/by-hand/".into());
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
#[cfg(all(test, feature = "many"))]
mod many;
"#;
const MANIFEST: &str = r#"[package]
name = "play"
edition = "2021"

[features]
many = []

[workspace]

[workspace.metadata.etcd]
root = "/Inventory/v1"
port = "auto"
"#;

pub(super) fn measure(rounds: u32, setup: &Setup<'_>, notes: &mut Notes) -> Result<Vec<Row>> {
    if setup.installed.nextest.is_none() {
        notes.add("nextest is not installed: tests run with `cargo test`");
    }
    let project = Project::new(setup)?;
    let whole = project.through_cargo().is_some();
    if !whole {
        notes.add("`cargo xtask test` is measured without cargo here, so its target is not checked");
    }
    let (by_hand, xtask) = (|| project.by_hand(), |args: &[&str]| project.xtask(args));
    // The first calls build everything.
    by_hand()?;
    xtask(&[])?;
    xtask(&["--ephemeral"])?;
    let [mut hand, mut running, mut ephemeral, mut added, mut added_ephemeral] = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        hand.push(by_hand()?.ms());
        running.push(xtask(&[])?.ms());
        ephemeral.push(xtask(&["--ephemeral"])?.ms());
    }
    for (hand, (running, ephemeral)) in hand.iter().zip(running.iter().zip(&ephemeral)) {
        added.push(running - hand);
        added_ephemeral.push(ephemeral - hand);
    }
    let report = project.report(rounds)?;
    let tests = Size { count: 3, of: "tests" };
    let beside =
        |what: &str, ours| -> Result<Row> { Row::new(what, "ms", ours)?.size(tests).beside("by hand", hand.clone()) };
    Ok(vec![
        beside("`cargo xtask test`", running)?,
        Row::new("what it adds", "ms", added)?.at_most(300.0).checked_if(whole),
        beside("`cargo xtask test --ephemeral`", ephemeral)?,
        Row::new("what --ephemeral adds", "ms", added_ephemeral)?.at_most(500.0).checked_if(whole),
        report,
    ])
}

/// A small project with an etcd that is up.
struct Project<'a> {
    setup: &'a Setup<'a>,
    workspace: BenchWorkspace,
    url: String,
}

impl<'a> Project<'a> {
    fn new(setup: &'a Setup<'a>) -> Result<Self> {
        let workspace = BenchWorkspace::new(setup, None)?;
        fs::write(workspace.path("Cargo.toml"), MANIFEST)?;
        fs::create_dir(workspace.path("src"))?;
        fs::write(workspace.path("src/lib.rs"), TESTS)?;
        let url = workspace.up()?.endpoints.concat();
        Ok(Self { setup, workspace, url })
    }

    /// What the report of many tests costs, each of which writes a key.
    fn report(&self, rounds: u32) -> Result<Row> {
        let count = self.setup.workload.tests().last().copied().unwrap_or(1);
        let test = |n| format!("#[test] fn t{n}() {{ super::writes(\"t{n}\") }}\n");
        fs::write(self.workspace.path("src/many.rs"), (0..count).map(test).collect::<String>())?;
        let of_runner = ["--runner", "cargo", "--features", "many", "--lib", "many::"];
        let timed = |own: &[&str]| -> Result<f64> {
            let mut command = self.workspace.command(&["test", "--ephemeral"]);
            Ok(self.workspace.run(command.args(own).args(of_runner))?.ms())
        };
        // The first call builds the tests.
        timed(&[])?;
        let mut added = Vec::new();
        for _ in 0..rounds {
            let without = timed(&[])?;
            added.push(timed(&["--report", "reports"])? - without);
        }
        Ok(Row::new("what --report adds", "ms", added)?.size(Size { count, of: "tests" }))
    }

    fn by_hand(&self) -> Result<Measurement> {
        let mut cargo = Command::new("cargo");
        self.workspace.enter(&mut cargo);
        let runner: &[&str] = if self.setup.installed.nextest.is_some() { &["nextest", "run"] } else { &["test"] };
        self.workspace.run(cargo.args(runner).arg("--workspace").env("ETCD_ENDPOINTS", &self.url))
    }

    /// The same tests: with arguments for the runner, no documentation tests are looked for.
    fn xtask(&self, args: &[&str]) -> Result<Measurement> {
        let mut command = self.through_cargo().unwrap_or_else(|| self.workspace.command::<&str>(&[]));
        self.workspace.run(command.arg("test").args(args).args(["--", "--workspace"]))
    }

    /// `cargo xtask` for another workspace: cargo checks whether xtask must be built, and starts it there. `None` where
    /// xtask's sources or the program `env` are missing.
    fn through_cargo(&self) -> Option<Command> {
        let manifest = self.setup.cx.workspace.join("xtask/Cargo.toml");
        if !cfg!(unix) || !manifest.is_file() {
            return None;
        }
        let mut cargo = Command::new("cargo");
        self.workspace.enter(&mut cargo);
        let here = format!("CARGO_MANIFEST_DIR={}", self.workspace.path("").display());
        cargo.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
        cargo.args(["--config", &format!(r#"target."cfg(all())".runner=["env",{here:?}]"#), "--"]);
        Some(cargo)
    }
}
