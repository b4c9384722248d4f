//! `test`: the project's tests, built first, run against a real etcd, with nothing left behind.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use etcd_local::{Builder, Ephemeral, State};
use xshell::{Shell, cmd};

use crate::advice::Failure;
use crate::child::Interrupts;
use crate::cli::{Runner, Test};
use crate::context::Context;
use crate::exit::Exit;
use crate::{env_vars, rebuild, run_id};

pub(crate) fn run(args: &Test, cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    let interrupts = Interrupts::listen()?;
    let runner = choose_runner(args.runner, cx)?;
    for mut step in runner.steps(Phase::Build, &args.args) {
        let exit = interrupts.run(step.current_dir(&cx.workspace))?;
        if exit != Exit::SUCCESS {
            return Ok(exit);
        }
    }
    let server = Server::choose(args, cx)?;
    let vars = variables(&server, &cx.builder()?)?;
    cx.output.note(format_args!("testing against {}", server.describe()));
    let began = Instant::now();
    let mut exit = Exit::SUCCESS;
    for mut step in runner.steps(Phase::Run, &args.args) {
        let status =
            interrupts.run(step.current_dir(&cx.workspace).envs(vars.iter().map(|(name, value)| (name, value))))?;
        if exit == Exit::SUCCESS {
            exit = status;
        }
        if interrupts.any() {
            break;
        }
    }
    report(exit, &server, began, cx);
    Ok(exit)
}

fn report(exit: Exit, server: &Server, began: Instant, cx: &Context) {
    let verdict = match exit {
        Exit::SUCCESS => "passed",
        Exit::INTERRUPTED => "interrupted",
        _ => "failed",
    };
    if let Some(false) = server.ephemeral().map(Ephemeral::is_alive) {
        cx.output.warn("the etcd of this run ended before the tests did; the end of its log:");
        if let Some(server) = server.ephemeral() {
            let tail = etcd_local::Tail::open(&server.log(), 20);
            let _ = tail.and_then(|mut tail| tail.read(&mut std::io::stderr().lock()));
        }
    }
    let seconds = began.elapsed().as_secs_f32();
    cx.output.note(format_args!("tests {verdict} after {seconds:.1} s against {}", server.describe()));
}

/// The etcd that the tests use.
enum Server {
    /// Started for this run; gone when this value is.
    Ephemeral(Box<Ephemeral>),
    /// Somebody's: the workspace's own instance, or a cluster elsewhere.
    Existing { endpoints: Vec<String>, name: String },
}

impl Server {
    fn choose(args: &Test, cx: &Context) -> Result<Self> {
        let fresh = args.ephemeral || args.etcd.is_some();
        if !fresh {
            if let Some(endpoints) = given_endpoints(args, cx) {
                let name = format!("the cluster at {}", endpoints.join(","));
                return Ok(Self::Existing { endpoints, name });
            }
            let status = cx.instance(&args.which)?.status()?;
            match status.state {
                State::Ready => {
                    let version = status.version.map(|version| version.to_string()).unwrap_or_default();
                    let name = format!("etcd {version} `{}` at {}", status.instance, status.endpoints.join(","));
                    return Ok(Self::Existing { endpoints: status.endpoints, name });
                }
                State::Starting => {
                    let what = format!("etcd `{}` runs, but does not answer", status.instance);
                    let next = "`cargo xtask etcd-up` waits for it; `--ephemeral` does without it";
                    return Err(Failure::of(what, next));
                }
                State::Stopped => {}
            }
        }
        let mut builder = cx.builder()?.offline(args.offline);
        if let Some(wanted) = &args.etcd {
            builder = builder.etcd(wanted.clone());
        }
        Ok(Self::Ephemeral(Box::new(builder.start_ephemeral()?)))
    }

    fn ephemeral(&self) -> Option<&Ephemeral> {
        match self {
            Self::Ephemeral(server) => Some(server),
            Self::Existing { .. } => None,
        }
    }

    fn endpoints(&self) -> Vec<String> {
        match self {
            Self::Ephemeral(server) => server.endpoints(),
            Self::Existing { endpoints, .. } => endpoints.clone(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Ephemeral(server) => {
                format!("an ephemeral etcd {} at {}", server.version(), server.endpoints().join(","))
            }
            Self::Existing { name, .. } => name.clone(),
        }
    }
}

fn given_endpoints(args: &Test, cx: &Context) -> Option<Vec<String>> {
    if !args.endpoints.is_empty() {
        return Some(args.endpoints.clone());
    }
    let urls = cx.env.var("ETCD_ENDPOINTS")?;
    Some(urls.split(',').map(|url| url.trim().to_owned()).collect())
}

/// What the tests find: the server, and a place in it that no other run has.
fn variables(server: &Server, builder: &Builder) -> Result<Vec<(&'static str, String)>> {
    let settings = builder.settings();
    let run = run_id::fresh()?;
    let mut vars = env_vars::of_server(&server.endpoints());
    vars.push(("ETCD_TEST_PREFIX", format!("{}/{}/{run}/", settings.root, settings.test_root)));
    vars.push(("ETCD_TEST_RUN", run));
    Ok(vars)
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
    let has_nextest = || -> Result<bool> {
        let shell = Shell::new()?;
        shell.change_dir(&cx.workspace);
        Ok(cmd!(shell, "cargo nextest --version").quiet().ignore_status().ignore_stderr().output()?.status.success())
    };
    Ok(match wanted {
        Runner::Cargo => Chosen::CargoTest,
        Runner::Auto if !has_nextest().context("cannot run cargo")? => Chosen::CargoTest,
        Runner::Nextest if !has_nextest().context("cannot run cargo")? => {
            let next = "`cargo install cargo-nextest --locked` brings it; `--runner cargo` does without it";
            return Err(Failure::of("nextest is not installed", next));
        }
        Runner::Auto | Runner::Nextest => Chosen::Nextest,
    })
}
