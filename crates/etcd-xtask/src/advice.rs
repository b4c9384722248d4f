//! What the user reads when a command fails: what, why, where, and what to do next.

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
use crate::failure::{AlreadySaid, Failure};
use crate::output;

/// Prints an error and says how the process is to exit.
pub(crate) fn print(error: &anyhow::Error) -> Exit {
    if let Some(AlreadySaid(exit)) = error.downcast_ref() {
        return *exit;
    }
    output::say(format_args!("error: {error}"));
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Wrappers that add nothing repeat the words of what they wrap.
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

/// An error, and the instance that it is about: hints name that one.
pub(crate) fn about(which: Which, error: anyhow::Error) -> anyhow::Error {
    let what = error.to_string();
    error.context(About { which, what })
}

/// Says what it wraps: it adds nothing to read.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    which: Which,
    what: String,
}

/// What is true of an instance, in words that follow its name.
pub(crate) fn state(status: &Status) -> String {
    match (status.state, status.answers) {
        (State::Hidden, false) => format!("{}, and does not answer here", State::Hidden),
        (State::Starting, _) if status.endpoints.is_empty() => {
            "runs, but nothing says at which endpoint: its record is missing".to_owned()
        }
        (State::Orphaned, _) => format!("{} (pid {})", State::Orphaned, list(&status.pids)),
        (state, _) => state.to_string(),
    }
}

/// What can be done about an instance in this state, with these processes.
pub(crate) fn way_out(state: State, pids: &[u32], which: &Which) -> String {
    let (up, down) = (which.command("etcd-up"), which.command("etcd-down"));
    match state {
        State::Stopped => format!("{up} starts it"),
        State::Ready | State::Starting => format!("{up} waits for it"),
        State::Hidden if !pids.is_empty() => format!("it is another user's: `sudo kill {}` stops it", words(pids, " ")),
        State::Hidden => "run the command where the server was started: in its container, or as its user".to_owned(),
        State::Orphaned => format!("{down} stops it; then {up} starts it anew"),
    }
}

/// An instance that a command needs does not serve it; `instead` follows the hint.
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
            _ => match error.downcast_ref::<StopError>() {
                Some(StopError::Lock(inner)) => inner,
                Some(StopError::Observe(inner)) => inner,
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
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(LockError::Held { .. }), _) => {
            return Some(Advice::hint("wait for the other command, or end it, and try again"));
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

/// What to do about a file that a newer version of these commands wrote.
pub(crate) const NEWER: &str = "use that version here, or move the file away: a server that runs is found without it";

/// Somebody's files, and who we are.
fn not_yours(error: &NotYours) -> Advice {
    let NotYours { path, owner, user } = error;
    let home = path.ancestors().find(|dir| dir.ends_with(".etcd"));
    Advice::hint(match home {
        _ if user.is_root() => format!("run it as {owner}: what root writes there, {owner} cannot change later"),
        Some(home) => format!("`sudo chown -R {user} '{}'` makes it yours", home.display()),
        None => format!("run it as {owner}, or choose a place that is yours"),
    })
}

/// A file or directory of ours that the system does not let us use.
fn disk(error: &io::Error) -> Advice {
    Advice::hint(match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "ETCD_LOCAL_STATE names a directory for what is kept in `.etcd`; `run --ephemeral` and `--endpoints` need none"
        }
        io::ErrorKind::Unsupported => {
            "ETCD_LOCAL_STATE names a directory for what is kept in `.etcd`, on a disk of this machine say"
        }
        _ => "`cargo xtask doctor` checks disk and permissions",
    })
}

fn launch(error: &LaunchError, which: &Which) -> Advice {
    match error {
        LaunchError::PortTaken { holder: Holder { instance_dir: Some(dir), is_orphan: true, .. }, .. } => {
            let name = dir.file_name().unwrap_or_default().display();
            let workspace = dir.ancestors().nth(2).unwrap_or(dir).display();
            Advice::hint(format!("`cargo xtask etcd-down --instance {name}`, in `{workspace}`, stops it"))
        }
        LaunchError::PortTaken { kind: PortKind::Client, .. } => {
            Advice::hint(format!("{} picks a free one", which.command("etcd-up --port auto")))
        }
        LaunchError::PortTaken { kind: PortKind::Peer, .. } => {
            Advice::hint(format!("{} picks a free one", which.command("etcd-up --peer-port auto")))
        }
        LaunchError::SamePort { .. } => {
            Advice::hint("`--peer-port` or ETCDPORTPEER names another one; `--peer-port auto` picks a free one")
                .with_exit(Exit::USAGE)
        }
        LaunchError::Listen { source, .. } => Advice::hint(listening(source)),
        LaunchError::IncompleteBootstrap { log } => {
            Advice::hint("it holds no key, and this instance did not create it: delete it, and try again").with_log(log)
        }
        LaunchError::EarlyElection { log } => Advice::hint("the data is whole: try again").with_log(log),
        LaunchError::Damaged { data, log, .. } => Advice {
            hints: vec![
                format!("if you have a copy of `{}` from before, put it in its place, and try again", data.display()),
                format!(
                    "{} deletes data that `etcd-up` has created: the next start begins without any",
                    which.command("etcd-reset")
                ),
            ],
            ..Advice::default()
        }
        .with_log(log),
        LaunchError::Exited { last_used, log, .. } => {
            let mut advice = Advice::hint(format!("{} shows all it said", which.command("etcd-logs"))).with_log(log);
            advice.hints.extend(last_used.as_ref().map(|version| {
                let again = which.command(&format!("etcd-up --etcd {version}"));
                format!("etcd {version} used the data last: {again} goes on with it")
            }));
            advice
        }
        LaunchError::NotReady { waited, log, .. } => {
            let longer = which.command(&format!("etcd-up --timeout {}", waited.as_secs().saturating_mul(10).max(60)));
            let logs = which.command("etcd-logs");
            Advice::hint(format!("{logs} shows what it was busy with; if it needs more time, {longer} gives it"))
                .with_log(log)
        }
        _ => Advice::hint("`cargo xtask doctor` checks this machine"),
    }
}

/// What to do where an address cannot be listened on that nobody has.
pub(crate) fn listening(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "ETCDNODEADDR must be an address of this machine",
        io::ErrorKind::PermissionDenied => {
            "`--port auto` and `--peer-port auto` pick ports that need no privilege; those below 1024 may need one"
        }
        _ => "`--port auto` picks a port that may be had; ETCDNODEADDR must be an address of this machine",
    }
}

/// Its ports nobody chose, and its log and its directory are gone.
fn ephemeral(error: &EphemeralError) -> Option<Advice> {
    let hint = match error {
        EphemeralError::Launch(failed) => match failed.error {
            LaunchError::PortTaken { .. } => "all free ports that were tried were taken meanwhile; try again",
            LaunchError::Listen { .. } => "ETCDNODEADDR must be an address of this machine, with free ports",
            LaunchError::NotReady { .. } => {
                "`start-timeout = SECONDS` in `[workspace.metadata.etcd]` of Cargo.toml gives it more time"
            }
            _ => "`cargo xtask etcd-up` starts one whose log stays",
        },
        EphemeralError::Path(_) | EphemeralError::Data(_) => {
            "TMPDIR (Windows: TEMP) must be a directory that can be written to, with file locks and some space left"
        }
        _ => return None,
    };
    Some(Advice::hint(hint))
}

fn data(error: &DataError, which: &Which) -> Advice {
    match error {
        DataError::NotOurs(path) => Advice::hint(format!(
            "nothing was deleted; if its data may go, stop whatever uses it and delete `{}` yourself",
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
            "{} stops it first; `--instance NAME` starts another beside it",
            which.command("etcd-down")
        )),
        StartError::Orphaned { pids, endpoints, has_data, .. } => {
            let mut advice = Advice::hint(way_out(State::Orphaned, pids, which));
            if let Some(url) = endpoints.first().filter(|_| !has_data) {
                let get = format!("`cargo xtask get / --prefix --endpoints {url}`");
                advice.hints.push(format!("its data directory was deleted: {get} reads its keys until it stops"));
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
            let hint = "name an etcd, or a directory that has one; without a name, one is found or installed";
            return Some(Advice::hint(hint).with_exit(Exit::USAGE));
        }
        Some(_) => return Some(Advice::hint(WHICH_THERE_ARE)),
        None => {}
    }
    error.downcast_ref::<InstallError>().map(installation)
}

const WHICH_THERE_ARE: &str =
    "`cargo xtask etcd-install --list` shows what is there and what could be; ETCDBINPATH names one of your own";

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
            let others = "ETCDBINPATH names an etcd that is here already; a mirror that this machine reaches goes into \
                          ETCD_RELEASE_MIRROR or Cargo's configuration";
            hints.push(others.to_owned());
            Advice { hints, ..Advice::default() }
        }
        _ => Advice::hint(WHICH_THERE_ARE),
    }
}

/// What would have one source deliver.
fn source(error: &SourceError) -> Option<&'static str> {
    Some(match error {
        SourceError::Offline | SourceError::NotDownloaded => "without `--offline`, what is missing is downloaded",
        SourceError::NotAMirror { .. } => "ETCD_RELEASE_MIRROR takes the URL of a mirror, or is not set",
        SourceError::Download(DownloadError::Refused { status: Some(407), .. }) => {
            "the proxy's user and password go into `https_proxy=http://USER:PASSWORD@HOST:PORT`"
        }
        SourceError::Download(DownloadError::Refused { status: Some(401 | 403), .. }) => {
            "the mirror's user and password go into ~/.netrc, or into ETCD_RELEASE_MIRROR as `https://USER:PASSWORD@HOST`"
        }
        SourceError::Download(DownloadError::Refused { status: Some(429 | 500..), .. }) => {
            "try again later, or take another mirror with ETCD_RELEASE_MIRROR"
        }
        _ => return None,
    })
}

/// Which etcd `get`, `test` and other commands use that are given neither `--instance` nor `--endpoints`, and why, as seen
/// from an instance.
pub(crate) fn used_by_commands(which: &Which, cx: &Context) -> String {
    let other = format!("`--instance {}` uses this instance", which.instance);
    match cx.cluster_of_environment() {
        Some(urls) => format!("`get`, `test` and others use {} (ETCD_ENDPOINTS is set); {other}", urls.join(",")),
        None if which.instance == Which::DEFAULT => "`get`, `test` and others use this instance".to_owned(),
        None => format!("`get`, `test` and others use the instance `{}`; {other}", Which::DEFAULT),
    }
}

/// Says so where ETCD_ENDPOINTS leads commands away from an instance that was just started.
pub(crate) fn note_other_cluster(status: &Status, cx: &Context) {
    if cx.cluster_of_environment().is_some_and(|urls| urls != status.endpoints) {
        cx.output.note(format_args!("note: {}", used_by_commands(&Which::named(Some(&status.instance)), cx)));
    }
}

/// Says which settings an instance does not run with, and how it would.
pub(crate) fn note_differences(instance: &Instance, which: &Which, cx: &Context) {
    // That nothing can be found out is told where it matters.
    let differences = instance.differences().unwrap_or_default();
    for difference in &differences {
        cx.output.note(format_args!("note: etcd `{}` runs with {difference}", instance.name()));
    }
    if !differences.is_empty() {
        cx.output.note(format_args!("hint: {}", restart(which)));
    }
}

/// How an instance comes to run as it is set.
pub(crate) fn restart(which: &Which) -> String {
    format!("{}, then {}, starts it as it is set", which.command("etcd-down"), which.command("etcd-up"))
}
