//! `test`: the project's tests, built first, run against a real etcd, with nothing left behind.

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
        protoc::provide(cx, args.place.effort());
        for step in runner.steps(Phase::Build, &args.args) {
            let exit = interrupts.run(&mut in_workspace(&step, args, cx), || ())?;
            if exit != Exit::SUCCESS {
                return Ok(exit);
            }
        }
        built.remember();
    }
    let mut scene = Scene::open(&args.place, command_line(&args.args), &interrupts, cx)?;
    let exit = tests(&mut scene, runner, args, &interrupts, cx);
    scene.close(exit, ["the tests", "were"], cx)
}

/// Runs all steps, also after one that failed; the first failure is the answer.
fn tests(scene: &mut Scene, runner: Chosen, args: &Test, interrupts: &Interrupts, cx: &Context) -> Result<Exit> {
    let mut exit = Exit::SUCCESS;
    for step in runner.steps(Phase::Run, &args.args) {
        let status = scene.act(&mut in_workspace(&step, args, cx), interrupts, cx)?;
        if status == Exit::INTERRUPTED {
            return Ok(status);
        }
        if exit == Exit::SUCCESS {
            exit = status;
        }
    }
    Ok(exit)
}

fn in_workspace(step: &Command, args: &Test, cx: &Context) -> Command {
    let mut cargo = cx.cargo();
    cargo.args(step.get_args());
    protoc::lead_cargo(&mut cargo, args.place.effort(), cx);
    cargo
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
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let all: &[&str] = if args.is_empty() { &["--workspace"] } else { &[] };
        match (self, phase) {
            // Cargo builds documentation tests one by one, as it runs them.
            (Self::CargoTest, Phase::Build)
                if args.iter().take_while(|arg| **arg != "--").any(|arg| *arg == "--doc") =>
            {
                Vec::new()
            }
            (Self::CargoTest, Phase::Build) => vec![cargo(&[&["test", "--no-run"], all, &args])],
            (Self::CargoTest, Phase::Run) => vec![cargo(&[&["test"], all, &args])],
            (Self::Nextest, Phase::Build) => vec![cargo(&[&["nextest", "run", "--no-run"], &of_builds(&args)])],
            (Self::Nextest, Phase::Run) => {
                let doc = (!all.is_empty()).then(|| cargo(&[&["test", "--workspace", "--doc"]]));
                [cargo(&[&["nextest", "run"], &args])].into_iter().chain(doc).collect()
            }
        }
    }
}

/// Those of ARGS that nextest takes together with `--no-run`: all but when to stop, and what to run a test under.
fn of_builds<'a>(args: &[&'a str]) -> Vec<&'a str> {
    const ALONE: [&str; 4] = ["--fail-fast", "--ff", "--no-fail-fast", "--nff"];
    const WITH_VALUE: [&str; 3] = ["--max-fail", "--debugger", "--tracer"];
    let mut left = Vec::new();
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        match arg.split_once('=') {
            None if ALONE.contains(&arg) => {}
            None if WITH_VALUE.contains(&arg) => drop(args.next()),
            Some((flag, _)) if WITH_VALUE.contains(&flag) => {}
            _ => left.push(arg),
        }
    }
    left
}

fn cargo(args: &[&[&str]]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(args.iter().copied().flatten());
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
    let installed = cx.env.path_var("CARGO_HOME").map(|home| home.join("bin").join("cargo-nextest"));
    let places = [Some("cargo-nextest".into()), installed];
    places.into_iter().flatten().any(|place| !etcd_local::all_on_path(&cx.env, place).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chosen: Chosen, phase: Phase, args: &[&str]) -> Vec<String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let line = |cargo: Command| cargo.get_args().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        chosen.steps(phase, &args).into_iter().map(line).collect()
    }

    #[test]
    fn all_tests_are_built_and_run() {
        assert_eq!(lines(Chosen::Nextest, Phase::Build, &[]), ["nextest run --no-run"]);
        assert_eq!(lines(Chosen::Nextest, Phase::Run, &[]), ["nextest run", "test --workspace --doc"]);
        assert_eq!(lines(Chosen::CargoTest, Phase::Build, &[]), ["test --no-run --workspace"]);
        assert_eq!(lines(Chosen::CargoTest, Phase::Run, &[]), ["test --workspace"]);
    }

    #[test]
    fn documentation_tests_alone_are_only_run() {
        let args = ["-p", "a", "--doc"];
        assert!(lines(Chosen::CargoTest, Phase::Build, &args).is_empty());
        assert_eq!(lines(Chosen::CargoTest, Phase::Run, &args), ["test -p a --doc"]);
        assert_eq!(lines(Chosen::CargoTest, Phase::Build, &["--", "--doc"]), ["test --no-run -- --doc"]);
    }

    #[test]
    fn arguments_reach_both_phases_save_those_that_are_of_runs_only() {
        for of_runs in [
            &["--no-fail-fast", "--max-fail", "3", "--max-fail=4"][..],
            &["--debugger", "gdb --args"],
            &["--debugger=gdb"],
            &["--tracer", "strace", "--tracer=strace -f"],
        ] {
            let args = [&["-p", "a"], of_runs, &["name"]].concat();
            assert_eq!(lines(Chosen::Nextest, Phase::Build, &args), ["nextest run --no-run -p a name"]);
            assert_eq!(lines(Chosen::Nextest, Phase::Run, &args), [format!("nextest run {}", args.join(" "))]);
        }
        assert_eq!(lines(Chosen::CargoTest, Phase::Run, &["a", "--", "--exact"]), ["test a -- --exact"]);
    }
}
