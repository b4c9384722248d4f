//! `test`: the project's tests, built first, run against a real etcd, with nothing left behind.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::Result;

use crate::advice::Failure;
use crate::built::Built;
use crate::child::Interrupts;
use crate::cli::{Runner, Test};
use crate::context::Context;
use crate::exit::Exit;
use crate::run::Scene;
use crate::{protoc, rebuild};

pub(crate) fn run(args: &Test, cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    let interrupts = Interrupts::listen()?;
    let runner = choose_runner(args.runner, cx)?;
    let built = Built::of(&args.args, cx);
    if !built.is_fresh() {
        for mut step in runner.steps(Phase::Build, &args.args) {
            let exit = interrupts.run(in_workspace(&mut step, cx), || ())?;
            if exit != Exit::SUCCESS {
                return Ok(exit);
            }
        }
        built.remember();
    }
    let mut scene = Scene::open(&args.place, command_line(&args.args), cx)?;
    let exit = tests(&mut scene, runner, args, &interrupts, cx);
    scene.close(exit, "the tests", cx)
}

/// Runs all steps, also after one that failed; the first failure is the answer.
fn tests(scene: &mut Scene, runner: Chosen, args: &Test, interrupts: &Interrupts, cx: &Context) -> Result<Exit> {
    let mut exit = Exit::SUCCESS;
    for mut step in runner.steps(Phase::Run, &args.args) {
        let status = scene.act(in_workspace(&mut step, cx), interrupts, cx)?;
        if exit == Exit::SUCCESS || interrupts.any() {
            exit = status;
        }
        if interrupts.any() {
            break;
        }
    }
    Ok(exit)
}

fn in_workspace<'a>(step: &'a mut Command, cx: &Context) -> &'a mut Command {
    protoc::lead(step, cx);
    step.current_dir(&cx.workspace)
}

/// For whoever lists the runs.
fn command_line(args: &[String]) -> String {
    let separator = (!args.is_empty()).then_some("--");
    ["cargo xtask test"]
        .into_iter()
        .chain(separator)
        .chain(args.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The runner, once chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Nextest,
    CargoTest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Build,
    Run,
}

impl Chosen {
    /// Cargo's calls of a phase. nextest does not run documentation tests, so cargo does; not when ARGS
    /// select something, which may well be no documentation test.
    fn steps(self, phase: Phase, args: &[String]) -> Vec<Command> {
        let runner: &[&str] = match self {
            Self::Nextest => &["nextest", "run"],
            Self::CargoTest => &["test"],
        };
        let no_run = (phase == Phase::Build).then_some("--no-run");
        let all = (args.is_empty() && self == Self::CargoTest).then_some("--workspace");
        let line = runner.iter().copied().chain(no_run).chain(all).chain(args.iter().map(String::as_str));
        let mut steps = vec![cargo(line)];
        if self == Self::Nextest && args.is_empty() && phase == Phase::Run {
            steps.push(cargo(["test", "--workspace", "--doc"]));
        }
        steps
    }
}

fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(args);
    cargo
}

fn choose_runner(wanted: Runner, cx: &Context) -> Result<Chosen> {
    match wanted {
        Runner::Cargo => Ok(Chosen::CargoTest),
        Runner::Auto | Runner::Nextest if has_nextest(cx) => Ok(Chosen::Nextest),
        Runner::Auto => Ok(Chosen::CargoTest),
        Runner::Nextest => {
            let next = "`cargo install cargo-nextest --locked` brings it; `--runner cargo` does without it";
            Err(Failure::of("nextest is not installed", next))
        }
    }
}

/// Whether cargo would find it: among what it has installed, and on PATH. Asking it takes ten times as long.
fn has_nextest(cx: &Context) -> bool {
    let installed = cx.env.path_var("CARGO_HOME").map(|home| home.join("bin").into_os_string());
    let paths = [cx.env.var_os("PATH").map(OsStr::to_owned), installed];
    paths.into_iter().flatten().any(|path| which::which_in("cargo-nextest", Some(path), cx.env.cwd()).is_ok())
}
