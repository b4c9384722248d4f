//! Error messages and hints: what failed, why, and what to do next.

use std::io;
use std::process::ExitCode;

use etcd_keys::undo::UndoError;
use etcd_keys::{Error, ErrorKind};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{argument, say};

/// An error of etcd becomes a failure, with the hint that it has in a context. Others stay as they are.
pub(crate) fn with_hint(error: anyhow::Error, cx: &Context) -> anyhow::Error {
    let of_etcd = match error.downcast_ref::<etcd_sandbox::Error>() {
        Some(etcd_sandbox::Error::Etcd(error)) => Some(&**error),
        _ => of_etcd(&error),
    };
    let Some(of_etcd) = of_etcd.filter(|_| error.downcast_ref::<Failure>().is_none()) else { return error };
    let exit = if of_etcd.kind == ErrorKind::Unreachable { Exit::NotRunning } else { Exit::Failure };
    let next = cx.next_step(&of_etcd.kind).unwrap_or_else(|| next_step(&of_etcd.kind).to_owned());
    let failure = Failure { exit, what: error.to_string(), next };
    match root_cause(of_etcd) {
        Some(cause) => anyhow::Error::msg(cause).context(failure),
        None => failure.into(),
    }
}

/// Prints an error: what, why, and what to do next.
pub(crate) fn print_error(error: anyhow::Error, cx: &Context) -> ExitCode {
    let error = with_hint(error, cx);
    say(format_args!("error: {error}"));
    if let Some(Failure { exit, next, .. }) = error.downcast_ref() {
        for cause in error.chain().skip(1) {
            say(format_args!("  because: {cause}"));
        }
        say(format_args!("hint: {next}"));
        return ExitCode::from(*exit as u8);
    }
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some repeat what they wrap.
        if !last.ends_with(&cause) {
            say(format_args!("  because: {cause}"));
        }
        last = cause;
    }
    match error.downcast_ref::<UndoError>() {
        Some(UndoError::AnotherCluster { endpoint, .. }) => {
            say(format_args!("hint: {}", find_cluster(endpoint.as_deref())))
        }
        Some(UndoError::File { what: "write", .. }) => say(format_args!(
            "hint: nothing was deleted; free some disk space, or delete without an undo file: `--no-undo`"
        )),
        Some(UndoError::File { what: "create", .. }) => say(format_args!(
            "hint: nothing was deleted; make `.etcd` a writable directory, or delete without an undo file: `--no-undo`"
        )),
        Some(UndoError::NotRegular { .. }) => say(format_args!(
            "hint: nothing was changed; an undo file is read twice, so copy the data to a regular file first"
        )),
        Some(UndoError::Changed { .. }) => say(format_args!(
            "hint: the restored keys stay; when the file is complete again, the same command restores the rest"
        )),
        Some(_) => say(format_args!("hint: nothing was changed; `cargo xtask undo --list` lists the undo files")),
        None if is_of_the_disk(&error) => say(format_args!("hint: `cargo xtask doctor` checks disk and permissions")),
        None => {}
    }
    ExitCode::from(Exit::Failure as u8)
}

/// Whether the system refused to read or write something.
fn is_of_the_disk(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};

    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let shared = cause.downcast_ref::<std::sync::Arc<io::Error>>().map(|error| error.kind());
        cause.downcast_ref::<io::Error>().map(io::Error::kind).or(shared)
    };
    let kinds = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
    error.chain().filter_map(kind).any(|kind| kinds.contains(&kind))
}

/// The next step if an undo file is of another cluster. The endpoint is from the file, which anybody may have written.
fn find_cluster(endpoint: Option<&str>) -> String {
    let place = endpoint.map(|endpoint| argument(&endpoint.escape_debug().to_string()));
    let place = place.map_or_else(
        || "the file's cluster had this same endpoint, and is gone".to_owned(),
        |endpoint| format!("`--endpoints {endpoint}` reaches the file's cluster, if it still runs there"),
    );
    format!("{place}; `--any-cluster` restores the keys into this cluster instead")
}

/// The system's error below etcd-client and gRPC, whose own messages add nothing.
fn root_cause(error: &Error) -> Option<String> {
    let status: &dyn std::error::Error = match error.source.as_deref()? {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::TransportError(error) => error,
        etcd_client::Error::IoError(error) => return Some(error.to_string()),
        _ => return None,
    };
    let root = std::iter::successors(status.source(), |cause| cause.source()).last()?;
    Some(root.to_string())
}

fn of_etcd(error: &anyhow::Error) -> Option<&Error> {
    match error.downcast_ref::<UndoError>() {
        Some(UndoError::Etcd(error)) => Some(&**error),
        _ => error.downcast_ref::<Error>(),
    }
}

fn next_step(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Compacted { .. } | ErrorKind::FutureRevision(_) => {
            "without a revision the current keys are read; `history` shows the revisions that etcd still has"
        }
        ErrorKind::TooLarge(_) => {
            "etcd accepts requests of up to 1.5 MiB; the server's `--max-request-bytes` changes that"
        }
        ErrorKind::NoSpace => {
            "`cargo xtask etcd-compact` frees space in a local etcd; elsewhere compact, defragment, and disarm the alarm with etcdctl"
        }
        ErrorKind::AnotherCluster { .. } => {
            "if the endpoints are of two clusters, give those of one; else check which keys this cluster has, and start again"
        }
        ErrorKind::Denied(_) => "`--user NAME --password-file FILE` connects as another user",
        _ => "the server's log may say more",
    }
}
