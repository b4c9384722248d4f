//! `test`: builds the project's tests, runs them against a real etcd, and deletes their keys.

mod arguments;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use etcd_local::binary::Wanted;
use serde::Deserialize;
use tempfile::TempDir;

use crate::build::built::Built;
use crate::build::{on_demand, protoc, rebuild};
use crate::child::Interrupts;
use crate::cli::{Runner, Test};
use crate::console;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::each_version;
use crate::runs::github;
use crate::runs::nextest_report::NextestReport;
use crate::runs::report::{Reports, Subject};
use crate::runs::run::{RunCommand, RunSession, command_line};
pub(crate) use crate::runs::test::arguments::own_first;
use crate::runs::test_results::{CountedOutput, TestCase, TestResults, Verdict};

pub(crate) fn run(args: &Test, cx: &Context) -> Result<Exit> {
    rebuild::make_way(cx);
    let interrupts = Interrupts::listen()?;
    let here = Here::of(cx);
    let runner = choose_runner(args.runner, cx)?;
    let reports = Reports::choose(args.report.as_deref(), cx)?;
    let steps = Steps::of(runner, here.is_root(cx), &args.args).map_err(|option| {
        let what = format!("`{option}` is an option of nextest, but plain cargo runs these tests");
        let next = "leave out the option, or leave out `--runner cargo`; `cargo install cargo-nextest --locked` installs nextest";
        Failure::with_exit(Exit::USAGE, what, next)
    })?;
    let built = Built::of(&[&[here.dir.to_string_lossy().into_owned()], &steps.build[..]].concat(), cx);
    if !steps.build.is_empty() && !built.is_fresh() {
        protoc::provide(cx, args.target.network());
        let exit = interrupts.run(&mut here.cargo(&steps.build, args, cx), || ())?;
        if exit != Exit::SUCCESS {
            return Ok(exit);
        }
        built.remember();
        // Arguments and variables may select other builds.
        if here.is_root(cx) && args.args.is_empty() {
            on_demand::built_with_tests(console::PACKAGE, built.began(), cx);
        }
    }
    if reports.is_some() && runner == Chosen::CargoTest {
        cx.output.note("note: the report has no JUnit file, and no times of tests: that needs nextest");
    }
    each_version::on_each(args.target.versions(), &interrupts, cx, |attempt| {
        let line = command_line("test", args.target.flags(attempt.wanted), &args.args);
        let command = RunCommand { shown: line.clone(), line };
        let mut session = RunSession::open(&args.target, attempt, command, reports.as_ref(), &interrupts, cx)?;
        let needs_names = session.report_dir().is_some() || github::is_here(cx);
        let needs_results = needs_names || attempt.is_one_of_several;
        // Others want them only to say what happened in a test that was killed.
        let scratch = (needs_results || runner == Chosen::Nextest).then(|| session.scratch_dir(cx));
        let scratch = match scratch {
            Some(Err(error)) if needs_results => return Err(error),
            scratch => scratch.and_then(Result::ok),
        };
        let dir = session.report_dir().or(scratch.as_ref().map(TempDir::path));
        let (mut tests, count) = here.counted(&steps.tests, args, dir, needs_names, cx)?;
        let mut exit = session.run_command(&mut tests, &interrupts, cx);
        drop(tests);
        attempt.tests = count.results();
        for case in attempt.tests.iter_mut().flat_map(|tests| &mut tests.cases) {
            case.again = (case.verdict != Verdict::Passed).then(|| command_of(case, args, attempt.wanted));
        }
        // Not after a failure: the names of the failed tests should be the last lines.
        if matches!(exit, Ok(Exit::SUCCESS))
            && let Some(documentation) = &steps.documentation
            && here.has_documentation_tests(&args.args, cx)
        {
            exit = session.run_command(&mut here.cargo(documentation, args, cx), &interrupts, cx);
        }
        session.close(exit, Subject::Tests, attempt.tests.as_ref(), cx)
    })
}

/// The command that runs one test alone, with the options that select what is built.
fn command_of(case: &TestCase, args: &Test, etcd: Option<&Wanted>) -> String {
    let by_cargo = arguments::for_cargo(&args.args).ok();
    let mut words: Vec<String> = by_cargo.iter().flat_map(|line| line.options()).map(str::to_owned).collect();
    words.extend(match &case.suite {
        Some(suite) => ["-E".to_owned(), format!("binary_id(={suite}) & test(={})", case.name)],
        None => ["--exact".to_owned(), case.name.clone()],
    });
    command_line("test", args.target.flags(etcd), words)
}

/// How to count tests. Documentation tests after nextest are not counted: on a terminal their output cannot be read.
enum Count {
    Nextest(NextestReport),
    Cargo(CountedOutput),
    Nothing,
}

impl Count {
    fn results(self) -> Option<TestResults> {
        match self {
            Self::Nextest(report) => report.read(),
            Self::Cargo(output) => output.results(),
            Self::Nothing => None,
        }
    }
}

/// The current directory's place in the workspace.
struct Here {
    dir: PathBuf,
    /// Of the package that cargo takes there, or of the workspace.
    manifest: PathBuf,
}

impl Here {
    fn of(cx: &Context) -> Self {
        let dir = if cx.env.cwd().starts_with(&cx.workspace) { cx.env.cwd() } else { &cx.workspace };
        let manifest = dir.ancestors().map(|dir| dir.join("Cargo.toml")).find(|manifest| manifest.is_file());
        Self { dir: dir.to_owned(), manifest: manifest.unwrap_or_else(|| root_manifest(cx)) }
    }

    fn is_root(&self, cx: &Context) -> bool {
        self.manifest == root_manifest(cx)
    }

    fn cargo(&self, step: &[String], args: &Test, cx: &Context) -> Command {
        let mut cargo = cx.cargo();
        protoc::lead_cargo(&mut cargo, args.target.network(), cx);
        cargo.args(step).current_dir(&self.dir);
        cargo
    }

    /// The command that runs the tests, and how to count them. Without a directory for nextest's report they are not counted.
    fn counted(
        &self,
        tests: &[String],
        args: &Test,
        dir: Option<&Path>,
        needs_names: bool,
        cx: &Context,
    ) -> Result<(Command, Count)> {
        let Some(dir) = dir else { return Ok((self.cargo(tests, args, cx), Count::Nothing)) };
        if let [nextest, run, rest @ ..] = tests
            && nextest == "nextest"
        {
            let named = arguments::value(&args.args, &["--profile", "-P"]).or(cx.env.var("NEXTEST_PROFILE"));
            let report = NextestReport::prepare(dir, &cx.workspace, named.unwrap_or("default"))?;
            let step = [&[nextest.clone(), run.clone()], &report.args()[..], rest].concat();
            return Ok((self.cargo(&step, args, cx), Count::Nextest(report)));
        }
        let mut cargo = self.cargo(tests, args, cx);
        let output = CountedOutput::of(&mut cargo, needs_names)?;
        Ok((cargo, output.map_or(Count::Nothing, Count::Cargo)))
    }

    /// Whether there can be documentation tests: for packages without a library, cargo reports an error.
    fn has_documentation_tests(&self, args: &[String], cx: &Context) -> bool {
        let mut cargo = cx.cargo();
        cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline", "--quiet"]).current_dir(&self.dir);
        let metadata = cargo.output().ok().and_then(|output| serde_json::from_slice::<Metadata>(&output.stdout).ok());
        let named = arguments::packages(args);
        let is_tested = |package: &&Package| match &named[..] {
            [] => self.is_root(cx) || package.manifest_path == self.manifest,
            named => named.contains(&&*package.name),
        };
        let packages = metadata.map(|metadata| metadata.packages).unwrap_or_default();
        let mut tested = packages.iter().filter(is_tested).peekable();
        // If packages are selected in another way, cargo decides.
        tested.peek().is_none() || tested.any(|package| package.targets.iter().any(|target| target.doctest))
    }
}

fn root_manifest(cx: &Context) -> PathBuf {
    cx.workspace.join(Path::new("Cargo.toml"))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    doctest: bool,
}

/// The chosen runner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chosen {
    Nextest,
    CargoTest,
}

/// The calls of cargo, in order.
struct Steps {
    /// Empty for documentation tests, which cargo builds one by one when it runs them.
    build: Vec<String>,
    tests: Vec<String>,
    /// nextest does not run documentation tests, so cargo runs them, unless ARGS select other tests.
    documentation: Option<Vec<String>>,
}

impl Steps {
    /// At the workspace's root, all packages are tested, also if the root is a package itself. Elsewhere cargo selects the
    /// package of the current directory. The error is an option that the runner does not have.
    fn of(runner: Chosen, at_root: bool, args: &[String]) -> Result<Self, &str> {
        let all = (at_root && !arguments::select_packages(args)).then_some("--workspace");
        let step = |command: &[&str], args: &[&str]| {
            let words = command.iter().copied().chain(all).chain(args.iter().copied());
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let by_cargo = arguments::for_cargo(args);
        let only_documentation = arguments::are_of_documentation(args);
        if runner == Chosen::CargoTest || only_documentation {
            let by_cargo = by_cargo?;
            let build = if only_documentation { Vec::new() } else { step(&["test", "--no-run"], &by_cargo.options()) };
            return Ok(Self { build, tests: step(&["test"], &by_cargo.args()), documentation: None });
        }
        let by_nextest = arguments::for_nextest(args);
        let documentation = by_cargo.ok().filter(|line| {
            !line.selects_tests() && !arguments::select_targets(args) && !arguments::have(args, &["--profile"])
        });
        Ok(Self {
            build: step(&["nextest", "run", "--no-run"], &arguments::of_builds(&by_nextest.options())),
            tests: step(&["nextest", "run"], &by_nextest.args()),
            documentation: documentation.map(|line| step(&["test", "--doc"], &line.args())),
        })
    }
}

fn choose_runner(wanted: Runner, cx: &Context) -> Result<Chosen> {
    match wanted {
        Runner::Cargo => Ok(Chosen::CargoTest),
        Runner::Auto | Runner::Nextest if has_nextest(cx) => Ok(Chosen::Nextest),
        Runner::Auto => Ok(Chosen::CargoTest),
        Runner::Nextest => {
            let next = "`cargo install cargo-nextest --locked` installs it; `--runner cargo` runs the tests without it";
            Err(Failure::of("nextest is not installed", next))
        }
    }
}

/// Whether cargo would find nextest: among its installed programs, or on PATH. Asking cargo takes ten times as long.
fn has_nextest(cx: &Context) -> bool {
    let installed = cx.env.path_var("CARGO_HOME").map(|home| home.join("bin").join("cargo-nextest"));
    let places = [Some("cargo-nextest".into()), installed];
    places.into_iter().flatten().any(|place| !etcd_local::all_on_path(&cx.env, place).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// The steps at the root, in the order in which they are taken.
    fn steps(runner: Chosen, args: &str) -> Vec<String> {
        let args = words(args);
        let Steps { build, tests, documentation } = Steps::of(runner, true, &args).unwrap();
        let all = [Some(build), Some(tests), documentation].into_iter().flatten();
        all.map(|step| step.join(" ")).filter(|step| !step.is_empty()).collect()
    }

    #[test]
    fn either_runner_has_all_tests_built_and_run() {
        let nextest = ["nextest run --no-run --workspace", "nextest run --workspace", "test --doc --workspace"];
        assert_eq!(steps(Chosen::Nextest, ""), nextest);
        assert_eq!(steps(Chosen::CargoTest, ""), ["test --no-run --workspace", "test --workspace"]);
        for args in ["--release -j 1 --no-fail-fast", "--features=a --exclude b", "-- --nocapture"] {
            assert!(steps(Chosen::Nextest, args).iter().all(|step| step.contains("--workspace")), "{args}");
            assert_eq!(steps(Chosen::Nextest, args).len(), 3, "{args}");
        }
    }

    #[test]
    fn in_a_package_or_where_one_is_named_it_is_that_one() {
        for args in ["-p a", "--package=a", "--manifest-path a/Cargo.toml"] {
            assert!(steps(Chosen::Nextest, args).iter().all(|step| !step.contains("--workspace")), "{args}");
        }
        let here = Steps::of(Chosen::Nextest, false, &[]).unwrap();
        assert_eq!(here.tests, ["nextest", "run"]);
        assert_eq!(here.documentation.unwrap(), ["test", "--doc"]);
        let all = words("--workspace");
        assert_eq!(Steps::of(Chosen::CargoTest, false, &all).unwrap().tests, ["test", "--workspace"]);
    }

    #[test]
    fn documentation_tests_alone_are_run_by_cargo_and_not_built() {
        for runner in [Chosen::CargoTest, Chosen::Nextest] {
            assert_eq!(steps(runner, "-p a --doc"), ["test -p a --doc"]);
        }
    }

    #[test]
    fn what_selects_something_else_leaves_documentation_tests_out() {
        for args in ["name", "--lib", "--test=t", "-E all()", "-- name", "--profile ci", "--partition count:1/2"] {
            assert_eq!(steps(Chosen::Nextest, args).len(), 2, "{args}");
        }
    }

    #[test]
    fn builds_take_no_argument_that_is_of_runs_only() {
        for of_runs in ["--no-fail-fast --max-fail 3 --max-fail=4", "--debugger env", "--tracer strace --tracer=x"] {
            let steps = steps(Chosen::Nextest, &format!("-p a {of_runs} name"));
            assert_eq!(
                steps,
                ["nextest run --no-run -p a name".to_owned(), format!("nextest run -p a {of_runs} name")]
            );
        }
        assert_eq!(steps(Chosen::CargoTest, "name -p a")[0], "test --no-run -p a");
    }

    #[test]
    fn plain_cargo_refuses_what_only_nextest_has() {
        assert_eq!(Steps::of(Chosen::CargoTest, true, &words("-E all()")).err(), Some("-E"));
    }
}
