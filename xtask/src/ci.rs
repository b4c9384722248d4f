//! `ci`: what must pass before a change lands, on any system that has a Rust toolchain. One list of commands; what they
//! check is theirs.

use std::process::Command;

use anyhow::{Context as _, Result};
use etcd_xtask::{Context, Exit, Failure};
use xshell::{Cmd, Shell, cmd};

pub(crate) fn run(cx: &Context) -> Result<Exit> {
    let sh = Shell::new().context("cannot tell the current directory")?;
    let xtask = std::env::current_exe().context("cannot find this program's own file")?;
    // Lints and documentation need a protoc, which `doctor` brings. What else it finds fails below.
    if let Err(error) = step(cmd!(sh, "{xtask} doctor"), cx) {
        cx.output.note(format_args!("note: {error}"));
    }
    step(cmd!(sh, "cargo fmt --all -- --check"), cx)?;
    step(cmd!(sh, "cargo clippy --workspace --all-targets --locked -- -D warnings"), cx)?;
    let deny = "build.rustdocflags=['-Dwarnings']";
    step(cmd!(sh, "cargo doc --workspace --no-deps --locked --quiet --config {deny}"), cx)?;
    step(cmd!(sh, "{xtask} test"), cx)?;
    if cfg!(target_os = "linux") {
        step(cmd!(sh, ".ci/environments"), cx)?;
    }
    Ok(Exit::SUCCESS)
}

fn step(cmd: Cmd<'_>, cx: &Context) -> Result<()> {
    let words = cmd.to_string();
    cx.output.note(format_args!("$ {words}"));
    let status = cx.in_workspace(Command::from(cmd)).status().with_context(|| format!("cannot run `{words}`"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::of(
        format!("`{words}` failed: {status}"),
        format!("mend what it says; `{words}` runs this step alone"),
    ))
}
