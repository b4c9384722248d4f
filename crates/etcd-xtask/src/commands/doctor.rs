//! `doctor`: checks this machine for common problems, and says how to solve each of them. Changes nothing, except that it
//! installs a missing protoc and creates a missing `.etcd`.

mod clusters;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use etcd_local::binary::Tool;
use etcd_local::{Builder, LaunchError, NotYours, Port, PortKind, State, Status, User};
use serde::Serialize;

use crate::build::{on_demand, protoc};
use crate::cli::NetworkPolicy;
use crate::cli::{Doctor, Format, Which};
use crate::context::Context;
use crate::exit::Exit;
use crate::{advice, health, output};

/// How long a program may take to print its version: rustup may download it first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The subject of findings about `.etcd`.
const HOME: &str = "workspace";

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Failure,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    subject: &'static str,
    finding: String,
    /// What to do; `None` if there is no problem.
    #[serde(rename = "do")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, finding: finding.into(), remedy: None }
    }

    fn warning(subject: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, subject, finding: finding.into(), remedy: Some(remedy.into()) }
    }

    fn failure(subject: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Failure, ..Self::warning(subject, finding, remedy) }
    }
}

pub(crate) fn run(args: &Doctor, cx: &Context) -> Result<Exit> {
    let builder = cx.builder()?;
    let home = home(cx);
    let compiler = compiler(home.level, cx);
    let mut findings = vec![toolchain(cx), linker(cx), runner(cx), home, compiler];
    findings.push(etcd(cx, &builder));
    findings.extend(cache(&builder));
    let (statuses, unknown) = instances(&builder);
    findings.extend(statuses.iter().map(instance));
    findings.extend(differences(&builder));
    findings.extend(unknown);
    findings.extend(statuses.iter().flat_map(database));
    findings.extend(foreign_files(cx));
    findings.extend(ports(&builder, &statuses));
    findings.extend([locks(cx), handles()].into_iter().flatten());
    findings.extend(damaged(cx));
    findings.push(disk("disk", &cx.workspace));
    findings.push(disk("temporary disk", cx.env.temp_dir()));
    findings.extend(unwritable("temporary disk", cx.env.temp_dir(), "set TMPDIR (Windows: TEMP) to another directory"));
    findings.extend(data_dirs(&builder, &statuses, cx));
    findings.extend(clusters::check(cx));
    match args.answer.format {
        Format::Json => output::json(&findings)?,
        Format::Text => output::answer_text(&findings.iter().map(text).collect::<String>())?,
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Failure);
    Ok(if failed { Exit::FAILURE } else { Exit::SUCCESS })
}

fn text(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Ok => "ok     ",
        Level::Warning => "warning",
        Level::Failure => "FAILURE",
    };
    let remedy = finding.remedy.as_ref().map(|remedy| format!("\n         do: {remedy}")).unwrap_or_default();
    format!("{mark}  {}: {}{remedy}\n", finding.subject, finding.finding)
}

/// The first line of a program's version.
fn version_line(cx: &Context, program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    etcd_local::first_line(program, args, &cx.workspace, &cx.env, TIMEOUT)
}

fn toolchain(cx: &Context) -> Finding {
    const NEEDED: &str = env!("CARGO_PKG_RUST_VERSION");
    let Some(line) = version_line(cx, "rustc", &["--version"]) else {
        return Finding::failure("toolchain", "rustc does not run", "install Rust with rustup");
    };
    let version = line.split(' ').nth(1).and_then(|version| semver::Version::parse(version).ok());
    let needed = semver::VersionReq::parse(&format!(">={NEEDED}")).unwrap_or_default();
    match version {
        Some(version) if !needed.matches(&version) => {
            Finding::failure("toolchain", format!("{line}; Rust {NEEDED} is needed"), "`rustup update`")
        }
        _ => Finding::ok("toolchain", line),
    }
}

/// This program was linked, here or on a similar machine, so only a missing `cc` can be found.
fn linker(cx: &Context) -> Finding {
    if cfg!(windows) || version_line(cx, "cc", &["--version"]).is_some() {
        return Finding::ok("linker", "it linked this program");
    }
    let remedy = "install a C toolchain: `build-essential`, `gcc`, or Xcode's command line tools";
    Finding::warning("linker", "there is no `cc` on PATH", remedy)
}

fn runner(cx: &Context) -> Finding {
    match version_line(cx, "cargo", &["nextest", "--version"]) {
        Some(line) => Finding::ok("test runner", line),
        None => Finding::ok("test runner", "cargo test (nextest, if installed, runs tests in parallel)"),
    }
}

/// All commands store files there.
fn home(cx: &Context) -> Finding {
    let home = cx.home();
    let probe = || -> Result<()> {
        cx.create_home()?;
        let probe = home.join(format!(".doctor-{}", std::process::id()));
        etcd_local::replace(&probe, b"")?;
        Ok(std::fs::remove_file(probe)?)
    };
    match probe() {
        Ok(()) => Finding::ok(HOME, "it is writable"),
        Err(_) if home.exists() && !home.is_dir() => {
            let remedy = "move the file away: commands need a directory with this name";
            Finding::failure(HOME, format!("`{}` is not a directory", cx.shown(&home)), remedy)
        }
        Err(error) => {
            let is_theirs = error.chain().any(|cause| cause.downcast_ref().and_then(NotYours::of).is_some());
            let remedy = advice::next_step(&error, &Which::named(None)).filter(|_| is_theirs).unwrap_or_else(|| {
                let home = home.display();
                format!("make `{home}` a writable directory of your own, with mode 0700; or set ETCD_LOCAL_STATE to another directory")
            });
            Finding::failure(HOME, format!("`{}` is not writable: {error:#}", cx.shown(&home)), remedy)
        }
    }
}

fn compiler(home: Level, cx: &Context) -> Finding {
    protoc::provide(cx, NetworkPolicy::Online);
    let found = protoc::found(cx);
    // The path of protoc is recorded in `.etcd`.
    let remedy = match home {
        Level::Ok => "install protobuf's compiler, or set PROTOC to one",
        _ => "repair `.etcd` first: the path of the installed protoc is recorded there",
    };
    let finding = match found.as_ref().map(|program| (program, version_line(cx, program, &["--version"]))) {
        Some((_, Some(line))) if builds_client(cx) && !protoc::is_found_by_plain_cargo(cx) => {
            let finding = format!("{line}; but plain cargo and IDEs do not find it");
            let remedy = format!("add to `[env]` in .cargo/config.toml: {}", protoc::LINE);
            return Finding::warning("protoc", finding, remedy);
        }
        Some((_, Some(line))) => return Finding::ok("protoc", line),
        Some((program, None)) => format!("`{}` does not run", program.display()),
        None => "there is none, and installing one failed".to_owned(),
    };
    Finding::failure("protoc", finding, remedy)
}

/// Whether builds in this workspace need a protoc.
fn builds_client(cx: &Context) -> bool {
    let lock = std::fs::read_to_string(cx.workspace.join("Cargo.lock"));
    lock.is_ok_and(|lock| lock.contains("name = \"etcd-client\""))
}

fn etcd(cx: &Context, builder: &Builder) -> Finding {
    match builder.clone().offline(true).binaries().find(&builder.settings().wanted) {
        Ok(binary) => Finding::ok("etcd", format!("{} at {}", binary.version, cx.shown(&binary.path))),
        Err(_) => Finding::warning(
            "etcd",
            format!("`{}` is not on this machine", builder.settings().wanted),
            "`cargo xtask etcd-install` installs it; `etcd-up` and `test` do, too",
        ),
    }
}

/// Checks that programs can run in the cache directory.
#[cfg(unix)]
fn noexec(dir: &Path) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;

    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let run = || {
        etcd_local::replace(&probe, b"#!/bin/sh\n")?;
        std::fs::set_permissions(&probe, std::fs::Permissions::from_mode(0o700))?;
        std::process::Command::new(&probe).status()
    };
    let ran = run();
    drop(std::fs::remove_file(&probe));
    // If the directory is not writable, installed programs may still run.
    let error = ran.err().filter(|error| error.kind() == ErrorKind::PermissionDenied)?;
    let remedy = "set ETCD_LOCAL_CACHE to a directory on a file system that is not mounted noexec";
    Some(Finding::failure("cache", format!("no program runs in `{}`: {error}", dir.display()), remedy))
}

#[cfg(not(unix))]
fn noexec(_: &Path) -> Option<Finding> {
    None
}

fn cache(builder: &Builder) -> Vec<Finding> {
    let installed = match builder.binaries().installed() {
        Ok(installed) => installed,
        Err(error) => {
            return vec![Finding::failure("cache", error.to_string(), "set ETCD_LOCAL_CACHE to another directory")];
        }
    };
    let check = |one: &etcd_local::binary::Installed| -> Option<Finding> {
        let error = one.check().err()?;
        let remedy = match one.tool {
            Tool::Etcd => format!("`cargo xtask etcd-install {}` replaces it", one.version),
            Tool::Protoc => format!("delete `{}`", one.dir.display()),
        };
        Some(Finding::failure("cache", error.to_string(), remedy))
    };
    let dir = builder.binaries().cache_dir().ok().filter(|dir| dir.is_dir());
    dir.and_then(|dir| noexec(&dir)).into_iter().chain(installed.iter().filter_map(check)).collect()
}

/// The states of the instances, and findings for instances whose state is unknown.
fn instances(builder: &Builder) -> (Vec<Status>, Vec<Finding>) {
    let mut statuses = Vec::new();
    let mut unknown = Vec::new();
    // If `.etcd` cannot be listed, another finding says so.
    for one in builder.instances().unwrap_or_default() {
        match one.status() {
            Ok(status) => statuses.push(status),
            Err(error) => {
                let error = anyhow::Error::from(error);
                let remedy = advice::next_step(&error, &Which::named(Some(one.name()))).unwrap_or_default();
                unknown.push(Finding::failure("instance", format!("`{}`: {error:#}", one.name()), remedy));
            }
        }
    }
    (statuses, unknown)
}

fn instance(status: &Status) -> Finding {
    let at = if status.answers { format!(" at {}", status.endpoints.join(",")) } else { String::new() };
    let finding = match status.state {
        State::Hidden if status.answers => format!("{}; it answers{at}", advice::state(status)),
        State::Starting => format!("{} (pid {})", advice::state(status), advice::list(&status.pids)),
        _ => format!("{}{at}", advice::state(status)),
    };
    let finding = format!("`{}` {finding}", status.instance);
    let which = Which::named(Some(&status.instance));
    match status.state {
        State::Ready | State::Stopped => Finding::ok("instance", finding),
        State::Hidden if status.answers => Finding::ok("instance", finding),
        State::Starting => {
            let stop = which.command("etcd-down");
            Finding::warning(
                "instance",
                finding,
                format!("{}, {stop} stops it", advice::way_out(status.state, &status.pids, &which)),
            )
        }
        state => Finding::warning("instance", finding, advice::way_out(state, &status.pids, &which)),
    }
}

/// Settings that a running instance was not started with.
fn differences(builder: &Builder) -> Vec<Finding> {
    let of = |one: etcd_local::Instance| {
        let remedy = advice::restart(&Which::named(Some(one.name())));
        let found = one.differences().unwrap_or_default().into_iter();
        let finding_of = |difference| {
            Finding::warning("instance", format!("`{}` runs with {difference}", one.name()), remedy.clone())
        };
        found.map(finding_of).collect::<Vec<_>>()
    };
    builder.instances().unwrap_or_default().into_iter().flat_map(of).collect()
}

/// Files of another user, such as root, that prevent the workspace's user from working.
fn foreign_files(cx: &Context) -> Vec<Finding> {
    let home = cx.home();
    let Some(user) = User::of_process() else { return Vec::new() };
    let dirs = [(Some(home.clone()), 5), (on_demand::target_dir(cx).ok(), 2)];
    let find = |(dir, levels): (Option<PathBuf>, usize)| {
        let dir = dir?;
        // Root can use all files, so for root this checks on behalf of the directory's owner.
        let owner = if user.is_root() { etcd_local::owner_of(&dir)? } else { user };
        // Another finding reports `.etcd` itself.
        let (path, theirs) = etcd_local::find_foreign(&dir, owner, levels).filter(|(path, _)| *path != home)?;
        let finding = format!("`{}` belongs to {theirs}, not to {owner}", cx.shown(&path));
        Some(Finding::failure(HOME, finding, format!("`sudo chown -R {owner} '{}'`", dir.display())))
    };
    dirs.into_iter().filter_map(find).collect()
}

/// A ready server may still refuse writes or all requests.
fn database(status: &Status) -> impl Iterator<Item = Finding> {
    let what = |what: &str| format!("`{}`: {what}", status.instance);
    health::of(status)
        .problems
        .into_iter()
        .map(move |problem| Finding::warning("instance", what(&problem.what), problem.remedy))
}

fn ports(builder: &Builder, statuses: &[Status]) -> Vec<Finding> {
    let settings = builder.settings();
    let number = |port| match port {
        Port::Fixed(port) => port,
        Port::Auto => 0,
    };
    let ports = [(settings.client(), PortKind::Client), (settings.peer(), PortKind::Peer)];
    ports.into_iter().filter_map(|(port, kind)| self::port(settings.host, number(port), kind, statuses)).collect()
}

/// `None` if any port may be used and one is free.
fn port(host: IpAddr, number: u16, kind: PortKind, statuses: &[Status]) -> Option<Finding> {
    let addr = SocketAddr::new(host, number);
    let holder = match etcd_local::claim_port(host, number, kind) {
        Ok(()) => return (number != 0).then(|| Finding::ok("port", format!("{addr} is free"))),
        Err(LaunchError::PortTaken { holder, .. }) => holder,
        Err(LaunchError::Listen { source, .. }) => {
            let finding = format!("cannot listen on {addr}: {source}");
            return Some(Finding::failure("port", finding, advice::listening(&source)));
        }
        Err(error) => return Some(Finding::failure("port", error.to_string(), "set another port")),
    };
    let is_of = |status: &&Status| match holder.pid {
        Some(pid) => status.pids.contains(&pid),
        None => status.state == State::Hidden && status.endpoints.contains(&format!("http://{addr}")),
    };
    Some(match statuses.iter().find(is_of) {
        Some(status) => Finding::ok("port", format!("{addr} is instance `{}`'s", status.instance)),
        None => Finding::warning(
            "port",
            format!("{addr} is taken by {holder}"),
            "`cargo xtask etcd-up --port auto` picks another port; or stop that process",
        ),
    })
}

/// File locks must work in `.etcd` and in the directory for ephemeral etcds.
fn locks(cx: &Context) -> Option<Finding> {
    let refused = [(cx.home(), "ETCD_LOCAL_STATE"), (cx.env.temp_dir().to_owned(), "TMPDIR")].map(|(dir, variable)| {
        let path = dir.join(format!(".doctor-{}.lock", std::process::id()));
        let locked = etcd_local::open_exclusive(&path);
        drop(std::fs::remove_file(&path));
        // Other findings report a directory that is not writable.
        let error = locked.err().filter(|error| error.kind() == ErrorKind::Unsupported)?;
        let remedy = format!("set {variable} to a directory on another file system, for example on a local disk");
        Some(Finding::failure("locks", format!("`{}`: {error}", cx.shown(&dir)), remedy))
    });
    refused.into_iter().flatten().next()
}

/// Without pidfds, processes are identified by pid and start time.
fn handles() -> Option<Finding> {
    let error = etcd_local::has_pidfds().err()?;
    let remedy = "nothing; Linux 5.3 or later has pidfds, and current container runtimes allow them";
    Some(Finding::warning("system", format!("there are no pidfds: {error}"), remedy))
}

/// Damaged records that were set aside and replaced.
fn damaged(cx: &Context) -> Vec<Finding> {
    let home = cx.home();
    let instances = std::fs::read_dir(home).into_iter().flatten().flatten();
    let files = instances.flat_map(|dir| std::fs::read_dir(dir.path()).into_iter().flatten().flatten());
    let damaged = files.filter(|file| file.file_name().to_string_lossy().contains(".damaged-"));
    damaged
        .map(|file| {
            let path = file.path();
            let remedy = "delete it when you do not need it: it was replaced";
            Finding::warning("instance", format!("a damaged record was set aside as {}", cx.shown(&path)), remedy)
        })
        .collect()
}

/// Data directories outside of `.etcd`: those of the instances, and the one of the settings.
fn data_dirs(builder: &Builder, statuses: &[Status], cx: &Context) -> Vec<Finding> {
    const SUBJECT: &str = "data directory";
    let home = cx.home();
    let set = builder.settings().data_dir.iter();
    let dirs: BTreeSet<&PathBuf> = statuses.iter().map(|status| &status.data_dir).chain(set).collect();
    let elsewhere = dirs.into_iter().filter(|dir| !dir.starts_with(&home));
    // A directory that does not exist will be created in its nearest existing parent.
    let there = elsewhere.filter_map(|dir| dir.ancestors().find(|dir| dir.is_dir()));
    let remedy = "set another directory with --data-dir, ETCDDATA or `data-dir`";
    there.flat_map(|dir| unwritable(SUBJECT, dir, remedy).into_iter().chain([disk(SUBJECT, dir)])).collect()
}

/// `None` if files can be created there.
fn unwritable(subject: &'static str, dir: &Path, remedy: &str) -> Option<Finding> {
    let error = etcd_local::check_writable(dir).err()?;
    Some(Finding::failure(subject, format!("`{}` is not writable: {error}", dir.display()), remedy))
}

/// A fresh member takes 62 to 123 MB, most of it preallocated log.
fn disk(subject: &'static str, path: &Path) -> Finding {
    const ENOUGH: u64 = 1 << 30;
    const TOO_LITTLE: u64 = 200 << 20;
    let remedy = format!("free some space around `{}`", path.display());
    match etcd_local::free_space(path) {
        Ok(free) if free >= ENOUGH => Finding::ok(subject, format!("{} MB are free", free >> 20)),
        Ok(free) if free >= TOO_LITTLE => Finding::warning(subject, format!("only {} MB are free", free >> 20), remedy),
        Ok(free) => {
            Finding::failure(subject, format!("only {} MB are free, less than an etcd needs", free >> 20), remedy)
        }
        Err(error) => Finding::warning(subject, format!("cannot be measured: {error}"), remedy),
    }
}
