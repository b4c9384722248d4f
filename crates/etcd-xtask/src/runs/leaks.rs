//! Leases, locks and processes that the tests of a run have left, found at the run's end: a note, or an error with `--deny leaks`.

use anyhow::Result;

use crate::context::Context;
use crate::failure::Failure;
use crate::runs::keeper::{Ended, Leaks, LeftLease};
use crate::runs::server::Server;

/// Says what is left.
///
/// # Errors
/// If there are any, or it is not known, and they are denied.
pub(crate) fn report(ended: &Ended, is_denied: bool, server: &Server, cx: &Context) -> Result<()> {
    let Some(leaks) = &ended.leaks else {
        let what = "it is not known whether the tests left leases, locks or processes: etcd did not tell in time";
        return if is_denied { Err(Failure::of(what, "run it again, or without `--deny leaks`")) } else { Ok(()) };
    };
    // Elsewhere, others may have them.
    let without_keys = if server.is_ephemeral() { leaks.without_keys } else { 0 };
    let told = [
        what_is_left(leaks.locks, "lock", "held", leaks, |lease| lease.is_lock),
        what_is_left(leaks.leases, "lease", "left", leaks, |lease| !lease.is_lock && lease.keys > 0),
        what_is_left(without_keys, "lease without keys", "left", leaks, |lease| lease.keys == 0),
        processes(&leaks.processes),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    if told.is_empty() {
        return Ok(());
    }
    let what = format!("at the end of the tests: {}", told.join("; "));
    if is_denied {
        let next = "a test that passes releases its locks, revokes its leases and ends its processes before it returns";
        return Err(Failure::of(what, next));
    }
    cx.output.note(format_args!("note: {what}"));
    Ok(())
}

/// Such as "2 locks held: `a` (10 s), `b` (10 s)".
fn what_is_left(
    count: u64,
    one: &str,
    how: &str,
    leaks: &Leaks,
    is_meant: impl Fn(&LeftLease) -> bool,
) -> Option<String> {
    let plural = one.replacen("lock", "locks", 1).replacen("lease", "leases", 1);
    let name = if count == 1 { one } else { &plural };
    let named: Vec<String> = leaks.named.iter().filter(|lease| is_meant(lease)).map(shown).collect();
    let more = if named.len() as u64 == count { "" } else { ", …" };
    (count > 0).then(|| format!("{count} {name} {how}: {}{more}", named.join(", ")))
}

/// Such as "1 process still running: `server` (12)".
fn processes(named: &[String]) -> Option<String> {
    let count = if named.len() == 1 { "1 process".to_owned() } else { format!("{} processes", named.len()) };
    (!named.is_empty()).then(|| format!("{count} still running: {}", named.join(", ")))
}

fn shown(LeftLease { id, ttl, keys, key, is_lock }: &LeftLease) -> String {
    match keys {
        0 => format!("{id} ({ttl} s)"),
        _ if *is_lock => format!("`{key}` ({ttl} s)"),
        1 => format!("{id} ({ttl} s) of `{key}`"),
        _ => format!("{id} ({ttl} s) of {keys} keys like `{key}`"),
    }
}
