//! The arguments of `test`: its own options, in any position, and the options of the runner, which are passed on. Options that
//! both runners have are translated if their names differ.

use std::ffi::{OsStr, OsString};

/// Options of cargo that have a value.
const WITH_VALUE: [&str; 21] = [
    "-p",
    "--package",
    "--exclude",
    "--bin",
    "--test",
    "--example",
    "--bench",
    "-F",
    "--features",
    "-j",
    "--jobs",
    "--build-jobs",
    "--profile",
    "--cargo-profile",
    "--target",
    "--target-dir",
    "--manifest-path",
    "--message-format",
    "--color",
    "--config",
    "-Z",
];
/// Options that select targets: with one of them cargo runs no documentation tests.
const TARGETS: [&str; 10] = [
    "--lib",
    "--bin",
    "--bins",
    "--test",
    "--tests",
    "--example",
    "--examples",
    "--bench",
    "--benches",
    "--all-targets",
];
/// Options that select packages.
const PACKAGES: [&str; 8] =
    ["-p", "--package", "--workspace", "--all", "--manifest-path", "--archive-file", "--binaries-metadata", "--rerun"];
/// Options of test binaries, which cargo and nextest accept only after `--`.
const OF_TESTS: [&str; 4] = ["--exact", "--ignored", "--include-ignored", "--skip"];
/// Options that only nextest has.
const NEXTEST_ONLY: [&str; 19] = [
    "-E",
    "--filterset",
    "--filter-expr",
    "--partition",
    "--retries",
    "--max-fail",
    "--run-ignored",
    "-P",
    "-R",
    "--rerun",
    "--debugger",
    "--tracer",
    "--no-tests",
    "--status-level",
    "--final-status-level",
    "--failure-output",
    "--success-output",
    "--stress-count",
    "--archive-file",
];

/// Arguments of one call of cargo.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    options: Vec<String>,
    /// The arguments after `--`.
    of_tests: Vec<String>,
}

impl Line {
    pub(super) fn args(&self) -> Vec<&str> {
        let dashes = (!self.of_tests.is_empty()).then_some("--");
        let [options, of_tests] = [&self.options, &self.of_tests].map(|args| args.iter().map(String::as_str));
        options.chain(dashes).chain(of_tests).collect()
    }

    /// For a build, which runs nothing.
    pub(super) fn options(&self) -> Vec<&str> {
        self.options.iter().map(String::as_str).collect()
    }

    /// Whether tests are named.
    pub(super) fn selects_tests(&self) -> bool {
        self.of_tests.iter().any(|arg| !arg.starts_with('-'))
    }
}

/// The arguments for cargo. The error is an option that cargo does not have.
pub(super) fn for_cargo(args: &[String]) -> Result<Line, &str> {
    let mut line = Line::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value)));
        let with_value = |name: &str| value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"));
        if arg == "--" {
            line.of_tests.extend(args.by_ref().cloned());
        } else if let Some(only) = NEXTEST_ONLY.into_iter().find(|only| is(name, only)) {
            return Err(only);
        } else if matches!(name, "--skip" | "--test-threads") {
            let value = value.or_else(|| args.next().map(String::as_str)).unwrap_or_default();
            line.of_tests.push(format!("{name}={value}"));
        } else if matches!(name, "--nocapture" | "--no-capture" | "--show-output") || OF_TESTS.contains(&name) {
            line.of_tests.push(name.replace("no-capture", "nocapture"));
        } else if name.starts_with('-') {
            match name {
                "--fail-fast" | "--ff" => {}
                "--nff" => line.options.push("--no-fail-fast".to_owned()),
                "--cargo-profile" => line.options.push(with_value("--profile")),
                "--build-jobs" => line.options.push(with_value("--jobs")),
                _ => line.options.push(arg.clone()),
            }
            if WITH_VALUE.contains(&arg.as_str()) {
                line.options.extend(args.next().cloned());
            }
        } else {
            line.of_tests.push(arg.clone());
        }
    }
    Ok(line)
}

/// The arguments for nextest: unchanged, except those that it accepts only after `--`.
pub(super) fn for_nextest(args: &[String]) -> Line {
    let mut line = Line::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = arg.split_once('=').map_or(arg.as_str(), |(name, _)| name);
        if arg == "--" {
            line.of_tests.extend(args.by_ref().cloned());
        } else if OF_TESTS.contains(&name) {
            line.of_tests.push(arg.clone());
            if arg == "--skip" {
                line.of_tests.extend(args.next().cloned());
            }
        } else {
            line.options.push(arg.clone());
        }
    }
    line
}

/// The options that nextest accepts with `--no-run`: all except when to stop, and the debugger or tracer of tests.
pub(super) fn of_builds<'a>(args: &[&'a str]) -> Vec<&'a str> {
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

/// Whether only documentation tests are selected.
pub(super) fn are_of_documentation(args: &[String]) -> bool {
    have(args, &["--doc"])
}

/// Whether the arguments select targets.
pub(super) fn select_targets(args: &[String]) -> bool {
    have(args, &TARGETS)
}

/// Whether the arguments select packages.
pub(super) fn select_packages(args: &[String]) -> bool {
    have(args, &PACKAGES) || have(args, &["-R"])
}

/// Whether the arguments have one of these options.
pub(super) fn have(args: &[String], names: &[&str]) -> bool {
    let mut before = args.iter().take_while(|arg| *arg != "--");
    before.any(|arg| names.iter().any(|name| is(arg.split_once('=').map_or(arg, |(name, _)| name), name)))
}

/// The value of the first of these options.
pub(super) fn value<'a>(args: &'a [String], names: &[&str]) -> Option<&'a str> {
    let mut args = args.iter().map(String::as_str).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let (name, value) = arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value)));
        if names.contains(&name) {
            return value.or_else(|| args.next());
        }
    }
    None
}

/// The packages that the arguments name.
pub(super) fn packages(args: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut args = args.iter().map(String::as_str).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        match arg {
            "-p" | "--package" => found.extend(args.next()),
            _ => found.extend(arg.strip_prefix("--package=").or_else(|| arg.strip_prefix("-p"))),
        }
    }
    found
}

/// Whether an argument is this option. The value of a short option may follow without a space.
fn is(given: &str, name: &str) -> bool {
    given == name || (name.len() == 2 && !given.starts_with("--") && given.starts_with(name))
}

/// Moves the options of `test` itself to the front, and puts a `--` before those of the runner, which clap does not know.
pub(crate) fn own_first(args: Vec<OsString>, known: &mut clap::Command) -> Vec<OsString> {
    let is_option = |arg: &OsStr| arg.as_encoded_bytes().starts_with(b"-");
    let command = args.iter().skip(1).position(|arg| !is_option(arg)).map(|at| at + 1);
    let Some(at) = command.filter(|at| args.get(*at).is_some_and(|arg| arg == "test")) else { return args };
    // Only then does it know the options that all commands have.
    known.build();
    let Some(test) = known.find_subcommand("test") else { return args };
    let mut args = args.into_iter();
    let (mut own, mut others) = (args.by_ref().take(at + 1).collect::<Vec<_>>(), Vec::new());
    while let Some(arg) = args.next() {
        if arg == "--" {
            // The first `--` separates our options from the runner's. A later `--` belongs to the runner.
            others.extend((!others.is_empty()).then_some(arg));
            others.extend(args.by_ref());
        } else if let Some(option) = option(test, &arg) {
            let has_value_to_come = option.get_action().takes_values() && !arg.as_encoded_bytes().contains(&b'=');
            own.push(arg);
            own.extend(has_value_to_come.then(|| args.next()).flatten());
        } else {
            others.push(arg);
        }
    }
    if !others.is_empty() {
        own.push("--".into());
        own.extend(others);
    }
    own
}

/// The option of a command that an argument is.
fn option<'a>(command: &'a clap::Command, arg: &OsStr) -> Option<&'a clap::Arg> {
    let arg = arg.to_str()?;
    command.get_arguments().find(|option| match arg.strip_prefix("--") {
        Some(long) => option.get_long() == long.split('=').next(),
        None => arg.strip_prefix('-').is_some_and(|short| {
            option.get_short().is_some_and(|name| short.strip_prefix(name).is_some_and(str::is_empty))
        }),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn joined(line: &Line) -> String {
        line.args().join(" ")
    }

    #[test]
    fn both_runners_are_told_the_same_in_their_words() {
        for (given, cargo, nextest) in [
            ("-p a --release", "-p a --release", "-p a --release"),
            ("-pa -j1 -F x", "-pa -j1 -F x", "-pa -j1 -F x"),
            ("--lib --test t name", "--lib --test t -- name", "--lib --test t name"),
            ("one two", "-- one two", "one two"),
            ("--no-fail-fast --nocapture", "--no-fail-fast -- --nocapture", "--no-fail-fast --nocapture"),
            ("--nff --ff --no-capture", "--no-fail-fast -- --nocapture", "--nff --ff --no-capture"),
            ("--cargo-profile x --build-jobs=2", "--profile x --jobs=2", "--cargo-profile x --build-jobs=2"),
            ("--test-threads 1 --features=a", "--features=a -- --test-threads=1", "--test-threads 1 --features=a"),
            ("--exact a --skip b", "-- --exact a --skip=b", "a -- --exact --skip b"),
            ("a -- --exact", "-- a --exact", "a -- --exact"),
        ] {
            assert_eq!(joined(&for_cargo(&words(given)).unwrap()), cargo, "{given}");
            assert_eq!(joined(&for_nextest(&words(given))), nextest, "{given}");
        }
    }

    #[test]
    fn what_cargo_cannot_do_is_named() {
        for (given, named) in
            [("-E all()", "-E"), ("-Eall()", "-E"), ("-p a --retries=2", "--retries"), ("--partition x", "--partition")]
        {
            assert_eq!(for_cargo(&words(given)).unwrap_err(), named);
        }
    }

    #[test]
    fn which_packages_are_wanted_is_heard() {
        for given in ["-p a", "-pa", "--package=a", "x --package a -- -p b"] {
            assert!(select_packages(&words(given)));
            assert_eq!(packages(&words(given)), ["a"], "{given}");
        }
        for given in ["a -- -p b", "--features x", "--profile p", "--lib"] {
            assert!(!select_packages(&words(given)) && packages(&words(given)).is_empty(), "{given}");
        }
    }

    #[test]
    fn a_profile_is_found_however_it_is_written() {
        for (given, profile) in [
            ("-p a --profile ci", Some("ci")),
            ("--profile=ci b", Some("ci")),
            ("-P ci", Some("ci")),
            ("a -- --profile ci", None),
            ("--profile", None),
        ] {
            assert_eq!(value(&words(given), &["--profile", "-P"]), profile, "{given}");
        }
    }

    #[test]
    fn options_of_ours_stand_where_they_like() {
        for (given, sorted) in [
            ("x test", "x test"),
            ("x -q test -p a", "x -q test -- -p a"),
            ("x test -p a --etcd 3.5 -j 1 -q", "x test --etcd 3.5 -q -- -p a -j 1"),
            ("x test --release --endpoints=u --keep", "x test --endpoints=u --keep -- --release"),
            ("x test -- -p a -- --exact", "x test -- -p a -- --exact"),
            ("x test --keep -- -p a", "x test --keep -- -p a"),
            ("x test a -- --keep", "x test -- a -- --keep"),
            ("x run -p a", "x run -p a"),
            ("x test test --ephemeral", "x test --ephemeral -- test"),
        ] {
            let args = words(given).into_iter().map(OsString::from).collect();
            let sorted: Vec<OsString> = words(sorted).into_iter().map(OsString::from).collect();
            assert_eq!(own_first(args, &mut crate::Cli::<crate::Command>::command()), sorted, "{given}");
        }
    }
}
