//! Error messages and hints: what failed, why, where, and what to do next.

mod members;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use etcd_local::binary::{DownloadError, FindError, InstallError, SourceError};
use etcd_local::{
    DataError, EphemeralError, Holder, Instance, LaunchError, LockError, NameError, NotYours, ObserveError, PathError,
    PortKind, ResetError, SettingsError, StartError, State, Status, StopError,
};

use crate::cli::Which;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{AlreadyReported, Failure};
use crate::output;

/// Prints an error. Returns the exit code of the process.
pub(crate) fn print(error: &anyhow::Error) -> Exit {
    if let Some(AlreadyReported(exit)) = error.downcast_ref() {
        return *exit;
    }
    output::say(format_args!("error: {error}"));
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some wrappers repeat the message of the error that they wrap.
        if !last.ends_with(&cause) {
            output::say(format_args!("  because: {cause}"));
        }
        last = cause;
    }
    let which = error.downcast_ref().map_or_else(|| Which::named(None), |About { which, .. }| which.clone());
    let advice = on(error, &which);
    if let Some(log) = advice.log {
        output::say(format_args!("  log: {}", log.display()));
    }
    for hint in advice.hints {
        output::say(format_args!("hint: {hint}"));
    }
    advice.exit
}

fn on(error: &anyhow::Error, which: &Which) -> Advice {
    let foreign = error.chain().find_map(|cause| NotYours::of(cause.downcast_ref()?)).map(not_yours);
    let advice = foreign.or_else(|| error.chain().map(innermost).find_map(|error| of(error, which)));
    advice.unwrap_or_default()
}

/// The next step after an error, where one is known.
pub(crate) fn next_step(error: &anyhow::Error, which: &Which) -> Option<String> {
    on(error, which).hints.into_iter().next()
}

/// Adds the instance that an error is about, so that hints name it.
pub(crate) fn about(which: Which, error: anyhow::Error) -> anyhow::Error {
    let what = error.to_string();
    error.context(About { which, what })
}

/// Names the instance of the error that it wraps. Has the same message.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    which: Which,
    what: String,
}

/// The state of an instance, as text after its name.
pub(crate) fn state(status: &Status) -> String {
    match (status.state, status.answers) {
        (State::Hidden, false) => format!("{}, and does not answer here", State::Hidden),
        (State::Starting, _) if status.endpoints.is_empty() => {
            "runs, but its endpoint is unknown: its record is missing".to_owned()
        }
        (State::Orphaned, _) => format!("{} (pid {})", State::Orphaned, list(&status.pids)),
        (state, _) => state.to_string(),
    }
}

/// The next step for an instance in this state, with these processes.
pub(crate) fn way_out(state: State, pids: &[u32], which: &Which) -> String {
    let (up, down) = (which.command("etcd-up"), which.command("etcd-down"));
    match state {
        State::Stopped => format!("{up} starts it"),
        State::NoQuorum => format!("{up} starts the members that do not run"),
        State::Ready | State::Starting => format!("{up} waits for it"),
        State::Hidden if !pids.is_empty() => {
            format!("it runs as another user: `sudo kill {}` stops it", words(pids, " "))
        }
        State::Hidden => "run the command where the server was started: in its container, or as its user".to_owned(),
        State::Orphaned => format!("{down} stops it; then {up} starts it again"),
    }
}

/// The error for an instance that a command needs and cannot use. `instead` is added to the hint.
pub(crate) fn unusable(status: &Status, which: &Which, instead: &str) -> anyhow::Error {
    let exit = if status.state == State::Stopped { Exit::NOT_RUNNING } else { Exit::FAILURE };
    let what = format!("etcd `{}` {}", status.instance, state(status));
    Failure::with_exit(exit, what, format!("{}{instead}", way_out(status.state, &status.pids, which)))
}

pub(crate) fn list(pids: &[u32]) -> String {
    words(pids, ", ")
}

fn words(pids: &[u32], between: &str) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(between)
}

struct Advice {
    exit: Exit,
    log: Option<PathBuf>,
    hints: Vec<String>,
}

impl Default for Advice {
    fn default() -> Self {
        Self { exit: Exit::FAILURE, log: None, hints: Vec::new() }
    }
}

impl Advice {
    fn hint(text: impl Into<String>) -> Self {
        Self { hints: vec![text.into()], ..Self::default() }
    }

    fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    fn with_log(self, log: &Path) -> Self {
        Self { log: Some(log.to_owned()), ..self }
    }
}

/// The error inside errors that only pass it on.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let inner: &(dyn Error + 'static) = match error.downcast_ref::<ResetError>() {
        Some(ResetError::Stop(inner)) => inner,
        Some(ResetError::Data(inner)) => inner,
        Some(ResetError::Start(inner)) => inner,
        _ => match (error.downcast_ref::<StartError>(), error.downcast_ref::<EphemeralError>()) {
            (Some(StartError::Binary(inner)), _) | (_, Some(EphemeralError::Binary(inner))) => inner,
            (Some(StartError::Data(inner)), _) => inner,
            (Some(StartError::Launch(inner)), _) => inner,
            (Some(StartError::Lock(inner)), _) => inner,
            (Some(StartError::Observe(inner)), _) => inner,
            (Some(StartError::Path(inner)), _) => inner,
            (Some(StartError::Member(inner)), _) => inner,
            _ => match error.downcast_ref::<StopError>() {
                Some(StopError::Lock(inner)) => inner,
                Some(StopError::Observe(inner)) => inner,
                Some(StopError::Member(inner)) => inner,
                Some(StopError::Record(inner)) => &**inner,
                _ => match error.downcast_ref::<ObserveError>() {
                    Some(ObserveError::Path(inner)) => inner,
                    _ => return error,
                },
            },
        },
    };
    innermost(inner)
}

fn of(error: &(dyn Error + 'static), which: &Which) -> Option<Advice> {
    if let Some(error) = error.downcast_ref::<LaunchError>() {
        return Some(launch(error, which));
    }
    if let Some(error) = error.downcast_ref::<EphemeralError>() {
        return ephemeral(error);
    }
    if let Some(error) = error.downcast_ref::<DataError>() {
        return Some(data(error, which));
    }
    if let Some(error) = error.downcast_ref::<StartError>() {
        return start(error, which);
    }
    if let Some(error) = error.downcast_ref() {
        return Some(members::on(error, which));
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(LockError::Held { .. }), _) => {
            return Some(Advice::hint("wait until the other command ends, or end it, and try again"));
        }
        (Some(LockError::Io { source, .. }), _) | (_, Some(PathError { source, .. })) => return Some(disk(source)),
        _ => {}
    }
    match error.downcast_ref() {
        Some(ObserveError::Hidden { pids, .. }) => return Some(Advice::hint(way_out(State::Hidden, pids, which))),
        Some(ObserveError::Record(_)) => return Some(Advice::hint(NEWER)),
        _ => {}
    }
    if error.is::<ObserveError>() || error.is::<StopError>() {
        return Some(Advice::hint("`cargo xtask doctor` shows what it finds"));
    }
    if error.is::<SettingsError>() || error.is::<NameError>() {
        return Some(
            Advice::hint("docs/settings.md of this project lists every setting and its values").with_exit(Exit::USAGE),
        );
    }
    if let Some(Failure { next, exit, .. }) = error.downcast_ref() {
        return Some(Advice::hint(next).with_exit(*exit));
    }
    binary(error)
}

/// The hint for a file that a newer version of these commands wrote.
pub(crate) const NEWER: &str =
    "use that version here, or move the file away: a running server is found without the file";

/// The hint for files of another user.
fn not_yours(error: &NotYours) -> Advice {
    let NotYours { path, owner, user } = error;
    let home = path.ancestors().find(|dir| dir.ends_with(".etcd"));
    Advice::hint(match home {
        _ if user.is_root() => format!("run it as {owner}: {owner} could not change files that root writes there"),
        Some(home) => format!("`sudo chown -R {user} '{}'` makes it yours", home.display()),
        None => format!("run it as {owner}, or choose a directory of your own"),
    })
}

/// The hint for a file or directory that cannot be used.
fn disk(error: &io::Error) -> Advice {
    Advice::hint(match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "set ETCD_LOCAL_STATE to a writable directory to use instead of `.etcd`; `run --ephemeral` and `--endpoints` need none"
        }
        io::ErrorKind::Unsupported => {
            "set ETCD_LOCAL_STATE to a directory to use instead of `.etcd`, for example on a local disk"
        }
        _ => "`cargo xtask doctor` checks disk and permissions",
    })
}

fn launch(error: &LaunchError, which: &Which) -> Advice {
    match error {
        LaunchError::PortTaken { holder: Holder { instance_dir: Some(dir), is_orphan: true, .. }, .. } => {
            // A member's directory is in its instance's.
            let is_instance = |dir: &&Path| dir.parent().is_some_and(|home| home.ends_with(".etcd"));
            let dir = dir.ancestors().find(is_instance).unwrap_or(dir);
            let name = dir.file_name().unwrap_or_default().display();
            let workspace = dir.ancestors().nth(2).unwrap_or(dir).display();
            Advice::hint(format!("`cargo xtask etcd-down --instance {name}`, in `{workspace}`, stops it"))
        }
        LaunchError::PortTaken { kind: PortKind::Client, .. } => {
            Advice::hint(format!("{} picks a free port", which.command("etcd-up --port auto")))
        }
        LaunchError::PortTaken { kind: PortKind::Peer, .. } => {
            Advice::hint(format!("{} picks a free port", which.command("etcd-up --peer-port auto")))
        }
        LaunchError::PortTaken { kind: PortKind::Metrics, .. } => {
            Advice::hint("other programs took all ports that were tried; try again")
        }
        LaunchError::SamePort { .. } => {
            Advice::hint("set another port with `--peer-port` or ETCDPORTPEER; `--peer-port auto` picks a free port")
                .with_exit(Exit::USAGE)
        }
        LaunchError::Certificate { .. } => Advice::hint(
            "`tls` in Cargo.toml names a directory that must have ca.pem, server.pem, server-key.pem, client.pem and \
             client-key.pem, and for the servers among each other peer.pem and peer-key.pem; with `tls = true` they are made",
        ),
        LaunchError::Listen { source, .. } => Advice::hint(listening(source)),
        LaunchError::IncompleteBootstrap { log } => {
            Advice::hint("the directory has no keys, and this instance did not create it: delete it and try again")
                .with_log(log)
        }
        LaunchError::EarlyElection { log } => Advice::hint("the data is not damaged: try again").with_log(log),
        LaunchError::Damaged { data, log, .. } => Advice {
            hints: vec![
                format!("if you have a backup of `{}`, restore it and try again", data.display()),
                format!(
                    "{} deletes the data, if `etcd-up` created it; the next start begins with an empty database",
                    which.command("etcd-reset")
                ),
            ],
            ..Advice::default()
        }
        .with_log(log),
        LaunchError::Exited { last_used, log, .. } => {
            let mut advice = Advice::hint(format!("{} shows its log", which.command("etcd-logs"))).with_log(log);
            advice.hints.extend(last_used.as_ref().map(|version| {
                let again = which.command(&format!("etcd-up --etcd {version}"));
                format!("etcd {version} used the data last: {again} starts that version")
            }));
            advice
        }
        LaunchError::NotReady { waited, log, .. } => {
            let longer = which.command(&format!("etcd-up --timeout {}", waited.as_secs().saturating_mul(10).max(60)));
            let logs = which.command("etcd-logs");
            Advice::hint(format!("{logs} shows what it was doing; {longer} gives it more time")).with_log(log)
        }
        _ => Advice::hint("`cargo xtask doctor` checks this machine"),
    }
}

/// The hint for an address that is free, but cannot be listened on.
pub(crate) fn listening(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "ETCDNODEADDR must be an address of this machine",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 may need privileges; `--port auto` and `--peer-port auto` pick other ports"
        }
        _ => "`--port auto` picks another port; ETCDNODEADDR must be an address of this machine",
    }
}

/// Hints for an ephemeral etcd. The user did not choose its ports, and its log and directory are gone.
fn ephemeral(error: &EphemeralError) -> Option<Advice> {
    let hint = match error {
        EphemeralError::Launch(failed) => match failed.error {
            LaunchError::PortTaken { .. } => "other programs took all ports that were tried; try again",
            LaunchError::Listen { .. } => "ETCDNODEADDR must be an address of this machine, with free ports",
            LaunchError::NotReady { .. } => {
                "`start-timeout = SECONDS` in `[workspace.metadata.etcd]` of Cargo.toml gives it more time"
            }
            _ => "`cargo xtask etcd-up` starts an etcd whose log is kept",
        },
        EphemeralError::Apart { .. } => {
            "give etcds of one minor version or of two that follow each other, like `--etcd 3.6,3.7`; without `--mixed` each has a \
             cluster of its own"
        }
        EphemeralError::Path(_) | EphemeralError::Data(_) => {
            "TMPDIR (Windows: TEMP) must be a writable directory with free space, on a file system with file locks"
        }
        _ => return None,
    };
    Some(Advice::hint(hint))
}

fn data(error: &DataError, which: &Which) -> Advice {
    match error {
        DataError::NotOurs(path) => Advice::hint(format!(
            "nothing was deleted; if you do not need the data, stop the programs that use it and delete `{}` yourself",
            path.display()
        ))
        .with_exit(Exit::REFUSED),
        DataError::NewerMarker(_) => Advice::hint("use that version here, or choose another directory with --data-dir"),
        DataError::InUse(_) => Advice::hint("stop that etcd first, or choose another directory with --data-dir"),
        DataError::Newer { data, .. } => {
            Advice::hint(format!("start it with `--etcd {data}`, or wipe it with {}", which.command("etcd-reset")))
        }
        DataError::Older { data, .. } => {
            let next = format!("{}.{}", data.major, data.minor + 1);
            let (up, down) = (which.command(&format!("etcd-up --etcd {next}")), which.command("etcd-down"));
            Advice::hint(format!("{up} upgrades the data to {next}; then {down}, and the same command again"))
        }
        _ => Advice::hint("choose another directory with --data-dir"),
    }
}

fn start(error: &StartError, which: &Which) -> Option<Advice> {
    Some(match error {
        StartError::Conflict { .. } => Advice::hint(format!(
            "{} stops it; `--instance NAME` starts another instance beside it",
            which.command("etcd-down")
        )),
        StartError::Created { .. } => Advice::hint(format!(
            "`--instance NAME` creates another instance beside it; {}, while it is stopped, deletes its data, and then the \
             next `etcd-up` creates it anew",
            which.command("etcd-reset")
        )),
        StartError::SeveralMembers { .. } => Advice::hint(format!(
            "{} starts it in the background; {} follows the log of a member",
            which.command("etcd-up"),
            which.command("etcd-logs -f --member m1")
        )),
        StartError::Unstable { .. } => Advice::hint(format!("{} may say why", which.command("etcd-logs --member m1"))),
        StartError::Orphaned { pids, endpoints, has_data, .. } => {
            let mut advice = Advice::hint(way_out(State::Orphaned, pids, which));
            if let Some(url) = endpoints.first().filter(|_| !has_data) {
                let get = format!("`cargo xtask get / --prefix --endpoints {url}`");
                advice.hints.push(format!("its data directory was deleted: until it stops, {get} reads its keys"));
            }
            advice
        }
        StartError::AlreadyUp { .. } => Advice::hint(format!(
            "{} follows it; {} stops it",
            which.command("etcd-logs -f"),
            which.command("etcd-down")
        )),
        StartError::RecordLost { .. } => {
            Advice::hint(format!("{}, then {}: its data stays", which.command("etcd-down"), which.command("etcd-up")))
        }
        StartError::Unready { log, .. } => {
            let (longer, down) = (which.command("etcd-up --timeout 300"), which.command("etcd-down"));
            Advice::hint(format!("{longer} waits longer; {down} stops it")).with_log(log)
        }
        _ => return None,
    })
}

fn binary(error: &(dyn Error + 'static)) -> Option<Advice> {
    match error.downcast_ref::<FindError>() {
        Some(FindError::Nothing { source, .. }) => return Some(installation(source)),
        // What was named is not an etcd: a wrong setting.
        Some(FindError::Given { .. }) => {
            let hint = "give the path of an etcd, or of a directory with an etcd; without a path, an etcd is found or installed";
            return Some(Advice::hint(hint).with_exit(Exit::USAGE));
        }
        Some(_) => return Some(Advice::hint(WHICH_THERE_ARE)),
        None => {}
    }
    error.downcast_ref::<InstallError>().map(installation)
}

const WHICH_THERE_ARE: &str = "`cargo xtask etcd-install --list` shows the installed and the available versions; ETCDBINPATH can name your own etcd";

fn installation(error: &InstallError) -> Advice {
    match error {
        InstallError::NoSuchFile { .. } | InstallError::NotAVersion { .. } => {
            Advice::hint(WHICH_THERE_ARE).with_exit(Exit::USAGE)
        }
        InstallError::Failed { tried, .. } => {
            let mut hints: Vec<String> = Vec::new();
            for hint in tried.iter().filter_map(|tried| source(&tried.error)) {
                if !hints.iter().any(|known| known == hint) {
                    hints.push(hint.to_owned());
                }
            }
            let others = "set ETCDBINPATH to an installed etcd, or set a mirror that this machine can reach in ETCD_RELEASE_MIRROR \
                          or in Cargo's configuration";
            hints.push(others.to_owned());
            Advice { hints, ..Advice::default() }
        }
        _ => Advice::hint(WHICH_THERE_ARE),
    }
}

/// The hint for one source that failed.
fn source(error: &SourceError) -> Option<&'static str> {
    Some(match error {
        SourceError::Offline | SourceError::NotDownloaded => "without `--offline`, the missing files are downloaded",
        SourceError::NotAMirror { .. } => "set ETCD_RELEASE_MIRROR to the URL of a mirror, or unset it",
        SourceError::Download(DownloadError::Refused { status: Some(407), .. }) => {
            "set the proxy's user and password: `https_proxy=http://USER:PASSWORD@HOST:PORT`"
        }
        SourceError::Download(DownloadError::Refused { status: Some(401 | 403), .. }) => {
            "set the mirror's user and password in ~/.netrc, or in ETCD_RELEASE_MIRROR as `https://USER:PASSWORD@HOST`"
        }
        SourceError::Download(DownloadError::Refused { status: Some(429 | 500..), .. }) => {
            "try again later, or set another mirror in ETCD_RELEASE_MIRROR"
        }
        _ => return None,
    })
}

/// Which etcd `get`, `test` and other commands use without `--instance` and `--endpoints`, and why. For the status of an
/// instance.
pub(crate) fn used_by_commands(which: &Which, cx: &Context) -> String {
    let other = format!("`--instance {}` uses this instance", which.instance);
    match cx.cluster_of_environment() {
        Some(urls) => format!("`get`, `test` and others use {} (ETCD_ENDPOINTS is set); {other}", urls.join(",")),
        None if which.instance == Which::DEFAULT => "`get`, `test` and others use this instance".to_owned(),
        None => format!("`get`, `test` and others use the instance `{}`; {other}", Which::DEFAULT),
    }
}

/// Prints a note if ETCD_ENDPOINTS makes commands use another etcd than the instance that was just started.
pub(crate) fn note_other_cluster(status: &Status, cx: &Context) {
    if cx.cluster_of_environment().is_some_and(|urls| urls != status.endpoints) {
        cx.output.note(format_args!("note: {}", used_by_commands(&Which::named(Some(&status.instance)), cx)));
    }
}

/// Prints a note about settings that a running instance was not started with, and how to apply them.
pub(crate) fn note_differences(instance: &Instance, which: &Which, cx: &Context) {
    // An error is reported where it matters.
    let differences = instance.differences().unwrap_or_default();
    for difference in &differences {
        cx.output.note(format_args!("note: etcd `{}` runs with {difference}", instance.name()));
    }
    if !differences.is_empty() {
        cx.output.note(format_args!("hint: {}", restart(which)));
    }
}

/// How to apply changed settings to an instance.
pub(crate) fn restart(which: &Which) -> String {
    format!("to apply the settings: {}, then {}", which.command("etcd-down"), which.command("etcd-up"))
}
